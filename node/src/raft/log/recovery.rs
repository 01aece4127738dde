//! Reading a log that another life left behind: what is whole is taken, a torn tail is cut, damage that
//! cannot be a torn tail is refused.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;

use super::group::Location;
use super::record::{self, BATCH_HEAD, BATCH_MAGIC, BatchHead, Record};
use super::segment::{self, Spares};
use super::writer::{Segment, Tail};
use super::{LogError, LogOptions, LogStats, Recovery, Shared, TornTail, lock};

/// Opens everything in `dir`: what is shared, where the writer goes on, and what was found.
pub(super) fn recover(
    dir: &Path,
    options: LogOptions,
) -> Result<(Shared, Tail, Recovery), LogError> {
    let io = |why| LogError::Io {
        path: dir.to_owned(),
        why,
    };
    fs::create_dir_all(dir).map_err(io)?;
    // What a spare held was never part of the log.
    for file in fs::read_dir(dir).map_err(io)? {
        let file = file.map_err(io)?;
        if file
            .file_name()
            .to_string_lossy()
            .starts_with(segment::SPARE)
        {
            fs::remove_file(file.path()).map_err(io)?;
        }
    }
    let shared = Shared {
        dir: dir.to_owned(),
        options,
        groups: Mutex::default(),
        spares: Spares::default(),
        stats: LogStats::default(),
        cached: AtomicU64::new(0),
    };
    let numbers = segment::list(dir).map_err(io)?;
    let mut recovery = Recovery {
        segments: numbers.len(),
        ..Recovery::default()
    };
    let mut scan = Scan {
        shared: &shared,
        segments: BTreeMap::new(),
        next_batch: None,
        recovery: &mut recovery,
    };
    let mut end = None;
    for (place, number) in numbers.iter().enumerate() {
        end = Some(scan.segment(*number, numbers.get(place + 1).copied())?);
    }
    let (segments, next_batch) = (scan.segments, scan.next_batch.unwrap_or(1));
    let (file, number, at) = match end {
        Some((file, number, at)) => (file, number, at),
        None => (
            segment::make_first(dir, 1, options.segment_bytes).map_err(io)?,
            1,
            0,
        ),
    };
    let mut tail = Tail {
        file: file.into(),
        number,
        at,
        next_batch,
        segments,
    };
    tail.segments.entry(number).or_default();
    Ok((shared, tail, recovery))
}

struct Scan<'s> {
    shared: &'s Shared,
    segments: BTreeMap<u64, Segment>,
    /// The number that the next batch has; any, for the first.
    next_batch: Option<u64>,
    recovery: &'s mut Recovery,
}

impl Scan<'_> {
    /// Reads one segment; returns it with the place behind its last batch.
    fn segment(&mut self, number: u64, next: Option<u64>) -> Result<(File, u64, u64), LogError> {
        let path = segment::path(&self.shared.dir, number);
        let io = |why| LogError::Io {
            path: path.clone(),
            why,
        };
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io)?;
        // One segment at a time in memory: recovery is over in seconds, and entries slice it.
        let bytes = Bytes::from(fs::read(&path).map_err(io)?);
        self.segments.insert(number, Segment::default());
        let mut at = 0;
        let fault = loop {
            let head = BatchHead::read(&bytes[at..]);
            let Some(head) = head.filter(|head| head.segment == number) else {
                // Zeros, or what an earlier use of the file left: a clean end. Anything else is a fault.
                let clean =
                    head.is_some() || bytes[at..].iter().take(BATCH_HEAD).all(|byte| *byte == 0);
                break (!clean).then_some("this is no batch");
            };
            if self
                .next_batch
                .is_some_and(|expected| expected != head.number)
            {
                return Err(LogError::Gap {
                    path,
                    batch: head.number,
                });
            }
            let body = at + BATCH_HEAD;
            let end = body + head.length as usize;
            let Some(records) = (end <= bytes.len())
                .then(|| read_all(number, &bytes.slice(body..end)))
                .flatten()
            else {
                break Some("a record does not match its checksum");
            };
            for (group, record, offset, length) in records {
                let location = Location {
                    segment: number,
                    at: (body + offset) as u64,
                    length: length as u32,
                };
                self.take(group, record, location, number);
            }
            self.next_batch = Some(head.number + 1);
            at = end;
        };
        let later = next.is_some_and(|next| self.begins_later(next));
        match fault {
            None if next.is_none() || later => {}
            // The next segment is empty: it was made, and the process ended before it was used.
            None => {}
            Some(what) if later || follows(&bytes[at..], number, self.next_batch) => {
                return Err(LogError::Corrupt {
                    path,
                    at: at as u64,
                    what,
                });
            }
            Some(_) => self.cut(&file, &path, at, &bytes).map_err(io)?,
        }
        Ok((file, number, at as u64))
    }

    /// Whether the next segment has a batch, which proves that this one was whole.
    fn begins_later(&self, next: u64) -> bool {
        let mut head = [0; BATCH_HEAD];
        let path = segment::path(&self.shared.dir, next);
        let read = File::open(path).and_then(|file| file.read_exact_at(&mut head, 0));
        read.is_ok() && BatchHead::read(&head).is_some_and(|head| head.segment == next)
    }

    fn take(&mut self, group: super::GroupId, record: Record, location: Location, segment: u64) {
        self.recovery.records += 1;
        let state = self.shared.group(group);
        let mut state = lock(&state);
        if let Record::Entry(entry) = &record {
            let known = self.segments.entry(segment).or_default();
            known.last_index.insert(group, entry.log_id.index);
        }
        state.recover(record, location);
    }

    /// Clears what a write that nobody was told of left behind, so that it can never come back.
    fn cut(&mut self, file: &File, path: &Path, at: usize, bytes: &Bytes) -> io::Result<()> {
        let last = bytes[at..]
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(at, |last| at + last + 1);
        let zeros = vec![0; last - at];
        file.write_all_at(&zeros, at as u64)?;
        file.sync_data()?;
        let torn = TornTail {
            path: path.to_owned(),
            at: at as u64,
            bytes: (last - at) as u64,
        };
        tracing::warn!(
            ?torn,
            "the last write of an earlier life did not get through; it was never acknowledged"
        );
        self.recovery.torn = Some(torn);
        Ok(())
    }
}

/// All records of a batch with their places; `None` when one is not sound.
fn read_all(segment: u64, body: &Bytes) -> Option<Vec<(super::GroupId, Record, usize, usize)>> {
    let mut records = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let (group, record, length) = record::read(segment, &body.slice(at..))?;
        records.push((group, record, at, length));
        at += length;
    }
    Some(records)
}

/// Whether a batch of this segment that was written later stands somewhere behind: then what is damaged
/// here was durable once.
fn follows(bytes: &[u8], segment: u64, next_batch: Option<u64>) -> bool {
    let magic = BATCH_MAGIC.to_le_bytes();
    memchr::memmem::find_iter(bytes, &magic).any(|at| {
        let head = BatchHead::read(&bytes[at..]);
        head.is_some_and(|head| {
            head.segment == segment && next_batch.is_none_or(|next| head.number > next)
        })
    })
}
