//! Containers (MS-PRES 1.3.1.3, 3.5): who belongs to which, and which one a watcher sees.

use std::fmt;

use crate::presence::refusal::Refusal;

/// From which network a watcher comes. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Network {
    /// A user of this deployment, or one of whom nothing else is known.
    SameEnterprise = 1,
    /// A user of another deployment.
    Federated = 2,
    /// A user of a public provider.
    PublicCloud = 3,
}

impl Network {
    /// The network with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Network> {
        [
            Network::SameEnterprise,
            Network::Federated,
            Network::PublicCloud,
        ]
        .into_iter()
        .find(|network| *network as u8 == number)
    }

    /// As in the `type` of a subscriber and of a member.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Network::SameEnterprise => "sameEnterprise",
            Network::Federated => "federated",
            Network::PublicCloud => "publicCloud",
        }
    }
}

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watcher<'a> {
    /// The canonical address.
    pub address: &'a str,
    /// Where it comes from.
    pub network: Network,
}

/// One entry of a container's membership. The order is that of documents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// One address, canonical.
    User(Box<str>),
    /// Everybody of a domain, lower case.
    Domain(Box<str>),
    /// Everybody of this deployment.
    SameEnterprise,
    /// Everybody of other deployments.
    Federated,
    /// Everybody of public providers.
    PublicCloud,
    /// Everybody.
    Everyone,
}

impl Member {
    /// Type and value, as documents have them.
    #[must_use]
    pub fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Member::User(address) => ("user", Some(address)),
            Member::Domain(domain) => ("domain", Some(domain)),
            Member::SameEnterprise => ("sameEnterprise", None),
            Member::Federated => ("federated", None),
            Member::PublicCloud => ("publicCloud", None),
            Member::Everyone => ("everyone", None),
        }
    }

    /// How this entry claims the watcher.
    fn claim(&self, watcher: Watcher<'_>) -> Option<Claim> {
        let (claims, claim) = match self {
            Member::User(address) => (**address == *watcher.address, Claim::User),
            Member::Domain(domain) => {
                let own = watcher.address.rsplit_once('@').map(|(_, domain)| domain);
                (own == Some(domain), Claim::Domain)
            }
            Member::SameEnterprise => (watcher.network == Network::SameEnterprise, Claim::Network),
            Member::Federated => (watcher.network == Network::Federated, Claim::Network),
            Member::PublicCloud => (watcher.network == Network::PublicCloud, Claim::Network),
            Member::Everyone => (true, Claim::Everyone),
        };
        claims.then_some(claim)
    }
}

/// How strongly a container claims a watcher. The order of the variants is the rule.
//= MS-PRES 3.2.5.3
//# user before domain before network before the default container (D21: everyone between)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Default,
    Everyone,
    Network,
    Domain,
    User,
}

/// The container that everybody may see.
pub const DEFAULT: u16 = 0;

/// The containers that every user has from the first day (contradiction C-65).
pub const WELL_KNOWN: [u16; 7] = [0, 1, 100, 200, 300, 400, 32_000];

/// One container's membership.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its number.
    pub id: u16,
    /// Grows with each change of the membership.
    pub version: u32,
    /// Who belongs to it, in order.
    pub members: Vec<Member>,
}

/// What to do with one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// It belongs to the container from now on.
    Add(Member),
    /// It does not belong to it any more.
    Remove(Member),
}

/// What to do with one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerChange {
    /// Which container; not 0.
    pub id: u16,
    /// The version that the publisher knows.
    pub version: u32,
    /// What to do, in order.
    pub members: Vec<MemberChange>,
}

/// A version that is not the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The place of the change in its request, from 1.
    pub index: u32,
    /// The version that the request named.
    pub version: u32,
    /// The version there is.
    pub current: u32,
}

/// Why a versioned change was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Versions are out of date: 409 with the current ones.
    Conflicts(Vec<Conflict>),
    /// For another reason.
    Refused(Refusal),
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Rejected {
        Rejected::Refused(refusal)
    }
}

/// The memberships of one publisher, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Containers(Vec<Container>);

impl Containers {
    /// The containers, which are in ascending order of their numbers.
    pub(crate) fn from_ordered(containers: Vec<Container>) -> Containers {
        Containers(containers)
    }

    /// Each container that ever had a member, by ascending number.
    pub fn iter(&self) -> std::slice::Iter<'_, Container> {
        self.0.iter()
    }

    /// A container, if it ever had a member.
    #[must_use]
    pub fn get(&self, id: u16) -> Option<&Container> {
        let place = self
            .0
            .binary_search_by_key(&id, |container| container.id)
            .ok()?;
        Some(&self.0[place])
    }

    /// Does all that a request asks, or nothing.
    ///
    /// # Errors
    /// [`Rejected::Conflicts`] (409), [`Refusal::TooManyMembers`] (413).
    //= MS-PRES 3.5.5.2
    //# nothing is committed before all container elements were processed
    pub fn set_members(
        &mut self,
        changes: &[ContainerChange],
        members_max: usize,
    ) -> Result<(), Rejected> {
        let conflicts: Vec<Conflict> = changes
            .iter()
            .zip(1..)
            .filter_map(|(change, index)| {
                let current = self.get(change.id).map_or(0, |container| container.version);
                //= MS-PRES 3.5.5.2
                //# the version named must be the current one, 0 for the first change
                let conflict = Conflict {
                    index,
                    version: change.version,
                    current,
                };
                (change.version != current).then_some(conflict)
            })
            .collect();
        if !conflicts.is_empty() {
            return Err(Rejected::Conflicts(conflicts));
        }
        let mut changed = self.0.clone();
        for change in changes {
            let place = match changed.binary_search_by_key(&change.id, |container| container.id) {
                Ok(place) => place,
                Err(place) => {
                    changed.insert(
                        place,
                        Container {
                            id: change.id,
                            ..Container::default()
                        },
                    );
                    place
                }
            };
            let container = &mut changed[place];
            for member in &change.members {
                //= MS-PRES 3.5.5.2
                //# adding who is there and removing who is not are silently ignored
                match member {
                    MemberChange::Add(member) => {
                        if let Err(place) = container.members.binary_search(member) {
                            container.members.insert(place, member.clone());
                        }
                    }
                    MemberChange::Remove(member) => {
                        if let Ok(place) = container.members.binary_search(member) {
                            container.members.remove(place);
                        }
                    }
                }
            }
            container.version = container.version.wrapping_add(1).max(1);
        }
        let total: usize = changed
            .iter()
            .map(|container| container.members.len())
            .sum();
        if total > members_max {
            return Err(Refusal::TooManyMembers.into());
        }
        self.0 = changed;
        Ok(())
    }

    /// What put a watcher into a container, in words.
    #[must_use]
    pub fn why(&self, watcher: Watcher<'_>, container: Option<u16>) -> &'static str {
        let Some(id) = container else {
            return "no container that publishes it claims the watcher";
        };
        let members = self.get(id).map_or(&[][..], |container| &container.members);
        let claims = members.iter().filter_map(|member| member.claim(watcher));
        match claims.max() {
            Some(Claim::User) => "the container has the watcher as a member",
            Some(Claim::Domain) => "the container has the watcher's domain as a member",
            Some(Claim::Network) => "the container has the watcher's network as a member",
            Some(Claim::Everyone) => "the container has everyone as a member",
            Some(Claim::Default) | None => "it is the default container, which everybody sees",
        }
    }

    /// The container that `watcher` sees among `publishing`, those that hold the category.
    //= MS-PRES 3.2.5.3
    //# only containers that hold the category count; the strongest claim wins, then the highest number
    #[must_use]
    pub fn resolve(
        &self,
        watcher: Watcher<'_>,
        publishing: impl Iterator<Item = u16>,
    ) -> Option<u16> {
        let claims = publishing.filter_map(|id| {
            let members = self.get(id).map_or(&[][..], |container| &container.members);
            let claimed = members
                .iter()
                .filter_map(|member| member.claim(watcher))
                .max();
            let claim = claimed.or((id == DEFAULT).then_some(Claim::Default))?;
            Some((claim, id))
        });
        claims.max().map(|(_, id)| id)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn containers(list: &[(u16, &[Member])]) -> Containers {
        let mut containers = Containers::default();
        let changes: Vec<ContainerChange> = list
            .iter()
            .map(|(id, members)| ContainerChange {
                id: *id,
                version: 0,
                members: members.iter().cloned().map(MemberChange::Add).collect(),
            })
            .collect();
        assert_eq!(containers.set_members(&changes, 100), Ok(()));
        containers
    }

    fn user(address: &str) -> Member {
        Member::User(address.into())
    }

    fn domain(name: &str) -> Member {
        Member::Domain(name.into())
    }

    //= MS-PRES 3.2.5.3
    //= type=test
    // proves: PRES-3.2.5.3-02 PRES-3.2.5.3-03 PRES-3.2.5.3-04 PRES-3.2.5.3-05 PRES-3.2.5.3-06
    // proves: PRES-3.2.5.3-07 PRES-3.2.5.3-08 PRES-3.2.5.3-09 PRES-3.2.5.3-10
    // proves: PRES-1.3.1.3.6-01 PRES-1.3.1.3.6-02 PRES-1.3.1.3.7-01 PRES-1.3.1.3.7-02 PRES-1.3.1.3.5-01
    #[test]
    fn a_watcher_is_resolved_by_the_six_rules() {
        use Member::{Everyone, Federated, PublicCloud, SameEnterprise};
        use Network::PublicCloud as Cloud;
        let bob = "bob@contoso.com";
        let own = Network::SameEnterprise;
        let all: &[u16] = &[0, 1, 100, 200, 300];
        for (name, members, address, network, publishing, expected) in [
            (
                "user twice",
                &[(100u16, &[user(bob)][..]), (300, &[user(bob)])][..],
                bob,
                own,
                all,
                Some(300),
            ),
            (
                "domain twice",
                &[
                    (100, &[domain("contoso.com")]),
                    (200, &[domain("contoso.com")]),
                ],
                bob,
                own,
                all,
                Some(200),
            ),
            (
                "enterprise twice",
                &[(100, &[SameEnterprise]), (200, &[SameEnterprise])],
                bob,
                own,
                all,
                Some(200),
            ),
            (
                "federated",
                &[(100, &[Federated]), (200, &[SameEnterprise])],
                "x@y",
                Network::Federated,
                all,
                Some(100),
            ),
            (
                "public cloud",
                &[(1, &[PublicCloud]), (200, &[Federated])],
                "x@y",
                Cloud,
                all,
                Some(1),
            ),
            (
                "everyone",
                &[(100, &[Everyone]), (1, &[Everyone])],
                "x@y",
                Cloud,
                all,
                Some(100),
            ),
            (
                "network before everyone",
                &[(100, &[PublicCloud]), (300, &[Everyone])],
                "x@y",
                Cloud,
                all,
                Some(100),
            ),
            (
                "domain before network",
                &[(100, &[domain("contoso.com")]), (300, &[SameEnterprise])],
                bob,
                own,
                all,
                Some(100),
            ),
            (
                "user before domain",
                &[(1, &[user(bob)]), (300, &[domain("contoso.com")])],
                bob,
                own,
                all,
                Some(1),
            ),
            (
                "stranger",
                &[(100, &[SameEnterprise])],
                "x@y",
                Cloud,
                all,
                Some(0),
            ),
            (
                "blocked",
                &[(100, &[SameEnterprise])],
                "x@y",
                Cloud,
                &[100, 200],
                None,
            ),
            (
                "membership without data",
                &[(300, &[user(bob)]), (100, &[SameEnterprise])],
                bob,
                own,
                &[0, 100],
                Some(100),
            ),
            (
                "a suffix is no domain",
                &[(100, &[domain("oso.com")])],
                bob,
                own,
                &[100],
                None,
            ),
            (
                "nothing published",
                &[(100, &[user(bob)])],
                bob,
                own,
                &[],
                None,
            ),
        ] {
            let watcher = Watcher { address, network };
            let resolved = containers(members).resolve(watcher, publishing.iter().copied());
            assert_eq!(resolved, expected, "{name}");
        }
    }

    //= MS-PRES 3.5.5.2
    //= type=test
    // proves: PRES-1.3.1.8-01 PRES-1.3.1.8.1-01 PRES-1.3.1.8.1-02 PRES-1.3.1.8.1-03
    #[test]
    fn membership_changes_whole_or_not_at_all() {
        use MemberChange::{Add, Remove};
        let change = |id, version, members| ContainerChange {
            id,
            version,
            members,
        };
        let conflict = |index, version, current| Conflict {
            index,
            version,
            current,
        };
        let (a, b) = (user("a@x"), user("b@x"));
        for (name, changes, expected, members, version) in [
            (
                "first",
                vec![change(200, 0, vec![Add(b.clone())])],
                Ok(()),
                vec![b.clone()],
                1,
            ),
            (
                "wrong first",
                vec![change(200, 3, vec![Add(b.clone())])],
                Err(Rejected::Conflicts(vec![conflict(1, 3, 0)])),
                vec![],
                0,
            ),
            (
                "add again",
                vec![change(100, 1, vec![Add(a.clone())])],
                Ok(()),
                vec![a.clone()],
                2,
            ),
            (
                "remove",
                vec![change(100, 1, vec![Remove(a.clone())])],
                Ok(()),
                vec![],
                2,
            ),
            (
                "remove who is not there",
                vec![change(100, 1, vec![Remove(b.clone())])],
                Ok(()),
                vec![a.clone()],
                2,
            ),
            (
                "nothing",
                vec![change(100, 1, vec![])],
                Ok(()),
                vec![a.clone()],
                2,
            ),
            (
                "one of two stale",
                vec![
                    change(200, 0, vec![Add(b.clone())]),
                    change(100, 0, vec![Remove(a.clone())]),
                ],
                Err(Rejected::Conflicts(vec![conflict(2, 0, 1)])),
                vec![a.clone()],
                1,
            ),
            (
                "too many",
                vec![change(100, 1, vec![Add(b.clone()), Add(user("c@x"))])],
                Err(Refusal::TooManyMembers.into()),
                vec![a.clone()],
                1,
            ),
        ] {
            let mut held = containers(&[(100, std::slice::from_ref(&a))]);
            let id = changes.last().map_or(100, |change| change.id);
            assert_eq!(held.set_members(&changes, 2), expected, "{name}");
            let container = held.get(id).cloned().unwrap_or_default();
            assert_eq!(
                (container.members, container.version),
                (members, version),
                "{name}"
            );
            if expected.is_err() {
                assert!(held.get(200).is_none(), "{name}");
            }
        }
    }

    /// The text of 3.2.5.3, sentence by sentence.
    fn naive(containers: &[Container], watcher: Watcher<'_>, publishing: &[u16]) -> Option<u16> {
        let holds = |container: &&Container| publishing.contains(&container.id);
        let with = |is: &dyn Fn(&Member) -> bool| {
            containers
                .iter()
                .filter(holds)
                .filter(|container| container.members.iter().any(is))
                .map(|container| container.id)
                .max()
        };
        let own = watcher.address.split('@').nth(1).unwrap_or_default();
        let network = match watcher.network {
            Network::SameEnterprise => Member::SameEnterprise,
            Network::Federated => Member::Federated,
            Network::PublicCloud => Member::PublicCloud,
        };
        with(&|member| *member == Member::User(watcher.address.into()))
            .or_else(|| with(&|member| *member == Member::Domain(own.into())))
            .or_else(|| with(&|member| *member == network))
            .or_else(|| with(&|member| *member == Member::Everyone))
            .or_else(|| publishing.contains(&0).then_some(0))
    }

    fn any_member() -> impl Strategy<Value = Member> {
        prop_oneof![
            (0..3u8, 0..2u8).prop_map(|(u, d)| user(&format!("u{u}@d{d}"))),
            (0..3u8).prop_map(|d| domain(&format!("d{d}"))),
            Just(Member::SameEnterprise),
            Just(Member::Federated),
            Just(Member::PublicCloud),
            Just(Member::Everyone),
        ]
    }

    proptest! {
        #[test]
        fn resolution_is_what_the_text_says(
            lists in prop::collection::btree_map(1..6u16, prop::collection::btree_set(any_member(), 0..5), 0..5),
            publishing in prop::collection::btree_set(0..6u16, 0..6),
            (u, d, network) in (0..4u8, 0..3u8, 1..4u8),
        ) {
            let plain: Vec<Container> = lists
                .into_iter()
                .map(|(id, members)| Container { id, version: 1, members: members.into_iter().collect() })
                .collect();
            let address = format!("u{u}@d{d}");
            let network = Network::from_number(network).expect("1 to 3");
            let watcher = Watcher { address: &address, network };
            let publishing: Vec<u16> = publishing.into_iter().collect();
            let ours = Containers::from_ordered(plain.clone()).resolve(watcher, publishing.iter().copied());
            prop_assert_eq!(ours, naive(&plain, watcher, &publishing));
        }
    }
}
