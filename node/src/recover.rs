//! `lamplight pool recover`: a pool of one out of what one node has, when a majority is gone for ever.
//!
//! Never done by itself: nobody but the operator knows that the others are gone, and not only silent. It works
//! on the data of a node that does not run. Without the word that accepts the loss it only says what is here, so
//! that the operator can choose the node that has the most.
//!
//! Afterwards the pool is of another lineage: a node of before that comes back is refused by this one, and
//! refuses it. Step by step, each of which may be done again: the lineage first, so that nobody of before can
//! be spoken to; then the shards; then the map, whose last change says that it is done.

use std::fmt::Write as _;
use std::path::Path;

use shard::machine::codec::decode_entry;

use crate::identity_file::IdentityFile;
use crate::peer::NodeNumber;
use crate::pool::map::{Change, PoolMap, Standing};
use crate::pool::{self, memory};
use crate::raft::damage::Damage;
use crate::raft::log::{Log, LogOptions};
use crate::raft::remains::Remains;
use crate::raft::types::GroupId;

/// What the operator must say.
pub const WORD: &str = "--i-accept-losing-what-only-the-others-had";

/// Says what is here; with `accepted`, makes it the whole pool.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn recover(data: &Path, accepted: bool) -> Result<String, String> {
    if !data.join("node").exists() {
        return Err(format!(
            "{} is no data folder of a node; name it with --data",
            data.display()
        ));
    }
    let identity = IdentityFile::open(data).map_err(|error| error.to_string())?;
    let Some(me) = identity.node else {
        return Err(format!(
            "the node of {} never belonged to a pool",
            data.display()
        ));
    };
    let damage = Damage::open(data).map_err(|error| error.to_string())?;
    let (log, _) =
        Log::open(&data.join("log"), LogOptions::default()).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| error.to_string())?;
    let recovery = Recovery {
        data,
        me,
        damage,
        log,
    };
    let done = runtime.block_on(recovery.run(identity, accepted));
    done.map_err(|error| error.to_string())
}

struct Recovery<'d> {
    data: &'d Path,
    me: NodeNumber,
    damage: Damage,
    log: Log,
}

/// What makes `me` the only node of the map.
pub(crate) fn alone(map: &PoolMap, me: NodeNumber, others: &[NodeNumber]) -> Vec<Change> {
    let stand = |node, standing| Change::Stand { node, standing };
    let mut changes = vec![stand(me, Standing::Serving)];
    changes.extend(others.iter().map(|node| stand(*node, Standing::Leaving)));
    changes.extend(map.shards().map(|(shard, _)| Change::Place {
        shard,
        replicas: vec![me],
    }));
    changes.extend(others.iter().map(|node| stand(*node, Standing::Gone)));
    changes
}

fn group_of(shard: u16) -> GroupId {
    GroupId(u32::from(shard) + 1)
}

impl Recovery<'_> {
    async fn remains(&self, group: GroupId) -> std::io::Result<Remains> {
        Remains::of(&self.log, &self.data.join("snapshots"), group).await
    }

    async fn run(&self, mut identity: IdentityFile, accepted: bool) -> std::io::Result<String> {
        let other = |what: String| std::io::Error::other(what);
        let map = self.map().await?;
        let others: Vec<NodeNumber> = map
            .nodes()
            .filter(|(node, entry)| *node != self.me && entry.standing != Standing::Gone)
            .map(|(node, _)| node)
            .collect();
        let mut out = self.describe(&map, &others).await?;
        if others.is_empty() {
            let _ = write!(
                out,
                "\nno other node belongs to this pool: there is nothing to recover"
            );
            return Ok(out);
        }
        if !accepted {
            let _ = write!(
                out,
                "\nnothing was changed. Compare this with the other nodes whose data are left, and take the one with \
                 the highest terms, and of those the highest entries. If nodes {others:?} are gone for ever, say \
                 {WORD}: what they had and this node does not have is lost then, and they can never come back with \
                 their data"
            );
            return Ok(out);
        }
        let changes = self.changes(&map, &others)?;
        let mut after = map.clone();
        for change in &changes {
            after.apply(change);
        }
        let mine = |replicas: &[NodeNumber]| *replicas == [self.me];
        if !after.shards().all(|(_, entry)| mine(&entry.replicas)) {
            return Err(other(
                "this node cannot hold every shard; is it leaving the pool?".to_owned(),
            ));
        }

        let mut chance = [0; 8];
        getrandom::fill(&mut chance).map_err(|error| other(error.to_string()))?;
        let lineage = u64::from_le_bytes(chance).max(1);
        identity
            .number(self.me, lineage)
            .map_err(|error| other(error.to_string()))?;
        for (shard, _) in map.shards() {
            self.take_over(group_of(shard), Vec::new()).await?;
        }
        let encoded = changes.iter().map(Change::encode).collect();
        self.take_over(GroupId::POOL, encoded).await?;
        self.log.flush();
        memory::keep(self.data, &after)?;
        let _ = write!(
            out,
            "\nnode {} is the whole pool now, of lineage {lineage:016x}. Start it as before; then start new nodes with \
             empty data folders and --join. Nodes {others:?} are refused if they come back",
            self.me
        );
        Ok(out)
    }

    async fn take_over(&self, group: GroupId, payloads: Vec<bytes::Bytes>) -> std::io::Result<()> {
        let mut remains = self.remains(group).await?;
        if self.damage.why(group).is_some() {
            remains.forget(|path| self.damage.put_away(path)).await?;
        }
        remains.take_over(self.me, payloads).await?;
        self.damage.healed(group)
    }

    /// The map as this node has it: snapshot and log, or what it wrote down of it.
    async fn map(&self) -> std::io::Result<PoolMap> {
        let nothing = || {
            std::io::Error::other(
                "this node has nothing of the pool map: it cannot become the pool; take another node's data",
            )
        };
        if self.damage.why(GroupId::POOL).is_some() {
            return Err(std::io::Error::other(
                "the pool map of this node is set aside as damaged: it cannot become the pool; take another node's data",
            ));
        }
        let (body, changes) = self.remains(GroupId::POOL).await?.contents().await?;
        let mut map = match body {
            Some(body) => pool::read_map(body)?,
            None => PoolMap::default(),
        };
        for change in changes {
            map.apply(&Change::decode(&change).map_err(std::io::Error::other)?);
        }
        if map.is_made() {
            Ok(map)
        } else {
            Err(nothing())
        }
    }

    /// What takes the others out of the map.
    fn changes(&self, map: &PoolMap, others: &[NodeNumber]) -> std::io::Result<Vec<Change>> {
        let standing = map.node(self.me).map(|entry| entry.standing);
        if standing.is_none_or(|standing| standing == Standing::Gone) {
            return Err(std::io::Error::other(
                "this node was taken out of the pool: it cannot become the pool; take another node's data",
            ));
        }
        Ok(alone(map, self.me, others))
    }

    async fn describe(&self, map: &PoolMap, others: &[NodeNumber]) -> std::io::Result<String> {
        let mut out = format!(
            "node {} in {}; the others of its pool: {others:?}\n\n{:<7} {:<12} {:<7} {:<10} last written\n",
            self.me,
            self.data.display(),
            "group",
            "replicas",
            "term",
            "entry"
        );
        let groups = std::iter::once((GroupId::POOL, Vec::new())).chain(
            map.shards()
                .map(|(shard, entry)| (group_of(shard), entry.replicas.clone())),
        );
        for (group, replicas) in groups {
            let replicas: Vec<String> = replicas.iter().map(ToString::to_string).collect();
            let replicas = replicas.join(" ");
            if let Some(why) = self.damage.why(group) {
                let _ = writeln!(out, "{group:<7} {replicas:<12} lost: set aside, {why}");
                continue;
            }
            let mut remains = self.remains(group).await?;
            if remains.is_empty() {
                let _ = writeln!(
                    out,
                    "{group:<7} {replicas:<12} lost: nothing of it is here, it begins empty"
                );
                continue;
            }
            let ((term, index), written) =
                (remains.last(), self.written(group, &mut remains).await?);
            let _ = writeln!(
                out,
                "{group:<7} {replicas:<12} {term:<7} {index:<10} {written}"
            );
        }
        Ok(out)
    }

    /// When the last entry of a shard was made.
    async fn written(&self, group: GroupId, remains: &mut Remains) -> std::io::Result<String> {
        let (_, payloads) = remains.contents().await?;
        let last = payloads.last().filter(|_| group != GroupId::POOL);
        let at = last.and_then(|payload| decode_entry(payload).ok().map(|entry| entry.at));
        Ok(at.map_or_else(|| "-".to_owned(), |at| at.to_string()))
    }
}
