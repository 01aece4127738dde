//! Our reader of XML against roxmltree, a reader of another make, over the corpora and thousands of documents
//! that differ from them by a byte or a piece.

use std::fs;
use std::path::Path;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use shard::xml::{Document, Element};

/// Refusals of ours that go beyond what is well-formed.
const STRICTER: [&str; 10] = [
    "a DOCTYPE, which is refused",
    "an encoding other than UTF-8",
    "too many elements",
    "too many namespaces",
    "too many attributes",
    "elements nested too deep",
    // Namespaces in XML §7: no colon in a target.
    "a bad processing instruction",
    // It takes a version of any characters.
    "a bad XML declaration",
    // It takes a colon at the beginning of a name.
    "a bad attribute name",
    "a bad element name",
];

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut files = Vec::new();
    for target in ["xml", "pidf"] {
        for file in fs::read_dir(folder.join(target))
            .expect("a corpus")
            .flatten()
        {
            files.push(fs::read(file.path()).expect("readable"));
        }
    }
    assert!(files.len() > 3, "a corpus of {} files", files.len());
    files.push(
        b"<?xml version='1.0' encoding=\"utf-8\"?><a xmlns='one' xmlns:p=\"two\" p:b = 'x&amp;y'\n>t&#x41;\
          <p:c d='\"'/><!-- - --><![CDATA[<z>]]><?do it?></a>\n"
            .to_vec(),
    );
    files
}

fn same(ours: Element<'_, '_>, theirs: roxmltree::Node<'_, '_>) {
    let name = theirs.tag_name();
    assert_eq!(
        (ours.namespace(), ours.local()),
        (name.namespace().unwrap_or_default(), name.name())
    );
    for attribute in theirs.attributes() {
        let found = match attribute.namespace() {
            Some(namespace) => ours.attribute_of(namespace, attribute.name()),
            None => ours.attribute(attribute.name()),
        };
        // White space in attributes is theirs normalised, ours as written.
        let plain = |text: &str| text.replace(['\t', '\n', '\r'], " ");
        assert_eq!(
            found.map(|value| plain(&value)),
            Some(plain(attribute.value()))
        );
    }
    let elements: Vec<_> = theirs
        .children()
        .filter(|child| child.is_element())
        .collect();
    let own: Vec<_> = ours.children().collect();
    assert_eq!(own.len(), elements.len());
    for (own, element) in own.into_iter().zip(elements) {
        same(own, element);
    }
    let text: String = theirs
        .children()
        .filter(|child| child.is_text())
        .filter_map(|child| child.text())
        .collect();
    let plain = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
    assert_eq!(plain(&ours.text()), plain(text.trim()));
}

/// Returns whether both took it.
fn agree(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(Document::parse(bytes).is_err());
        return false;
    };
    let ours = Document::parse(bytes);
    let theirs = roxmltree::Document::parse(text);
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            same(ours.root(), theirs.root_element());
            true
        }
        (Err(_), Err(_)) => false,
        (Err(error), Ok(_)) => {
            assert!(STRICTER.contains(&error.what), "{error} in {text:?}");
            false
        }
        (Ok(_), Err(error)) => panic!("taken, but {error} in {text:?}"),
    }
}

#[test]
fn every_document_of_the_corpora_and_each_with_a_byte_changed() {
    let mut taken = 0;
    for file in corpus() {
        taken += u32::from(agree(&file));
        for at in 0..file.len().min(3_000) {
            for with in [
                file[at] ^ 0x15,
                b'<',
                b'>',
                b'"',
                b'&',
                b' ',
                b'/',
                b':',
                b'=',
                0x01,
            ] {
                let mut changed = file.clone();
                changed[at] = with;
                taken += u32::from(agree(&changed));
            }
            taken += u32::from(agree(&file[..at]));
        }
    }
    assert!(taken > 1_000, "only {taken} documents were good");
}

#[test]
fn every_mixture_of_pieces() {
    const PIECES: [&str; 34] = [
        "<a>",
        "</a>",
        "<a/>",
        "<b ",
        "c='1'",
        "c=\"2\"",
        " ",
        "\n",
        ">",
        "/>",
        "<",
        "&amp;",
        "&#65;",
        "&#0;",
        "&x;",
        "&",
        "]]>",
        "<![CDATA[",
        "<!--",
        "-->",
        "--",
        "<?x ",
        "?>",
        "<?xml version='1.0'?>",
        "xmlns='u'",
        "xmlns:p='v'",
        " p:c='3'",
        "<p:a>",
        "</p:a>",
        "text",
        "\u{e9}",
        "\u{ffff}",
        ":",
        "=",
    ];
    let mut chance = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut taken = 0;
    for _ in 0..60_000 {
        let mut text = String::from("<a xmlns:p='w'>");
        for _ in 0..chance.next_u32() % 9 {
            text.push_str(PIECES[chance.next_u32() as usize % PIECES.len()]);
        }
        text.push_str("</a>");
        taken += u32::from(agree(text.as_bytes()));
    }
    assert!(taken > 1_000, "only {taken} documents were good");
}
