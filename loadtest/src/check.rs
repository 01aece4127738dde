//! What every NOTIFY is checked for. A fault is named and counted, never only counted.

use std::collections::BTreeMap;

use transport::sip::{Name, Request};

use crate::message::state_of;

/// The faults of a run, by name, each with its first example.
#[derive(Debug, Default)]
pub struct Faults {
    named: BTreeMap<&'static str, (u64, String)>,
}

impl Faults {
    pub fn add(&mut self, name: &'static str, example: String) {
        self.named.entry(name).or_insert_with(|| (0, example)).0 += 1;
    }

    /// Each by its name, with its count and its first example.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64, &str)> {
        self.named
            .iter()
            .map(|(name, (count, example))| (*name, *count, example.as_str()))
    }

    /// `Ok` when there are none; else what there is.
    pub fn verdict(&self) -> Result<(), String> {
        if self.named.is_empty() {
            return Ok(());
        }
        let lines = self
            .named
            .iter()
            .map(|(name, (count, example))| format!("{name}: {count}, such as {example}"));
        Err(lines.collect::<Vec<_>>().join("; "))
    }
}

/// What one dialog has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub cseq: u32,
    pub state: Option<u64>,
    pub ended: bool,
}

/// Every dialog by its Call-ID.
#[derive(Debug, Default)]
pub struct Watchers {
    pub seen: BTreeMap<String, Seen>,
    pub notifies: u64,
    pub retransmitted: u64,
}

impl Watchers {
    /// Checks a NOTIFY: a dialog of ours, a CSeq that grows, a state that never goes back.
    pub fn take(&mut self, notify: &Request, faults: &mut Faults) {
        self.notifies += 1;
        let call_id = notify.call_id();
        let Some(seen) = self.seen.get_mut(call_id) else {
            faults.add("a NOTIFY for no dialog of ours", call_id.to_owned());
            return;
        };
        if notify.cseq() == seen.cseq {
            self.retransmitted += 1;
            return;
        }
        if notify.cseq() < seen.cseq {
            faults.add(
                "a CSeq that goes back",
                format!("{call_id} from {} to {}", seen.cseq, notify.cseq()),
            );
            return;
        }
        seen.cseq = notify.cseq();
        let state = state_of(notify.body());
        if state < seen.state && state.is_some() {
            faults.add(
                "a state that goes back",
                format!("{call_id} from {:?} to {state:?}", seen.state),
            );
        }
        seen.state = state;
        seen.ended = notify
            .header(Name::SubscriptionState)
            .is_some_and(|state| state.starts_with("terminated"));
    }
}
