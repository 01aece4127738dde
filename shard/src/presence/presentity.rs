//! Everything of presence that is kept for one address: its publications and its endpoints.
//!
//! Who watches it is the subscriptions' business and stands beside it, in the machine's store.

use crate::presence::endpoint::Endpoints;
use crate::presence::package::Package;
use crate::presence::publication::{EntityTag, Publications, Publish, Published};
use crate::presence::refusal::Refusal;
use crate::slot::Aor;
use crate::time::Timestamp;

/// An address with state. Cheap to copy: what is large is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presentity {
    /// Its canonical address.
    pub aor: Aor,
    /// Log index of the entry that last changed what watchers can see; 0 if none ever did. An index
    /// exists once, so an address that is forgotten and comes back never repeats a revision.
    pub revision: u64,
    /// What is published for it.
    pub publications: Publications,
    /// Where it can be reached.
    pub endpoints: Endpoints,
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
        }
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
    ) -> Result<Published, Refusal> {
        let published = self.publications.publish(request, fresh, now)?;
        if published.visible {
            self.revision = fresh.index;
        }
        Ok(published)
    }

    /// Ends what is due at `now`, as a consequence of the entry at log position `index`; tells the
    /// package of each publication that ended.
    pub fn expire(&mut self, now: Timestamp, index: u64, mut ended: impl FnMut(Package)) {
        let revision = &mut self.revision;
        self.publications.expire(now, |package| {
            *revision = index;
            ended(package);
        });
        self.endpoints.expire(now);
    }

    /// When the next of its publications and endpoints ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let publications = self
            .publications
            .iter()
            .map(|(_, publication)| publication.expires_at);
        let endpoints = self.endpoints.iter().map(|endpoint| endpoint.expires_at);
        publications.chain(endpoints).min()
    }

    /// Nothing published, nobody registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.publications.is_empty() && self.endpoints.is_empty()
    }
}
