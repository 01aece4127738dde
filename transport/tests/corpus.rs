//! Every file of the fuzz corpora through what it is for, on the ordinary toolchain.

use std::fs;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use transport::sip::Message;
use transport::sip::frame::Framer;
use transport::sip::header::{NameAddr, Via, elements};
use transport::sip::uri::Uri;

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
fn no_head_panics() {
    each("head", |bytes| {
        if let Ok(Message::Request(request)) = Message::parse(Bytes::copy_from_slice(bytes)) {
            let _ = (
                request.from(),
                request.to(),
                request.expires(),
                request.lines().count(),
            );
        }
    });
}

#[test]
fn no_stream_panics() {
    each("frame", |bytes| {
        let (mut buffer, mut framer) = (BytesMut::from(bytes), Framer::default());
        while let Ok(Some(_)) = framer.next(&mut buffer) {}
    });
}

#[test]
fn no_address_panics() {
    each("uri", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = Uri::parse(&text).map(|uri| uri.user_unescaped().len());
        for element in elements(&text) {
            let _ = (
                NameAddr::parse(element).is_ok(),
                Via::parse(element).is_ok(),
            );
        }
    });
}
