//! Who looks whether the promises are kept: what clients saw, against what machines hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use node::peer::NodeNumber;
use shard::machine::Machine;
use shard::machine::command::Act;
use shard::machine::moves::Standing;
use shard::runner::{Job, Runner};
use shard::slot::Slot;
use transport::dialog::DialogRoute;
use transport::sip::Request;

use crate::fate::BEGIN_MS;
use crate::phones::{Learned, Publisher, marks, user};

/// A publication as a machine holds it.
#[derive(Clone, Debug)]
pub struct Held {
    pub presentity: usize,
    pub tag: String,
    pub marks: Vec<String>,
    pub expires_at_ms: u64,
}

/// What a machine was seen to hold.
#[derive(Clone, Debug)]
pub struct Observation {
    pub node: NodeNumber,
    pub shard: u16,
    pub applied: u64,
    pub history: u64,
    pub machine_ms: u64,
    pub held: Vec<Held>,
    /// Call-IDs of dialogs, with the last sequence number.
    pub dialogs: BTreeMap<String, (u32, usize)>,
    pub performing_since: u64,
    /// Presentities whose slot is served, as far as this machine knows.
    pub served: Vec<usize>,
}

/// What was seen, until it is judged.
pub type Seen = Arc<Mutex<Vec<Observation>>>;

/// Asks a machine, when it comes to it, what it holds.
pub fn observe(seen: &Seen, node: NodeNumber, shard: u16, runner: &Runner, presentities: usize) {
    let (seen, own) = (Arc::clone(seen), runner.clone());
    let look = move |machine: &Machine| {
        let (held, dialogs) = holdings(machine, presentities);
        let Act::Attest { history_digest, .. } = machine.attest(0) else {
            return;
        };
        let observation = Observation {
            node,
            shard,
            applied: machine.applied(),
            history: history_digest,
            machine_ms: machine.now().0,
            held,
            dialogs,
            served: (0..presentities)
                .filter(|presentity| is_served(machine, *presentity))
                .collect(),
            performing_since: own
                .gauges()
                .performing_since
                .load(std::sync::atomic::Ordering::Acquire),
        };
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(observation);
    };
    let _ = runner.submit(Job::Read(Box::new(look)));
}

/// Whether a slot has not moved, or has arrived.
fn is_served(machine: &Machine, presentity: usize) -> bool {
    let slot = slot_of(presentity);
    let moved = machine.standings().find(|(of, ..)| *of == slot);
    moved.is_none_or(|(_, _, standing)| standing == Standing::Here)
}

/// The slot of a presentity.
pub fn slot_of(presentity: usize) -> Slot {
    Slot::of(user(presentity).trim_start_matches("sip:"))
}

type Dialogs = BTreeMap<String, (u32, usize)>;

fn holdings(machine: &Machine, presentities: usize) -> (Vec<Held>, Dialogs) {
    let (mut held, mut dialogs) = (Vec::new(), Dialogs::new());
    for presentity in 0..presentities {
        let address = user(presentity);
        let Some(report) = machine.report(address.trim_start_matches("sip:")) else {
            continue;
        };
        for (_, publication) in &report.publications {
            held.push(Held {
                presentity,
                tag: publication.tag.to_string(),
                marks: marks(&String::from_utf8_lossy(&publication.content.stored)),
                expires_at_ms: publication.expires_at.0,
            });
        }
        for (_, dialog) in report.watchers.iter().chain(&report.batches) {
            if let Some(route) = DialogRoute::decode(&dialog.route) {
                dialogs.insert(route.call_id.to_owned(), (dialog.local_cseq, presentity));
            }
        }
    }
    (held, dialogs)
}

/// A notification that was sent: by which node, under which branch.
type SentBy = (NodeNumber, String);

/// How late something may end where all is well: deadlines are looked at every half second.
const LATE_MS: u64 = 3_000;

/// The judge.
#[derive(Default)]
pub struct Judge {
    /// Each tag, and the request that it was given to.
    tags: BTreeMap<(usize, String), String>,
    /// Who sent each number of each dialog.
    sent: BTreeMap<(String, u32), SentBy>,
    /// The last number that a node sent of a dialog.
    last: BTreeMap<(NodeNumber, String), u32>,
    /// The history at each place of each log.
    histories: BTreeMap<(u16, u64), (u64, NodeNumber)>,
    /// Numbers that were sent at least once.
    repeats: std::collections::BTreeSet<(String, u32)>,
    /// Since which entry somebody performs, of each shard.
    pub top: BTreeMap<u16, u64>,
    /// Whether somebody leads everywhere, for a while already.
    pub calm: bool,
    /// Observations judged, notifications seen, fetches compared.
    pub counts: [u64; 3],
}

impl Judge {
    /// A node sends a notification.
    pub fn notified(&mut self, node: NodeNumber, notify: &Request) -> Result<(), String> {
        let (call_id, cseq) = (notify.call_id().to_owned(), notify.cseq());
        // A fetch's dialog is made anew by each copy of it.
        if call_id.starts_with('f') {
            return Ok(());
        }
        self.counts[1] += 1;
        let via = notify.top_via().to_owned();
        let first = self.sent.entry((call_id.clone(), cseq));
        let by = first.or_insert_with(|| (node, via.clone()));
        if (by.0, by.1.as_str()) != (node, via.as_str()) {
            return Err(format!(
                "NOTIFY {cseq} of {call_id} was sent by node {} and by node {node}",
                by.0
            ));
        }
        let last = self.last.entry((node, call_id.clone())).or_default();
        let repeated = !self.repeats.insert((call_id.clone(), cseq));
        if cseq < *last && !repeated {
            return Err(format!(
                "NOTIFY {cseq} of {call_id} by node {node} after {last}"
            ));
        }
        *last = cseq.max(*last);
        Ok(())
    }

    /// A node begins anew: what it sent before, it does not know.
    pub fn reborn(&mut self, node: NodeNumber) {
        self.last.retain(|(of, _), _| *of != node);
    }

    /// A telephone has learned something.
    pub fn learned(
        &mut self,
        learned: Learned,
        publishers: &[Publisher],
        now_ms: u64,
    ) -> Result<(), String> {
        match learned {
            Learned::Nothing => Ok(()),
            Learned::Broken(why) => Err(why),
            Learned::Tag {
                presentity,
                tag,
                request,
            } => {
                let first = self
                    .tags
                    .entry((presentity, tag.clone()))
                    .or_insert_with(|| request.clone());
                if *first == request {
                    Ok(())
                } else {
                    Err(format!(
                        "the tag {tag} was given to {first} and to {request}"
                    ))
                }
            }
            Learned::Fetched {
                presentity,
                marks,
                begun_ms,
            } => {
                self.counts[2] += 1;
                for publisher in publishers.iter().filter(|p| p.presentity == presentity) {
                    if let Some(promise) = &publisher.promise
                        && promise.since_ms <= begun_ms
                        && now_ms < promise.until_ms.0
                        && !marks.contains(&promise.mark)
                    {
                        return Err(format!(
                            "a fetch begun at {begun_ms} shows {marks:?}, without {promise:?}"
                        ));
                    }
                    let stale = publisher
                        .gone
                        .iter()
                        .find(|(mark, since)| **since <= begun_ms && marks.contains(mark));
                    if let Some((mark, since)) = stale {
                        return Err(format!(
                            "a fetch begun at {begun_ms} shows {mark}, which was gone at {since}"
                        ));
                    }
                }
                Ok(())
            }
        }
    }

    /// A machine was looked at.
    pub fn judge(
        &mut self,
        seen: &Observation,
        publishers: &[Publisher],
        shard_of: impl Fn(usize) -> u16,
        now_ms: u64,
    ) -> Result<(), String> {
        self.counts[0] += 1;
        let Observation {
            node,
            shard,
            applied,
            history,
            ..
        } = *seen;
        let first = self
            .histories
            .entry((shard, applied))
            .or_insert((history, node));
        if first.0 != history {
            return Err(format!(
                "shard {shard}: nodes {} and {node} differ after entry {applied}",
                first.1
            ));
        }
        for held in &seen.held {
            if held.expires_at_ms <= seen.machine_ms {
                return Err(format!(
                    "{held:?} lives on at {} in shard {shard}",
                    seen.machine_ms
                ));
            }
        }
        if seen.performing_since == 0 || self.top.get(&shard) != Some(&seen.performing_since) {
            return Ok(());
        }
        let late = seen
            .held
            .iter()
            .find(|held| self.calm && held.expires_at_ms + LATE_MS < BEGIN_MS + now_ms);
        if let Some(late) = late {
            return Err(format!("{late:?} lives on in shard {shard} at {now_ms}"));
        }
        let own = publishers.iter().filter(|publisher| {
            shard_of(publisher.presentity) == shard && seen.served.contains(&publisher.presentity)
        });
        for publisher in own {
            let held: Vec<&Held> = seen
                .held
                .iter()
                .filter(|held| held.presentity == publisher.presentity)
                .collect();
            if let Some(promise) = &publisher.promise
                && now_ms < promise.until_ms.0
                && !held
                    .iter()
                    .any(|held| held.tag == promise.tag && held.marks.contains(&promise.mark))
            {
                return Err(format!(
                    "node {node}, who leads shard {shard}, lost {promise:?}: there is {held:?}, at {now_ms}"
                ));
            }
            for held in &held {
                if let Some(gone) = held
                    .marks
                    .iter()
                    .find(|mark| publisher.gone.contains_key(*mark))
                {
                    return Err(format!("{gone} came back: {held:?}"));
                }
            }
        }
        for (place, held) in seen.held.iter().enumerate() {
            let twice = seen.held[place + 1..]
                .iter()
                .find(|other| other.marks == held.marks);
            if let Some(twice) = twice {
                return Err(format!(
                    "one request made two publications: {held:?} and {twice:?}"
                ));
            }
        }
        Ok(())
    }
}
