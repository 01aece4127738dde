//! Category instances (MS-PRES 1.3.1.1, 3.2.5.1.2): versions and lifetimes.

use std::sync::Arc;

use crate::category::{Category, Computed, Meaning};
use crate::presence::container::{Conflict, Rejected};
use crate::presence::endpoint_id::EndpointId;
use crate::presence::limits::INSTANCES_MAX;
use crate::presence::refusal::Refusal;
use crate::presence::source::PublishSource;
use crate::time::Timestamp;

/// How long an instance lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is removed.
    Static,
    /// As long as this endpoint is registered.
    Endpoint(EndpointId),
    /// As long as any endpoint of the user is.
    User,
    /// Until this time.
    Until(Timestamp),
}

/// What an instance says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A client's XML as it was written, able to stand in a categories document, and what it means.
    Published {
        /// The text; empty when the publication held none.
        xml: Box<[u8]>,
        /// What the server understands of it.
        meaning: Meaning,
    },
    /// What the server made.
    Computed(Computed),
}

impl Body {
    /// Appends it as XML.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Body::Published { xml, .. } => out.extend_from_slice(xml),
            Body::Computed(computed) => computed.write(out),
        }
    }

    /// Whether the server made it, and it says no more to a watcher than if it were not there.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        match self {
            Body::Computed(Computed::Empty) => true,
            Body::Computed(Computed::Services(services)) => services.0.is_empty(),
            Body::Published { .. } | Body::Computed(_) => false,
        }
    }

    /// Bytes of a client's XML.
    fn len(&self) -> usize {
        match self {
            Body::Published { xml, .. } => xml.len(),
            Body::Computed(_) => 0,
        }
    }
}

/// One published instance of a category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Of which category.
    pub category: Category,
    /// In which container.
    pub container: u16,
    /// Its number among the instances of the category there.
    pub number: u32,
    /// Grows with each change, from 1.
    pub version: u32,
    /// When it was last published.
    pub published_at: Timestamp,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// What it says.
    pub body: Body,
}

impl Instance {
    fn key(&self) -> (&Category, u16, u32) {
        (&self.category, self.container, self.number)
    }
}

/// How long a publication is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wished {
    /// Until it is removed.
    Static,
    /// As long as the publishing endpoint is registered.
    Endpoint,
    /// As long as any endpoint is.
    User,
    /// For this many seconds.
    Seconds(u32),
}

/// What a publication does.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed<'a> {
    /// It sets the instance.
    Set {
        /// For how long.
        life: Wished,
        /// To what, as [`Body::Published`] has it.
        xml: &'a [u8],
        /// What that means.
        meaning: Meaning,
    },
    /// It removes the instance.
    Remove,
}

/// One publication of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication<'a> {
    /// Of which category.
    pub category: Category,
    /// Into which container.
    pub container: u16,
    /// Which instance.
    pub number: u32,
    /// The version that the publisher knows; 0 for none.
    pub version: u32,
    /// What it does.
    pub deed: Deed<'a>,
}

/// SERVICE with a publish document: a batch of publications, done whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishInstances<'a> {
    /// Whose.
    pub presentity: &'a str,
    /// Which endpoint publishes.
    pub endpoint: Option<EndpointId>,
    /// Bytes of a category over all its instances: the operator's limit.
    pub category_bytes_max: u32,
    /// What is published, in order.
    pub publications: Vec<Publication<'a>>,
}

/// A category in a container: what is told whole when anything in it changes.
pub type Place = (Category, u16);

/// The instances of one publisher, by category, container and number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instances(Vec<Arc<Instance>>);

impl Instances {
    /// The instances, which are in order.
    pub(crate) fn from_ordered(instances: Vec<Arc<Instance>>) -> Instances {
        Instances(instances)
    }

    /// Whether these could have been kept: in order, none twice.
    pub(crate) fn are_ordered(instances: &[Arc<Instance>]) -> bool {
        instances.is_sorted_by(|one, other| one.key() < other.key())
    }

    /// Each of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Instance>> {
        self.0.iter()
    }

    /// Nothing is published.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of a category, by container and number.
    #[must_use]
    pub fn of(&self, category: &Category) -> &[Arc<Instance>] {
        let begin = self.0.partition_point(|held| held.category < *category);
        let length = self.0[begin..].partition_point(|held| held.category == *category);
        &self.0[begin..begin + length]
    }

    /// Those of a category in a container, by number.
    #[must_use]
    pub fn at(&self, category: &Category, container: u16) -> &[Arc<Instance>] {
        let all = self.of(category);
        let begin = all.partition_point(|held| held.container < container);
        let length = all[begin..].partition_point(|held| held.container == container);
        &all[begin..begin + length]
    }

    /// The containers that hold a category, ascending.
    pub fn containers_of(&self, category: &Category) -> impl Iterator<Item = u16> {
        let mut last = None;
        self.of(category)
            .iter()
            .map(|held| held.container)
            .filter(move |container| {
                let other = last != Some(*container);
                last = Some(*container);
                other
            })
    }

    /// One instance.
    #[must_use]
    pub fn get(&self, category: &Category, container: u16, number: u32) -> Option<&Arc<Instance>> {
        let place = self.find(category, container, number).ok()?;
        Some(&self.0[place])
    }

    fn find(&self, category: &Category, container: u16, number: u32) -> Result<usize, usize> {
        self.0
            .binary_search_by(|held| held.key().cmp(&(category, container, number)))
    }

    /// Does what a batch asks, or nothing; adds the places that changed to `touched`.
    ///
    /// # Errors
    /// [`Rejected::Conflicts`] with every publication whose version is not the current one (409);
    /// [`Refusal::TooManyInstances`], [`Refusal::CategoryTooLarge`] (413).
    //= MS-PRES 3.2.5.1.2
    //# nothing is committed before all publications were processed
    pub fn publish(
        &mut self,
        request: &PublishInstances<'_>,
        now: Timestamp,
        touched: &mut Vec<Place>,
    ) -> Result<(), Rejected> {
        let mut conflicts = Vec::new();
        for (publication, index) in request.publications.iter().zip(1..) {
            let current = self
                .get(
                    &publication.category,
                    publication.container,
                    publication.number,
                )
                .map_or(0, |held| held.version);
            //= MS-PRES 3.2.5.1.2
            //# the version named is that of the instance, or 0 when there is none
            if publication.version != current {
                conflicts.push(Conflict {
                    index,
                    version: publication.version,
                    current,
                });
            }
        }
        if !conflicts.is_empty() {
            return Err(Rejected::Conflicts(conflicts));
        }
        let mut changed = self.clone();
        let mut places = Vec::new();
        for publication in &request.publications {
            let Publication {
                category,
                container,
                number,
                deed,
                ..
            } = publication;
            let place = (category.clone(), *container);
            match deed {
                Deed::Set { life, xml, meaning } => {
                    let lifetime = match life {
                        Wished::Static => Lifetime::Static,
                        Wished::User => Lifetime::User,
                        Wished::Seconds(seconds) => Lifetime::Until(now.plus_s(*seconds)),
                        Wished::Endpoint => Lifetime::Endpoint(
                            request.endpoint.ok_or(Refusal::EndpointNotRegistered)?,
                        ),
                    };
                    // The one copy of what the log entry says: a slice would keep the whole entry alive.
                    let body = Body::Published {
                        xml: (*xml).into(),
                        meaning: meaning.clone(),
                    };
                    changed.set(&place, *number, lifetime, body, now);
                    places.push(place);
                }
                //= MS-PRES 3.2.5.1.2
                //# removing what is not there succeeds without effect
                Deed::Remove => {
                    if changed.remove(&place, *number) {
                        places.push(place);
                    }
                }
            }
        }
        changed.check_limits(&places, request.category_bytes_max)?;
        *self = changed;
        touched.extend(places);
        Ok(())
    }

    /// The instances as they are when a source has said what it says, whatever their versions; adds the
    /// places that changed to `touched`. What a source says again lives on, and nobody need be told.
    ///
    /// # Errors
    /// [`Refusal::TooManyInstances`], [`Refusal::CategoryTooLarge`].
    pub(crate) fn with_source(
        &self,
        request: &PublishSource<'_>,
        now: Timestamp,
        touched: &mut Vec<Place>,
    ) -> Result<Instances, Refusal> {
        let mut changed = self.clone();
        let mut places = Vec::new();
        for publication in &request.instances {
            let place = (publication.category.clone(), publication.container);
            let number = publication.number;
            let Deed::Set { life, xml, meaning } = &publication.deed else {
                if changed.remove(&place, number) {
                    places.push(place);
                }
                continue;
            };
            let lifetime = match life {
                Wished::Seconds(seconds) => Lifetime::Until(now.plus_s(*seconds)),
                Wished::User => Lifetime::User,
                Wished::Static => Lifetime::Static,
                // A source is no endpoint.
                Wished::Endpoint => return Err(Refusal::EndpointNotRegistered),
            };
            // The one copy of what the log entry says.
            let body = Body::Published {
                xml: (*xml).into(),
                meaning: meaning.clone(),
            };
            match changed.find(&place.0, place.1, number) {
                Ok(at) if changed.0[at].body == body => {
                    Arc::make_mut(&mut changed.0[at]).lifetime = lifetime;
                }
                _ => {
                    changed.set(&place, number, lifetime, body, now);
                    places.push(place);
                }
            }
        }
        changed.check_limits(&places, request.category_bytes_max)?;
        touched.append(&mut places);
        Ok(changed)
    }

    fn check_limits(&self, places: &[Place], category_bytes_max: u32) -> Result<(), Refusal> {
        if self.0.len() > INSTANCES_MAX {
            return Err(Refusal::TooManyInstances);
        }
        for (category, _) in places {
            let bytes: usize = self.of(category).iter().map(|held| held.body.len()).sum();
            if bytes > category_bytes_max as usize {
                return Err(Refusal::CategoryTooLarge);
            }
        }
        Ok(())
    }

    /// Sets an instance, whatever its version.
    fn set(&mut self, place: &Place, number: u32, lifetime: Lifetime, body: Body, now: Timestamp) {
        let (category, container) = place;
        let found = self.find(category, *container, number);
        let version = found.map_or(0, |at| self.0[at].version);
        let instance = Arc::new(Instance {
            category: category.clone(),
            container: *container,
            number,
            //= MS-PRES 3.2.5.1.2
            //# each success makes the version one greater
            version: version.wrapping_add(1).max(1),
            published_at: now,
            lifetime,
            body,
        });
        match found {
            Ok(at) => self.0[at] = instance,
            Err(at) => self.0.insert(at, instance),
        }
    }

    fn remove(&mut self, (category, container): &Place, number: u32) -> bool {
        let found = self.find(category, *container, number);
        if let Ok(at) = found {
            self.0.remove(at);
        }
        found.is_ok()
    }

    /// Sets what the server computed, unless it stands there already.
    //= MS-PRES 3.8.5.1.1
    //# nothing is published when the instance is what it was
    pub(crate) fn compute(
        &mut self,
        place: Place,
        number: u32,
        lifetime: Lifetime,
        computed: Computed,
        now: Timestamp,
        touched: &mut Vec<Place>,
    ) {
        let same = self.get(&place.0, place.1, number).is_some_and(|held| {
            held.lifetime == lifetime
                && matches!(&held.body, Body::Computed(old) if *old == computed)
        });
        if !same {
            self.set(&place, number, lifetime, Body::Computed(computed), now);
            touched.push(place);
        }
    }

    /// Removes what the server computed; a client's instance of that number stays.
    pub(crate) fn uncompute(&mut self, place: Place, number: u32, touched: &mut Vec<Place>) {
        let ours = |held: &Arc<Instance>| matches!(held.body, Body::Computed(_));
        if self.get(&place.0, place.1, number).is_some_and(ours) {
            self.remove(&place, number);
            touched.push(place);
        }
    }

    /// Ends the instances that `ends` says end.
    pub(crate) fn end(&mut self, ends: impl Fn(&Instance) -> bool, touched: &mut Vec<Place>) {
        self.0.retain(|held| {
            let over = ends(held);
            if over {
                touched.push((held.category.clone(), held.container));
            }
            !over
        });
    }

    /// When the next time-bound instance ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let ends = self.0.iter().filter_map(|held| match held.lifetime {
            Lifetime::Until(at) => Some(at),
            _ => None,
        });
        ends.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const LATER: Timestamp = Timestamp(2_000_000);

    fn publication(
        container: u16,
        number: u32,
        version: u32,
        deed: Deed<'static>,
    ) -> Publication<'static> {
        Publication {
            category: Category::Note,
            container,
            number,
            version,
            deed,
        }
    }

    fn set(xml: &'static [u8]) -> Deed<'static> {
        Deed::Set {
            life: Wished::Static,
            xml,
            meaning: Meaning::Opaque,
        }
    }

    fn batch(publications: Vec<Publication<'static>>) -> PublishInstances<'static> {
        PublishInstances {
            presentity: "a@x",
            endpoint: None,
            category_bytes_max: 6,
            publications,
        }
    }

    fn held(instances: &Instances) -> Vec<(u16, u32, u32)> {
        instances
            .iter()
            .map(|held| (held.container, held.number, held.version))
            .collect()
    }

    //= MS-PRES 3.2.5.1.2
    //= type=test
    // proves: PRES-3.2.5.1.2-08 PRES-3.2.5.1.2-09 PRES-3.2.5.1.2-10 PRES-3.2.5.1.2-11 PRES-3.2.5.1.2-13
    // proves: PRES-3.2.5.1.2-14 PRES-3.2.5.1.2-15 PRES-3.2.5.1.2-17 PRES-3.2.5.1.2-19 PRES-3.2.5.1.2-20
    // proves: PRES-1.3.1.1-01 PRES-1.3.1.6.1-01 PRES-1.3.1.6.2-01 PRES-1.3.1.6.3-01 PRES-1.3.1.6.4-01
    // proves: PRES-2.2.2.2.3-05 PRES-3.2.5.4-09
    #[test]
    fn a_batch_is_done_whole_or_not_at_all() {
        let conflict = |index, version, current| Conflict {
            index,
            version,
            current,
        };
        let conflicts = |list: &[Conflict]| Err(Rejected::Conflicts(list.to_vec()));
        for (name, publications, expected, left) in [
            (
                "create",
                vec![publication(200, 0, 0, set(b"b"))],
                Ok(()),
                vec![(100, 0, 1), (200, 0, 1)],
            ),
            (
                "create another number",
                vec![publication(100, 7, 0, set(b"b"))],
                Ok(()),
                vec![(100, 0, 1), (100, 7, 1)],
            ),
            (
                "update",
                vec![publication(100, 0, 1, set(b"b"))],
                Ok(()),
                vec![(100, 0, 2)],
            ),
            (
                "remove",
                vec![publication(100, 0, 1, Deed::Remove)],
                Ok(()),
                vec![],
            ),
            (
                "remove what is not there",
                vec![publication(300, 0, 0, Deed::Remove)],
                Ok(()),
                vec![(100, 0, 1)],
            ),
            (
                "create what is there",
                vec![publication(100, 0, 0, set(b"b"))],
                conflicts(&[conflict(1, 0, 1)]),
                vec![(100, 0, 1)],
            ),
            (
                "update what is not there",
                vec![publication(300, 0, 3, set(b"b"))],
                conflicts(&[conflict(1, 3, 0)]),
                vec![(100, 0, 1)],
            ),
            (
                "two of three stale",
                vec![
                    publication(200, 0, 0, set(b"b")),
                    publication(100, 0, 2, Deed::Remove),
                    publication(300, 0, 9, set(b"b")),
                ],
                conflicts(&[conflict(2, 2, 1), conflict(3, 9, 0)]),
                vec![(100, 0, 1)],
            ),
            (
                "too large together",
                vec![
                    publication(200, 0, 0, set(b"123")),
                    publication(300, 0, 0, set(b"123")),
                ],
                Err(Refusal::CategoryTooLarge.into()),
                vec![(100, 0, 1)],
            ),
        ] {
            let mut instances = Instances::default();
            let mut touched = Vec::new();
            assert_eq!(
                instances.publish(
                    &batch(vec![publication(100, 0, 0, set(b"a"))]),
                    NOW,
                    &mut touched
                ),
                Ok(())
            );
            touched.clear();
            assert_eq!(
                instances.publish(&batch(publications), LATER, &mut touched),
                expected,
                "{name}"
            );
            assert_eq!(held(&instances), left, "{name}");
            assert_eq!(
                touched.is_empty(),
                expected.is_err() || name == "remove what is not there",
                "{name}"
            );
        }
    }

    //= MS-PRES 3.2.5.4
    //= type=test
    // proves: PRES-3.2.5.4-12 PRES-3.2.5.1.2-19
    #[test]
    fn a_publisher_has_so_many_instances() {
        let many = |count: u32| {
            let numbers = 0..count;
            batch(
                numbers
                    .map(|number| publication(1, number, 0, set(b"")))
                    .collect(),
            )
        };
        let most = INSTANCES_MAX as u32;
        let mut instances = Instances::default();
        assert_eq!(
            instances.publish(&many(most + 1), NOW, &mut Vec::new()),
            Err(Refusal::TooManyInstances.into())
        );
        assert!(instances.is_empty());
        assert_eq!(instances.publish(&many(most), NOW, &mut Vec::new()), Ok(()));
        assert_eq!(held(&instances).len(), INSTANCES_MAX);
    }

    // proves: PRES-1.3.1.6.4-01 PRES-3.2.5.1.2-12
    #[test]
    fn what_comes_back_begins_anew() {
        let mut instances = Instances::default();
        for (at, version, deed) in [
            (1, 0, set(b"a")),
            (2, 1, set(b"b")),
            (3, 2, Deed::Remove),
            (4, 0, set(b"c")),
        ] {
            let done = instances.publish(
                &batch(vec![publication(1, 0, version, deed)]),
                Timestamp(at),
                &mut Vec::new(),
            );
            assert_eq!(done, Ok(()));
        }
        let only = instances.iter().next().expect("one");
        assert_eq!((only.version, only.published_at), (1, Timestamp(4)));
    }

    #[test]
    fn an_endpoint_bound_instance_needs_an_endpoint() {
        let deed = || Deed::Set {
            life: Wished::Endpoint,
            xml: b"a",
            meaning: Meaning::Opaque,
        };
        let mut request = batch(vec![publication(1, 0, 0, deed())]);
        let refused = Instances::default().publish(&request, NOW, &mut Vec::new());
        assert_eq!(refused, Err(Refusal::EndpointNotRegistered.into()));
        request.endpoint = Some(EndpointId([7; 16]));
        let mut instances = Instances::default();
        assert_eq!(instances.publish(&request, NOW, &mut Vec::new()), Ok(()));
        let of_other = |held: &Instance| held.lifetime == Lifetime::Endpoint(EndpointId([8; 16]));
        instances.end(of_other, &mut Vec::new());
        assert_eq!(held(&instances).len(), 1);
        instances.end(
            |held| held.lifetime == Lifetime::Endpoint(EndpointId([7; 16])),
            &mut Vec::new(),
        );
        assert!(instances.is_empty());
    }

    // proves: PRES-3.8.5.1.1-04 PRES-3.8.5.3-04 PRES-3.8.5.4-04 PRES-3.8.5.2.1-04
    #[test]
    fn what_was_computed_before_is_not_published_again() {
        let mut instances = Instances::default();
        let place = || (Category::DndState, 2);
        for (on, versions) in [(false, 1), (false, 1), (true, 2), (true, 2), (false, 3)] {
            instances.compute(
                place(),
                0,
                Lifetime::Static,
                Computed::DndState(on),
                NOW,
                &mut Vec::new(),
            );
            assert_eq!(held(&instances), [(2, 0, versions)]);
        }
        instances.uncompute(place(), 0, &mut Vec::new());
        assert!(instances.is_empty());
    }
}
