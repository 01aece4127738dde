//! `lamplight backup` and `lamplight restore`: all that a pool keeps, as files, and a pool made of them.
//!
//! A backup is the pool map and, for each shard, a snapshot of its leader's machine: consistent per shard, one shard
//! after the other. A restore is what `lamplight pool recover` does, with these snapshots for what is left of a node:
//! a pool of one, of another lineage, which others join. It differs in one thing: the pool of before went on after the
//! backup was made, and clients have seen what it said. So shards go on far behind the positions that they can have
//! reached (entity-tags bear their position: none is given twice), and dialogs behind the numbers that watchers can
//! have seen.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use shard::machine::Machine;

use crate::config::{BackupAction, RestoreAction};
use crate::identity_file::IdentityFile;
use crate::observe::report::BackupReport;
use crate::operator::bearer;
use crate::peer::NodeNumber;
use crate::pool::map::{Change, PoolMap, Standing};
use crate::pool::memory;
use crate::raft::log::{Log, LogOptions};
use crate::raft::remains::{Remains, begin_at};
use crate::raft::snapshot::Frozen;
use crate::raft::types::GroupId;
use crate::recover;

/// How long a shard's leader is looked for: several elections.
const PATIENCE: Duration = Duration::from_secs(20);

/// Positions within a millisecond of the clock: a restored shard begins at the time times this, which no log reaches
/// that writes less than a million entries a second.
const POSITIONS_PER_MS: u64 = 1 << 10;

/// Numbers that every dialog leaves out: more notifications than one gets between a backup and its restore.
const NOTICES: u32 = 1 << 20;

/// Bytes of a pool map: a thousand nodes and shards are less than 1 MiB.
const MAP_BYTES_MAX: u64 = 16 << 20;

/// Bytes that are fetched at once: twice what a node gives.
const PART_BYTES_MAX: u64 = 2 << 20;

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    /// 1: the only one there is.
    format: u32,
    /// The release that made it.
    release: String,
    /// When it was begun, in milliseconds since 1970.
    at_ms: u64,
    shards: Vec<BackupReport>,
}

const CONTENTS: &str = "backup.json";
const MAP: &str = "pool-map";

fn file_of(shard: u16) -> String {
    format!("shard-{shard:03}")
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}

/// A folder that is made now, or is empty.
fn empty_folder(path: &Path) -> Result<(), String> {
    let show = |why: io::Error| format!("{}: {why}", path.display());
    fs::create_dir_all(path).map_err(show)?;
    match fs::read_dir(path).map_err(show)?.next() {
        None => Ok(()),
        Some(_) => Err(format!(
            "{} is not empty; name another folder",
            path.display()
        )),
    }
}

/// Copies everything that a pool keeps.
///
/// # Errors
/// One line that says what is wrong and what to do; what was copied stays, without its contents' list.
pub fn backup(action: &BackupAction) -> Result<String, String> {
    empty_folder(&action.to)?;
    let at_ms = now_ms();
    let caller = Caller {
        agent: agent(),
        shown: bearer(&action.at)?,
    };
    let map_bytes = caller.fetch(action.at.admin, "/pool/map", MAP_BYTES_MAX)?;
    let map = PoolMap::decode(&map_bytes).map_err(|error| format!("the pool map: {error}"))?;
    if map.moves().next().is_some() {
        return Err(
            "slots are on their way between shards; wait until `lamplight pool status` shows none, or `lamplight pool \
             stop-moves`"
                .to_owned(),
        );
    }
    let leaders = admins(&map, action.at.admin);
    let mut shards = Vec::new();
    for (shard, _) in map.shards() {
        let (admin, report) = caller.ask_leader(&leaders, shard)?;
        let path = action.to.join(file_of(shard));
        caller.copy(admin, report, &path)?;
        // Read back as a restore does: a backup that cannot be read is none.
        machine_of(&path)?;
        shards.push(report);
    }
    let after = caller.fetch(action.at.admin, "/pool/map", MAP_BYTES_MAX)?;
    let after = PoolMap::decode(&after).map_err(|error| format!("the pool map: {error}"))?;
    if after.moves_begun() != map.moves_begun() || after.shard_count() != map.shard_count() {
        return Err("slots moved between shards meanwhile; begin again".to_owned());
    }
    let contents = Contents {
        format: 1,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        at_ms,
        shards,
    };
    keep(&action.to.join(MAP), &map_bytes)?;
    let list = serde_json::to_vec_pretty(&contents).map_err(|error| error.to_string())?;
    keep(&action.to.join(CONTENTS), &list)?;
    let bytes: u64 = contents.shards.iter().map(|shard| shard.bytes).sum();
    Ok(format!(
        "{} shards, {bytes} bytes, in {}",
        contents.shards.len(),
        action.to.display()
    ))
}

/// The admin listeners of the pool's nodes; the one that was named first.
fn admins(map: &PoolMap, named: SocketAddr) -> Vec<SocketAddr> {
    let others = map
        .nodes()
        .filter(|(_, entry)| entry.standing != Standing::Gone)
        .filter_map(|(_, entry)| entry.record.admin.parse::<SocketAddr>().ok());
    let mut all = vec![named];
    all.extend(others.filter(|admin| *admin != named));
    all
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)));
    ureq::Agent::new_with_config(config.build())
}

/// Who asks the nodes, and the token that it shows to all of them.
struct Caller {
    agent: ureq::Agent,
    shown: Option<String>,
}

impl Caller {
    /// Asks one node after the other to copy a shard, until the one that leads it does.
    fn ask_leader(
        &self,
        admins: &[SocketAddr],
        shard: u16,
    ) -> Result<(SocketAddr, BackupReport), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut said = Vec::new();
            for admin in admins {
                match self.ask(*admin, shard) {
                    Ok(report) => return Ok((*admin, report)),
                    Err(why) => said.push(why),
                }
            }
            if Instant::now() > until {
                return Err(format!("no node copies shard {shard}: {}", said.join("; ")));
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    fn ask(&self, admin: SocketAddr, shard: u16) -> Result<BackupReport, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{admin}: {error}");
        let url = format!("http://{admin}/pool/shards/{shard}/backup");
        let mut request = self.agent.post(url);
        if let Some(shown) = &self.shown {
            request = request.header("Authorization", shown);
        }
        let mut answer = request.send_empty().map_err(|error| failed(&error))?;
        let text = answer.body_mut().read_to_string();
        let text = text.map_err(|error| failed(&error))?;
        if !answer.status().is_success() {
            return Err(failed(&text));
        }
        serde_json::from_str(&text).map_err(|error| failed(&error))
    }

    fn fetch(&self, admin: SocketAddr, path: &str, most: u64) -> Result<Vec<u8>, String> {
        let failed = |error: &dyn std::fmt::Display| {
            format!("the admin listener at {admin} does not give {path}: {error}")
        };
        let mut request = self.agent.get(format!("http://{admin}{path}"));
        if let Some(shown) = &self.shown {
            request = request.header("Authorization", shown);
        }
        let mut answer = request.call().map_err(|error| failed(&error))?;
        if !answer.status().is_success() {
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            return Err(failed(&text));
        }
        let body = answer.body_mut().with_config().limit(most);
        body.read_to_vec().map_err(|error| failed(&error))
    }

    /// Fetches a copy in parts.
    fn copy(&self, admin: SocketAddr, report: BackupReport, path: &Path) -> Result<(), String> {
        let show = |why: io::Error| format!("{}: {why}", path.display());
        let BackupReport {
            shard,
            position,
            bytes,
        } = report;
        let mut file = File::create(path).map_err(show)?;
        let mut from = 0;
        while from < bytes {
            let place = format!("/pool/shards/{shard}/backup/{position}/{from}");
            let part = self.fetch(admin, &place, PART_BYTES_MAX)?;
            if part.is_empty() {
                return Err(format!("{admin}: the copy of shard {shard} ends too early"));
            }
            file.write_all(&part).map_err(show)?;
            from += part.len() as u64;
        }
        file.sync_all().map_err(show)
    }
}

fn keep(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let kept = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    kept.map_err(|why| format!("{}: {why}", path.display()))
}

/// The machine in a copy of a shard.
fn machine_of(path: &Path) -> Result<Machine, String> {
    let show = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(|why| show(&why))?);
    let machine = Machine::restore(&mut file).map_err(|why| show(&why))?;
    let mut rest = [0];
    match file.read(&mut rest) {
        Ok(0) => Ok(machine),
        Ok(_) => Err(show(&"something stands behind its end")),
        Err(why) => Err(show(&why)),
    }
}

/// Makes the data folder of a pool of one out of a backup.
///
/// # Errors
/// One line that says what is wrong and what to do. The data folder is there whole, or not at all.
pub fn restore(action: &RestoreAction) -> Result<String, String> {
    let from = &action.from;
    let read = |name: &str| {
        let path = from.join(name);
        fs::read(&path)
            .map_err(|why| format!("{}: {why}; is that a backup, and whole?", path.display()))
    };
    let contents: Contents = serde_json::from_slice(&read(CONTENTS)?)
        .map_err(|error| format!("{}: {error}", from.join(CONTENTS).display()))?;
    if contents.format != 1 {
        return Err(format!(
            "the backup is of format {}, which this release does not know",
            contents.format
        ));
    }
    let map = PoolMap::decode(&read(MAP)?)
        .map_err(|error| format!("{}: {error}", from.join(MAP).display()))?;
    let numbers: Vec<u16> = map.shards().map(|(shard, _)| shard).collect();
    if numbers
        != contents
            .shards
            .iter()
            .map(|of| of.shard)
            .collect::<Vec<_>>()
    {
        return Err("the backup lacks a shard of its pool map".to_owned());
    }
    empty_folder(&action.data)?;
    // Beside its name, so that nobody starts what is not whole.
    let making = beside(&action.data)?;
    let made = make(from, &map, &contents, &making);
    let (me, counts) = match made {
        Ok(made) => made,
        Err(why) => {
            let _ = fs::remove_dir_all(&making);
            return Err(why);
        }
    };
    let show = |why: io::Error| format!("{}: {why}", action.data.display());
    fs::rename(&making, &action.data).map_err(show)?;
    Ok(format!(
        "{} addresses, {} publications, {} subscriptions in {} shards: node {me} in {} is the whole pool. Start it as \
         before; then start new nodes with empty data folders and --join. Nodes of before are refused",
        counts[0],
        counts[1],
        counts[2],
        numbers.len(),
        action.data.display()
    ))
}

fn beside(data: &Path) -> Result<PathBuf, String> {
    let name = data
        .file_name()
        .ok_or_else(|| format!("{} is no name of a folder", data.display()))?;
    let mut name = name.to_owned();
    name.push(".restoring");
    let making = data.with_file_name(name);
    empty_folder(&making)?;
    Ok(making)
}

/// Makes the folder; which node it is, and how many addresses, publications and dialogs it has.
fn make(
    from: &Path,
    map: &PoolMap,
    contents: &Contents,
    data: &Path,
) -> Result<(NodeNumber, [u64; 3]), String> {
    let text = |error: io::Error| error.to_string();
    let serving = |entry: &crate::pool::map::NodeEntry| entry.standing == Standing::Serving;
    let me = map.nodes().find(|(_, entry)| serving(entry));
    let (me, _) = me.ok_or("no node served when the backup was made")?;
    let mut identity = IdentityFile::open(data).map_err(|error| error.to_string())?;
    let (log, _) =
        Log::open(&data.join("log"), LogOptions::default()).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(text)?;
    let snapshots = data.join("snapshots");
    let begin = now_ms() * POSITIONS_PER_MS;
    let mut counts = [0; 3];
    for report in &contents.shards {
        let mut machine = machine_of(&from.join(file_of(report.shard)))?;
        let position = begin.max(machine.applied() + 1);
        machine.resume(position, NOTICES);
        let held = machine.counts();
        for (sum, of) in counts
            .iter_mut()
            .zip([held.presentities, held.publications, held.dialogs])
        {
            *sum += of;
        }
        let snapshot = machine.snapshot();
        let frozen: Frozen = Box::new(move |writer| snapshot.write(writer));
        let group = GroupId(u32::from(report.shard) + 1);
        begin_at(&snapshots, group, me, position, frozen).map_err(text)?;
        let alone = async {
            let remains = Remains::of(&log, &snapshots, group).await?;
            remains.take_over(me, Vec::new()).await
        };
        runtime.block_on(alone).map_err(text)?;
    }
    let others: Vec<NodeNumber> = map
        .nodes()
        .filter(|(node, entry)| *node != me && entry.standing != Standing::Gone)
        .map(|(node, _)| node)
        .collect();
    let changes = recover::alone(map, me, &others);
    let mut after = map.clone();
    for change in &changes {
        after.apply(change);
    }
    let kept = map.encode();
    let frozen: Frozen = Box::new(move |writer| writer.write_all(&kept));
    begin_at(&snapshots, GroupId::POOL, me, begin, frozen).map_err(text)?;
    let encoded = changes.iter().map(Change::encode).collect();
    let alone = async {
        let remains = Remains::of(&log, &snapshots, GroupId::POOL).await?;
        remains.take_over(me, encoded).await
    };
    runtime.block_on(alone).map_err(text)?;
    log.flush();
    memory::keep(data, &after).map_err(text)?;
    let mut chance = [0; 8];
    getrandom::fill(&mut chance).map_err(|error| error.to_string())?;
    let lineage = u64::from_le_bytes(chance).max(1);
    identity
        .number(me, lineage)
        .map_err(|error| error.to_string())?;
    Ok((me, counts))
}
