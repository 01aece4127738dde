//! Where replicas go: one change of the map at a time, from what the map says.
//!
//! A pure function, asked again after each change has settled, so that it never takes more than one
//! replica of a shard away at a time.

use std::collections::{BTreeMap, BTreeSet};

use super::map::{Change, PoolMap, REPLICAS, ShardEntry, Standing};
use crate::peer::NodeNumber;

/// How much each node has.
struct Load {
    replicas: usize,
    leads: usize,
}

/// The next change that brings the pool nearer to: three replicas of each shard (all nodes, where there
/// are fewer), as many on each node, as many leaders on each node, nothing on who leaves.
#[must_use]
pub fn next(map: &PoolMap) -> Option<Change> {
    let hosts = map.hosts();
    let loads: BTreeMap<NodeNumber, Load> = hosts
        .iter()
        .map(|node| {
            let holds = |entry: &ShardEntry| entry.replicas.contains(node);
            let leads = |entry: &ShardEntry| entry.replicas.first() == Some(node);
            let load = Load {
                replicas: map.shards().filter(|(_, entry)| holds(entry)).count(),
                leads: map.shards().filter(|(_, entry)| leads(entry)).count(),
            };
            (*node, load)
        })
        .collect();
    map.shards()
        .find_map(|(shard, entry)| complete(shard, entry, &loads))
        .or_else(|| level(map, &loads))
        .or_else(|| spread_leaders(map, &loads))
}

/// The node with the fewest replicas that does not have this one.
fn emptiest(entry: &ShardEntry, loads: &BTreeMap<NodeNumber, Load>) -> Option<NodeNumber> {
    loads
        .iter()
        .filter(|(node, _)| !entry.replicas.contains(node))
        .min_by_key(|(node, load)| (load.replicas, **node))
        .map(|(node, _)| *node)
}

/// A replica more where there are too few, and one elsewhere for each on a node that leaves.
fn complete(shard: u16, entry: &ShardEntry, loads: &BTreeMap<NodeNumber, Load>) -> Option<Change> {
    let stays: Vec<NodeNumber> = entry
        .replicas
        .iter()
        .copied()
        .filter(|node| loads.contains_key(node))
        .collect();
    let wanted = REPLICAS.min(loads.len());
    let mut replicas = stays.clone();
    if replicas.len() < wanted {
        replicas.push(emptiest(entry, loads)?);
    } else if stays.len() == entry.replicas.len() {
        return None;
    }
    (replicas != entry.replicas).then_some(Change::Place { shard, replicas })
}

/// Whether a node leaves, and the map wants nothing of it any more. It is gone when its groups have let it
/// go as well, which only it knows; or when it is dead.
#[must_use]
pub fn is_free(map: &PoolMap, node: NodeNumber) -> bool {
    let leaves = map
        .node(node)
        .is_some_and(|entry| entry.standing == Standing::Leaving);
    leaves
        && !map
            .shards()
            .any(|(_, entry)| entry.replicas.contains(&node))
}

/// Moves a replica from the fullest node to the emptiest, if that makes them more alike.
fn level(map: &PoolMap, loads: &BTreeMap<NodeNumber, Load>) -> Option<Change> {
    let (to, least) = loads
        .iter()
        .min_by_key(|(node, load)| (load.replicas, **node))?;
    let (from, most) = loads
        .iter()
        .max_by_key(|(node, load)| (load.replicas, **node))?;
    if most.replicas <= least.replicas + 1 {
        return None;
    }
    let (shard, entry) = map
        .shards()
        .filter(|(_, entry)| entry.replicas.contains(from) && !entry.replicas.contains(to))
        // Rather not the one that leads.
        .max_by_key(|(shard, entry)| (entry.replicas.first() != Some(from), *shard))?;
    let replicas = entry
        .replicas
        .iter()
        .map(|node| if node == from { *to } else { *node })
        .collect();
    Some(Change::Place { shard, replicas })
}

/// Lets another replica lead where one node leads more than its share. Who drains leads nothing that
/// another one can lead.
fn spread_leaders(map: &PoolMap, loads: &BTreeMap<NodeNumber, Load>) -> Option<Change> {
    let serving: BTreeSet<NodeNumber> = map
        .nodes()
        .filter(|(_, entry)| entry.standing == Standing::Serving)
        .map(|(node, _)| node)
        .collect();
    for (shard, entry) in map.shards() {
        let leader = entry.replicas.first()?;
        let led = if serving.contains(leader) {
            loads.get(leader).map_or(0, |load| load.leads)
        } else {
            usize::MAX
        };
        let better = entry
            .replicas
            .iter()
            .filter(|node| serving.contains(node))
            .min_by_key(|node| (loads.get(node).map_or(0, |load| load.leads), **node))
            .filter(|node| {
                loads
                    .get(node)
                    .is_some_and(|load| load.leads.saturating_add(1) < led)
            });
        if let Some(better) = better {
            let others = entry.replicas.iter().filter(|node| *node != better);
            let replicas = std::iter::once(better).chain(others).copied().collect();
            return Some(Change::Place { shard, replicas });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::map::Record;
    use super::*;

    fn pool_of(nodes: u64, shards: u16) -> PoolMap {
        let mut map = PoolMap::default();
        map.apply(&Change::Create { shards });
        for key in 2..=nodes {
            map.apply(&Change::Admit {
                key: u128::from(key),
                record: Record::default(),
            });
        }
        map
    }

    /// Makes changes until there is none left; each takes away at most one replica of a shard.
    fn settle(map: &mut PoolMap) -> usize {
        for count in 0..10_000 {
            let Some(change) = next(map) else {
                return count;
            };
            if let Change::Place { shard, replicas } = &change {
                let before = &map.shard(*shard).expect("a shard").replicas;
                let lost = before
                    .iter()
                    .filter(|node| !replicas.contains(node))
                    .count();
                assert!(lost <= 1, "{change:?} of {before:?}");
            }
            let epoch = map.epoch;
            map.apply(&change);
            assert_ne!(map.epoch, epoch, "{change:?} changes nothing");
        }
        panic!("it never settles");
    }

    fn counts(map: &PoolMap, of: impl Fn(&ShardEntry, NodeNumber) -> bool) -> Vec<usize> {
        map.hosts()
            .iter()
            .map(|node| map.shards().filter(|(_, entry)| of(entry, *node)).count())
            .collect()
    }

    #[test]
    fn replicas_and_leaders_are_spread() {
        for (nodes, shards) in [(1, 4), (2, 4), (3, 4), (3, 256), (4, 8), (5, 7), (9, 3)] {
            let mut map = pool_of(nodes, shards);
            settle(&mut map);
            for (shard, entry) in map.shards() {
                let want = REPLICAS.min(nodes as usize);
                assert_eq!(entry.replicas.len(), want, "{nodes} nodes, shard {shard}");
            }
            let holds = counts(&map, |entry, node| entry.replicas.contains(&node));
            let leads = counts(&map, |entry, node| entry.replicas.first() == Some(&node));
            for counts in [holds, leads] {
                let (most, least) = (counts.iter().max(), counts.iter().min());
                assert!(
                    most <= least.map(|least| least + 1).as_ref(),
                    "{nodes} nodes, {shards} shards: {counts:?}"
                );
            }
        }
    }

    #[test]
    fn who_leaves_holds_nothing_in_the_end() {
        let mut map = pool_of(4, 8);
        settle(&mut map);
        map.apply(&Change::Stand {
            node: 2,
            standing: Standing::Leaving,
        });
        assert!(!is_free(&map, 2));
        settle(&mut map);
        assert!(is_free(&map, 2) && !is_free(&map, 1));
        assert!(map.shards().all(|(_, entry)| entry.replicas.len() == 3));
    }

    #[test]
    fn who_drains_leads_nothing_and_keeps_its_replicas() {
        let mut map = pool_of(3, 6);
        settle(&mut map);
        map.apply(&Change::Stand {
            node: 1,
            standing: Standing::Draining,
        });
        settle(&mut map);
        assert!(
            map.shards()
                .all(|(_, entry)| entry.replicas.first() != Some(&1))
        );
        assert!(map.shards().all(|(_, entry)| entry.replicas.contains(&1)));
        map.apply(&Change::Stand {
            node: 1,
            standing: Standing::Serving,
        });
        settle(&mut map);
        assert_eq!(
            counts(&map, |entry, node| entry.replicas.first() == Some(&node)),
            [2, 2, 2]
        );
    }
}
