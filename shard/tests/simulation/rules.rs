//! Rules that hold whatever the model says (house §14): they look only at what clients could see, and
//! at what the machine reports.

use std::collections::{BTreeMap, BTreeSet};

use shard::machine::Machine;
use shard::machine::effect::SubscriptionState;
use shard::machine::outcome::{Outcome, RequestKey};
use shard::presence::publication::EntityTag;
use shard::subscription::dialog::{DialogKey, Package};
use shard::time::Timestamp;

use crate::asked::{Asked, What};
use crate::author::ADDRESSES;
use crate::model::{Said, Shown};
use crate::world::shown;

/// How long an answer is remembered at least, in milliseconds.
const MEMORY_MS: u64 = 32_000;

/// A repeat gets the first answer as long as it is remembered.
#[derive(Default)]
pub struct Answers {
    /// Not before when each request was answered as it is remembered, and the answer.
    first: BTreeMap<RequestKey, (u64, Outcome)>,
}

impl Answers {
    pub fn check(&mut self, key: RequestKey, outcome: &Outcome, now_ms: u64) -> Result<(), String> {
        let first = self
            .first
            .entry(key)
            .or_insert_with(|| (now_ms, outcome.clone()));
        let age_ms = now_ms - first.0;
        if first.1 == *outcome {
            // The memory ends within a second after its time. If the same came out anew, it was not
            // before that time.
            first.0 += if age_ms > MEMORY_MS + 1_000 {
                MEMORY_MS
            } else {
                0
            };
        } else if age_ms > MEMORY_MS {
            *first = (now_ms, outcome.clone());
        } else {
            return Err(format!(
                "{key:?} was answered {:?}, then {outcome:?}",
                first.1
            ));
        }
        Ok(())
    }
}

#[derive(Default)]
pub struct Rules {
    /// The greatest clock of any entry.
    now_ms: u64,
    answers: Answers,
    /// What each dialog was told last.
    told: BTreeMap<DialogKey, Vec<Shown>>,
    /// The last CSeq of each dialog; `None` once it has ended.
    cseqs: BTreeMap<DialogKey, Option<u32>>,
    /// Each tag with the request that it was first given to.
    tags: BTreeMap<(&'static str, EntityTag), RequestKey>,
    /// What each revision showed, as far as anybody saw it.
    revisions: BTreeMap<(String, u64), Vec<Shown>>,
    /// The newest revision seen of each presentity since something was kept for it.
    newest: BTreeMap<String, u64>,
}

impl Rules {
    /// An entry carries this time.
    pub fn time(&mut self, clock_ms: u64) {
        self.now_ms = self.now_ms.max(clock_ms);
    }

    /// Checks one entry: what was asked and what was said.
    pub fn check(&mut self, asked: &[Asked], said: &Said) -> Result<(), String> {
        if asked.len() != said.replies.len() {
            return Err(format!(
                "{} requests, {} replies",
                asked.len(),
                said.replies.len()
            ));
        }
        for (request, (ticket, outcome)) in asked.iter().zip(&said.replies) {
            if request.ticket != *ticket {
                return Err(format!(
                    "{ticket:?} was answered in the place of {:?}",
                    request.ticket
                ));
            }
            self.answers.check(request.key, outcome, self.now_ms)?;
            self.tag(request, outcome)?;
        }
        let mut told = BTreeSet::new();
        for notified in &said.notified {
            self.revision(&notified.presentity, notified.revision, &notified.shown)?;
            for notice in &notified.told {
                if !told.insert(notice.dialog) {
                    return Err(format!(
                        "dialog {} was notified twice in one entry",
                        notice.dialog
                    ));
                }
                let last = self.cseqs.entry(notice.dialog).or_insert(Some(0));
                if last.is_none_or(|last| last >= notice.cseq) {
                    return Err(format!(
                        "{last:?} then CSeq {} in {}",
                        notice.cseq, notice.dialog
                    ));
                }
                self.told.insert(notice.dialog, notified.shown.clone());
                let ends = matches!(notice.state, SubscriptionState::Terminated(_));
                *last = (!ends).then_some(notice.cseq);
            }
        }
        Ok(())
    }

    /// A tag belongs to one version of one publication.
    fn tag(&mut self, request: &Asked, outcome: &Outcome) -> Result<(), String> {
        let (
            What::Publish {
                presentity,
                if_match,
                ..
            },
            Outcome::Published { tag, .. },
        ) = (&request.what, outcome)
        else {
            return Ok(());
        };
        let first = self.tags.entry((presentity, *tag)).or_insert(request.key);
        let kept = *if_match == Some(*tag);
        if *first == request.key || kept {
            Ok(())
        } else {
            Err(format!(
                "tag {tag} was given to {first:?} and to {:?}",
                request.key
            ))
        }
    }

    /// A revision shows one state, and revisions grow.
    fn revision(&mut self, presentity: &str, revision: u64, shown: &[Shown]) -> Result<(), String> {
        let before = self
            .revisions
            .entry((presentity.to_owned(), revision))
            .or_insert_with(|| shown.to_vec());
        if before != shown {
            return Err(format!(
                "revision {revision} of {presentity} shows two states"
            ));
        }
        let newest = self.newest.entry(presentity.to_owned()).or_default();
        // 0 is what an address shows of which nothing is kept.
        if revision != 0 && revision < *newest {
            return Err(format!(
                "revision {revision} of {presentity} after {newest}"
            ));
        }
        *newest = revision.max(*newest);
        Ok(())
    }

    /// Nothing outlives its end, dialogs and watchers are the same, and what a watcher was told last
    /// is what there is.
    pub fn check_kept(&mut self, machine: &Machine) -> Result<(), String> {
        let now = Timestamp(self.now_ms);
        if machine
            .next_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            return Err(format!("{:?} is due at {now:?}", machine.next_deadline()));
        }
        let (mut publications, mut endpoints, mut watchers) = (0, 0, 0);
        let mut addresses = 0;
        for address in ADDRESSES {
            let Some(report) = machine.report(address) else {
                continue;
            };
            addresses += 1;
            let seen = shown(&machine.fetch(address, Package::Presence));
            publications += report.publications.len() as u64;
            endpoints += report.endpoints.len() as u64;
            watchers += report.watchers.len() as u64;
            let ends = report
                .publications
                .iter()
                .map(|(_, publication)| publication.expires_at);
            let ends = ends.chain(report.endpoints.iter().map(|endpoint| endpoint.expires_at));
            let ends = ends.chain(report.watchers.iter().map(|(_, dialog)| dialog.expires_at));
            if let Some(over) = ends.into_iter().find(|end| *end <= now) {
                return Err(format!(
                    "at {now:?} something of {address} lives that ended at {over:?}"
                ));
            }
            for (key, dialog) in &report.watchers {
                if dialog.presentity.as_str() != address {
                    return Err(format!(
                        "{key} watches {:?}, not {address}",
                        dialog.presentity
                    ));
                }
                let last = self.cseqs.get(key).copied().flatten();
                if last != Some(dialog.local_cseq) {
                    return Err(format!(
                        "{key} is at {}, its watcher at {last:?}",
                        dialog.local_cseq
                    ));
                }
                if self.told.get(key) != Some(&seen) {
                    return Err(format!("{key} was told something else than {seen:?}"));
                }
            }
        }
        let counts = machine.counts();
        let kept = (
            counts.presentities,
            counts.publications,
            counts.endpoints,
            counts.dialogs,
        );
        if kept != (addresses, publications, endpoints, watchers) {
            return Err(format!(
                "{counts:?} where {addresses} addresses have {publications} publications, {endpoints} endpoints and {watchers} watchers"
            ));
        }
        Ok(())
    }
}
