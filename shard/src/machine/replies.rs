//! Remembered outcomes: a repeated request is answered as it was the first time (house D9).
//!
//! Outcomes are kept in one bucket per second of entry time, so that forgetting is dropping a bucket
//! and a snapshot copies pointers; an index finds a key's place. The index is hashed, and never
//! iterated.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::outcome::{Outcome, RequestKey};
use crate::presence::limits::{REPLIES_MAX, REPLY_MEMORY_MS};
use crate::time::Timestamp;

/// The outcomes of one second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Which second since 1970.
    pub second: u64,
    /// In the order in which they were decided.
    pub outcomes: Arc<Vec<(RequestKey, Outcome)>>,
}

/// What was answered in the last 32 seconds of entry time.
#[derive(Debug, Default)]
pub struct Replies {
    buckets: VecDeque<Bucket>,
    /// Buckets dropped so far, so that places stay valid.
    dropped: u64,
    places: HashMap<RequestKey, (u64, u32)>,
}

impl Replies {
    /// What was answered to this request.
    #[must_use]
    pub fn find(&self, key: RequestKey) -> Option<&Outcome> {
        let (bucket, place) = *self.places.get(&key)?;
        let bucket = self.buckets.get(usize::try_from(bucket - self.dropped).ok()?)?;
        bucket.outcomes.get(place as usize).map(|(_, outcome)| outcome)
    }

    /// Remembers an answer given at `now`, which never goes back.
    pub fn remember(&mut self, key: RequestKey, outcome: Outcome, now: Timestamp) {
        let second = now.0 / 1_000;
        if self.buckets.back().is_none_or(|bucket| bucket.second != second) {
            self.buckets.push_back(Bucket { second, outcomes: Arc::default() });
        }
        let number = self.dropped + self.buckets.len() as u64 - 1;
        let bucket = self.buckets.back_mut().expect("one was pushed if there was none");
        // While a snapshot holds the bucket this copies it, once.
        let outcomes = Arc::make_mut(&mut bucket.outcomes);
        self.places.insert(key, (number, outcomes.len() as u32));
        outcomes.push((key, outcome));
        while self.places.len() > REPLIES_MAX && self.buckets.len() > 1 {
            self.drop_oldest();
        }
    }

    /// Forgets what is older than 64·T1.
    pub fn forget(&mut self, now: Timestamp) {
        while self.buckets.front().is_some_and(|bucket| (bucket.second + 1) * 1_000 + REPLY_MEMORY_MS <= now.0) {
            self.drop_oldest();
        }
        if self.places.is_empty() && self.places.capacity() > 1_024 {
            self.places.shrink_to_fit();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(bucket) = self.buckets.pop_front() else { return };
        for (key, _) in bucket.outcomes.iter() {
            // A key that was decided again since (its memory had gone) belongs to the later bucket.
            if self.places.get(key).is_some_and(|(place, _)| *place == self.dropped) {
                self.places.remove(key);
            }
        }
        self.dropped += 1;
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The buckets, oldest first: pointers to copy.
    #[must_use]
    pub fn buckets(&self) -> Vec<Bucket> {
        self.buckets.iter().cloned().collect()
    }

    /// Takes buckets over from a snapshot.
    #[must_use]
    pub fn from_buckets(buckets: Vec<Bucket>) -> Replies {
        let mut replies = Replies::default();
        for (number, bucket) in buckets.iter().enumerate() {
            for (place, (key, _)) in bucket.outcomes.iter().enumerate() {
                replies.places.insert(*key, (number as u64, place as u32));
            }
        }
        replies.buckets = buckets.into();
        replies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 3261 8.2.2.2
    //= type=test
    #[test]
    fn an_outcome_is_remembered_for_32_seconds() {
        let mut replies = Replies::default();
        let key = RequestKey::of("tag", "call", 1, "PUBLISH");
        replies.remember(key, Outcome::Ended, Timestamp(10_500));
        for (now, found) in [(10_500, true), (42_500, true), (42_999, true), (43_000, false)] {
            replies.forget(Timestamp(now));
            assert_eq!(replies.find(key).is_some(), found, "at {now}");
        }
        assert_eq!(replies.len(), 0);
    }

    #[test]
    fn a_key_decided_again_outlives_its_first_bucket() {
        let mut replies = Replies::default();
        let key = RequestKey::of("tag", "call", 1, "PUBLISH");
        replies.remember(key, Outcome::Ended, Timestamp(1_000));
        replies.remember(key, Outcome::Refused(crate::presence::refusal::Refusal::NoMatch), Timestamp(20_000));
        replies.forget(Timestamp(34_000));
        assert!(matches!(replies.find(key), Some(Outcome::Refused(_))));
        let copied = Replies::from_buckets(replies.buckets());
        assert_eq!(copied.find(key), replies.find(key));
    }
}
