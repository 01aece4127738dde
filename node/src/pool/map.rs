//! PoolMap: nodes, shards, slots, epoch; a small deterministic machine with its own versioned format.
//!
//! ```text
//! change := version:u8 kind:u8 …
//!   1 create     shards:u16 (the founder is node 1)
//!   2 admit      key:u128 record
//!   3 describe   node:u64 record
//!   4 stand      node:u64 standing:u8
//!   5 place      shard:u16 nodes
//!   6 add shard  shard:u16 nodes
//!   7 begin move slot:u16 to:u16
//!   8 end move   slot:u16 move:u64 made:u8
//!  32 move again slot:u16 move:u64
//!  33 begin moves count:u16 (slot:u16 to:u16)*
//! record := peer:text admin:text count:u16 sip:text*
//! nodes  := count:u16 node:u64*
//! ```
//!
//! Every change may be made twice and is then made once: who proposes it may not know whether the first
//! proposal was applied. A change that cannot be made any more changes nothing; whoever wanted it reads
//! the map.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use shard::slot::{SLOTS, Slot};

use crate::peer::NodeNumber;

/// The version of changes that we write, and the newest we read.
const CHANGE_VERSION: u8 = 1;

/// The version of maps that we write, and the newest we read.
const MAP_VERSION: u8 = 2;

/// Shards of the largest pool: each slot could be one.
pub const SHARDS_MAX: u16 = SLOTS;

/// Replicas of a shard, where there are nodes enough.
pub const REPLICAS: usize = 3;

/// Nodes that a pool may have had in its life: the number stands in a ticket (`egress::outbox`).
pub const NODES_MAX: NodeNumber = (1 << 14) - 2;

/// What the others know of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Where its peer listener is, as `host:port`; empty for a pool of one that has none.
    pub peer: String,
    /// Where its admin listener is.
    pub admin: String,
    /// Its SIP listeners, as `udp:192.0.2.1:5060`.
    pub sip: Vec<String>,
}

/// Whether a node is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Standing {
    /// It leads and holds replicas.
    Serving = 1,
    /// It holds replicas, and leads only what nobody else can lead: before an upgrade.
    Draining = 2,
    /// Its replicas move to other nodes.
    Leaving = 3,
    /// It holds nothing any more, and never comes back under this number.
    Gone = 4,
}

impl Standing {
    fn of(byte: u8) -> Option<Standing> {
        Some(match byte {
            1 => Standing::Serving,
            2 => Standing::Draining,
            3 => Standing::Leaving,
            4 => Standing::Gone,
            _ => return None,
        })
    }

    /// As an operator reads it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Serving => "serving",
            Standing::Draining => "draining",
            Standing::Leaving => "leaving",
            Standing::Gone => "gone",
        }
    }
}

/// A node of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Drawn by the node before it joined, so that asking twice admits it once.
    pub key: u128,
    /// What the others know of it.
    pub record: Record,
    /// Whether it is wanted.
    pub standing: Standing,
}

/// A shard of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardEntry {
    /// The nodes that made its group, for ever: each of them may begin it, with all of them.
    pub founders: Vec<NodeNumber>,
    /// The nodes that are to hold it; the first is the one that leads when all are well.
    pub replicas: Vec<NodeNumber>,
}

/// A slot on its way from one shard to another (house D15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where it goes.
    pub to: u16,
    /// Counts the moves of the pool: an order of an earlier move is not taken for one of this.
    pub number: u64,
}

/// Which nodes there are, which shard they hold, and which slot each shard holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolMap {
    /// Counts the changes of the map.
    pub epoch: u64,
    next_node: NodeNumber,
    next_move: u64,
    nodes: BTreeMap<NodeNumber, NodeEntry>,
    shards: Vec<ShardEntry>,
    /// The shard of each slot; empty before the pool is made.
    slots: Vec<u16>,
    moves: BTreeMap<u16, Move>,
}

/// A change of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make the pool, if it is not made: `shards` shards on node 1, the slots spread evenly.
    Create {
        /// How many.
        shards: u16,
    },
    /// Give the node that drew `key` a number, if it has none.
    Admit {
        /// Its key.
        key: u128,
        /// What it says of itself.
        record: Record,
    },
    /// A node says where it is to be found now.
    Describe {
        /// Which one.
        node: NodeNumber,
        /// What it says of itself.
        record: Record,
    },
    /// A node is wanted in another way.
    Stand {
        /// Which one.
        node: NodeNumber,
        /// How.
        standing: Standing,
    },
    /// A shard's replicas are to be on these nodes.
    Place {
        /// Which shard.
        shard: u16,
        /// Where; the first is to lead.
        replicas: Vec<NodeNumber>,
    },
    /// Make one more shard, without slots, if `shard` is the next number.
    AddShard {
        /// Its number.
        shard: u16,
        /// Where.
        replicas: Vec<NodeNumber>,
    },
    /// A slot begins to move, if it does not yet.
    BeginMove {
        /// Which one.
        slot: u16,
        /// Where to.
        to: u16,
    },
    /// A slot has moved, or stays after all.
    EndMove {
        /// Which one.
        slot: u16,
        /// Which move of it.
        number: u64,
        /// Whether it is now where it was going.
        made: bool,
    },
    /// A move is given up for now: it begins anew, under another number.
    MoveAgain {
        /// Of which slot.
        slot: u16,
        /// Which move of it.
        number: u64,
    },
    /// Many slots begin to move, those that do not yet.
    BeginMoves {
        /// Slots, and the shard where each goes.
        moves: Vec<(u16, u16)>,
    },
}

/// Why bytes are not a change or a map of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not written by a release that this one knows")]
pub struct Unknown;

type Read<T> = Result<T, Unknown>;

fn put_text(text: &str, out: &mut BytesMut) {
    let length = u16::try_from(text.len()).expect("addresses are short");
    out.put_u16_le(length);
    out.put_slice(text.as_bytes());
}

fn text(bytes: &mut &[u8]) -> Read<String> {
    let length = usize::from(bytes.try_get_u16_le().map_err(|_| Unknown)?);
    let (text, rest) = bytes.split_at_checked(length).ok_or(Unknown)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Unknown)
}

fn put_record(record: &Record, out: &mut BytesMut) {
    put_text(&record.peer, out);
    put_text(&record.admin, out);
    out.put_u16_le(record.sip.len() as u16);
    for listener in &record.sip {
        put_text(listener, out);
    }
}

fn record(bytes: &mut &[u8]) -> Read<Record> {
    let (peer, admin) = (text(bytes)?, text(bytes)?);
    let count = number16(bytes)?;
    let sip = (0..count).map(|_| text(bytes)).collect::<Read<_>>()?;
    Ok(Record { peer, admin, sip })
}

fn put_nodes(nodes: &[NodeNumber], out: &mut BytesMut) {
    out.put_u16_le(nodes.len() as u16);
    for node in nodes {
        out.put_u64_le(*node);
    }
}

fn nodes(bytes: &mut &[u8]) -> Read<Vec<NodeNumber>> {
    let count = number16(bytes)?;
    (0..count).map(|_| number64(bytes)).collect()
}

fn number8(bytes: &mut &[u8]) -> Read<u8> {
    bytes.try_get_u8().map_err(|_| Unknown)
}

fn number16(bytes: &mut &[u8]) -> Read<u16> {
    bytes.try_get_u16_le().map_err(|_| Unknown)
}

fn number64(bytes: &mut &[u8]) -> Read<u64> {
    bytes.try_get_u64_le().map_err(|_| Unknown)
}

fn number128(bytes: &mut &[u8]) -> Read<u128> {
    bytes.try_get_u128_le().map_err(|_| Unknown)
}

impl Change {
    /// As the log holds it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(CHANGE_VERSION);
        match self {
            Change::Create { shards } => {
                out.put_u8(1);
                out.put_u16_le(*shards);
            }
            Change::Admit { key, record } => {
                out.put_u8(2);
                out.put_u128_le(*key);
                put_record(record, &mut out);
            }
            Change::Describe { node, record } => {
                out.put_u8(3);
                out.put_u64_le(*node);
                put_record(record, &mut out);
            }
            Change::Stand { node, standing } => {
                out.put_u8(4);
                out.put_u64_le(*node);
                out.put_u8(*standing as u8);
            }
            Change::Place { shard, replicas } => {
                out.put_u8(5);
                out.put_u16_le(*shard);
                put_nodes(replicas, &mut out);
            }
            Change::AddShard { shard, replicas } => {
                out.put_u8(6);
                out.put_u16_le(*shard);
                put_nodes(replicas, &mut out);
            }
            Change::BeginMove { slot, to } => {
                out.put_u8(7);
                out.put_u16_le(*slot);
                out.put_u16_le(*to);
            }
            Change::EndMove { slot, number, made } => {
                out.put_u8(8);
                out.put_u16_le(*slot);
                out.put_u64_le(*number);
                out.put_u8(u8::from(*made));
            }
            Change::MoveAgain { slot, number } => {
                out.put_u8(32);
                out.put_u16_le(*slot);
                out.put_u64_le(*number);
            }
            Change::BeginMoves { moves } => {
                out.put_u8(33);
                out.put_u16_le(u16::try_from(moves.len()).expect("there are 1,024 slots"));
                for (slot, to) in moves {
                    out.put_u16_le(*slot);
                    out.put_u16_le(*to);
                }
            }
        }
        out.freeze()
    }

    /// Reads what [`Change::encode`] wrote.
    ///
    /// # Errors
    /// [`Unknown`].
    pub fn decode(bytes: &[u8]) -> Read<Change> {
        let bytes = &mut { bytes };
        if number8(bytes)? != CHANGE_VERSION {
            return Err(Unknown);
        }
        let change = match number8(bytes)? {
            1 => Change::Create {
                shards: number16(bytes)?,
            },
            2 => Change::Admit {
                key: number128(bytes)?,
                record: record(bytes)?,
            },
            3 => Change::Describe {
                node: number64(bytes)?,
                record: record(bytes)?,
            },
            4 => Change::Stand {
                node: number64(bytes)?,
                standing: Standing::of(number8(bytes)?).ok_or(Unknown)?,
            },
            5 => Change::Place {
                shard: number16(bytes)?,
                replicas: nodes(bytes)?,
            },
            6 => Change::AddShard {
                shard: number16(bytes)?,
                replicas: nodes(bytes)?,
            },
            7 => Change::BeginMove {
                slot: number16(bytes)?,
                to: number16(bytes)?,
            },
            8 => Change::EndMove {
                slot: number16(bytes)?,
                number: number64(bytes)?,
                made: number8(bytes)? != 0,
            },
            32 => Change::MoveAgain {
                slot: number16(bytes)?,
                number: number64(bytes)?,
            },
            33 => Change::BeginMoves {
                moves: (0..number16(bytes)?)
                    .map(|_| Ok((number16(bytes)?, number16(bytes)?)))
                    .collect::<Read<_>>()?,
            },
            _ => return Err(Unknown),
        };
        if bytes.is_empty() {
            Ok(change)
        } else {
            Err(Unknown)
        }
    }
}

impl PoolMap {
    /// Whether the pool is made.
    #[must_use]
    pub fn is_made(&self) -> bool {
        !self.shards.is_empty()
    }

    /// How many shards there are.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// A shard.
    #[must_use]
    pub fn shard(&self, shard: u16) -> Option<&ShardEntry> {
        self.shards.get(usize::from(shard))
    }

    /// The shards, in the order of their numbers.
    pub fn shards(&self) -> impl Iterator<Item = (u16, &ShardEntry)> {
        (0..).zip(&self.shards)
    }

    /// The nodes, those that are gone among them.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeNumber, &NodeEntry)> {
        self.nodes.iter().map(|(number, entry)| (*number, entry))
    }

    /// A node.
    #[must_use]
    pub fn node(&self, number: NodeNumber) -> Option<&NodeEntry> {
        self.nodes.get(&number)
    }

    /// The number that was given to the node that drew `key`.
    #[must_use]
    pub fn admitted(&self, key: u128) -> Option<NodeNumber> {
        self.nodes()
            .find(|(_, entry)| entry.key == key)
            .map(|(number, _)| number)
    }

    /// Where each node that is not gone listens for its peers.
    #[must_use]
    pub fn peers(&self) -> BTreeMap<NodeNumber, String> {
        self.nodes()
            .filter(|(_, entry)| entry.standing != Standing::Gone && !entry.record.peer.is_empty())
            .map(|(number, entry)| (number, entry.record.peer.clone()))
            .collect()
    }

    /// The nodes that may hold replicas.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<NodeNumber> {
        self.nodes()
            .filter(|(_, entry)| entry.standing < Standing::Leaving)
            .map(|(number, _)| number)
            .collect()
    }

    /// The shard that holds a slot.
    ///
    /// # Panics
    /// Before the pool is made.
    #[must_use]
    pub fn shard_of(&self, slot: Slot) -> u16 {
        self.slots[usize::from(slot.number())]
    }

    /// The slots of a shard, in order.
    pub fn slots_of(&self, shard: u16) -> impl Iterator<Item = u16> + '_ {
        (0..SLOTS)
            .zip(&self.slots)
            .filter(move |(_, of)| **of == shard)
            .map(|(slot, _)| slot)
    }

    /// The slots on their way.
    pub fn moves(&self) -> impl Iterator<Item = (u16, Move)> + '_ {
        self.moves.iter().map(|(slot, moving)| (*slot, *moving))
    }

    /// How a slot moves, if it does.
    #[must_use]
    pub fn moving(&self, slot: u16) -> Option<Move> {
        self.moves.get(&slot).copied()
    }

    /// The number of the newest move that this map knows of, whether it has ended or not.
    #[must_use]
    pub fn moves_begun(&self) -> u64 {
        self.next_move
    }

    fn begin_move(&mut self, slot: u16, to: u16) -> Option<()> {
        let at = *self.slots.get(usize::from(slot))?;
        if at == to || usize::from(to) >= self.shards.len() || self.moves.contains_key(&slot) {
            return None;
        }
        self.next_move += 1;
        let number = self.next_move;
        self.moves.insert(slot, Move { to, number });
        Some(())
    }

    /// Whether these nodes can hold a shard: known, wanted, each once.
    fn can_hold(&self, replicas: &[NodeNumber]) -> bool {
        let hosts = self.hosts();
        let each_once: BTreeSet<&NodeNumber> = replicas.iter().collect();
        !replicas.is_empty()
            && each_once.len() == replicas.len()
            && replicas.iter().all(|node| hosts.contains(node))
    }

    /// Applies a change; the same on every replica.
    pub fn apply(&mut self, change: &Change) {
        if self.make(change).is_some() {
            self.epoch += 1;
        }
    }

    /// Makes a change; `None` when there is nothing to make, or it cannot be made.
    fn make(&mut self, change: &Change) -> Option<()> {
        match change {
            Change::Create { shards } => {
                let shards = *shards;
                if self.is_made() || shards == 0 || shards > SHARDS_MAX {
                    return None;
                }
                self.shards = vec![
                    ShardEntry {
                        founders: vec![1],
                        replicas: vec![1],
                    };
                    usize::from(shards)
                ];
                self.slots = (0..SLOTS).map(|slot| slot % shards).collect();
                self.next_node = self.next_node.max(2);
                self.nodes.entry(1).or_insert(NodeEntry {
                    key: 0,
                    record: Record::default(),
                    standing: Standing::Serving,
                });
            }
            Change::Admit { key, record } => {
                if !self.is_made() || self.admitted(*key).is_some() || self.next_node > NODES_MAX {
                    return None;
                }
                let number = self.next_node;
                self.next_node += 1;
                self.nodes.insert(
                    number,
                    NodeEntry {
                        key: *key,
                        record: record.clone(),
                        standing: Standing::Serving,
                    },
                );
            }
            Change::Describe { node, record } => {
                let entry = self.nodes.get_mut(node)?;
                if entry.record == *record || entry.standing == Standing::Gone {
                    return None;
                }
                entry.record = record.clone();
            }
            Change::Stand { node, standing } => {
                let holds = self
                    .shards
                    .iter()
                    .any(|shard| shard.replicas.contains(node));
                let last = self.hosts().iter().all(|host| host == node);
                let entry = self.nodes.get_mut(node)?;
                let possible = match standing {
                    Standing::Serving | Standing::Draining => entry.standing != Standing::Gone,
                    Standing::Leaving => entry.standing != Standing::Gone && !last,
                    Standing::Gone => entry.standing == Standing::Leaving && !holds,
                };
                if !possible || entry.standing == *standing {
                    return None;
                }
                entry.standing = *standing;
            }
            Change::Place { shard, replicas } => {
                if !self.can_hold(replicas) {
                    return None;
                }
                let entry = self.shards.get_mut(usize::from(*shard))?;
                if entry.replicas == *replicas {
                    return None;
                }
                entry.replicas.clone_from(replicas);
            }
            Change::AddShard { shard, replicas } => {
                if usize::from(*shard) != self.shards.len()
                    || *shard >= SHARDS_MAX
                    || !self.is_made()
                    || !self.can_hold(replicas)
                {
                    return None;
                }
                self.shards.push(ShardEntry {
                    founders: replicas.clone(),
                    replicas: replicas.clone(),
                });
            }
            Change::BeginMove { slot, to } => {
                self.begin_move(*slot, *to)?;
            }
            Change::BeginMoves { moves } => {
                let begun = moves
                    .iter()
                    .filter(|(slot, to)| self.begin_move(*slot, *to).is_some());
                if begun.count() == 0 {
                    return None;
                }
            }
            Change::MoveAgain { slot, number } => {
                let moving = self.moves.get_mut(slot)?;
                if moving.number != *number {
                    return None;
                }
                self.next_move += 1;
                moving.number = self.next_move;
            }
            Change::EndMove { slot, number, made } => {
                let moving = self
                    .moves
                    .get(slot)
                    .filter(|moving| moving.number == *number)?;
                if *made {
                    self.slots[usize::from(*slot)] = moving.to;
                }
                self.moves.remove(slot);
            }
        }
        Some(())
    }

    /// As a snapshot holds it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(MAP_VERSION);
        out.put_u64_le(self.epoch);
        out.put_u64_le(self.next_node);
        out.put_u64_le(self.next_move);
        out.put_u16_le(self.nodes.len() as u16);
        for (number, entry) in &self.nodes {
            out.put_u64_le(*number);
            out.put_u128_le(entry.key);
            out.put_u8(entry.standing as u8);
            put_record(&entry.record, &mut out);
        }
        out.put_u16_le(self.shards.len() as u16);
        for shard in &self.shards {
            put_nodes(&shard.founders, &mut out);
            put_nodes(&shard.replicas, &mut out);
        }
        for slot in &self.slots {
            out.put_u16_le(*slot);
        }
        out.put_u16_le(self.moves.len() as u16);
        for (slot, moving) in &self.moves {
            out.put_u16_le(*slot);
            out.put_u16_le(moving.to);
            out.put_u64_le(moving.number);
        }
        let sum = crc32c::crc32c(&out);
        out.put_u32_le(sum);
        out.freeze()
    }

    /// Reads what [`PoolMap::encode`] wrote, in this release or the one before, which knew one node.
    ///
    /// # Errors
    /// [`Unknown`] for anything else, damaged or newer.
    pub fn decode(bytes: &[u8]) -> Read<PoolMap> {
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(Unknown)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
            return Err(Unknown);
        }
        let bytes = &mut { body };
        let map = match number8(bytes)? {
            1 => {
                let (epoch, shards) = (number64(bytes)?, number16(bytes)?);
                let mut map = PoolMap::default();
                map.apply(&Change::Create { shards });
                map.epoch = epoch;
                if shards > 0 {
                    map.slots = slots(bytes)?;
                }
                map
            }
            MAP_VERSION => PoolMap::read(bytes)?,
            _ => return Err(Unknown),
        };
        let known = map
            .slots
            .iter()
            .all(|shard| usize::from(*shard) < map.shards.len());
        if known && bytes.is_empty() {
            Ok(map)
        } else {
            Err(Unknown)
        }
    }

    fn read(bytes: &mut &[u8]) -> Read<PoolMap> {
        let mut map = PoolMap {
            epoch: number64(bytes)?,
            next_node: number64(bytes)?,
            next_move: number64(bytes)?,
            ..PoolMap::default()
        };
        for _ in 0..number16(bytes)? {
            let (number, key) = (number64(bytes)?, number128(bytes)?);
            let standing = Standing::of(number8(bytes)?).ok_or(Unknown)?;
            let record = record(bytes)?;
            map.nodes.insert(
                number,
                NodeEntry {
                    key,
                    record,
                    standing,
                },
            );
        }
        for _ in 0..number16(bytes)? {
            map.shards.push(ShardEntry {
                founders: nodes(bytes)?,
                replicas: nodes(bytes)?,
            });
        }
        if map.is_made() {
            map.slots = slots(bytes)?;
        }
        for _ in 0..number16(bytes)? {
            let slot = number16(bytes)?;
            let (to, number) = (number16(bytes)?, number64(bytes)?);
            map.moves.insert(slot, Move { to, number });
        }
        Ok(map)
    }
}

fn slots(bytes: &mut &[u8]) -> Read<Vec<u16>> {
    (0..SLOTS).map(|_| number16(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Record {
        Record {
            peer: format!("192.0.2.1:{port}"),
            admin: format!("192.0.2.1:{}", port + 1),
            sip: vec![format!("udp:192.0.2.1:{}", port + 2)],
        }
    }

    fn pool_of(nodes: u16, shards: u16) -> PoolMap {
        let mut map = PoolMap::default();
        map.apply(&Change::Create { shards });
        for number in 2..=nodes {
            map.apply(&Change::Admit {
                key: u128::from(number),
                record: at(7_000 + number),
            });
        }
        map
    }

    #[test]
    fn a_pool_is_made_once_and_its_slots_are_spread() {
        let mut map = PoolMap::default();
        assert!(!map.is_made());
        map.apply(&Change::Create { shards: 3 });
        let sizes: Vec<usize> = (0..3).map(|shard| map.slots_of(shard).count()).collect();
        assert_eq!(sizes, [342, 341, 341]);
        let made = map.clone();
        map.apply(&Change::Create { shards: 5 });
        assert_eq!(map, made, "a second time changes nothing");
        for shards in [0, SHARDS_MAX + 1] {
            let mut map = PoolMap::default();
            map.apply(&Change::Create { shards });
            assert!(!map.is_made());
        }
    }

    #[test]
    fn a_node_is_admitted_once_and_its_number_is_never_given_again() {
        let mut map = pool_of(3, 2);
        assert_eq!(map.admitted(3), Some(3));
        let before = map.clone();
        map.apply(&Change::Admit {
            key: 3,
            record: at(9_000),
        });
        assert_eq!(map, before, "asking again admits nobody");
        map.apply(&Change::Stand {
            node: 3,
            standing: Standing::Gone,
        });
        assert_eq!(map, before, "who is to go must leave first");
        for standing in [Standing::Leaving, Standing::Gone] {
            map.apply(&Change::Stand { node: 3, standing });
        }
        assert_eq!(map.node(3).map(|node| node.standing), Some(Standing::Gone));
        map.apply(&Change::Stand {
            node: 3,
            standing: Standing::Serving,
        });
        assert_eq!(map.node(3).map(|node| node.standing), Some(Standing::Gone));
        map.apply(&Change::Admit {
            key: 9,
            record: at(9_000),
        });
        assert_eq!(map.admitted(9), Some(4));
        assert!(!map.peers().contains_key(&3));
    }

    #[test]
    fn a_shard_stays_where_somebody_can_hold_it() {
        let mut map = pool_of(3, 2);
        let place = |replicas: &[NodeNumber]| Change::Place {
            shard: 0,
            replicas: replicas.to_vec(),
        };
        for impossible in [&[][..], &[1, 1], &[1, 7]] {
            let before = map.clone();
            map.apply(&place(impossible));
            assert_eq!(map, before, "{impossible:?}");
        }
        map.apply(&place(&[2, 3]));
        assert_eq!(
            map.shard(0).map(|shard| &shard.replicas[..]),
            Some(&[2, 3][..])
        );
        map.apply(&Change::Stand {
            node: 2,
            standing: Standing::Leaving,
        });
        map.apply(&Change::Stand {
            node: 2,
            standing: Standing::Gone,
        });
        assert_eq!(
            map.node(2).map(|node| node.standing),
            Some(Standing::Leaving),
            "it still holds a replica"
        );
        let before = map.clone();
        map.apply(&Change::Place {
            shard: 1,
            replicas: vec![2],
        });
        assert_eq!(map, before, "who leaves gets nothing new");
        map.apply(&Change::Stand {
            node: 3,
            standing: Standing::Leaving,
        });
        map.apply(&Change::Stand {
            node: 1,
            standing: Standing::Leaving,
        });
        assert_eq!(
            map.node(1).map(|node| node.standing),
            Some(Standing::Serving),
            "the last one cannot leave"
        );
    }

    #[test]
    fn a_slot_moves_once_at_a_time() {
        let mut map = pool_of(1, 2);
        let slot = map.slots_of(0).next().expect("a slot");
        map.apply(&Change::AddShard {
            shard: 2,
            replicas: vec![1],
        });
        map.apply(&Change::BeginMove { slot, to: 2 });
        map.apply(&Change::BeginMove { slot, to: 1 });
        let moving = map.moves().next().expect("it moves").1;
        assert_eq!(moving.to, 2);
        let end = |number, made| Change::EndMove { slot, number, made };
        map.apply(&end(moving.number + 1, true));
        assert_eq!(map.moves().count(), 1, "another move's end");
        map.apply(&end(moving.number, true));
        assert_eq!(map.shard_of(Slot::new(slot).expect("a slot")), 2);
        let before = map.clone();
        map.apply(&end(moving.number, true));
        assert_eq!(map, before);
        map.apply(&Change::BeginMove { slot, to: 0 });
        let moving = map.moves().next().expect("it moves").1;
        let again = Change::MoveAgain {
            slot,
            number: moving.number,
        };
        map.apply(&again);
        map.apply(&again);
        map.apply(&end(moving.number, true));
        let moving = map.moving(slot).expect("it moves, under another number");
        assert_eq!((moving.number, moving.to), (3, 0));
        assert_eq!(map.moves_begun(), 3);
        map.apply(&end(moving.number, false));
        assert_eq!(
            map.shard_of(Slot::new(slot).expect("a slot")),
            2,
            "it stays"
        );
    }

    #[test]
    fn a_map_is_read_as_it_was_written_and_damage_is_seen() {
        let mut map = pool_of(4, 7);
        map.apply(&Change::BeginMove { slot: 5, to: 1 });
        map.apply(&Change::Place {
            shard: 3,
            replicas: vec![2, 4, 1],
        });
        let bytes = crate::fixture::held("v2-map", &map.encode());
        assert_eq!(PoolMap::decode(&bytes), Ok(map));
        assert_eq!(
            PoolMap::decode(&PoolMap::default().encode()),
            Ok(PoolMap::default())
        );
        for at in [0, 1, 9, 500, bytes.len() - 1] {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert_eq!(PoolMap::decode(&damaged), Err(Unknown), "byte {at}");
        }
    }

    #[test]
    fn the_map_of_the_first_release_is_read() {
        let mut old = BytesMut::new();
        old.put_u8(1);
        old.put_u64_le(1);
        old.put_u16_le(4);
        for slot in 0..SLOTS {
            old.put_u16_le(slot % 4);
        }
        let sum = crc32c::crc32c(&old);
        old.put_u32_le(sum);
        assert_eq!(PoolMap::decode(&old), Ok(pool_of(1, 4)));
    }

    #[test]
    fn a_change_is_read_as_it_was_written() {
        for change in [
            Change::Create { shards: 4 },
            Change::Admit {
                key: 7,
                record: at(1),
            },
            Change::Describe {
                node: 2,
                record: Record::default(),
            },
            Change::Stand {
                node: 2,
                standing: Standing::Draining,
            },
            Change::Place {
                shard: 1,
                replicas: vec![1, 2, 3],
            },
            Change::AddShard {
                shard: 4,
                replicas: vec![3],
            },
            Change::BeginMove { slot: 1_023, to: 4 },
            Change::EndMove {
                slot: 1_023,
                number: 9,
                made: true,
            },
            Change::MoveAgain {
                slot: 1_023,
                number: 1 << 40,
            },
            Change::BeginMoves {
                moves: vec![(7, 1), (1_023, 4)],
            },
        ] {
            let kind = format!("v1-change-{}", change.encode()[1]);
            let bytes = crate::fixture::held(&kind, &change.encode());
            assert_eq!(Change::decode(&bytes), Ok(change));
            for cut in 0..bytes.len() {
                assert_eq!(Change::decode(&bytes[..cut]), Err(Unknown), "cut at {cut}");
            }
        }
        assert_eq!(Change::decode(&[9, 1, 0, 0]), Err(Unknown));
    }
}
