//! Reads the directory again: a server every so often, a file when it is told that it changed.
//!
//! One thread, which may wait for a server as long as it takes; nobody waits for it. After each reading,
//! and every so often without one, the server's own publications are looked over.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Directory, Opened, Snapshot, file};

/// How soon publications that no shard took are tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Whether everything that had to be published is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is: so many profiles were other than the directory has them.
    All(u64),
    /// Some shard does not take anything now.
    Later,
}

/// The thread that reads. It ends when this is dropped, at the latest after the reading it is at.
#[derive(Debug)]
pub struct Keeper {
    again: mpsc::SyncSender<()>,
}

impl Keeper {
    /// Starts the thread. `publish` brings the server's own publications to what a snapshot says.
    ///
    /// # Errors
    /// When the system refuses a thread.
    //= MS-PRES 3.2.6.2
    //# the publication timer: look over what the server publishes of each user
    pub fn start(
        opened: Opened,
        refresh: Duration,
        publish: impl FnMut(&Snapshot) -> Published + Send + 'static,
    ) -> std::io::Result<Keeper> {
        // One wish is enough, however often it is made.
        let (again, asked) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("directory".to_owned())
            .spawn(move || keep(opened, refresh, &asked, publish))?;
        Ok(Keeper { again })
    }

    /// Has the directory read again, soon.
    pub fn read_again(&self) {
        let _ = self.again.try_send(());
    }
}

/// The present time in seconds since 1970.
pub(super) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn keep(
    mut opened: Opened,
    refresh: Duration,
    asked: &mpsc::Receiver<()>,
    mut publish: impl FnMut(&Snapshot) -> Published,
) {
    let directory = Arc::clone(&opened.directory);
    loop {
        let wait = match publish(&directory.current()) {
            Published::All(number) => {
                directory.counters.published.fetch_add(number, Relaxed);
                refresh
            }
            Published::Later => AGAIN.min(refresh),
        };
        match asked.recv_timeout(wait) {
            Ok(()) => read(&mut opened, &directory),
            Err(RecvTimeoutError::Timeout) if opened.polled && wait == refresh => {
                read(&mut opened, &directory);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Reads; what was read before stays in force when that fails.
fn read(opened: &mut Opened, directory: &Directory) {
    let counters = &directory.counters;
    match opened.backend.read() {
        Ok(users) => {
            if let Some(path) = &opened.copy {
                file::keep(path, &users);
            }
            let next = Snapshot::of(users);
            tracing::info!(users = next.len(), "the directory is read again");
            directory.replace(next);
            counters.refreshes.fetch_add(1, Relaxed);
            counters.refreshed_at_s.store(now_s(), Relaxed);
        }
        Err(error) => {
            counters.failures.fetch_add(1, Relaxed);
            tracing::error!(%error, "the directory stays as it was read before");
        }
    }
}
