//! Who this node is, and that it is alone in its data folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::StartError;
use crate::raft::types::NodeNumber;

/// The node's own file, locked for the life of the process.
#[derive(Debug)]
pub struct IdentityFile {
    /// The node's number in its pool; `None` until it has joined one or founded one.
    pub node: Option<NodeNumber>,
    /// Drawn before it joined: asking twice gives one number.
    pub key: u128,
    /// Which founding of the pool it belongs to: drawn by the founder, and anew by `lamplight pool recover`. 0 in
    /// the data of a release that did not know it.
    pub lineage: u64,
    /// Drawn anew at each start: tells this life from the one before.
    pub life: u64,
    data: PathBuf,
    lock: File,
}

impl IdentityFile {
    /// Makes the data folder if need be and takes it.
    ///
    /// # Errors
    /// [`StartError::Data`] or [`StartError::InUse`].
    pub fn open(data: &Path) -> Result<IdentityFile, StartError> {
        let in_data = |why: io::Error| StartError::Data {
            path: data.to_owned(),
            why,
        };
        fs::create_dir_all(data).map_err(in_data)?;
        let path = data.join("node");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(in_data)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StartError::InUse(data.to_owned())),
            Err(TryLockError::Error(why)) => return Err(in_data(why)),
        }
        let mut chance = [0; 24];
        getrandom::fill(&mut chance)
            .map_err(|error| in_data(io::Error::other(error.to_string())))?;
        let (life, key) = chance.split_at(8);
        let mut file = IdentityFile {
            node: None,
            lineage: 0,
            key: u128::from_le_bytes(key.try_into().expect("16 of 24")),
            life: u64::from_le_bytes(life.try_into().expect("8 of 24")),
            data: data.to_owned(),
            lock,
        };
        let text = fs::read_to_string(&path).map_err(in_data)?;
        if text.trim().is_empty() {
            file.write()?;
        } else if file.read(&text).is_none() {
            return Err(in_data(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} does not hold a node number", path.display()),
            )));
        }
        Ok(file)
    }

    /// `node = 3` and, since there are pools, `key = …` and `lineage = …` in hexadecimal, each on a line.
    fn read(&mut self, text: &str) -> Option<()> {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line.split_once('=')?;
            match name.trim() {
                "node" => self.node = Some(value.trim().parse().ok()?),
                "lineage" => self.lineage = u64::from_str_radix(value.trim(), 16).ok()?,
                "key" => self.key = u128::from_str_radix(value.trim(), 16).ok()?,
                _ => return None,
            }
        }
        Some(())
    }

    /// Keeps the number that the pool gave, and which pool it is.
    ///
    /// # Errors
    /// [`StartError::Data`].
    pub fn number(&mut self, node: NodeNumber, lineage: u64) -> Result<(), StartError> {
        (self.node, self.lineage) = (Some(node), lineage);
        self.write()
    }

    fn write(&mut self) -> Result<(), StartError> {
        let mut text = format!("key = {:032x}\n", self.key);
        if self.lineage != 0 {
            text += &format!("lineage = {:016x}\n", self.lineage);
        }
        if let Some(node) = self.node {
            text += &format!("node = {node}\n");
        }
        let mut file = &self.lock;
        let written = file
            .seek(io::SeekFrom::Start(0))
            .and_then(|_| file.write_all(text.as_bytes()))
            .and_then(|()| file.set_len(text.len() as u64))
            .and_then(|()| file.sync_all());
        written.map_err(|why| StartError::Data {
            path: self.data.clone(),
            why,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_and_so_is_the_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut first = IdentityFile::open(folder.path()).expect("a new one");
        assert_eq!(first.node, None);
        assert!(matches!(
            IdentityFile::open(folder.path()),
            Err(StartError::InUse(_))
        ));
        first.number(12, 0xfeed).expect("written");
        let (key, life) = (first.key, first.life);
        drop(first);
        let again = IdentityFile::open(folder.path()).expect("the same");
        assert_eq!(
            (again.node, again.key, again.lineage),
            (Some(12), key, 0xfeed)
        );
        assert_ne!(again.life, life);
    }

    #[test]
    fn the_file_of_the_first_release_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("node"), "node = 1\n").expect("written");
        let file = IdentityFile::open(folder.path()).expect("read");
        assert_eq!(file.node, Some(1));
        fs::write(folder.path().join("node"), "knot = 1\n").expect("written");
        drop(file);
        assert!(matches!(
            IdentityFile::open(folder.path()),
            Err(StartError::Data { .. })
        ));
    }
}
