//! Writing and reading a PUBLISH of the log. Sketch: fixed fields and one copy: 30 ns; reading borrows.

use benches::Stage;
use bytes::BytesMut;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use shard::machine::codec::{decode_entry, encode_batch, encode_request};
use shard::machine::command::{Command, Publish, Request, Ticket};
use shard::machine::outcome::RequestKey;
use shard::presence::package::Package;
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::time::Timestamp;

fn bench(c: &mut Criterion) {
    let stage = Stage::new(0);
    let request = Request {
        key: RequestKey(1),
        ticket: Ticket(1),
        command: Command::Publish(Publish {
            presentity: "p0000001@bench.test",
            package: Package::Presence,
            if_match: Some(EntityTag {
                salt: 7,
                index: 31,
                position: 0,
            }),
            content: Some(&stage.stored),
            expires_s: 3_600,
            tag_policy: TagPolicy::Renew,
            bearing: Default::default(),
        }),
    };
    c.bench_function("encode a request", |b| {
        let mut out = BytesMut::with_capacity(1 << 20);
        b.iter(|| {
            out.clear();
            encode_request(black_box(&request), &mut out);
        });
    });
    let mut encoded = BytesMut::new();
    encode_request(&request, &mut encoded);
    let mut entry = BytesMut::new();
    encode_batch(Timestamp(1), 1, &[&encoded], &mut entry);
    c.bench_function("decode an entry of one request", |b| {
        b.iter(|| decode_entry(black_box(&entry)).map(|entry| entry.at))
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
