//! What a service manager is told: that the node is ready, reloads, stops, and that it is alive.
//!
//! systemd's protocol is a datagram of text to the socket that `NOTIFY_SOCKET` names (sd_notify(3)). Without one
//! nobody is told anything.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The manager of this service, if there is one.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    /// How long it waits for a sign of life.
    patience: Option<Duration>,
}

impl Manager {
    /// The one that the environment names.
    ///
    /// # Errors
    /// When it names one that cannot be spoken to, or a patience that is no number.
    pub fn of_environment() -> io::Result<Manager> {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
            return Ok(Manager::default());
        };
        // Where a wrapper was started, the sign of life is wanted of it and not of us.
        let others =
            std::env::var("WATCHDOG_PID").is_ok_and(|of| of != std::process::id().to_string());
        let patience = std::env::var("WATCHDOG_USEC").ok().filter(|_| !others);
        let patience = match patience.map(|text| text.parse::<u64>()) {
            None | Some(Ok(0)) => None,
            Some(Ok(us)) => Some(Duration::from_micros(us)),
            Some(Err(error)) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("WATCHDOG_USEC: {error}"),
                ));
            }
        };
        let socket = connect(&address)?;
        Ok(Manager {
            socket: Some(socket),
            patience,
        })
    }

    /// How often it wants a sign of life, twice as often as it must have one.
    #[must_use]
    pub fn beat(&self) -> Option<Duration> {
        Some(self.patience? / 2)
    }

    /// The node serves.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving\n");
    }

    /// The node reads again what can be read again; [`Manager::ready`] says when that is done.
    pub fn reloading(&self) {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the pointer is to a live value that is written.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        let us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={us}\n"));
    }

    /// The node ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping\n");
    }

    /// The node is alive.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1\n");
    }

    /// A manager that does not listen is not worth dying for.
    fn tell(&self, what: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(what.as_bytes())
        {
            tracing::warn!(%error, what, "the service manager could not be told");
        }
    }
}

/// A path, or a name of Linux's own that begins with `@`.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(by: &UnixDatagram) -> String {
        by.set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a timeout");
        let mut bytes = [0; 256];
        let length = by.recv(&mut bytes).expect("something was said");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_manager_is_told_at_a_path_and_at_a_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let named = format!("lamplight-test-{}", std::process::id());
        let at_name = SocketAddr::from_abstract_name(named.as_bytes()).expect("a name");
        let abstract_name = format!("@{named}");
        for (listener, address) in [
            (UnixDatagram::bind(&path), path.as_os_str()),
            (
                UnixDatagram::bind_addr(&at_name),
                OsStr::new(&abstract_name),
            ),
        ] {
            let listener = listener.expect("bound");
            let manager = Manager {
                socket: Some(connect(address).expect("connected")),
                patience: Some(Duration::from_secs(30)),
            };
            assert_eq!(manager.beat(), Some(Duration::from_secs(15)));
            manager.ready();
            assert!(heard(&listener).starts_with("READY=1\n"));
            manager.reloading();
            let said = heard(&listener);
            let us = said.trim_end().strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            assert!(us.and_then(|us| us.parse::<u64>().ok()) > Some(0), "{said}");
            manager.alive();
            assert_eq!(heard(&listener), "WATCHDOG=1\n");
            manager.stopping();
            assert!(heard(&listener).starts_with("STOPPING=1\n"));
        }
    }

    #[test]
    fn without_a_manager_nobody_is_told() {
        let manager = Manager::default();
        manager.ready();
        manager.alive();
        assert_eq!(manager.beat(), None);
    }
}
