//! Snapshot files: a head that says what they are of, and a body that the group's machine writes.
//!
//! A snapshot is written beside its name, synced, and renamed, so that whatever bears the name is
//! whole; the body checks itself.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use openraft::{BasicNode, SnapshotMeta};

use super::types::{GroupId, NodeNumber};

const MAGIC: [u8; 8] = *b"lampsnp\x01";

/// Bytes of the longest head: a membership of a few hundred nodes.
const HEAD_BYTES_MAX: u32 = 1 << 20;

/// What openraft keeps of a snapshot.
pub type Meta = SnapshotMeta<NodeNumber, BasicNode>;

/// What writes a snapshot's body.
pub type Frozen = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send + Sync>;

/// The snapshots of one group.
#[derive(Clone, Debug)]
pub struct SnapshotFiles {
    dir: PathBuf,
    group: GroupId,
}

impl SnapshotFiles {
    /// The snapshots of `group` in `dir`, which is made if need be.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(dir: &Path, group: GroupId) -> io::Result<SnapshotFiles> {
        fs::create_dir_all(dir)?;
        let files = SnapshotFiles {
            dir: dir.to_owned(),
            group,
        };
        // What was being written or received when an earlier life ended.
        for file in fs::read_dir(dir)? {
            let path = file?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.starts_with(&files.prefix()) && name.ends_with(".part") {
                fs::remove_file(path)?;
            }
        }
        Ok(files)
    }

    fn prefix(&self) -> String {
        format!("{}-", self.group)
    }

    fn path_of(&self, meta: &Meta) -> PathBuf {
        let index = meta.last_log_id.map_or(0, |log_id| log_id.index);
        self.dir.join(format!("{}{index:020}.snap", self.prefix()))
    }

    /// Writes a snapshot and forgets the older ones.
    ///
    /// # Errors
    /// What the system says; the older ones are there then.
    pub fn write(&self, meta: &Meta, frozen: Frozen) -> io::Result<File> {
        let part = self.dir.join(format!("{}built.part", self.prefix()));
        let written = (|| {
            let mut writer = BufWriter::with_capacity(1 << 20, File::create(&part)?);
            let head = serde_json::to_vec(meta)?;
            writer.write_all(&MAGIC)?;
            writer.write_all(&(head.len() as u32).to_le_bytes())?;
            writer.write_all(&crc32c::crc32c(&head).to_le_bytes())?;
            writer.write_all(&head)?;
            frozen(&mut writer)?;
            writer
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?
                .sync_all()
        })();
        if let Err(error) = written {
            let _ = fs::remove_file(&part);
            return Err(error);
        }
        self.keep(&part, meta)
    }

    /// A file to receive a snapshot into.
    ///
    /// # Errors
    /// What the system says.
    pub fn receive(&self) -> io::Result<File> {
        let part = self.dir.join(format!("{}received.part", self.prefix()));
        File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(part)
    }

    /// Takes over what was received, once it was read and found whole.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep_received(&self, meta: &Meta) -> io::Result<File> {
        let part = self.dir.join(format!("{}received.part", self.prefix()));
        File::open(&part)?.sync_all()?;
        self.keep(&part, meta)
    }

    fn keep(&self, part: &Path, meta: &Meta) -> io::Result<File> {
        let path = self.path_of(meta);
        fs::rename(part, &path)?;
        File::open(&self.dir)?.sync_all()?;
        for older in self.list()? {
            if older < path {
                fs::remove_file(older)?;
            }
        }
        File::open(path)
    }

    /// The snapshots there are, oldest first.
    ///
    /// # Errors
    /// What the system says.
    pub fn list(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for file in fs::read_dir(&self.dir)? {
            let path = file?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if name.starts_with(&self.prefix()) && name.ends_with(".snap") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// The newest snapshot: what it is of, and its file at the beginning of the body.
    ///
    /// # Errors
    /// What the system says; `InvalidData` with the file's name when the head is damaged.
    pub fn newest(&self) -> io::Result<Option<(Meta, PathBuf, File)>> {
        let Some(path) = self.list()?.pop() else {
            return Ok(None);
        };
        let mut file = File::open(&path)?;
        let meta = read_head(&mut file).map_err(|error| named(&path, &error))?;
        Ok(Some((meta, path, file)))
    }
}

/// Reads the head of a snapshot; the body follows.
///
/// # Errors
/// `InvalidData` when it is none.
pub fn read_head(file: &mut File) -> io::Result<Meta> {
    let damaged = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the head of the snapshot is damaged",
        )
    };
    file.seek(SeekFrom::Start(0))?;
    let mut start = [0; 16];
    file.read_exact(&mut start)?;
    let length = u32::from_le_bytes([start[8], start[9], start[10], start[11]]);
    let sum = u32::from_le_bytes([start[12], start[13], start[14], start[15]]);
    if start[..8] != MAGIC || length > HEAD_BYTES_MAX {
        return Err(damaged());
    }
    let mut head = vec![0; length as usize];
    file.read_exact(&mut head)?;
    if crc32c::crc32c(&head) != sum {
        return Err(damaged());
    }
    serde_json::from_slice(&head).map_err(|_| damaged())
}

/// The body of a snapshot whose head was read.
#[must_use]
pub fn body(file: File) -> BufReader<File> {
    BufReader::with_capacity(1 << 20, file)
}

/// An error that says which file it is about.
#[must_use]
pub fn named(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{}: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::{CommittedLeaderId, LogId, Membership, StoredMembership};

    use super::*;

    #[test]
    fn a_snapshot_file_is_read_for_ever() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = SnapshotFiles::open(folder.path(), GroupId(1)).expect("made");
        let log_id = LogId::new(CommittedLeaderId::new(4, 2), 900);
        let nodes: BTreeMap<NodeNumber, BasicNode> =
            (1..=3).map(|node| (node, BasicNode::default())).collect();
        let members = Membership::new(vec![BTreeSet::from([1, 2, 3])], nodes);
        let meta = Meta {
            last_log_id: Some(log_id),
            last_membership: StoredMembership::new(Some(log_id), members),
            snapshot_id: log_id.to_string(),
        };
        let body: Frozen = Box::new(|writer| writer.write_all(b"the body"));
        files.write(&meta, body).expect("written");
        let path = files.list().expect("listed").remove(0);
        let kept = crate::fixture::held("v1-snapshot", &fs::read(&path).expect("there"));
        fs::write(&path, &kept).expect("written");
        let (read, _, mut file) = files.newest().expect("read").expect("one");
        let mut rest = String::new();
        file.read_to_string(&mut rest).expect("read");
        assert_eq!((read, rest.as_str()), (meta, "the body"));
        for at in [0, 9, 14, 40] {
            let mut damaged = kept.to_vec();
            damaged[at] ^= 1;
            fs::write(&path, damaged).expect("written");
            let error = files.newest().expect_err("it is damaged").to_string();
            assert!(
                error.contains("s00-"),
                "byte {at}: it names the file: {error}"
            );
        }
    }
}
