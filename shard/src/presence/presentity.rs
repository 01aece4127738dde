//! Everything kept for one address, and how requests change it.
//!
//! Each change is checked whole before anything is touched: a refused request leaves no trace.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::endpoint::{Bindings, Endpoint, Register};
use super::limits::{CONTENT_BYTES_MAX, ENDPOINTS_MAX, PUBLICATIONS_MAX};
use super::package::Package;
use super::publication::{Content, EntityTag, Publication, Publish, TagPolicy};
use super::refusal::Refusal;
use crate::time::Timestamp;

/// Everything kept for one address. `W` names a watcher's dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presentity<W: Ord> {
    /// The log index of its last visible change; equal revisions compose to equal documents.
    pub revision: u64,
    /// The number that the next publication gets.
    pub next_number: u32,
    /// Live publications, oldest first.
    pub publications: Vec<(Package, Publication)>,
    /// Registered endpoints, by binding.
    pub endpoints: Vec<Endpoint>,
    /// The dialogs that watch it.
    pub watchers: BTreeSet<W>,
}

impl<W: Ord> Default for Presentity<W> {
    fn default() -> Presentity<W> {
        Presentity {
            revision: 0,
            next_number: 0,
            publications: Vec::new(),
            endpoints: Vec::new(),
            watchers: BTreeSet::new(),
        }
    }
}

/// What a PUBLISH did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The tag of the answer.
    pub tag: EntityTag,
    /// Whether watchers see a difference.
    pub visible: bool,
    /// The publication's old deadline, which no longer holds.
    pub ends: Option<(Timestamp, u32)>,
    /// Its new deadline.
    pub begins: Option<(Timestamp, u32)>,
}

impl<W: Ord> Presentity<W> {
    /// Whether nothing is kept, so that the address can be forgotten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.publications.is_empty() && self.endpoints.is_empty() && self.watchers.is_empty()
    }

    /// Creates, refreshes, modifies or removes a publication. `fresh` is the tag of this request.
    ///
    /// # Errors
    /// [`Refusal::NoMatch`], [`Refusal::TooManyPublications`], [`Refusal::ContentTooLarge`].
    //= RFC 3903 6
    //# a success makes a new version with a tag of its own, and only the newest tag matches
    pub fn publish(&mut self, publish: &Publish<'_>, fresh: EntityTag, now: Timestamp) -> Result<Published, Refusal> {
        if publish.content.is_some_and(|content| content.len() > CONTENT_BYTES_MAX) {
            return Err(Refusal::ContentTooLarge);
        }
        let expires_at = now.plus_s(publish.expires_s);
        let Some(tag) = publish.if_match else {
            return self.create(publish, fresh, now, expires_at);
        };
        let place = self
            .publications
            .iter()
            .position(|(package, publication)| *package == publish.package && publication.tag == tag)
            .ok_or(Refusal::NoMatch)?;
        let publication = &mut self.publications[place].1;
        let number = publication.content.number;
        let ends = Some((publication.expires_at, number));
        //= RFC 3903 4.5
        //# Expires 0 removes the publication at once
        if publish.expires_s == 0 {
            self.publications.remove(place);
            return Ok(Published { tag: fresh, visible: true, ends, begins: None });
        }
        publication.expires_at = expires_at;
        //= RFC 3903 4.4
        //# a body replaces what was published; without one the publication only lives longer
        if let Some(stored) = publish.content {
            publication.content = Arc::new(Content { stored: stored.into(), published_at: now, number });
        }
        if publish.content.is_some() || publish.tag_policy == TagPolicy::Renew {
            publication.tag = fresh;
        }
        let tag = publication.tag;
        Ok(Published { tag, visible: publish.content.is_some(), ends, begins: Some((expires_at, number)) })
    }

    fn create(
        &mut self,
        publish: &Publish<'_>,
        fresh: EntityTag,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Published, Refusal> {
        // A publication that ends at once was never there; nobody sees it.
        let Some(stored) = publish.content.filter(|_| publish.expires_s > 0) else {
            return Ok(Published { tag: fresh, visible: false, ends: None, begins: None });
        };
        let mine = self.publications.iter().filter(|(package, _)| *package == publish.package).count();
        if mine >= PUBLICATIONS_MAX {
            return Err(Refusal::TooManyPublications);
        }
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        let content = Arc::new(Content { stored: stored.into(), published_at: now, number });
        // One publication is the usual number; growing by four would waste a third of the presentity.
        self.publications.reserve_exact(1);
        self.publications.push((publish.package, Publication { tag: fresh, expires_at, content }));
        Ok(Published { tag: fresh, visible: true, ends: None, begins: Some((expires_at, number)) })
    }

    /// Ends a publication whose time has come; `false` when it is not there, or not due.
    pub fn expire_publication(&mut self, number: u32, now: Timestamp) -> bool {
        let due = |publication: &Publication| publication.content.number == number && publication.expires_at <= now;
        let place = self.publications.iter().position(|(_, publication)| due(publication));
        place.map(|place| self.publications.remove(place)).is_some()
    }

    /// Binds contacts, all or none.
    ///
    /// # Errors
    /// [`Refusal::OutOfOrder`], [`Refusal::TooManyEndpoints`].
    //= RFC 3261 10.3
    //# a binding of the same Call-ID changes only with a higher CSeq; else the whole request fails
    pub fn register(&mut self, register: &Register<'_>, now: Timestamp) -> Result<(), Refusal> {
        let late = |endpoint: &Endpoint| endpoint.call_id == register.call_id && register.cseq <= endpoint.cseq;
        match &register.bindings {
            Bindings::Nothing => {}
            Bindings::RemoveAll => {
                if self.endpoints.iter().any(late) {
                    return Err(Refusal::OutOfOrder);
                }
                self.endpoints.clear();
            }
            Bindings::Each(bindings) => {
                let named = |endpoint: &&Endpoint| bindings.iter().any(|binding| binding.binding == endpoint.binding);
                if self.endpoints.iter().filter(named).any(late) {
                    return Err(Refusal::OutOfOrder);
                }
                let mut endpoints = self.endpoints.clone();
                for binding in bindings {
                    let place = endpoints.binary_search_by_key(&binding.binding, |endpoint| endpoint.binding);
                    if let Ok(place) = place {
                        endpoints.remove(place);
                    }
                    if binding.expires_s > 0 {
                        let place = place.unwrap_or_else(|place| place);
                        endpoints.insert(place, Endpoint::bind(binding, register, now));
                    }
                }
                if endpoints.len() > ENDPOINTS_MAX {
                    return Err(Refusal::TooManyEndpoints);
                }
                endpoints.shrink_to_fit();
                self.endpoints = endpoints;
            }
        }
        Ok(())
    }

    /// Ends a binding whose time has come; `false` when it is not there, or not due.
    pub fn expire_endpoint(&mut self, binding: u64, now: Timestamp) -> bool {
        let due = |endpoint: &Endpoint| endpoint.binding == binding && endpoint.expires_at <= now;
        let place = self.endpoints.iter().position(due);
        place.map(|place| self.endpoints.remove(place)).is_some()
    }
}
