//! One's own data, read for comparison: prefixes, order, blanks and letter case of endpoints say nothing, and
//! an element without anything in it is as good as none.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

/// Elements that only say where an older schema ends.
const MARKS: &str = "http://schemas.microsoft.com/2006/09/sip/commontypes";

/// Container, category, instance.
pub type Key = (u16, String, u32);

/// One instance as its publisher is shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// `static`, `user`, `endpoint UUID`, `time`.
    pub life: String,
    pub version: u32,
    /// The content, as [`canonical`] has it.
    pub content: String,
}

/// The instances that a document with `category` elements shows.
pub fn held(document: &str) -> BTreeMap<Key, Held> {
    let document = Document::parse(document)
        .unwrap_or_else(|error| panic!("not well-formed ({error}): {document}"));
    let categories = document.descendants().filter(|node| {
        node.tag_name().name() == "category" && node.attribute("instance").is_some()
    });
    let each = categories.map(|node| {
        let attribute = |name: &str| node.attribute(name).unwrap_or_default().to_owned();
        let number = |name: &str| {
            attribute(name)
                .parse()
                .unwrap_or_else(|_| panic!("{name}: {node:?}"))
        };
        let key = (
            attribute("container").parse().expect("a container"),
            attribute("name"),
            number("instance"),
        );
        let life = match (&*attribute("expireType"), attribute("endpointId")) {
            ("endpoint", id) => format!("endpoint {}", id.to_ascii_lowercase()),
            (other, _) => other.to_owned(),
        };
        let content = node.children().find(Node::is_element);
        let held = Held {
            life,
            version: number("version"),
            content: content.map_or_else(String::new, canonical),
        };
        (key, held)
    });
    each.collect()
}

/// A document's root as [`canonical`] has it.
pub fn canonical_of(text: &str) -> String {
    let document =
        Document::parse(text).unwrap_or_else(|error| panic!("not well-formed ({error}): {text}"));
    canonical(document.root_element())
}

/// An element in one spelling: name, attributes by name, text, and what is in it, in one line each, sorted.
pub fn canonical(element: Node<'_, '_>) -> String {
    let name = element.tag_name();
    let mut out = format!(
        "{{{}}}{}",
        name.namespace().unwrap_or_default(),
        name.name()
    );
    let mut attributes: Vec<String> = element
        .attributes()
        .map(|attribute| {
            let value = match attribute.name() {
                "endpointId" | "preferredEndpointId" => attribute.value().to_ascii_lowercase(),
                _ => attribute.value().to_owned(),
            };
            format!(" {}={value:?}", attribute.name())
        })
        .collect();
    attributes.sort();
    out.extend(attributes);
    let text: String = element
        .children()
        .filter(Node::is_text)
        .filter_map(|child| child.text())
        .collect();
    if !text.trim().is_empty() {
        out += &format!(" {:?}", text.trim());
    }
    let inside = element
        .children()
        .filter(|child| child.is_element() && child.tag_name().namespace() != Some(MARKS));
    let mut inside: Vec<String> = inside.filter(says_something).map(canonical).collect();
    inside.sort();
    for child in inside {
        for line in child.lines() {
            out += "\n  ";
            out += line;
        }
    }
    out
}

fn says_something(element: &Node<'_, '_>) -> bool {
    element.attributes().len() > 0
        || element.children().any(|child| match child.is_element() {
            true => says_something(&child),
            false => child.text().is_some_and(|text| !text.trim().is_empty()),
        })
}
