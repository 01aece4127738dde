//! Appending to the write-ahead log, synced: one entry at a time, and 16 groups at once, each on a thread of its own. Sketch: a lone
//! entry costs one fdatasync of the disk; entries that come together share it.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use node::raft::log::{Log, LogOptions};
use node::raft::types::{GroupId, Payload, TypeConfig};
use openraft::storage::RaftLogStorageExt as _;
use openraft::{CommittedLeaderId, Entry, EntryPayload, LogId};

fn entry(index: u64) -> Entry<TypeConfig> {
    let payload = EntryPayload::Normal(Payload(Bytes::from_static(&[7; 500])));
    Entry {
        log_id: LogId::new(CommittedLeaderId::new(1, 1), index),
        payload,
    }
}

fn bench(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, _) = Log::open(folder.path(), LogOptions::default()).expect("a log");
    let mut group = c.benchmark_group("append 500 bytes, synced");
    group.sample_size(20);
    for groups in [1u32, 16] {
        let mut logs: Vec<_> = (0..groups)
            .map(|number| log.group(GroupId(1_000 * groups + number)))
            .collect();
        let mut index = 0;
        group.throughput(Throughput::Elements(u64::from(groups)));
        group.bench_function(BenchmarkId::new("groups", groups), |b| {
            b.iter(|| {
                std::thread::scope(|scope| {
                    let last = logs.len() - 1;
                    for (number, log) in logs.iter_mut().enumerate() {
                        let mut append = move || {
                            let runtime = tokio::runtime::Builder::new_current_thread()
                                .build()
                                .expect("a runtime");
                            runtime
                                .block_on(log.blocking_append([entry(index)]))
                                .expect("appended");
                        };
                        if number == last {
                            append()
                        } else {
                            drop(scope.spawn(append))
                        }
                    }
                });
                index += 1;
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
