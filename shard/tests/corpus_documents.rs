//! Every file of the document corpora through what it is for, on the ordinary toolchain.

use std::fs;
use std::path::Path;

use shard::document::pidf;
use shard::xml::Document;

fn each(target: &str, mut take: impl FnMut(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files: Vec<_> = fs::read_dir(&folder).expect("a corpus").flatten().collect();
    assert!(!files.is_empty(), "{}", folder.display());
    for file in files {
        let bytes = fs::read(file.path()).expect("readable");
        // The file, each beginning of it, and each with one byte changed.
        take(&bytes);
        for at in 0..bytes.len() {
            take(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= 0x15;
            take(&changed);
        }
    }
}

#[test]
fn a_fragment_of_anything_stands_alone() {
    each("xml", |bytes| {
        if let Ok(document) = Document::parse(bytes) {
            for child in document.root().children() {
                let mut out = Vec::new();
                child.write_standalone(&[], &mut out);
                let _ = child.text();
                assert!(
                    Document::parse(&out).is_ok(),
                    "{}",
                    String::from_utf8_lossy(&out)
                );
            }
        }
    });
}

#[test]
fn no_document_panics() {
    each("pidf", |bytes| drop(pidf::parse(bytes)));
}
