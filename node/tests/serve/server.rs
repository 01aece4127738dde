//! A `lamplight` process of a test: started on ports of its own, ended by pid.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub struct Server {
    child: Child,
    guard: Child,
    pub udp: SocketAddr,
    pub tcp: SocketAddr,
    pub tls: Option<SocketAddr>,
    /// Where it was asked to listen for browsers.
    pub ws: Option<SocketAddr>,
    pub wss: Option<SocketAddr>,
    pub admin: SocketAddr,
    /// Where it keeps documents, if it does.
    pub xcap: Option<SocketAddr>,
}

/// The domains that every test server serves.
const DOMAINS: [&str; 4] = ["example.com", "sfb.example", "10.0.0.27", "localhost"];

impl Server {
    /// Starts a server on ports that the system chooses, with its data in `data`.
    pub fn start(data: &Path) -> Server {
        Server::start_with(data, &[])
    }

    /// The same with further arguments.
    pub fn start_with(data: &Path, more: &[&str]) -> Server {
        Server::try_start(data, "udp:127.0.0.1:0", "tcp:127.0.0.1:0", more)
            .expect("the server starts")
    }

    /// The same on the ports that it had before.
    pub fn restart(data: &Path, udp: SocketAddr, tcp: SocketAddr) -> Server {
        Server::try_start(data, &format!("udp:{udp}"), &format!("tcp:{tcp}"), &[])
            .expect("the server starts again")
    }

    /// Starts a server, or returns what it said on standard error.
    pub fn try_start(data: &Path, udp: &str, tcp: &str, more: &[&str]) -> Result<Server, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lamplight"));
        command.arg("serve").arg("--data").arg(data);
        if !more.contains(&"--admin") {
            command.args(["--admin", "127.0.0.1:0"]);
        }
        command.args(["--listen", udp, "--listen", tcp]);
        for domain in DOMAINS {
            command.args(["--domain", domain]);
        }
        command
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line)
            .expect("the binary's output is text");
        let mut errors = child.stderr.take().expect("piped");
        if !line.starts_with("lamplight ready") {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            let _ = child.wait();
            return Err(text);
        }
        // Whatever it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        let look = |begin: &str| -> Option<SocketAddr> {
            let from = line.find(begin)? + begin.len();
            let text: String = line[from..]
                .chars()
                .take_while(|c| !c.is_whitespace() && *c != ',')
                .collect();
            Some(text.parse().expect("an address"))
        };
        let find = |begin: &str| look(begin).expect(begin);
        Ok(Server {
            guard: guard(&child),
            udp: find("udp:"),
            tcp: find("tcp:"),
            tls: line.contains("tls:").then(|| find("tls:")),
            ws: look("ws:"),
            wss: look("wss:"),
            admin: find("admin http://"),
            xcap: look("xcap http://"),
            child,
        })
    }

    /// A node of a pool on these ports: SIP, admin, peers.
    pub fn start_node(data: &Path, ports: [u16; 3], secret: &Path, more: &[&str]) -> Server {
        let [sip, admin, peers] = ports.map(|port| format!("127.0.0.1:{port}"));
        let secret = secret.to_str().expect("a path of text");
        let mut arguments = vec!["--admin", &admin, "--peers", &peers, "--secret", secret];
        arguments.extend(more);
        Server::try_start(
            data,
            &format!("udp:{sip}"),
            &format!("tcp:{sip}"),
            &arguments,
        )
        .expect("the node starts")
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Ends the process as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }

    /// Sends SIGTERM and waits; returns whether it ended well.
    pub fn terminate(mut self) -> bool {
        self.signal("TERM");
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// GET on the admin listener: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.admin("GET", path, "", "")
    }

    /// Asks the admin listener, with a body of this type: status and body.
    pub fn admin(&self, method: &str, path: &str, media: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).expect("the admin listener answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let media = if media.is_empty() {
            String::new()
        } else {
            format!("Content-Type: {media}\r\n")
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{media}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        let body = text
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default();
        (status, body)
    }
}

/// Ends the server when this process does: one that a test keeps in a static is never dropped. The shell
/// reads a pipe that only this process holds, and kills once that closes.
fn guard(server: &Child) -> Child {
    Command::new("sh")
        .args(["-c", "read _; kill -9 \"$0\" 2>/dev/null"])
        .arg(server.id().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("sh runs")
}

impl Drop for Server {
    fn drop(&mut self) {
        // First, or it would kill whoever gets the number next.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
