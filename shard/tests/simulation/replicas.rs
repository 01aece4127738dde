//! Three replicas of one log.
//!
//! The first counts from the start. The second is restored from a snapshot every now and then. The third is
//! restored from a snapshot that was taken earlier and written only afterwards, while the machine it was
//! taken of went on changing, and then catches up from the log.

use bytes::BytesMut;
use shard::machine::Machine;
use shard::machine::codec::{decode_entry, encode_entry};
use shard::machine::command::{Act, Entry};
use shard::machine::effect::Effect;
use shard::machine::snapshot::Snapshot;
use shard::slot::{SLOTS, Slot};
use shard::time::Timestamp;

use crate::author::ADDRESSES;
use crate::chance::Chance;
use crate::mistakes::{Erring, Mistake};

/// A log entry as it is stored.
type Stored = (u64, Vec<u8>);

/// A snapshot that is still to be written, with what it must hold.
struct Pending {
    snapshot: Snapshot,
    index: u64,
    digests: Vec<Act<'static>>,
}

/// The replicas, and the log.
pub struct Replicas {
    pub each: [Erring; 3],
    log: Vec<Stored>,
    mistake: Option<Mistake>,
    pending: Option<Pending>,
}

impl Replicas {
    /// Three new machines; all make a `mistake` that is shared, only the second another one.
    pub fn new(mistake: Option<Mistake>) -> Replicas {
        let shared = mistake.is_some_and(Mistake::is_shared);
        let erring = |errs: bool| Erring::new(Machine::default(), mistake.filter(|_| errs));
        Replicas {
            each: [erring(shared), erring(true), erring(shared)],
            log: Vec::new(),
            mistake,
            pending: None,
        }
    }

    /// The first machine.
    pub fn first(&self) -> &Machine {
        &self.each[0].machine
    }

    /// Appends an entry and lets everybody apply it; `judge` sees it first, as it is read back. Gives what
    /// each said.
    pub fn enter(
        &mut self,
        index: u64,
        at: Timestamp,
        act: &Act<'_>,
        judge: impl FnOnce(&Entry<'_>),
    ) -> Result<[Vec<Effect>; 3], String> {
        let mut bytes = BytesMut::new();
        encode_entry(at, act, &mut bytes);
        let entry = decode_entry(&bytes).map_err(|error| error.to_string())?;
        if entry.act != *act {
            return Err(format!("{act:?} was read back as {:?}", entry.act));
        }
        judge(&entry);
        let said = self.each.each_mut().map(|replica| {
            let mut effects = Vec::new();
            replica.apply(index, &entry, &mut effects);
            effects
        });
        self.log.push((index, bytes.to_vec()));
        Ok(said)
    }

    /// Restores the second replica, or begins or ends the restoring of the third.
    pub fn restart(&mut self, chance: &mut Chance, now: u64) -> Result<(), String> {
        if chance.percent(10) {
            let restored = restored(&self.each[1].machine.snapshot())?;
            self.each[1] = Erring::new(restored, self.each[1].mistake);
        }
        if self.pending.is_none() && chance.percent(20) {
            let machine = &self.each[2].machine;
            self.pending = Some(Pending {
                snapshot: machine.snapshot(),
                index: now,
                digests: digests(machine),
            });
        }
        if chance.percent(10)
            && let Some(pending) = self.pending.take()
        {
            let index = pending.index;
            let restored = restored(&pending.snapshot)?;
            if digests(&restored) != pending.digests {
                return Err(format!(
                    "the snapshot of entry {index} holds something else"
                ));
            }
            let mut replica = Erring::new(restored, self.each[2].mistake);
            let lost = self.mistake == Some(Mistake::OldSnapshot) && now > index;
            let missing = self
                .log
                .iter()
                .filter(|(at, _)| *at > index)
                .skip(usize::from(lost));
            for (at, bytes) in missing {
                let entry = decode_entry(bytes).map_err(|error| error.to_string())?;
                // The attested entry itself would stop a replica that has lost one.
                if !lost || !matches!(entry.act, Act::Attest { .. }) {
                    replica.apply(*at, &entry, &mut Vec::new());
                }
            }
            self.each[2] = replica;
        }
        Ok(())
    }

    /// Whether all hold the same.
    pub fn agree(&self) -> Result<(), String> {
        let first = self.first();
        let expected = digests(first);
        for (number, replica) in self.each.iter().enumerate() {
            let machine = &replica.machine;
            if machine.counts() != first.counts() {
                return Err(format!(
                    "replica {number} counts {:?}, the first {:?}",
                    machine.counts(),
                    first.counts()
                ));
            }
            let theirs = digests(machine);
            if theirs != expected {
                return Err(format!(
                    "replica {number} has drifted away to {theirs:?}, the first is at {expected:?}"
                ));
            }
        }
        Ok(())
    }
}

/// The machine that a snapshot becomes when it was written and read.
fn restored(snapshot: &Snapshot) -> Result<Machine, String> {
    let mut bytes = Vec::new();
    snapshot
        .write(&mut bytes)
        .map_err(|error| error.to_string())?;
    Machine::restore(&mut &bytes[..]).map_err(|error| error.to_string())
}

/// The digests of every slot that can hold something, and of the history.
fn digests(machine: &Machine) -> Vec<Act<'static>> {
    ADDRESSES
        .iter()
        .map(|address| machine.attest(u64::from(Slot::of(address).number()) * 4_096))
        .inspect(|act| assert!(matches!(act, Act::Attest { slot, .. } if slot.number() < SLOTS)))
        .collect()
}
