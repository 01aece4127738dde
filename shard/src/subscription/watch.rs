//! What enhanced dialogs watch: oneself, one's contacts, or categories of many.

use std::collections::BTreeMap;

use crate::category::Category;
use crate::presence::container::Watcher;
use crate::presence::endpoint_id::EndpointId;
use crate::presence::enhanced::{BLOCKED, Changes};
use crate::presence::limits::{BATCH_CATEGORIES_MAX, BATCH_RESOURCES_MAX};
use crate::presence::presentity::Presentity;
use crate::presence::refusal::Refusal;
use crate::slot::Aor;
use crate::subscription::dialog::Extras;
use crate::subscription::relay::Standing;
use crate::time::Timestamp;

/// The end of time.
const NEVER: Timestamp = Timestamp(u64::MAX);

/// Which of the four kinds of roaming data a self subscription is about (MS-PRES 1.3.1.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope(pub u8);

impl Scope {
    /// Category instances.
    pub const CATEGORIES: Scope = Scope(1);
    /// Memberships.
    pub const CONTAINERS: Scope = Scope(2);
    /// The subscriber list.
    pub const SUBSCRIBERS: Scope = Scope(4);
    /// Delegates.
    pub const DELEGATES: Scope = Scope(8);

    /// Whether all of `other` is in it.
    #[must_use]
    pub fn holds(self, other: Scope) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub fn with(self, other: Scope) -> Scope {
        Scope(self.0 | other.0)
    }

    /// What of it changed.
    //= MS-PRES 3.3.5.2
    //# a self subscription is told of changes in its scope only
    #[must_use]
    pub fn changed(self, changes: &Changes) -> Scope {
        let mut changed = Scope(0);
        for (part, is) in [
            (Scope::CATEGORIES, !changes.touched.is_empty()),
            (Scope::CONTAINERS, !changes.containers.is_empty()),
            (Scope::SUBSCRIBERS, changes.subscribers),
            (Scope::DELEGATES, changes.delegates),
        ] {
            if is && self.holds(part) {
                changed = changed.with(part);
            }
        }
        changed
    }
}

/// What a SUBSCRIBE asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish<'a> {
    /// The presentity's document, in the format named.
    Document,
    /// One's own data.
    Own(Scope),
    /// One's own contacts. `true` from a client that knows of a mail server's store.
    Contacts(bool),
    /// Categories of others.
    Categories(Vec<Action<'a>>),
    /// The documents of many.
    List {
        /// The client of the user who watches, if such clients are counted.
        client: Option<ClientId>,
        /// Whose.
        entries: Vec<Entry<'a>>,
    },
    /// What was asked for before.
    Same,
}

/// One client of a user: a hash of who it is and where it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Where the state of a list's member is. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// In this shard.
    Here = 0,
    /// In another shard.
    Elsewhere = 1,
    /// Nowhere: the directory does not know it, or it is of a domain that is not ours.
    Nowhere = 2,
}

impl Origin {
    /// The origin with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Origin> {
        [Origin::Here, Origin::Elsewhere, Origin::Nowhere]
            .into_iter()
            .find(|origin| *origin as u8 == number)
    }
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'a> {
    /// As the watcher wrote it.
    pub uri: &'a str,
    /// Whose it is: a canonical address.
    pub address: &'a str,
    /// Where its state is.
    pub origin: Origin,
}

/// One action of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Action<'a> {
    /// Whether to watch, or to stop.
    pub subscribe: bool,
    /// Whom: canonical addresses of this shard.
    pub resources: Vec<Resource<'a>>,
    /// What of them; private ones are left out.
    pub categories: Vec<Category>,
}

/// One resource of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource<'a> {
    /// The canonical address.
    pub address: &'a str,
    /// What to tell it about the watcher: XML that stands alone, possibly nothing; `None` to tell nothing.
    pub context: Option<&'a [u8]>,
}

/// What an enhanced dialog watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// One's own data.
    Own {
        /// Which.
        scope: Scope,
        /// Whose dialog it is: an endpoint has one.
        endpoint: Option<EndpointId>,
    },
    /// One's own contacts.
    Contacts {
        /// Whether the client knows of a mail server's store.
        ucs: bool,
        /// Whose dialog it is.
        endpoint: Option<EndpointId>,
    },
    /// Categories of others.
    Batch(Batch),
    /// Documents of others.
    List(List),
}

impl Watch {
    /// What the extras of a first SUBSCRIBE begin to watch; a batch begins empty.
    #[must_use]
    pub fn of(extras: &Extras<'_>) -> Option<Watch> {
        let endpoint = extras.endpoint;
        match &extras.wish {
            Wish::Document | Wish::Same => None,
            Wish::Own(scope) => Some(Watch::Own {
                scope: *scope,
                endpoint,
            }),
            Wish::Contacts(ucs) => Some(Watch::Contacts {
                ucs: *ucs,
                endpoint,
            }),
            Wish::Categories(_) => Some(Watch::Batch(Batch {
                endpoint,
                ..Batch::default()
            })),
            Wish::List { client, .. } => Some(Watch::List(List {
                client: *client,
                ..List::default()
            })),
        }
    }

    /// Whom of this shard it watches as one of many.
    pub fn members(&self) -> impl Iterator<Item = &Aor> {
        let batch = self.batch().into_iter();
        let batch = batch.flat_map(|batch| &batch.members);
        let here = batch.filter(|(_, member)| member.relay.is_none());
        let list = self.list().into_iter().flat_map(List::joined);
        here.map(|(address, _)| address).chain(list)
    }

    /// Whom of other shards it watches, and with which number it last asked.
    pub fn relayed(&self) -> impl Iterator<Item = (&Aor, u64)> {
        let batch = self.batch().into_iter();
        let batch = batch
            .flat_map(|batch| &batch.members)
            .map(|(address, member)| (address, &member.relay));
        let list = self.list().into_iter();
        let list = list
            .flat_map(|list| &list.members)
            .map(|(address, member)| (address, &member.relay));
        let relayed = batch.chain(list);
        relayed.filter_map(|(address, relay)| Some((address, relay.as_deref()?.generation)))
    }

    /// When the watches of its members in other shards are renewed; the end of time when it has none.
    #[must_use]
    pub fn renew_at(&self) -> Timestamp {
        match self {
            Watch::Batch(batch) => batch.renew_at,
            Watch::List(list) => list.renew_at,
            Watch::Own { .. } | Watch::Contacts { .. } => NEVER,
        }
    }

    /// Its members, if it is a list.
    #[must_use]
    pub fn list(&self) -> Option<&List> {
        match self {
            Watch::List(list) => Some(list),
            Watch::Own { .. } | Watch::Contacts { .. } | Watch::Batch(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn list_mut(&mut self) -> Option<&mut List> {
        match self {
            Watch::List(list) => Some(list),
            Watch::Own { .. } | Watch::Contacts { .. } | Watch::Batch(_) => None,
        }
    }

    /// The endpoint that it belongs to.
    #[must_use]
    pub fn endpoint(&self) -> Option<EndpointId> {
        match self {
            Watch::Own { endpoint, .. } | Watch::Contacts { endpoint, .. } => *endpoint,
            Watch::Batch(batch) => batch.endpoint,
            Watch::List(_) => None,
        }
    }

    /// Its members, if it is a batch.
    #[must_use]
    pub fn batch(&self) -> Option<&Batch> {
        match self {
            Watch::Batch(batch) => Some(batch),
            Watch::Own { .. } | Watch::Contacts { .. } | Watch::List(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn batch_mut(&mut self) -> Option<&mut Batch> {
        match self {
            Watch::Batch(batch) => Some(batch),
            Watch::Own { .. } | Watch::Contacts { .. } | Watch::List(_) => None,
        }
    }
}

/// Documents of any number of presentities, watched in one dialog (RFC 4662, BluStar 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The client of the user with whose address the dialog lives, if such clients are counted: with the
    /// last of them the user is signed out.
    pub client: Option<ClientId>,
    /// Whom it watches.
    pub members: BTreeMap<Aor, ListMember>,
    /// When the watches of its members in other shards are renewed; the end of time when it has none.
    pub renew_at: Timestamp,
}

impl Default for List {
    fn default() -> List {
        List {
            client: None,
            members: BTreeMap::new(),
            renew_at: NEVER,
        }
    }
}

impl List {
    /// Those of its members whose state is in this shard.
    pub fn joined(&self) -> impl Iterator<Item = &Aor> {
        let here = |(_, member): &(&Aor, &ListMember)| member.origin == Origin::Here;
        self.members.iter().filter(here).map(|(address, _)| address)
    }
}

/// One presentity in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListMember {
    /// As the watcher wrote it.
    pub uri: Box<str>,
    /// Where its state is.
    pub origin: Origin,
    /// Its place in the list.
    pub place: u32,
    /// The container that the watcher saw last.
    pub seen: Option<u16>,
    /// What is known of it, where it lives in another shard.
    pub relay: Option<Box<Standing>>,
}

/// Categories of any number of presentities, watched in one dialog (MS-PRES 3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Whose dialog it is.
    pub endpoint: Option<EndpointId>,
    /// Whom it watches.
    pub members: BTreeMap<Aor, BatchMember>,
    /// When the watches of its members in other shards are renewed; the end of time when it has none.
    pub renew_at: Timestamp,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch {
            endpoint: None,
            members: BTreeMap::new(),
            renew_at: NEVER,
        }
    }
}

/// One presentity in a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchMember {
    /// Categories, in order, each with the container that the watcher saw last.
    pub categories: Vec<(Category, Option<u16>)>,
    /// When it was last told.
    pub notified_at: Timestamp,
    /// What is known of it, where it lives in another shard.
    pub relay: Option<Box<Standing>>,
}

impl Batch {
    /// Adds categories of a presentity.
    ///
    /// # Errors
    /// [`Refusal::TooManySubscriptions`].
    //= MS-PRES 3.4.5.1.3
    //# resources and categories that are not watched yet are added, up to a limit
    pub fn watch(&mut self, address: &Aor, categories: &[Category]) -> Result<(), Refusal> {
        if !self.members.contains_key(address) && self.members.len() >= BATCH_RESOURCES_MAX {
            return Err(Refusal::TooManySubscriptions);
        }
        let member = self.members.entry(address.clone()).or_default();
        for category in categories {
            let place = member
                .categories
                .binary_search_by(|(known, _)| known.cmp(category));
            if let Err(place) = place {
                if member.categories.len() >= BATCH_CATEGORIES_MAX {
                    return Err(Refusal::TooManySubscriptions);
                }
                member.categories.insert(place, (category.clone(), None));
            }
        }
        Ok(())
    }

    /// Takes out categories of a presentity; tells whether it is not watched any more.
    //= MS-PRES 3.4.5.1.3
    //# unsubscribe removes the listed categories of the listed resources
    pub fn unwatch(&mut self, address: &Aor, categories: &[Category]) -> bool {
        let Some(member) = self.members.get_mut(address) else {
            return false;
        };
        member
            .categories
            .retain(|(known, _)| !categories.contains(known));
        let empty = member.categories.is_empty();
        if empty {
            self.members.remove(address);
        }
        empty
    }
}

impl BatchMember {
    /// Resolves the categories that the watcher must be told of, and notes what it sees from now on; all
    /// of them when `changes` is `None`.
    //= MS-PRES 3.2.5.3
    //# told when another container is seen, or the instances of the one that is seen changed
    pub fn affected(
        &mut self,
        publisher: &Presentity,
        watcher: Watcher<'_>,
        changes: Option<&Changes>,
    ) -> Vec<(Category, Option<u16>)> {
        let mut affected = Vec::new();
        for (category, seen) in &mut self.categories {
            let structure = changes.is_none_or(|changes| {
                let touched = changes.touched.iter().any(|(of, _)| of == category);
                !changes.containers.is_empty() || touched || changes.standard || changes.rules
            });
            if !structure {
                continue;
            }
            let container = publisher.sight(watcher, category).container;
            let claimed = publisher.claimed().is_some();
            let told = match changes {
                None => true,
                Some(changes) => {
                    let changed =
                        |(of, at): &(Category, u16)| of == category && Some(*at) == container;
                    let telephone = !claimed && container != Some(BLOCKED);
                    let standard = (telephone || changes.claimed) && changes.standard;
                    container != *seen
                        || changes.touched.iter().any(changed)
                        || standard && *category == Category::State
                }
            };
            if told {
                *seen = container;
                affected.push((category.clone(), container));
            }
        }
        affected
    }
}
