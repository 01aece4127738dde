//! Who this node is, and that it is alone in its data folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;

use crate::StartError;
use crate::raft::types::NodeNumber;

/// The node's own file, locked for the life of the process.
#[derive(Debug)]
pub struct IdentityFile {
    /// The node's number in its pool.
    pub node: NodeNumber,
    /// Drawn anew at each start: tells this life from the one before.
    pub life: u64,
    _lock: File,
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
        let text = fs::read_to_string(&path).map_err(in_data)?;
        let node = match text.trim() {
            "" => {
                let mut file = &lock;
                file.write_all(b"node = 1\n")
                    .and_then(|()| file.sync_all())
                    .map_err(in_data)?;
                1
            }
            text => text
                .strip_prefix("node = ")
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| {
                    in_data(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("{} does not hold a node number", path.display()),
                    ))
                })?,
        };
        let mut life = [0; 8];
        getrandom::fill(&mut life).map_err(|error| in_data(io::Error::other(error.to_string())))?;
        Ok(IdentityFile {
            node,
            life: u64::from_le_bytes(life),
            _lock: lock,
        })
    }
}
