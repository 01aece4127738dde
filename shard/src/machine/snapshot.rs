//! The whole state in one stream: a header with a version, then a checksummed section per slot.

use std::io;

/// A moment of a machine, ready to be written by any thread.
#[derive(Debug)]
pub struct Snapshot;

impl Snapshot {
    /// Writes the whole state.
    ///
    /// # Errors
    /// What the writer reports.
    pub fn write(&self, writer: &mut dyn io::Write) -> io::Result<()> {
        let _ = writer;
        todo!()
    }
}

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The stream ended or failed.
    #[error("the snapshot cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A checksum or a length does not hold.
    #[error("the snapshot is damaged in section {section}")]
    Damaged {
        /// Which section, from 0.
        section: u32,
    },
    /// Written by a newer release.
    #[error("the snapshot has version {found}; this release reads up to {known}")]
    Version {
        /// The version it says.
        found: u16,
        /// The newest we know.
        known: u16,
    },
}
