//! `application/vnd-microsoft-roaming-provisioning-v2+xml` (MS-SIPREGE 2.2.2): what the deployment tells
//! its clients.

use super::DocumentError;
use crate::category::{write_attribute, write_text};
use crate::xml::{Document, is_ncname};

/// The namespace of a request.
const REQUEST: &str = "http://schemas.microsoft.com/2006/09/sip/provisioninggrouplist";
/// The namespace of an answer.
const ANSWER: &str = "http://schemas.microsoft.com/2006/09/sip/provisiongrouplist-notification";

/// How a group's properties are laid out; each group has its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// An element for each property, named as it.
    Elements,
    /// `instance` with `property` elements.
    Instance,
    /// `propertyEntryList` with `property` elements.
    List,
}

/// A group and its properties, as the operator set them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name, letter case included.
    pub name: String,
    /// How it is laid out.
    pub layout: Layout,
    /// Names and values, in order.
    pub properties: Vec<(String, String)>,
}

impl Group {
    /// The layout that clients expect of a group of this name.
    #[must_use]
    pub fn layout_of(name: &str) -> Layout {
        match name {
            "ServerConfiguration" => Layout::Elements,
            "ucPolicy" | "meetingPolicy" => Layout::Instance,
            _ => Layout::List,
        }
    }
}

/// Reads the names of the groups that a client asks for.
///
/// # Errors
/// [`DocumentError`] (400).
pub fn parse(body: &[u8]) -> Result<Vec<String>, DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    if !root.is(REQUEST, "provisioningGroupList") {
        return Err(document.error_at(root, "not a provisioningGroupList document"));
    }
    let groups = root
        .children()
        .filter(|child| child.is(REQUEST, "provisioningGroup"));
    Ok(groups
        .filter_map(|group| group.attribute("name").map(|name| name.into_owned()))
        .collect())
}

/// Appends the groups that were asked for and are known; the others are left out.
pub fn compose(asked: &[String], known: &[Group], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<provisionGroupList");
    write_attribute("xmlns", ANSWER, out);
    out.push(b'>');
    for group in asked
        .iter()
        .filter_map(|name| known.iter().find(|group| group.name == *name))
    {
        out.extend_from_slice(b"<provisionGroup");
        write_attribute("name", &group.name, out);
        out.push(b'>');
        let (open, close) = match group.layout {
            Layout::Elements => ("", ""),
            Layout::Instance => ("<instance>", "</instance>"),
            Layout::List => ("<propertyEntryList>", "</propertyEntryList>"),
        };
        out.extend_from_slice(open.as_bytes());
        for (name, value) in &group.properties {
            match group.layout {
                Layout::Elements if is_ncname(name) => write_text(name, value, out),
                Layout::Elements => {}
                Layout::Instance | Layout::List => {
                    out.extend_from_slice(b"<property");
                    write_attribute("name", name, out);
                    out.push(b'>');
                    crate::xml::escape(value, out);
                    out.extend_from_slice(b"</property>");
                }
            }
        }
        out.extend_from_slice(close.as_bytes());
        out.extend_from_slice(b"</provisionGroup>");
    }
    out.extend_from_slice(b"</provisionGroupList>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_groups_are_told_in_their_layout() {
        let text = format!(
            "<provisioningGroupList xmlns=\"{REQUEST}\"><provisioningGroup name=\"ServerConfiguration\"/>\
             <provisioningGroup name=\"unknown\"/><provisioningGroup name=\"ucPolicy\"/></provisioningGroupList>"
        );
        let asked = parse(text.as_bytes()).expect("a list");
        let group = |name: &str, property: (&str, &str)| Group {
            name: name.to_owned(),
            layout: Group::layout_of(name),
            properties: vec![(property.0.to_owned(), property.1.to_owned())],
        };
        let known = [
            group("ucPolicy", ("enabledelegation", "false")),
            group("ServerConfiguration", ("organization", "A & B")),
        ];
        let mut out = Vec::new();
        compose(&asked, &known, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            format!(
                "<provisionGroupList xmlns=\"{ANSWER}\"><provisionGroup name=\"ServerConfiguration\">\
                 <organization>A &amp; B</organization></provisionGroup><provisionGroup name=\"ucPolicy\"><instance>\
                 <property name=\"enabledelegation\">false</property></instance></provisionGroup></provisionGroupList>"
            )
        );
        assert!(parse(b"<x/>").is_err());
    }
}
