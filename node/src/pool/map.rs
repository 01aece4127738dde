//! PoolMap: shards, slots, epoch; a small deterministic machine with its own versioned format.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use shard::slot::{SLOTS, Slot};

/// The version of changes and maps that we write, and the newest we read.
const VERSION: u8 = 1;

/// Shards of the largest pool: each slot could be one.
pub const SHARDS_MAX: u16 = SLOTS;

/// Which shard holds which slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolMap {
    /// Counts the changes of the map.
    pub epoch: u64,
    shards: u16,
    /// The shard of each slot; empty before the pool is made.
    slots: Vec<u16>,
}

/// A change of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make the pool, if it is not made: `shards` shards, the slots spread evenly.
    Create {
        /// How many.
        shards: u16,
    },
}

/// Why bytes are not a change or a map of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not written by a release that this one knows")]
pub struct Unknown;

impl Change {
    /// As the log holds it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(4);
        out.put_u8(VERSION);
        match self {
            Change::Create { shards } => {
                out.put_u8(1);
                out.put_u16_le(*shards);
            }
        }
        out.freeze()
    }

    /// Reads what [`Change::encode`] wrote.
    ///
    /// # Errors
    /// [`Unknown`].
    pub fn decode(mut bytes: &[u8]) -> Result<Change, Unknown> {
        match (bytes.len(), bytes.first(), bytes.get(1)) {
            (4, Some(&VERSION), Some(1)) => {
                bytes.advance(2);
                Ok(Change::Create {
                    shards: bytes.get_u16_le(),
                })
            }
            _ => Err(Unknown),
        }
    }
}

impl PoolMap {
    /// Whether the pool is made.
    #[must_use]
    pub fn is_made(&self) -> bool {
        self.shards > 0
    }

    /// How many shards there are.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        usize::from(self.shards)
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

    /// Applies a change; the same on every replica.
    pub fn apply(&mut self, change: &Change) {
        match *change {
            Change::Create { shards } => {
                if self.is_made() || shards == 0 || shards > SHARDS_MAX {
                    return;
                }
                self.epoch += 1;
                self.shards = shards;
                self.slots = (0..SLOTS).map(|slot| slot % shards).collect();
            }
        }
    }

    /// As a snapshot holds it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        out.put_u64_le(self.epoch);
        out.put_u16_le(self.shards);
        for slot in &self.slots {
            out.put_u16_le(*slot);
        }
        let sum = crc32c::crc32c(&out);
        out.put_u32_le(sum);
        out.freeze()
    }

    /// Reads what [`PoolMap::encode`] wrote.
    ///
    /// # Errors
    /// [`Unknown`] for anything else, damaged or newer.
    pub fn decode(bytes: &[u8]) -> Result<PoolMap, Unknown> {
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(Unknown)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*sum) || body.len() < 11 || body[0] != VERSION
        {
            return Err(Unknown);
        }
        let mut body = &body[1..];
        let (epoch, shards) = (body.get_u64_le(), body.get_u16_le());
        let slots: Vec<u16> = body
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        let whole = if shards == 0 {
            slots.is_empty()
        } else {
            slots.len() == usize::from(SLOTS)
        };
        let known = slots.iter().all(|shard| *shard < shards);
        (whole && known)
            .then_some(PoolMap {
                epoch,
                shards,
                slots,
            })
            .ok_or(Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_map_is_read_as_it_was_written_and_damage_is_seen() {
        let mut map = PoolMap::default();
        map.apply(&Change::Create { shards: 7 });
        let bytes = map.encode();
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
        let change = Change::Create { shards: 4 };
        assert_eq!(Change::decode(&change.encode()), Ok(change));
        assert_eq!(Change::decode(&[9, 1, 0, 0]), Err(Unknown));
    }
}
