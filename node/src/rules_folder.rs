//! Rules that the operator keeps (RFC 5025), one file for each user, brought to what is kept in the shards.
//!
//! The folder is read at start and on SIGHUP. Each node looks after the shards that it leads, so the folders of
//! all nodes are to be the same. What is kept already is not kept anew; what has no file any more is removed; a
//! file that cannot be read leaves what was kept before.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use bytes::BytesMut;
use shard::document::rules;
use shard::machine::codec::encode_request;
use shard::machine::command::{Command, Request, SetDocument};
use shard::machine::outcome::RequestKey;
use shard::presence::documents::{Application, DOCUMENT_BYTES_MAX, Expected, Keeper};
use shard::presence::rules::Rules;
use shard::runner::Job;
use shard::slot::{Aor, SLOTS, Slot};

use crate::egress::outbox::NOBODY;
use crate::ingress::chance::Chance;
use crate::ingress::endpoint::Shared;
use crate::ingress::route::{Leader, Replica};
use crate::raft::proposer::Batch;

/// The name of the operator's document among those of a user.
const NAME: &str = "operator";

/// How long a shard thread is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How soon what was not taken is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often shards are looked over that this node may lead by now.
const LOOK_OVER: Duration = Duration::from_secs(60);

/// Files of one folder.
const FILES_MAX: usize = 100_000;

/// One file: its text, and what it says; none where it cannot be read now.
type File = Option<(Arc<[u8]>, Rules)>;

/// Who reads the folder.
pub(crate) struct RulesFolder {
    bell: SyncSender<()>,
}

impl RulesFolder {
    /// Reads the folder, and begins to bring the shards to what it says.
    pub(crate) fn start(folder: PathBuf, shared: Arc<Shared>) -> io::Result<RulesFolder> {
        let (bell, rung) = sync_channel(1);
        let keeping = Keeping {
            folder,
            shared,
            chance: Chance::new(),
            files: BTreeMap::new(),
        };
        std::thread::Builder::new()
            .name("rules".to_owned())
            .spawn(move || keeping.run(&rung))?;
        Ok(RulesFolder { bell })
    }

    /// Reads the folder again.
    pub(crate) fn reload(&self) {
        // One that waits is enough.
        let _ = self.bell.try_send(());
    }
}

struct Keeping {
    folder: PathBuf,
    shared: Arc<Shared>,
    chance: Chance,
    files: BTreeMap<Box<str>, File>,
}

impl Keeping {
    fn run(mut self, rung: &Receiver<()>) {
        let mut read = true;
        loop {
            if read {
                self.read();
            }
            let wait = if self.place() { LOOK_OVER } else { RETRY };
            read = match rung.recv_timeout(wait) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
        }
    }

    /// Takes the folder in; where it cannot be read, what was read before stays.
    fn read(&mut self) {
        match files(&self.folder, &self.shared) {
            Ok(files) => {
                let unread = files.values().filter(|file| file.is_none()).count();
                tracing::info!(files = files.len(), unread, "the rules are read");
                self.files = files;
            }
            Err(error) => {
                let folder = self.folder.display();
                tracing::error!(%folder, %error, "the rules stay as they were");
            }
        }
    }

    /// Brings the shards that this node leads to what was read; tells whether all took it.
    fn place(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let routes = shared.routes.current();
        let mut done = true;
        for shard in 0..routes.count() {
            let Leader::Here(link) = routes.leader(shard) else {
                continue;
            };
            let of_shard = |slot: &Slot| routes.shard_of(*slot) == shard;
            let slots: Vec<Slot> = (0..SLOTS).filter_map(Slot::new).filter(of_shard).collect();
            done &= self.place_in(link, slots).is_some();
        }
        done
    }

    /// The same for one shard; `None` when it takes nothing now.
    fn place_in(&mut self, link: &Replica, slots: Vec<Slot>) -> Option<()> {
        if !link.proposer.can_read() {
            return None;
        }
        let wanted = slots.iter().copied().collect::<BTreeSet<Slot>>();
        let own = self
            .files
            .iter()
            .filter(|(address, _)| wanted.contains(&Slot::of(address)));
        let own: Vec<(Box<str>, File)> = own
            .map(|(address, file)| (address.clone(), file.clone()))
            .collect();
        let (give, take) = mpsc::sync_channel(1);
        let job = Job::Read(Box::new(move |machine| {
            let mut gone: Vec<(Aor, Box<str>)> = Vec::new();
            for slot in slots {
                gone.extend(machine.kept_files(slot));
            }
            let has_file = |address: &str| {
                let place = own.binary_search_by(|(known, _)| (**known).cmp(address));
                place.is_ok()
            };
            gone.retain(|(address, _)| !has_file(address.as_str()));
            let differs = |(address, file): &(Box<str>, File)| {
                let text = file.as_ref().map(|(text, _)| text);
                text.is_some_and(|text| !machine.holds_file(address, NAME, text))
            };
            let new: Vec<(Box<str>, File)> =
                own.iter().filter(|one| differs(one)).cloned().collect();
            let _ = give.send((new, gone));
        }));
        link.runner.submit(job).ok()?;
        let (new, gone) = take.recv_timeout(PATIENCE).ok()?;
        if new.is_empty() && gone.is_empty() {
            return Some(());
        }
        let (kept, removed) = (new.len(), gone.len());
        for (address, file) in &new {
            let (text, rules) = file.as_ref()?;
            self.propose(link, address, NAME, Some((text, rules)))?;
        }
        for (address, name) in &gone {
            self.propose(link, address.as_str(), name, None)?;
        }
        tracing::info!(kept, removed, "rules are kept as the folder has them");
        Some(())
    }

    fn propose(
        &mut self,
        link: &Replica,
        address: &str,
        name: &str,
        file: Option<(&Arc<[u8]>, &Rules)>,
    ) -> Option<()> {
        let command = Command::SetDocument(SetDocument {
            presentity: address,
            application: Application::Rules,
            name,
            keeper: Keeper::File,
            expected: Expected::Anything,
            content: file.map(|(text, _)| &**text),
            rules: file.map(|(_, rules)| rules.clone()).unwrap_or_default(),
        });
        let key = u128::from(self.chance.draw()) << 64 | u128::from(self.chance.draw());
        let request = Request {
            key: RequestKey(key),
            ticket: NOBODY,
            command,
        };
        let mut encoded = BytesMut::new();
        encode_request(&request, &mut encoded);
        let batch = Batch {
            requests: encoded.freeze(),
            tickets: vec![NOBODY],
        };
        link.proposer.submit(batch).ok()
    }
}

/// The files of a folder, by the canonical address of whom they are of.
fn files(folder: &Path, shared: &Shared) -> io::Result<BTreeMap<Box<str>, File>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let Some(user) = name.strip_suffix(".xml") else {
            continue;
        };
        let refuse = |why: String| {
            tracing::error!(file = name, why, "a file of rules is left out");
        };
        let parts = user.rsplit_once('@').filter(|(user, _)| !user.is_empty());
        let Some((local, host)) = parts.filter(|(_, host)| shared.policy.serves(host)) else {
            refuse("its name is no address of this pool, as alice@example.com.xml".to_owned());
            continue;
        };
        if files.len() >= FILES_MAX {
            refuse(format!("there are more than {FILES_MAX}"));
            break;
        }
        let address: Box<str> = Aor::sip(local, host).as_str().into();
        let file = match read(&path) {
            Ok(file) => Some(file),
            Err(why) => {
                refuse(why);
                None
            }
        };
        files.insert(address, file);
    }
    Ok(files)
}

fn read(path: &Path) -> Result<(Arc<[u8]>, Rules), String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(format!("it has more than {DOCUMENT_BYTES_MAX} bytes"));
    }
    let rules = rules::parse(&text).map_err(|error| error.to_string())?;
    Ok((text.into(), rules))
}
