//! Enhanced presence on one shard, without the wire. Sketch: reading a publish document of 1,300 bytes in three
//! contents takes 10 µs; the computing functions build some thirty outputs of 300 bytes, compare and keep
//! them: 10 µs; a self document of forty instances is 12 KB of copies: 10 µs; a watcher's of five categories
//! is 2 KB: 2 µs; a batch is 80 times a look-up, an index and a resolution over five categories: 100 µs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use benches::team::Team;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shard::document::{categories, roaming_self};

fn bench(c: &mut Criterion) {
    let mut team = Team::new(1);
    c.bench_function("publish a state to 3 containers, aggregated", |b| {
        b.iter(|| team.publish())
    });
    let own = team.own();
    let mut document = Vec::new();
    roaming_self::compose(&own, &mut document);
    let mut group = c.benchmark_group("compose");
    group.throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function("a self notification", |b| {
        b.iter(|| {
            document.clear();
            roaming_self::compose(black_box(&own), &mut document);
        })
    });
    let seen = team.seen();
    document.clear();
    categories::compose(&seen, &mut document);
    group.throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function("a category notification", |b| {
        b.iter(|| {
            document.clear();
            categories::compose(black_box(&seen), &mut document);
        })
    });
    group.finish();
    let mut team = Team::new(80);
    c.bench_function("subscribe to a batch of 80", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let begin = Instant::now();
                team.subscribe();
                spent += begin.elapsed();
                team.unsubscribe();
            }
            spent
        })
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
