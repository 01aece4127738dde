//! Which slots go where: plans of moves, from what the map says. Slots on their way count where they go.
//!
//! Pure functions: who asks twice gets what is left to do.

use std::collections::BTreeMap;

use shard::slot::{SLOTS, Slot};

use super::map::{PoolMap, REPLICAS};
use crate::peer::NodeNumber;

/// The shard that each slot is in once all moves are done.
fn ends(map: &PoolMap) -> Vec<(u16, u16)> {
    let end = |slot: Slot| {
        map.moving(slot.number())
            .map_or_else(|| map.shard_of(slot), |moving| moving.to)
    };
    (0..SLOTS)
        .filter_map(Slot::new)
        .map(|slot| (slot.number(), end(slot)))
        .collect()
}

/// The moves after which no shard has more than one slot more than another: as few as there can be.
#[must_use]
pub fn even(map: &PoolMap) -> Vec<(u16, u16)> {
    let shards = map.shard_count();
    let mut held: BTreeMap<u16, Vec<u16>> =
        map.shards().map(|(shard, _)| (shard, vec![])).collect();
    for (slot, shard) in ends(map) {
        // Who is on its way is not sent elsewhere: it counts, and stays out of the plan.
        if map.moving(slot).is_none() {
            held.entry(shard).or_default().push(slot);
        }
    }
    let mut counts: BTreeMap<u16, usize> = held.keys().map(|shard| (*shard, 0)).collect();
    for (_, shard) in ends(map) {
        *counts.entry(shard).or_default() += 1;
    }
    let (share, more) = (usize::from(SLOTS) / shards, usize::from(SLOTS) % shards);
    // The fullest keep the larger shares, so that nothing moves for the sake of a remainder.
    let mut by_count: Vec<(u16, usize)> = counts.into_iter().collect();
    by_count.sort_by_key(|(shard, count)| (std::cmp::Reverse(*count), *shard));
    let mut spare = Vec::new();
    let mut wanting = Vec::new();
    for (place, (shard, count)) in by_count.into_iter().enumerate() {
        let target = share + usize::from(place < more);
        if let Some(held) = held.get_mut(&shard) {
            let give = count.saturating_sub(target).min(held.len());
            spare.push(held.split_off(held.len() - give));
        }
        wanting.push((shard, target.saturating_sub(count)));
    }
    // In turns from each that has too many, and to each that has too few: all work at once.
    let mut givers: Vec<_> = spare.into_iter().map(Vec::into_iter).collect();
    let mut moves = Vec::new();
    let mut turn = 0;
    while wanting.iter().any(|(_, wants)| *wants > 0) {
        let count = givers.len();
        let slot = (0..count).find_map(|step| {
            let giver = (turn + step) % count;
            givers[giver].next().map(|slot| (giver, slot))
        });
        let Some((giver, slot)) = slot else { break };
        turn = giver + 1;
        wanting.sort_by_key(|(shard, wants)| (std::cmp::Reverse(*wants), *shard));
        let (shard, wants) = &mut wanting[0];
        *wants -= 1;
        moves.push((slot, *shard));
    }
    moves
}

/// The moves of `count` slots of one shard to another: the highest that are not on their way. What is on its
/// way from the one to the other already counts, so that an order given twice is carried out once.
#[must_use]
pub fn some(map: &PoolMap, from: u16, to: u16, count: usize) -> Vec<(u16, u16)> {
    let begun = map
        .moves()
        .filter(|(slot, moving)| {
            let at = Slot::new(*slot).map(|slot| map.shard_of(slot));
            at == Some(from) && moving.to == to
        })
        .count();
    let wanted = if begun > 0 { 0 } else { count };
    let mut slots: Vec<u16> = map
        .slots_of(from)
        .filter(|slot| map.moving(*slot).is_none())
        .collect();
    slots.reverse();
    slots
        .into_iter()
        .take(wanted)
        .map(|slot| (slot, to))
        .collect()
}

/// Where a new shard goes: the nodes with the fewest replicas, and of those the one that leads least first.
#[must_use]
pub fn for_new_shard(map: &PoolMap) -> Vec<NodeNumber> {
    let count = |node: NodeNumber, leads: bool| {
        let of = map.shards().filter(|(_, entry)| {
            if leads {
                entry.replicas.first() == Some(&node)
            } else {
                entry.replicas.contains(&node)
            }
        });
        of.count()
    };
    let mut nodes: Vec<NodeNumber> = map.hosts().into_iter().collect();
    nodes.sort_by_key(|node| (count(*node, false), count(*node, true), *node));
    nodes.truncate(REPLICAS);
    nodes.sort_by_key(|node| (count(*node, true), *node));
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::map::{Change, Record};
    use crate::pool::placement;

    fn pool(nodes: u16, shards: u16) -> PoolMap {
        let mut map = PoolMap::default();
        map.apply(&Change::Create { shards });
        for number in 2..=nodes {
            let key = u128::from(number);
            let record = Record::default();
            map.apply(&Change::Admit { key, record });
        }
        while let Some(change) = placement::next(&map) {
            map.apply(&change);
        }
        map
    }

    fn add(map: &mut PoolMap) {
        let shard = map.shard_count() as u16;
        let replicas = for_new_shard(map);
        map.apply(&Change::AddShard { shard, replicas });
    }

    fn finish(map: &mut PoolMap) {
        for (slot, moving) in map.moves().collect::<Vec<_>>() {
            let number = moving.number;
            let made = true;
            map.apply(&Change::EndMove { slot, number, made });
        }
    }

    #[test]
    fn slots_are_spread_with_as_few_moves_as_needed() {
        for (shards, more, moves) in [
            (4, 4, 512),
            (2, 2, 512),
            (1, 2, 682),
            (3, 1, 256),
            (4, 0, 0),
            (3, 0, 0),
            (512, 512, 512),
        ] {
            let mut map = pool(3, shards);
            for _ in 0..more {
                add(&mut map);
            }
            let plan = even(&map);
            assert_eq!(plan.len(), moves, "{shards} and {more}");
            map.apply(&Change::BeginMoves { moves: plan });
            assert_eq!(even(&map), [], "what is on its way counts");
            finish(&mut map);
            let counts: Vec<usize> = (0..shards + more)
                .map(|s| map.slots_of(s).count())
                .collect();
            let (least, most) = (counts.iter().min(), counts.iter().max());
            assert!(
                most.zip(least)
                    .is_some_and(|(most, least)| most - least <= 1)
            );
            assert_eq!(even(&map), []);
        }
    }

    #[test]
    fn an_order_of_some_slots_is_carried_out_once() {
        let mut map = pool(1, 3);
        let plan = some(&map, 0, 2, 5);
        assert_eq!(plan.len(), 5);
        assert!(plan.iter().all(|(slot, to)| slot % 3 == 0 && *to == 2));
        map.apply(&Change::BeginMoves { moves: plan });
        assert_eq!(some(&map, 0, 2, 5), []);
        assert_eq!(some(&map, 0, 1, 2).len(), 2);
        assert_eq!(some(&map, 1, 2, 2_000).len(), 341);
        finish(&mut map);
        assert_eq!(map.slots_of(2).count(), 346);
        assert_eq!(some(&map, 0, 2, 5).len(), 5, "then it is another order");
    }

    #[test]
    fn a_new_shard_goes_where_there_is_room_and_stays_there() {
        for nodes in [1, 2, 3, 4, 5, 7] {
            let mut map = pool(nodes, 4);
            for _ in 0..8 {
                add(&mut map);
                let placed = placement::next(&map);
                assert_eq!(placed, None, "{nodes} nodes: nothing is to be levelled");
            }
        }
    }
}
