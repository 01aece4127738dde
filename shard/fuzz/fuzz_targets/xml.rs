//! XML: no bytes panic, and what was read can be cut out and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shard::xml::Document;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(document) = Document::parse(bytes) {
        for child in document.root().children() {
            let mut out = Vec::new();
            child.write_standalone(&[], &mut out);
            let _ = (child.text(), child.namespace());
            assert!(Document::parse(&out).is_ok(), "a fragment stands alone");
        }
    }
});
