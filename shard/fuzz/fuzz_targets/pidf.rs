//! Presence documents: no body panics, and what is composed can be read again.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use shard::document::pidf::{compose, parse};
use shard::presence::package::Package;
use shard::presence::publication::Content;
use shard::slot::Aor;
use shard::subscription::view::View;
use shard::time::Timestamp;

fuzz_target!(|bytes: &[u8]| {
    let Ok(stored) = parse(bytes) else { return };
    let content = Content { stored: stored.into(), published_at: Timestamp(1), number: 0 };
    let view = View {
        presentity: Aor::sip("a", "b"),
        package: Package::Presence,
        revision: 1,
        taken_at: Timestamp(1),
        contents: std::iter::once(Arc::new(content)).collect(),
    };
    let mut document = Vec::new();
    compose(&view, &mut document);
    parse(&document).expect("what we show can be read");
});
