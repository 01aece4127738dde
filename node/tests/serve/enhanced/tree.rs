//! Documents compared as XML: prefixes, the order of attributes and blanks between elements say nothing.

use std::fmt::Write as _;

use roxmltree::{Document, Node};

/// The document in one canonical spelling: an element a line, `{namespace}name attribute="value"… text`.
/// Attributes in `masked` (by `name`, or by `element@name`) show as `*`.
pub fn canonical(document: &str, masked: &[&str]) -> String {
    let document = Document::parse(document)
        .unwrap_or_else(|error| panic!("not well-formed ({error}): {document}"));
    let mut out = String::new();
    write(document.root_element(), 0, masked, &mut out);
    out
}

fn write(element: Node<'_, '_>, depth: usize, masked: &[&str], out: &mut String) {
    let name = element.tag_name();
    let _ = write!(
        out,
        "{}{{{}}}{}",
        "  ".repeat(depth),
        name.namespace().unwrap_or_default(),
        name.name()
    );
    let mut attributes: Vec<(String, String)> = element
        .attributes()
        .map(|attribute| {
            let key = match attribute.namespace() {
                Some(namespace) => format!("{{{namespace}}}{}", attribute.name()),
                None => attribute.name().to_owned(),
            };
            let of = format!("{}@{}", name.name(), attribute.name());
            let hidden = masked.contains(&attribute.name()) || masked.contains(&of.as_str());
            let value = if hidden { "*" } else { attribute.value() };
            (key, value.to_owned())
        })
        .collect();
    attributes.sort();
    for (key, value) in attributes {
        let _ = write!(out, " {key}={value:?}");
    }
    let text: String = element
        .children()
        .filter(|child| child.is_text())
        .filter_map(|child| child.text())
        .collect();
    if !text.trim().is_empty() {
        let _ = write!(out, " {:?}", text.trim());
    }
    out.push('\n');
    for child in element.children().filter(Node::is_element) {
        write(child, depth + 1, masked, out);
    }
}

/// The elements of this name anywhere in the document, each as [`canonical`], sorted.
pub fn elements(document: &str, name: &str, masked: &[&str]) -> Vec<String> {
    let document = Document::parse(document)
        .unwrap_or_else(|error| panic!("not well-formed ({error}): {document}"));
    let mut found: Vec<String> = document
        .descendants()
        .filter(|node| node.is_element() && node.tag_name().name() == name)
        .map(|node| {
            let mut out = String::new();
            write(node, 0, masked, &mut out);
            out
        })
        .collect();
    found.sort();
    found
}

/// An attribute of each element of this name, in the document's order.
pub fn attributes(document: &str, name: &str, attribute: &str) -> Vec<String> {
    let document = Document::parse(document)
        .unwrap_or_else(|error| panic!("not well-formed ({error}): {document}"));
    document
        .descendants()
        .filter(|node| node.is_element() && node.tag_name().name() == name)
        .filter_map(|node| node.attribute(attribute).map(str::to_owned))
        .collect()
}
