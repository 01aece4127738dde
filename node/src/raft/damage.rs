//! Replicas that were set aside: what they held is damaged, or was found to differ from their leader's.
//!
//! A replica that lost its log or its vote must not go on as if it had never promised anything: it might vote
//! twice in one term, or let an entry be committed that it says it has and lost. So it stays silent until its
//! group has taken it out of its members and a quorum of the others has said so (`network::Release`). Any
//! later quorum of the old members meets that one in a node other than this, so nothing that this node ever
//! promised is needed any more; then it begins anew, with nothing, and is taken in as a new replica is.
//!
//! What is set aside is written down before anything is touched, so a node that dies in between finds it again.
//! The damaged files are kept, under `set-aside` in the data folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::snapshot::named;
use super::types::GroupId;

/// Where it is written down.
const NAME: &str = "set-aside.list";

/// Where the files go.
const FOLDER: &str = "set-aside";

/// The replicas of this node that were set aside and are not yet released by their groups.
#[derive(Debug)]
pub struct Damage {
    data: PathBuf,
    groups: Mutex<BTreeMap<GroupId, String>>,
    count: AtomicU64,
}

impl Damage {
    /// What an earlier life wrote down.
    ///
    /// # Errors
    /// What the system says; `InvalidData` with the file's name when it cannot be read: then nobody knows who
    /// may vote.
    pub fn open(data: &Path) -> io::Result<Damage> {
        let path = data.join(NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let line = |line: &str| {
            let (group, why) = line.split_once('\t')?;
            Some((GroupId(group.parse().ok()?), why.to_owned()))
        };
        let groups = text.lines().map(line).collect::<Option<BTreeMap<_, _>>>();
        let groups = groups.ok_or_else(|| named(&path, &"this is no list of groups"))?;
        Ok(Damage {
            data: data.to_owned(),
            groups: Mutex::new(groups),
            count: AtomicU64::new(0),
        })
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<GroupId, String>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets replicas aside; durable when this returns.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_aside(
        &self,
        groups: impl IntoIterator<Item = GroupId>,
        why: &str,
    ) -> io::Result<()> {
        let mut known = self.groups();
        let before = known.len();
        for group in groups {
            tracing::error!(%group, why, "this replica is set aside; it begins anew once its group has let it go");
            let why = why.replace(['\n', '\t'], " ");
            known.entry(group).or_insert(why);
        }
        self.count.fetch_add((known.len() - before) as u64, Relaxed);
        self.write(&known)
    }

    /// The replica begins anew.
    ///
    /// # Errors
    /// What the system says; then it stays set aside.
    pub fn healed(&self, group: GroupId) -> io::Result<()> {
        let mut known = self.groups();
        let Some(why) = known.remove(&group) else {
            return Ok(());
        };
        let written = self.write(&known);
        if written.is_err() {
            known.insert(group, why);
        }
        written
    }

    fn write(&self, groups: &BTreeMap<GroupId, String>) -> io::Result<()> {
        let part = self.data.join("set-aside.part");
        let mut file = File::create(&part)?;
        for (group, why) in groups {
            writeln!(file, "{}\t{why}", group.0)?;
        }
        file.sync_all()?;
        fs::rename(&part, self.data.join(NAME))?;
        File::open(&self.data)?.sync_all()
    }

    /// Why a replica is set aside, if it is.
    #[must_use]
    pub fn why(&self, group: GroupId) -> Option<String> {
        self.groups().get(&group).cloned()
    }

    /// All that are set aside now, with the reason.
    #[must_use]
    pub fn all(&self) -> Vec<(GroupId, String)> {
        let groups = self.groups();
        groups.iter().map(|(id, why)| (*id, why.clone())).collect()
    }

    /// How many were set aside since the node started.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Takes a file or a folder of the data folder out of the way, under a name that nothing else has; does
    /// nothing when it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn put_away(&self, path: &Path) -> io::Result<()> {
        let Some(name) = path.file_name().filter(|_| path.exists()) else {
            return Ok(());
        };
        let folder = self.data.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let to = (1..)
            .map(|number| folder.join(format!("{number:04}-{}", name.to_string_lossy())))
            .find(|to| !to.exists());
        let to = to.expect("there are more numbers than files");
        fs::rename(path, &to)?;
        File::open(&folder)?.sync_all()?;
        tracing::warn!(from = %path.display(), to = %to.display(), "damaged data are kept");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_stays_so_through_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let damage = Damage::open(folder.path()).expect("a new one");
        damage
            .set_aside([GroupId(0), GroupId(3)], "a\nbad\tlog")
            .expect("written");
        damage.set_aside([GroupId(3)], "again").expect("written");
        assert_eq!(damage.count(), 2);
        let again = Damage::open(folder.path()).expect("read");
        assert_eq!(again.why(GroupId(3)).as_deref(), Some("a bad log"));
        again.healed(GroupId(0)).expect("written");
        let last = Damage::open(folder.path()).expect("read");
        assert_eq!(last.all(), [(GroupId(3), "a bad log".to_owned())]);
        fs::write(folder.path().join(NAME), "what is this\n").expect("written");
        let error = Damage::open(folder.path()).expect_err("nobody knows who may vote");
        assert!(error.to_string().contains(NAME), "{error}");
    }

    #[test]
    fn damaged_files_are_kept_each_under_its_own_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let damage = Damage::open(folder.path()).expect("a new one");
        let log = folder.path().join("log");
        damage.put_away(&log).expect("there is none");
        for round in ["one", "two"] {
            fs::create_dir(&log).expect("made");
            fs::write(log.join("x"), round).expect("written");
            damage.put_away(&log).expect("moved");
            assert!(!log.exists());
        }
        let kept = |number: &str| folder.path().join(FOLDER).join(format!("{number}-log/x"));
        assert_eq!(fs::read_to_string(kept("0001")).expect("kept"), "one");
        assert_eq!(fs::read_to_string(kept("0002")).expect("kept"), "two");
    }
}
