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

/// The same of one element.
pub fn canonical_node(element: Node<'_, '_>, masked: &[&str]) -> String {
    let mut out = String::new();
    write(element, 0, masked, &mut out);
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

/// The text of each element of this name, in the document's order.
pub fn texts(document: &str, name: &str) -> Vec<String> {
    let document = Document::parse(document)
        .unwrap_or_else(|error| panic!("not well-formed ({error}): {document}"));
    document
        .descendants()
        .filter(|node| node.is_element() && node.tag_name().name() == name)
        .map(|node| node.text().unwrap_or_default().trim().to_owned())
        .collect()
}

/// Holds a part of a document against its schema: every element from the one called `root` down is one of
/// `rules` (name, attributes that it must have, attributes that it may have), in the namespace `namespace`.
/// Elements of other namespaces are not looked at.
pub fn conforms(document: &str, namespace: &str, root: &str, rules: &[(&str, &[&str], &[&str])]) {
    let parsed = Document::parse(document)
        .unwrap_or_else(|error| panic!("not well-formed ({error}): {document}"));
    let root = parsed
        .descendants()
        .find(|node| node.has_tag_name((namespace, root)));
    let root = root.unwrap_or_else(|| panic!("no {namespace} {rules:?}: {document}"));
    for element in root.descendants().filter(Node::is_element) {
        if element.tag_name().namespace() != Some(namespace) {
            continue;
        }
        let name = element.tag_name().name();
        let rule = rules.iter().find(|(known, _, _)| *known == name);
        let (_, must, may) = rule.unwrap_or_else(|| panic!("{name} is not known: {document}"));
        for wanted in *must {
            assert!(
                element.has_attribute(*wanted),
                "{name}@{wanted}: {document}"
            );
        }
        for attribute in element.attributes() {
            let known = must.contains(&attribute.name()) || may.contains(&attribute.name());
            assert!(known, "{name}@{}: {document}", attribute.name());
        }
    }
}
