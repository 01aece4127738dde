//! Container resolution against a naive model, over memberships as requests make them (MS-PRES 1.3.1.3.7,
//! 3.2.5.3, 3.5.5.2). A failure prints the shortest case that shows it, and its seed is kept by proptest.

mod naive;

use naive::Entry;
use proptest::prelude::*;
use shard::presence::container::{
    Conflict, ContainerChange, Containers, Member, MemberChange, Network, Rejected, Watcher,
};

/// Containers that are used: the default one, well-known ones, the greatest.
const IDS: [u16; 9] = [0, 1, 2, 3, 100, 200, 300, 32_000, u16::MAX];
const USERS: [&str; 5] = [
    "ann@a.example",
    "bob@a.example",
    "bob@b.example",
    "ann@sub.a.example",
    "+15551234",
];
/// Among them suffixes and prefixes of each other.
const DOMAINS: [&str; 6] = [
    "a.example",
    "b.example",
    "example",
    "sub.a.example",
    ".example",
    "a.exampl",
];
const NETWORKS: [(Network, &str); 3] = [
    (Network::SameEnterprise, "sameEnterprise"),
    (Network::Federated, "federated"),
    (Network::PublicCloud, "publicCloud"),
];

fn any_member() -> impl Strategy<Value = Member> {
    prop_oneof![
        4 => prop::sample::select(&USERS[..]).prop_map(|user| Member::User(user.into())),
        3 => prop::sample::select(&DOMAINS[..]).prop_map(|domain| Member::Domain(domain.into())),
        1 => Just(Member::SameEnterprise),
        1 => Just(Member::Federated),
        1 => Just(Member::PublicCloud),
        1 => Just(Member::Everyone),
    ]
}

/// A request: containers with what is added (`true`) and removed; at times with a wrong version.
type Asked = Vec<(u16, Vec<(bool, Member)>, u32)>;

fn any_request() -> impl Strategy<Value = Asked> {
    let change = (prop::bool::weighted(0.75), any_member());
    let wrong = prop_oneof![12 => Just(0u32), 1 => 1..3u32];
    let container = (
        prop::sample::select(&IDS[1..]),
        prop::collection::vec(change, 0..6),
        wrong,
    );
    prop::collection::vec(container, 1..4).prop_map(|mut all| {
        all.sort_by_key(|(id, ..)| *id);
        all.dedup_by_key(|(id, ..)| *id);
        all
    })
}

fn entry(container: u16, member: &Member) -> Entry {
    let (kind, value) = match member {
        Member::User(address) => ("user", &**address),
        Member::Domain(domain) => ("domain", &**domain),
        Member::SameEnterprise => ("sameEnterprise", ""),
        Member::Federated => ("federated", ""),
        Member::PublicCloud => ("publicCloud", ""),
        Member::Everyone => ("everyone", ""),
    };
    Entry {
        container,
        kind: kind.to_owned(),
        value: value.to_owned(),
    }
}

/// The membership lists once more: lines in no order, and how often each container was changed.
#[derive(Default)]
struct Lists {
    lines: Vec<Entry>,
    versions: std::collections::BTreeMap<u16, u32>,
}

impl Lists {
    /// Does a request, or says at which places its versions are wrong.
    fn request(&mut self, asked: &Asked) -> Vec<u32> {
        let wrong = (1..).zip(asked).filter(|(_, (.., error))| *error > 0);
        let wrong: Vec<u32> = wrong.map(|(index, _)| index).collect();
        if !wrong.is_empty() {
            return wrong;
        }
        for (id, members, _) in asked {
            for (add, member) in members {
                let line = entry(*id, member);
                self.lines.retain(|known| *known != line);
                if *add {
                    self.lines.push(line);
                }
            }
            *self.versions.entry(*id).or_default() += 1;
        }
        Vec::new()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6_000))]

    //= MS-PRES 3.2.5.3
    //= type=test
    //= MS-PRES 1.3.1.3.7
    //= type=test
    //= MS-PRES 3.5.5.2
    //= type=test
    // proves: PRES-1.3.1.3.5-01 PRES-1.3.1.3.6-01 PRES-1.3.1.3.6-02 PRES-1.3.1.3.7-01 PRES-1.3.1.3.7-02 PRES-3.2.5.3-02
    // proves: PRES-3.2.5.3-03 PRES-3.2.5.3-04 PRES-3.2.5.3-05 PRES-3.2.5.3-06 PRES-3.2.5.3-07 PRES-3.2.5.3-08
    // proves: PRES-3.2.5.3-09 PRES-3.2.5.3-10 PRES-3.5.5.2-05 PRES-3.5.5.2-07 PRES-3.5.5.2-13 PRES-3.5.5.2-16
    #[test]
    fn memberships_and_resolution_are_what_the_text_says(
        requests in prop::collection::vec(any_request(), 0..8),
        publishing in prop::sample::subsequence(&IDS[..], 0..=IDS.len()),
    ) {
        let (mut ours, mut lists) = (Containers::default(), Lists::default());
        for asked in &requests {
            let before = lists.versions.clone();
            let version = |id: u16| before.get(&id).copied().unwrap_or(0);
            let changes: Vec<ContainerChange> = asked
                .iter()
                .map(|(id, members, error)| ContainerChange {
                    id: *id,
                    version: version(*id) + error,
                    members: members
                        .iter()
                        .map(|(add, member)| match add {
                            true => MemberChange::Add(member.clone()),
                            false => MemberChange::Remove(member.clone()),
                        })
                        .collect(),
                })
                .collect();
            let conflict = |index: u32| {
                let change = &changes[index as usize - 1];
                Conflict { index, version: change.version, current: version(change.id) }
            };
            let said = ours.set_members(&changes, usize::MAX);
            let wrong = lists.request(asked);
            if wrong.is_empty() {
                prop_assert_eq!(said, Ok(()));
            } else {
                prop_assert_eq!(said, Err(Rejected::Conflicts(wrong.into_iter().map(conflict).collect())));
            }
            let mut held: Vec<Entry> = Vec::new();
            for container in ours.iter() {
                held.extend(container.members.iter().map(|member| entry(container.id, member)));
                prop_assert_eq!(Some(&container.version), lists.versions.get(&container.id));
            }
            held.sort();
            let mut expected = lists.lines.clone();
            expected.sort();
            prop_assert_eq!(held, expected);
        }
        for address in USERS {
            for (network, name) in NETWORKS {
                let resolved = ours.resolve(Watcher { address, network }, publishing.iter().copied());
                let expected = naive::resolve(&lists.lines, naive::Watcher { address, network: name }, &publishing);
                prop_assert_eq!(resolved, expected, "{} from {}", address, name);
            }
        }
    }
}
