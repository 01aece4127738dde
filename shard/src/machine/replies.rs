//! Remembered outcomes, so that a repeated request gets its first answer (house D9).
//!
//! Outcomes are kept in the order in which they were given, in chunks of one second of entry time and
//! at most [`CHUNK_MAX`] outcomes. Chunks are shared with snapshots; only the newest is ever written
//! to. Where the chunks end depends on the entries alone, so that all replicas forget alike.
//!
//! The index that finds an outcome is derived; it is asked, never walked.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::machine::outcome::{Outcome, RequestKey};
use crate::presence::limits::{REPLIES_MAX, REPLY_MEMORY_MS};
use crate::slot::Slot;
use crate::time::Timestamp;

/// Outcomes in a chunk at most: a snapshot makes the shard thread copy no more than one chunk, some
/// 200 KB.
const CHUNK_MAX: usize = 4_096;

/// Outcomes given within one second of entry time, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// The second.
    pub(super) second: u64,
    /// What was answered to which request.
    pub(super) given: Vec<(RequestKey, Outcome)>,
    /// The slot that each request was about, or [`Chunk::ANY`]: an outcome moves with its slot.
    pub(super) homes: Vec<u16>,
}

impl Chunk {
    /// Of an outcome that a snapshot of an earlier release held: it goes wherever a slot goes.
    pub(super) const ANY: u16 = u16::MAX;

    /// The outcomes of requests about a slot.
    pub(super) fn of(&self, slot: Slot) -> impl Iterator<Item = &(RequestKey, Outcome)> {
        let homes = self.homes.iter();
        let given = homes.zip(&self.given);
        given
            .filter(move |(home, _)| **home == slot.number() || **home == Chunk::ANY)
            .map(|(_, given)| given)
    }

    /// Everything in it is older than the memory reaches.
    fn is_forgotten(&self, now: Timestamp) -> bool {
        let newest_ms = self.second.saturating_mul(1_000).saturating_add(999);
        newest_ms.saturating_add(REPLY_MEMORY_MS) < now.0
    }
}

/// Where an outcome stands: the chunk's number, counted from the first chunk of all, and the place
/// in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    chunk: u32,
    at: u16,
}

/// Request keys are hashes already.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The outcomes of the last 32 seconds of entry time.
#[derive(Debug, Default)]
pub(super) struct Replies {
    chunks: VecDeque<Arc<Chunk>>,
    /// The number of the first chunk.
    first: u32,
    count: usize,
    index: HashMap<u64, Place, BuildHasherDefault<Itself>>,
}

/// The half of a key that the index goes by. Of two keys with the same half the newer is found.
fn half(key: RequestKey) -> u64 {
    key.0 as u64
}

impl Replies {
    /// What was answered to the request with this key.
    pub(super) fn find(&self, key: RequestKey) -> Option<&Outcome> {
        let place = self.index.get(&half(key))?;
        let chunk = self
            .chunks
            .get(place.chunk.wrapping_sub(self.first) as usize)?;
        let (found, outcome) = chunk.given.get(usize::from(place.at))?;
        (*found == key).then_some(outcome)
    }

    /// Remembers an outcome given at `now`.
    pub(super) fn remember(
        &mut self,
        now: Timestamp,
        key: RequestKey,
        home: Slot,
        outcome: Outcome,
    ) {
        let second = now.second();
        let fits = self
            .chunks
            .back()
            .is_some_and(|chunk| chunk.second == second && chunk.given.len() < CHUNK_MAX);
        if !fits {
            self.chunks.push_back(Arc::new(Chunk {
                second,
                given: Vec::new(),
                homes: Vec::new(),
            }));
        }
        let number = self.first.wrapping_add(self.chunks.len() as u32 - 1);
        let chunk = Arc::make_mut(
            self.chunks
                .back_mut()
                .expect("one was pushed if there was none"),
        );
        self.index.insert(
            half(key),
            Place {
                chunk: number,
                at: chunk.given.len() as u16,
            },
        );
        chunk.given.push((key, outcome));
        chunk.homes.push(home.number());
        self.count += 1;
        while self.count > REPLIES_MAX {
            self.forget_first();
        }
    }

    /// Forgets what is older than the memory reaches.
    pub(super) fn forget_until(&mut self, now: Timestamp) {
        while self
            .chunks
            .front()
            .is_some_and(|chunk| chunk.is_forgotten(now))
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some(chunk) = self.chunks.pop_front() else {
            return;
        };
        for (at, (key, _)) in chunk.given.iter().enumerate() {
            let place = Place {
                chunk: self.first,
                at: at as u16,
            };
            if self.index.get(&half(*key)) == Some(&place) {
                self.index.remove(&half(*key));
            }
        }
        self.count -= chunk.given.len();
        self.first = self.first.wrapping_add(1);
        if self.chunks.is_empty() {
            self.index.shrink_to(0);
        }
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Everything remembered, oldest first, as pointers.
    pub(super) fn share(&self) -> VecDeque<Arc<Chunk>> {
        self.chunks.clone()
    }

    /// Takes over a chunk of a snapshot, younger than those before; `false` when no machine makes
    /// such a chunk after them.
    pub(super) fn restore(&mut self, chunk: Chunk) -> bool {
        let younger = self.chunks.back().is_none_or(|last| {
            last.second < chunk.second
                || (last.second == chunk.second && last.given.len() == CHUNK_MAX)
        });
        let sized = (1..=CHUNK_MAX).contains(&chunk.given.len());
        let whole = chunk.homes.len() == chunk.given.len();
        if !younger || !sized || !whole || self.count + chunk.given.len() > REPLIES_MAX {
            return false;
        }
        let number = self.first.wrapping_add(self.chunks.len() as u32);
        for (at, (key, _)) in chunk.given.iter().enumerate() {
            if self.find(*key).is_some() {
                return false;
            }
            self.index.insert(
                half(*key),
                Place {
                    chunk: number,
                    at: at as u16,
                },
            );
        }
        self.count += chunk.given.len();
        self.chunks.push_back(Arc::new(chunk));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::outcome::Refusal;

    fn home() -> Slot {
        Slot::new(7).expect("a slot")
    }

    const GIVEN: Outcome = Outcome::Refused(Refusal::NoMatch);

    #[test]
    fn an_outcome_is_remembered_for_64_times_t1() {
        let mut replies = Replies::default();
        replies.remember(Timestamp(5_999), RequestKey(7), home(), Outcome::Ended);
        for (name, now, known) in [
            ("at once", 5_999, true),
            ("after 32 s", 37_999, true),
            ("within the second", 37_998, true),
            ("later", 38_000, false),
        ] {
            replies.forget_until(Timestamp(now));
            assert_eq!(replies.find(RequestKey(7)).is_some(), known, "{name}");
            assert_eq!(replies.len(), usize::from(known), "{name}");
        }
        assert!(replies.index.is_empty());
    }

    #[test]
    fn the_oldest_go_first() {
        let mut replies = Replies::default();
        for key in 0..=REPLIES_MAX as u128 {
            replies.remember(Timestamp(1_000), RequestKey(key), home(), GIVEN);
        }
        assert_eq!(replies.len(), REPLIES_MAX + 1 - CHUNK_MAX);
        assert_eq!(replies.index.len(), replies.len());
        assert_eq!(replies.find(RequestKey(CHUNK_MAX as u128 - 1)), None);
        assert_eq!(replies.find(RequestKey(CHUNK_MAX as u128)), Some(&GIVEN));
        assert_eq!(replies.find(RequestKey(REPLIES_MAX as u128)), Some(&GIVEN));
    }

    #[test]
    fn keys_that_share_a_half_are_told_apart() {
        let mut replies = Replies::default();
        let (older, newer) = (RequestKey(7), RequestKey((1 << 100) | 7));
        replies.remember(Timestamp(1_000), older, home(), Outcome::Ended);
        assert_eq!(replies.find(newer), None);
        replies.remember(Timestamp(2_000), newer, home(), GIVEN);
        assert_eq!(replies.find(newer), Some(&GIVEN));
        assert_eq!(replies.find(older), None);
        replies.forget_until(Timestamp(34_000));
        assert_eq!(
            replies.find(newer),
            Some(&GIVEN),
            "forgetting the older one leaves it"
        );
    }

    #[test]
    fn a_restored_memory_forgets_alike() {
        let mut replies = Replies::default();
        for key in 0..3 * CHUNK_MAX as u128 {
            replies.remember(
                Timestamp(1_000 + key as u64 / 5),
                RequestKey(key),
                home(),
                GIVEN,
            );
        }
        let mut restored = Replies::default();
        for chunk in replies.share() {
            assert!(restored.restore(Chunk::clone(&chunk)));
            assert!(
                !restored.restore(Chunk::clone(&chunk)),
                "no request is answered twice"
            );
        }
        assert!(
            !restored.restore(Chunk {
                second: 1 << 40,
                given: Vec::new(),
                homes: Vec::new(),
            }),
            "empty"
        );
        for now in [33_000, 34_000, 36_000] {
            for replies in [&mut replies, &mut restored] {
                replies.forget_until(Timestamp(now));
            }
            assert_eq!(replies.chunks, restored.chunks);
            assert_eq!(replies.len(), restored.len());
        }
    }
}
