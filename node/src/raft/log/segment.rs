//! Segment files: named by their number, filled with zeros before use, used again when nobody needs
//! what they hold.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::lock;

/// How often a full disk is looked at again.
const FULL_DISK_RETRY: Duration = Duration::from_millis(250);

/// The file of segment `number`.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.log"))
}

/// The numbers of the segments in `dir`, in order.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in fs::read_dir(dir)? {
        let name = file?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .filter(|digits| digits.len() == 16);
        numbers.extend(number.and_then(|digits| u64::from_str_radix(digits, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Makes changes of names durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// How the files are named that are not part of the log yet.
pub(super) const SPARE: &str = "spare-";

/// Makes a file of zeros under a name of its own: the spare before it may have been taken and not yet
/// renamed.
fn make_spare(dir: &Path, number: u64, bytes: u64) -> io::Result<PathBuf> {
    let spare = dir.join(format!("{SPARE}{number}"));
    let made = (|| {
        let mut file = File::create(&spare)?;
        let zeros = vec![0; 1 << 20];
        let mut left = bytes;
        while left > 0 {
            let part = left.min(zeros.len() as u64) as usize;
            file.write_all(&zeros[..part])?;
            left -= part as u64;
        }
        file.sync_all()
    })();
    if let Err(error) = made {
        // Half a spare takes the room that others could use.
        let _ = fs::remove_file(&spare);
        return Err(error);
    }
    Ok(spare)
}

/// Makes segment `number` at once, for a log that has none.
pub(super) fn make_first(dir: &Path, number: u64, bytes: u64) -> io::Result<File> {
    let spare = make_spare(dir, 0, bytes)?;
    put_in_place(dir, &spare, number)
}

fn put_in_place(dir: &Path, spare: &Path, number: u64) -> io::Result<File> {
    let path = path(dir, number);
    fs::rename(spare, &path)?;
    sync_dir(dir)?;
    File::options().read(true).write(true).open(path)
}

/// The next segment, made ready by a thread of its own before the writer needs it.
#[derive(Debug, Default)]
pub(super) struct Spares {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: Option<PathBuf>,
    /// Counts the spares, for their names.
    made: u64,
    stalled: Option<String>,
    closed: bool,
}

impl Spares {
    /// Keeps one spare ready until closed.
    pub(super) fn keep_ready(&self, dir: &Path, bytes: u64) {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return;
            }
            if state.ready.is_some() {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                continue;
            }
            state.made += 1;
            let number = state.made;
            drop(state);
            let made = make_spare(dir, number, bytes);
            state = lock(&self.state);
            match made {
                Ok(spare) => {
                    if state.stalled.take().is_some() {
                        tracing::warn!("there is room on the disk again; the log goes on");
                    }
                    state.ready = Some(spare);
                    self.changed.notify_all();
                }
                Err(error) => {
                    let why = format!(
                        "no room for a log segment of {bytes} bytes in {}: {error}",
                        dir.display()
                    );
                    if state.stalled.is_none() {
                        tracing::error!(
                            why,
                            "the log waits for room; free some space, nothing is lost"
                        );
                    }
                    state.stalled = Some(why);
                    state = self
                        .changed
                        .wait_timeout(state, FULL_DISK_RETRY)
                        .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
                }
            }
        }
    }

    /// The next segment; waits for it.
    pub(super) fn take(&self, dir: &Path, number: u64) -> io::Result<File> {
        let mut state = lock(&self.state);
        loop {
            if let Some(spare) = state.ready.take() {
                self.changed.notify_all();
                drop(state);
                return put_in_place(dir, &spare, number);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Offers a segment nobody needs; `false` when there is a spare already.
    pub(super) fn offer(&self, dir: &Path, number: u64) -> io::Result<bool> {
        let mut state = lock(&self.state);
        if state.ready.is_some() {
            return Ok(false);
        }
        state.made += 1;
        let spare = dir.join(format!("{SPARE}{}", state.made));
        fs::rename(path(dir, number), &spare)?;
        state.ready = Some(spare);
        self.changed.notify_all();
        Ok(true)
    }

    /// Why the writer waits, when the disk is full.
    pub(super) fn stalled(&self) -> Option<String> {
        lock(&self.state).stalled.clone()
    }

    /// Ends [`Spares::keep_ready`].
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}
