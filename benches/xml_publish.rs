//! Reading a presence document of 490 bytes into its stored form. Sketch: quick-xml's events are
//! 0.6 µs, namespaces and the arena as much again, writing the elements 0.3: about 2 µs.

use benches::DOCUMENT;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shard::document::pidf::parse;

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("pidf");
    group.throughput(Throughput::Bytes(DOCUMENT.len() as u64));
    group.bench_function("parse", |b| {
        b.iter(|| parse(black_box(DOCUMENT.as_bytes())))
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
