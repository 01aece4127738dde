//! Everything of presence that is kept for one address: its publications, its endpoints, and its enhanced
//! presence where it has any.
//!
//! Who watches it is the subscriptions' business and stands beside it, in the machine's store.

use crate::category::Category;
use crate::presence::call::Line;
use crate::presence::contacts::Custody;
use crate::presence::container::Watcher;
use crate::presence::documents::{Documents, Kept, SetDocument};
use crate::presence::endpoint::{Bindings, Endpoint, Endpoints, Register, Unbinding};
use crate::presence::endpoint_id::EndpointId;
use crate::presence::enhanced::{BLOCKED, Changes, Enhanced, Profile};
use crate::presence::package::Package;
use crate::presence::publication::{EntityTag, Publications, Publish, Published};
use crate::presence::refusal::Refusal;
use crate::presence::rules::{self, Admitted, Handling, Sight};
use crate::slot::Aor;
use crate::time::Timestamp;

/// An address with state. Cheap to copy: what is large is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presentity {
    /// Its canonical address.
    pub aor: Aor,
    /// Log index of the entry that last changed what watchers can see; 0 if none ever did. An index
    /// exists once, so an address that is forgotten and comes back never repeats a revision; see
    /// [`Presentity::advance`] for one that came from another shard.
    pub revision: u64,
    /// What is published for it.
    pub publications: Publications,
    /// Where it can be reached.
    pub endpoints: Endpoints,
    /// Enhanced presence; nothing for a plain telephone, which then costs one pointer.
    pub enhanced: Option<Box<Enhanced>>,
    /// Documents that it keeps with the server, rules among them; nothing for most.
    pub documents: Option<Box<Documents>>,
}

/// What a REGISTER did besides changing the list of endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Whether a binding of the request was there before.
    pub refreshed: bool,
    /// Endpoints that are not registered any more: their dialogs end.
    pub ended: Vec<EndpointId>,
    /// Those of them that made room for others, and are told.
    pub evicted: Vec<Endpoint>,
}

impl Presentity {
    /// An address without any state.
    #[must_use]
    pub fn new(aor: Aor) -> Presentity {
        Presentity {
            aor,
            revision: 0,
            publications: Publications::default(),
            endpoints: Endpoints::default(),
            enhanced: None,
            documents: None,
        }
    }

    /// What its rules say of a watcher. Where it has no rules, and of itself, everything is allowed.
    //= RFC 5025 4
    //# rules decide what becomes of a subscription and what of the document is shown
    #[must_use]
    pub fn admits(&self, watcher: Watcher<'_>) -> Admitted {
        let documents = self.documents.as_deref();
        let Some(documents) = documents.filter(|_| watcher.address != self.aor.as_str()) else {
            return Admitted::default();
        };
        let (at, _) = documents.span();
        documents
            .rules()
            .map(|rules| rules::decide(rules, watcher, at))
            .unwrap_or_default()
    }

    /// What a watcher sees of a category: rules first, then containers. It is the one place that decides,
    /// for documents and for categories.
    //= MS-PRES 1.3.1.3.4
    //# whom the rules keep out is in container 32000, as who is blocked by containers
    #[must_use]
    pub fn sight(&self, watcher: Watcher<'_>, category: &Category) -> Sight {
        let admitted = self.admits(watcher);
        let container = match (admitted.handling, self.claimed()) {
            (Handling::Allow, Some(enhanced)) => enhanced.resolve(watcher, category),
            (Handling::Allow, None) => None,
            (Handling::Block | Handling::Confirm | Handling::PoliteBlock, _) => Some(BLOCKED),
        };
        Sight {
            container,
            admitted,
        }
    }

    /// Keeps or removes a document.
    ///
    /// # Errors
    /// As [`Documents::set`], with nothing changed.
    pub fn set_document(
        &mut self,
        request: &SetDocument<'_>,
        fresh: EntityTag,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Result<Kept, Refusal> {
        let documents = self.documents.get_or_insert_default();
        let done = documents.set(request, fresh, now);
        if documents.is_empty() {
            self.documents = None;
        }
        let kept = done?;
        if kept.rules {
            changes.rules = true;
            self.advance(fresh.index);
        }
        Ok(kept)
    }

    /// Its enhanced presence, if containers rule what is seen of it.
    #[must_use]
    pub fn claimed(&self) -> Option<&Enhanced> {
        self.enhanced
            .as_deref()
            .filter(|enhanced| enhanced.is_claimed())
    }

    /// Who keeps its contact list.
    #[must_use]
    pub fn custody(&self) -> Custody {
        let enhanced = self.enhanced.as_deref();
        let list = enhanced.and_then(|enhanced| enhanced.contacts.kept());
        list.map_or(Custody::Here, |list| list.custody)
    }

    /// Its enhanced presence, to be changed; made if there is none.
    pub fn enhanced_mut(&mut self) -> &mut Enhanced {
        self.enhanced.get_or_insert_default()
    }

    /// Registers as [`Endpoints::register`]; ends what was bound to endpoints that are gone.
    ///
    /// # Errors
    /// A [`Refusal`], with nothing changed.
    pub fn register(
        &mut self,
        request: &Register<'_>,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Result<Registered, Refusal> {
        let before = self.endpoints.clone();
        self.endpoints.register(request, now)?;
        let named = |endpoint: &Endpoint| match &request.bindings {
            Bindings::Each(each) => each.iter().any(|b| b.binding == endpoint.binding),
            Bindings::Nothing => false,
            Bindings::RemoveAll => true,
        };
        self.endpoints
            .compare(&before, changes, |gone| match named(gone) {
                true => Unbinding::Unregistered,
                false => Unbinding::Deactivated,
            });
        let known = |binding: u64| before.iter().any(|endpoint| endpoint.binding == binding);
        let refreshed = match &request.bindings {
            Bindings::Each(each) => each.iter().any(|b| b.expires_s > 0 && known(b.binding)),
            Bindings::Nothing | Bindings::RemoveAll => false,
        };
        if let Some(profile) = &request.profile {
            self.claim(profile.clone(), now, changes);
        }
        let ended = self.end_endpoints(&before, now, changes);
        let named = |binding: u64| match &request.bindings {
            Bindings::Each(each) => each.iter().any(|b| b.binding == binding),
            Bindings::Nothing => false,
            Bindings::RemoveAll => true,
        };
        let stays = |binding: u64| self.endpoints.iter().any(|e| e.binding == binding);
        let evicted = before
            .iter()
            .filter(|endpoint| !named(endpoint.binding) && !stays(endpoint.binding));
        let evicted = evicted.cloned().collect();
        Ok(Registered {
            refreshed,
            ended,
            evicted,
        })
    }

    /// An endpoint's connection is lost; tells whether it was registered with it.
    pub fn lose(
        &mut self,
        id: EndpointId,
        target: &[u8],
        now: Timestamp,
        changes: &mut Changes,
    ) -> Vec<EndpointId> {
        let before = self.endpoints.clone();
        self.endpoints.lose(id, target);
        self.endpoints
            .compare(&before, changes, |_| Unbinding::Deactivated);
        self.end_endpoints(&before, now, changes)
    }

    /// Its own client, or the directory, says who it is.
    pub fn claim(&mut self, profile: Profile, now: Timestamp, changes: &mut Changes) {
        let Presentity {
            enhanced,
            publications,
            ..
        } = self;
        let enhanced = enhanced.get_or_insert_default();
        let first = !enhanced.is_claimed();
        enhanced.publish_profile(profile, now, changes);
        if first {
            enhanced.compute_all(publications, now, changes);
        }
    }

    /// Ends what was bound to endpoints that stood in `before` and are gone; tells which.
    fn end_endpoints(
        &mut self,
        before: &Endpoints,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Vec<EndpointId> {
        let registered = |id: EndpointId| self.endpoints.holds(id);
        let ids = before.iter().filter_map(|endpoint| endpoint.endpoint_id);
        let ended: Vec<EndpointId> = ids.filter(|id| !registered(*id)).collect();
        if let Some(enhanced) = &mut self.enhanced
            && !ended.is_empty()
        {
            let last = !self
                .endpoints
                .iter()
                .any(|endpoint| endpoint.endpoint_id.is_some());
            for endpoint in &ended {
                enhanced.end_endpoint(*endpoint, last, changes);
            }
            // What is bound to the user goes with its last endpoint and is computed anew in one step
            // (contradiction C-51).
            if enhanced.is_claimed() {
                enhanced.compute_all(&self.publications, now, changes);
            }
        }
        ended
    }

    /// Lets `change` change its enhanced presence, and computes what depends on it.
    ///
    /// # Errors
    /// What `change` says, which then has changed nothing.
    pub fn change<R, E>(
        &mut self,
        now: Timestamp,
        index: u64,
        changes: &mut Changes,
        change: impl FnOnce(&mut Enhanced, &mut Changes) -> Result<R, E>,
    ) -> Result<R, E> {
        let new = self.enhanced.is_none();
        let Presentity {
            enhanced,
            publications,
            ..
        } = self;
        let enhanced = enhanced.get_or_insert_default();
        let result = change(enhanced, changes);
        enhanced.compute(publications, now, changes);
        if new && result.is_err() {
            self.enhanced = None;
        }
        if !changes.is_empty() {
            self.advance(index);
        }
        result
    }

    /// Publishes as [`Publications::publish`]; `fresh` is this request's own tag.
    ///
    /// # Errors
    /// A [`Refusal`], with nothing changed.
    pub fn publish(
        &mut self,
        request: &Publish<'_>,
        fresh: EntityTag,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Result<Published, Refusal> {
        let lines = self.lines_for(request.package);
        let published = self.publications.publish(request, fresh, now)?;
        if published.visible {
            self.advance(fresh.index);
            self.recompute(request.package, &lines, now, changes);
        }
        Ok(published)
    }

    /// The last BluStar client is gone: what they shared ends.
    pub fn sign_out(&mut self, now: Timestamp, index: u64, changes: &mut Changes) {
        if self.publications.sign_out() {
            self.revision = index;
            self.recompute(Package::Presence, &[], now, changes);
        }
    }

    /// The lines as they are, where a change of this package may change them.
    fn lines_for(&self, package: Package) -> Vec<(Box<str>, Line)> {
        match package {
            Package::Dialog => self.publications.lines(),
            _ => Vec::new(),
        }
    }

    /// Standard publications take part in what is computed for enhanced watchers. Of calls only what the lines
    /// come to shows in presence: a call that goes on ringing is news for lamps.
    fn recompute(
        &mut self,
        package: Package,
        lines_before: &[(Box<str>, Line)],
        now: Timestamp,
        changes: &mut Changes,
    ) {
        let of_calls = package == Package::Dialog;
        changes.dialogs |= of_calls;
        if package == Package::Presence || of_calls && *lines_before != *self.publications.lines() {
            changes.standard = true;
            if let Some(enhanced) = &mut self.enhanced {
                enhanced.compute(&self.publications, now, changes);
            }
        }
    }

    /// Ends what is due at `now`, as a consequence of the entry at log position `index`; tells which
    /// endpoints ended.
    pub fn expire(&mut self, now: Timestamp, index: u64, changes: &mut Changes) -> Vec<EndpointId> {
        let mut ended = Vec::new();
        let lines = self.publications.lines();
        self.publications.expire(now, |package| ended.push(package));
        for package in ended {
            self.advance(index);
            self.recompute(package, &lines, now, changes);
        }
        let before = self.endpoints.clone();
        self.endpoints.expire(now);
        let ended = if before == self.endpoints {
            Vec::new()
        } else {
            self.end_endpoints(&before, now, changes)
        };
        if let Some(enhanced) = &mut self.enhanced {
            enhanced.expire(now, changes);
            enhanced.compute(&self.publications, now, changes);
        }
        //= RFC 4745 7.3
        //# a rule that begins or ceases to hold changes what is seen at that time
        changes.rules |= self
            .documents
            .as_deref_mut()
            .is_some_and(|documents| documents.expire(now));
        if !changes.is_empty() {
            self.advance(index);
        }
        self.endpoints
            .compare(&before, changes, |_| Unbinding::Expired);
        ended
    }

    /// What is shown changed, by the entry at log position `index`. Where the presentity came from another
    /// shard, whose log was longer, its revision goes on from what it was: it never goes back.
    pub fn advance(&mut self, index: u64) {
        self.revision = if self.revision <= index {
            index
        } else {
            self.revision + 1
        };
    }

    /// When the next of its publications, endpoints and instances ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let publications = self
            .publications
            .iter()
            .map(|(_, publication)| publication.expires_at);
        let endpoints = self.endpoints.iter().map(|endpoint| endpoint.expires_at);
        let instances = self.enhanced.as_ref();
        let instances = instances.and_then(|enhanced| enhanced.instances.next_deadline());
        let documents = self.documents.as_ref();
        let rules = documents.map(|documents| documents.span().1);
        let rules = rules.filter(|at| *at != Timestamp(u64::MAX));
        publications
            .chain(endpoints)
            .chain(instances)
            .chain(rules)
            .min()
    }

    /// Nothing published, nobody registered, no documents, nothing kept for enhanced clients.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let plain = self.publications.is_empty() && self.endpoints.is_empty();
        plain
            && self.documents.is_none()
            && self
                .enhanced
                .as_ref()
                .is_none_or(|enhanced| enhanced.is_empty())
    }
}
