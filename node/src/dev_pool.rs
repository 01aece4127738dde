//! `lamplight dev-pool`: a real pool of child processes on loopback, for trying things out.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::config::DevPool;

/// How long a node may take to answer, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node of it.
struct Member {
    child: Child,
    sip: String,
    admin: String,
    data: PathBuf,
}

/// A pool that runs; ended with it.
pub struct Running {
    members: Vec<Member>,
}

/// Starts the pool: the first node founds it, the others join, and all are ready.
///
/// # Errors
/// One line that says which node did not start, and why.
pub fn start(wanted: &DevPool) -> Result<Running, String> {
    if !(1..=99).contains(&wanted.nodes) {
        return Err(format!("{} nodes; expected 1 to 99", wanted.nodes));
    }
    let last = u32::from(wanted.base_port) + 10 * u32::from(wanted.nodes);
    if last > 65_535 {
        return Err(format!(
            "the ports of {} nodes from {} on end beyond 65535; give a lower --base-port",
            wanted.nodes, wanted.base_port
        ));
    }
    fs::create_dir_all(&wanted.dir)
        .map_err(|error| format!("{} cannot be made: {error}", wanted.dir.display()))?;
    let mut running = Running {
        members: Vec::new(),
    };
    for node in 0..wanted.nodes {
        let member = begin(wanted, node)?;
        running.members.push(member);
    }
    let nodes: Vec<_> = running
        .members
        .iter()
        .map(|member| {
            json!({
                "pid": member.child.id(),
                "sip": member.sip,
                "admin": member.admin,
                "data": member.data,
            })
        })
        .collect();
    let path = wanted.dir.join("pool.json");
    let text = serde_json::to_string_pretty(&json!({ "nodes": nodes })).unwrap_or_default();
    fs::write(&path, text + "\n")
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    Ok(running)
}

/// Starts one node and waits until it is ready.
fn begin(wanted: &DevPool, node: u16) -> Result<Member, String> {
    let failed = |why: &dyn std::fmt::Display| format!("node {}: {why}", node + 1);
    let port = wanted.base_port + 10 * node;
    let at = |port: u16| format!("127.0.0.1:{port}");
    let (sip, admin, data) = (
        at(port),
        at(port + 1),
        wanted.dir.join(format!("node-{}", node + 1)),
    );
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let mut command = Command::new(program);
    command
        .args(["serve", "--admin", &admin, "--peers", &at(port + 2)])
        .args([
            "--listen",
            &format!("udp:{sip}"),
            "--listen",
            &format!("tcp:{sip}"),
        ])
        .args(["--shards", &wanted.shards.to_string()])
        .arg("--data")
        .arg(&data)
        .arg("--secret")
        .arg(wanted.dir.join("secret"));
    for domain in &wanted.domain {
        command.args(["--domain", domain]);
    }
    if let Some(config) = &wanted.config {
        command.arg("--config").arg(config);
    }
    if node > 0 {
        command.args(["--join", &at(wanted.base_port + 2)]);
    }
    let log_path = wanted.dir.join(format!("node-{}.log", node + 1));
    let log = fs::File::create(&log_path).map_err(|error| failed(&error))?;
    command.stdout(Stdio::piped()).stderr(log);
    // SAFETY: between fork and exec only prctl and sigprocmask are called, which are async-signal-safe:
    // a node ends when we do, whatever ends us, and it takes its signals itself.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            Ok(())
        });
    }
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let mut line = String::new();
    let read = child
        .stdout
        .take()
        .map(|out| BufReader::new(out).read_line(&mut line));
    if !line.starts_with("lamplight ready") {
        let _ = child.kill();
        let _ = child.wait();
        let said = fs::read_to_string(&log_path).unwrap_or_default();
        let last = said.lines().last().unwrap_or("it said nothing").to_owned();
        drop(read);
        return Err(failed(&last));
    }
    Ok(Member {
        child,
        sip,
        admin,
        data,
    })
}

impl Running {
    /// The pool as a table, and what to try next.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!(
            "{:<5} {:<8} {:<16} {:<16} data",
            "node", "pid", "sip", "admin"
        );
        for (number, member) in (1..).zip(&self.members) {
            out += &format!(
                "\n{number:<5} {:<8} {:<16} {:<16} {}",
                member.child.id(),
                member.sip,
                member.admin,
                member.data.display()
            );
        }
        let admin = &self.members[0].admin;
        out + &format!("\n\nlamplight pool ready\ntry next: lamplight pool status --admin {admin}")
    }

    /// Stops all nodes, each by itself, the last one first: those that are left lead meanwhile.
    pub fn stop(mut self) {
        for member in self.members.iter_mut().rev() {
            let pid = member.child.id() as libc::pid_t;
            // SAFETY: kill takes numbers only; the child was not waited for, so the number is its.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let until = Instant::now() + PATIENCE;
        for member in &mut self.members {
            while Instant::now() < until && matches!(member.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for member in &mut self.members {
            if matches!(member.child.try_wait(), Ok(None)) {
                let _ = member.child.kill();
                let _ = member.child.wait();
            }
        }
    }
}
