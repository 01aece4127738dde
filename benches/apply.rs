//! Applying a PUBLISH that modifies, without watchers and with a fan-out. Sketch: a search, a copy of
//! 500 bytes, a deadline that is not moved: 1 µs; each notice clones two pointers: 100 ns.

use benches::Stage;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply a PUBLISH");
    for watchers in [0, 1, 50, 1_000] {
        let mut stage = Stage::new(watchers);
        assert_eq!(stage.publish() as u64, watchers);
        group.throughput(Throughput::Elements(watchers.max(1)));
        group.bench_function(BenchmarkId::new("watchers", watchers), |b| {
            b.iter(|| stage.publish())
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
