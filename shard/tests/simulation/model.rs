//! The same rules once more, written as simply as possible: flat lists, searched from end to end.
//!
//! It shares value types with the machine and no code.

use std::collections::BTreeMap;

use shard::machine::command::{Act, Bindings, Command, Entry, Publish, Register, Request, Ticket};
use shard::machine::effect::SubscriptionState;
use shard::machine::outcome::{Outcome, Refusal, RequestKey};
use shard::presence::endpoint::Endpoint;
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::slot::Slot;
use shard::subscription::dialog::{DialogKey, EndReason, LocalTag};
use shard::time::Timestamp;

#[derive(Clone, Debug)]
pub struct Publication {
    pub presentity: String,
    pub tag: EntityTag,
    pub ends_ms: u64,
    pub shown: Shown,
}

/// What a watcher sees of a publication: its number, when it was published, what it says.
pub type Shown = (u32, u64, Vec<u8>);

#[derive(Clone, Debug)]
pub struct Dialog {
    pub key: DialogKey,
    pub presentity: String,
    pub watcher: String,
    pub local_tag: LocalTag,
    pub local_cseq: u32,
    pub remote_cseq: u32,
    pub ends_ms: u64,
    pub notified_ms: u64,
    pub route: Vec<u8>,
    pub target: Vec<u8>,
}

/// What is counted for an address as long as anything is kept for it.
#[derive(Clone, Debug, Default)]
struct Address {
    revision: u64,
    next_number: u32,
}

/// A NOTIFY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub dialog: DialogKey,
    pub cseq: u32,
    pub state: SubscriptionState,
    pub route: Vec<u8>,
    pub target: Vec<u8>,
}

/// The notifications about one presentity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    pub presentity: String,
    pub revision: u64,
    pub shown: Vec<Shown>,
    pub told: Vec<Told>,
}

/// Everything that an entry says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub replies: Vec<(Ticket, Outcome)>,
    pub notified: Vec<Notified>,
}

#[derive(Default)]
struct Due {
    everyone: bool,
    some: Vec<DialogKey>,
    gone: Vec<Told>,
}

#[derive(Default)]
pub struct Model {
    pub now_ms: u64,
    salt: Option<u32>,
    pub publications: Vec<Publication>,
    pub endpoints: Vec<(String, Endpoint)>,
    pub dialogs: Vec<Dialog>,
    addresses: BTreeMap<String, Address>,
    remembered: Vec<(RequestKey, u64, Outcome)>,
    due: BTreeMap<String, Due>,
}

impl Model {
    pub fn apply(&mut self, index: u64, entry: &Entry<'_>) -> Said {
        let before_ms = self.now_ms;
        self.now_ms = before_ms.max(entry.at.0);
        self.expire(index);
        // 64·T1, counted from the end of the second in which it was answered.
        let now_ms = self.now_ms;
        self.remembered
            .retain(|(_, at_ms, _)| at_ms / 1_000 * 1_000 + 999 + 32_000 >= now_ms);

        let mut said = Said::default();
        match &entry.act {
            Act::TermStart { salt, .. } => {
                self.salt = self.salt.or(Some(*salt));
                for dialog in &self.dialogs {
                    if dialog.notified_ms + 32_000 >= before_ms {
                        let due = self.due.entry(dialog.presentity.clone()).or_default();
                        due.some.push(dialog.key);
                    }
                }
            }
            Act::Requests(requests) => {
                for (position, request) in requests.iter().enumerate() {
                    let outcome = self.answer(index, position as u16, request);
                    said.replies.push((request.ticket, outcome));
                }
            }
            Act::Attest { .. } => {}
        }
        said.notified = self.notify();
        said
    }

    /// When the first thing ends.
    pub fn first_end_ms(&self) -> Option<u64> {
        let publications = self
            .publications
            .iter()
            .map(|publication| publication.ends_ms);
        let endpoints = self
            .endpoints
            .iter()
            .map(|(_, endpoint)| endpoint.expires_at.0);
        let dialogs = self.dialogs.iter().map(|dialog| dialog.ends_ms);
        publications.chain(endpoints).chain(dialogs).min()
    }

    pub fn shown(&self, presentity: &str) -> Vec<Shown> {
        let of = self
            .publications
            .iter()
            .filter(|p| p.presentity == presentity);
        of.map(|publication| publication.shown.clone()).collect()
    }

    pub fn revision(&self, presentity: &str) -> u64 {
        self.addresses
            .get(presentity)
            .map_or(0, |address| address.revision)
    }

    pub fn remembered(&self) -> usize {
        self.remembered.len()
    }

    /// How many addresses have any state.
    pub fn addresses(&self) -> usize {
        self.addresses.len()
    }

    fn answer(&mut self, index: u64, position: u16, request: &Request<'_>) -> Outcome {
        if let Some((_, _, outcome)) = self
            .remembered
            .iter()
            .find(|(key, _, _)| *key == request.key)
        {
            return outcome.clone();
        }
        let tag = EntityTag {
            salt: self.salt.unwrap_or(0),
            index,
            position,
        };
        let outcome = match &request.command {
            Command::Register(register) => self.register(register),
            Command::Publish(publish) => self.publish(publish, tag),
            Command::Subscribe(new) => {
                if self.dialogs.iter().any(|dialog| dialog.key == new.dialog) {
                    self.resubscribe(new.dialog, new.cseq, new.expires_s, new.target)
                } else {
                    let dialog = Dialog {
                        key: new.dialog,
                        presentity: new.presentity.to_owned(),
                        watcher: new.watcher.to_owned(),
                        local_tag: new.local_tag,
                        local_cseq: 0,
                        remote_cseq: new.cseq,
                        ends_ms: self.now_ms + u64::from(new.expires_s) * 1_000,
                        notified_ms: self.now_ms,
                        route: new.route.to_vec(),
                        target: new.target.to_vec(),
                    };
                    self.due
                        .entry(dialog.presentity.clone())
                        .or_default()
                        .some
                        .push(dialog.key);
                    self.dialogs.push(dialog);
                    if new.expires_s == 0 {
                        self.end(new.dialog, EndReason::Timeout);
                    }
                    Ok(Outcome::Subscribed {
                        local_tag: new.local_tag,
                        expires_s: new.expires_s,
                    })
                }
            }
            Command::Resubscribe(again) => {
                self.resubscribe(again.dialog, again.cseq, again.expires_s, again.target)
            }
            Command::EndDialog { dialog, reason, .. } => {
                if self.end(*dialog, *reason) {
                    Ok(Outcome::Ended)
                } else {
                    Err(Refusal::UnknownDialog)
                }
            }
            enhanced => unreachable!("the author does not write {enhanced:?}"),
        };
        self.forget_empty();
        let outcome = outcome.unwrap_or_else(Outcome::Refused);
        self.remembered
            .push((request.key, self.now_ms, outcome.clone()));
        outcome
    }

    fn register(&mut self, register: &Register<'_>) -> Result<Outcome, Refusal> {
        let mine = |endpoints: &[(String, Endpoint)]| -> Vec<Endpoint> {
            let mine = endpoints.iter().filter(|(aor, _)| aor == register.aor);
            mine.map(|(_, endpoint)| endpoint.clone()).collect()
        };
        let stale = |e: &Endpoint| e.call_id == register.call_id && e.cseq >= register.cseq;
        let mut endpoints = mine(&self.endpoints);
        let mut refreshed = false;
        match &register.bindings {
            Bindings::Nothing => {}
            Bindings::RemoveAll => {
                if endpoints.iter().any(stale) {
                    return Err(Refusal::OutOfOrder);
                }
                endpoints.clear();
            }
            Bindings::Each(bindings) => {
                for binding in bindings {
                    if endpoints
                        .iter()
                        .any(|e| e.binding == binding.binding && stale(e))
                    {
                        return Err(Refusal::OutOfOrder);
                    }
                }
                refreshed = bindings.iter().any(|binding| {
                    let known = endpoints.iter().any(|e| e.binding == binding.binding);
                    known && binding.expires_s > 0
                });
                for binding in bindings {
                    endpoints.retain(|endpoint| endpoint.binding != binding.binding);
                    if binding.expires_s > 0 {
                        endpoints.push(Endpoint {
                            binding: binding.binding,
                            contact: binding.contact.into(),
                            instance: binding.instance.into(),
                            q: binding.q,
                            path: binding.path.into(),
                            call_id: register.call_id,
                            cseq: register.cseq,
                            expires_at: Timestamp(
                                self.now_ms + u64::from(binding.expires_s) * 1_000,
                            ),
                            target: binding.target.into(),
                            endpoint_id: None,
                        });
                    }
                }
                if endpoints.len() > 32 {
                    return Err(Refusal::TooManyEndpoints);
                }
            }
        }
        endpoints.sort_by_key(|endpoint| endpoint.binding);
        self.endpoints.retain(|(aor, _)| aor != register.aor);
        for endpoint in &endpoints {
            self.endpoints
                .push((register.aor.to_owned(), endpoint.clone()));
            self.addresses.entry(register.aor.to_owned()).or_default();
        }
        Ok(Outcome::Registered {
            endpoints: endpoints.into(),
            at: Timestamp(self.now_ms),
            refreshed,
        })
    }

    fn publish(&mut self, publish: &Publish<'_>, fresh: EntityTag) -> Result<Outcome, Refusal> {
        let said = |tag| {
            Ok(Outcome::Published {
                tag,
                expires_s: publish.expires_s,
            })
        };
        let ends_ms = self.now_ms + u64::from(publish.expires_s) * 1_000;
        let too_large = publish
            .content
            .is_some_and(|content| content.len() > 65_536);
        let presentity = publish.presentity.to_owned();
        let Some(presented) = publish.if_match else {
            let content = publish.content.ok_or(Refusal::NoMatch)?;
            if publish.expires_s == 0 {
                return said(fresh);
            }
            if self.shown(&presentity).len() >= 64 {
                return Err(Refusal::TooManyPublications);
            }
            if too_large {
                return Err(Refusal::ContentTooLarge);
            }
            let address = self.addresses.entry(presentity.clone()).or_default();
            let shown = (address.next_number, self.now_ms, content.to_vec());
            address.next_number += 1;
            self.publications.push(Publication {
                presentity: presentity.clone(),
                tag: fresh,
                ends_ms,
                shown,
            });
            self.changed(&presentity, fresh.index);
            return said(fresh);
        };
        let at = self
            .publications
            .iter()
            .position(|held| held.presentity == presentity && held.tag == presented)
            .ok_or(Refusal::NoMatch)?;
        if publish.expires_s == 0 {
            self.publications.remove(at);
            self.changed(&presentity, fresh.index);
            return said(fresh);
        }
        let held = &mut self.publications[at];
        let Some(content) = publish.content else {
            held.ends_ms = ends_ms;
            if publish.tag_policy == TagPolicy::Renew {
                held.tag = fresh;
            }
            let tag = held.tag;
            return said(tag);
        };
        if too_large {
            return Err(Refusal::ContentTooLarge);
        }
        if publish.tag_policy == TagPolicy::Renew {
            held.tag = fresh;
        }
        let tag = held.tag;
        held.ends_ms = ends_ms;
        held.shown = (held.shown.0, self.now_ms, content.to_vec());
        self.changed(&presentity, fresh.index);
        said(tag)
    }

    fn resubscribe(
        &mut self,
        key: DialogKey,
        cseq: u32,
        expires_s: u32,
        target: &[u8],
    ) -> Result<Outcome, Refusal> {
        let now_ms = self.now_ms;
        let dialog = self.dialogs.iter_mut().find(|dialog| dialog.key == key);
        let dialog = dialog.ok_or(Refusal::UnknownDialog)?;
        if cseq <= dialog.remote_cseq {
            return Err(Refusal::OutOfOrder);
        }
        dialog.remote_cseq = cseq;
        dialog.target = target.to_vec();
        dialog.ends_ms = now_ms + u64::from(expires_s) * 1_000;
        let local_tag = dialog.local_tag;
        self.due
            .entry(dialog.presentity.clone())
            .or_default()
            .some
            .push(key);
        if expires_s == 0 {
            self.end(key, EndReason::Timeout);
        }
        Ok(Outcome::Subscribed {
            local_tag,
            expires_s,
        })
    }

    fn changed(&mut self, presentity: &str, index: u64) {
        self.addresses
            .entry(presentity.to_owned())
            .or_default()
            .revision = index;
        self.due.entry(presentity.to_owned()).or_default().everyone = true;
    }

    fn end(&mut self, key: DialogKey, reason: EndReason) -> bool {
        let Some(at) = self.dialogs.iter().position(|dialog| dialog.key == key) else {
            return false;
        };
        let dialog = self.dialogs.remove(at);
        if reason != EndReason::Unreachable {
            self.due
                .entry(dialog.presentity)
                .or_default()
                .gone
                .push(Told {
                    dialog: key,
                    cseq: dialog.local_cseq + 1,
                    state: SubscriptionState::Terminated(reason),
                    route: dialog.route,
                    target: dialog.target,
                });
        }
        true
    }

    fn expire(&mut self, index: u64) {
        let now_ms = self.now_ms;
        let mut changed = Vec::new();
        self.publications.retain(|publication| {
            if publication.ends_ms <= now_ms {
                changed.push(publication.presentity.clone());
            }
            publication.ends_ms > now_ms
        });
        for presentity in changed {
            self.changed(&presentity, index);
        }
        self.endpoints
            .retain(|(_, endpoint)| endpoint.expires_at.0 > now_ms);
        let mut ended: Vec<(u64, u16, DialogKey)> = Vec::new();
        for dialog in self
            .dialogs
            .iter()
            .filter(|dialog| dialog.ends_ms <= now_ms)
        {
            ended.push((
                dialog.ends_ms,
                Slot::of(&dialog.presentity).number(),
                dialog.key,
            ));
        }
        ended.sort_unstable();
        for (_, _, key) in ended {
            self.end(key, EndReason::Timeout);
        }
        self.forget_empty();
    }

    fn forget_empty(&mut self) {
        let Model {
            publications,
            endpoints,
            dialogs,
            addresses,
            ..
        } = self;
        for dialog in dialogs.iter() {
            addresses.entry(dialog.presentity.clone()).or_default();
        }
        addresses.retain(|aor, _| {
            publications
                .iter()
                .any(|publication| publication.presentity == *aor)
                || endpoints.iter().any(|(of, _)| of == aor)
                || dialogs.iter().any(|dialog| dialog.presentity == *aor)
        });
    }

    fn notify(&mut self) -> Vec<Notified> {
        let mut notified = Vec::new();
        for (presentity, due) in std::mem::take(&mut self.due) {
            let mut told = due.gone;
            let mut concerned: Vec<&mut Dialog> = self
                .dialogs
                .iter_mut()
                .filter(|dialog| dialog.presentity == presentity)
                .filter(|dialog| due.everyone || due.some.contains(&dialog.key))
                .collect();
            concerned.sort_by_key(|dialog| dialog.key);
            for dialog in concerned {
                dialog.local_cseq += 1;
                dialog.notified_ms = self.now_ms;
                let expires_s = (dialog.ends_ms - self.now_ms).div_ceil(1_000) as u32;
                told.push(Told {
                    dialog: dialog.key,
                    cseq: dialog.local_cseq,
                    state: SubscriptionState::Active { expires_s },
                    route: dialog.route.clone(),
                    target: dialog.target.clone(),
                });
            }
            if !told.is_empty() {
                let shown = self.shown(&presentity);
                let revision = self.revision(&presentity);
                notified.push(Notified {
                    presentity,
                    revision,
                    shown,
                    told,
                });
            }
        }
        notified
    }
}
