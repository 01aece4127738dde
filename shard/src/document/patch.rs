//! `application/pidf-diff+xml`, read: the operations of RFC 5261 done to a presence document.
//!
//! Each operation is done to the text that the one before left, and each selector must lead to exactly one
//! place; whatever does not is an error, and then nothing was done at all, because the caller still has the
//! document from before.

use std::sync::Arc;

use super::DocumentError;
use super::partial::PIDF_DIFF;
use super::path::{self, End, Names};
use super::pidf::{self, AMBIENT, PIDF};
use crate::presence::bearing::Bearing;
use crate::presence::package::Package;
use crate::presence::publication::Content;
use crate::slot::Aor;
use crate::subscription::filter::{Name, Path};
use crate::subscription::view::{Seen, View};
use crate::time::Timestamp;
use crate::xml::{Document, Element, escape};

/// Operations of one patch: each reads the document once.
const OPERATIONS_MAX: usize = 64;

/// Bytes of a document that a patch makes.
const BYTES_MAX: usize = 64 * 1024;

/// The document that a publication of this stored form stands for: what a patch of it is done to.
#[must_use]
pub fn published(presentity: &str, stored: &[u8]) -> Vec<u8> {
    let content = Arc::new(Content {
        stored: stored.into(),
        published_at: Timestamp(0),
        number: 0,
        bearing: Bearing::default(),
    });
    let nobody = View::of_nothing(
        Aor::from_canonical(presentity),
        Package::Presence,
        Timestamp(0),
    );
    let view = View {
        seen: Seen::Publications([content].into_iter().collect()),
        ..nobody
    };
    let mut out = Vec::new();
    pidf::compose(&view, &mut out);
    out
}

/// The presence document that a `pidf-full` document holds; `None` for anything else that is well-formed.
///
/// # Errors
/// [`DocumentError`] for what is not.
pub fn whole(body: &[u8]) -> Result<Option<Vec<u8>>, DocumentError> {
    let document = Document::parse(body)?;
    Ok(document
        .root()
        .is(PIDF_DIFF, "pidf-full")
        .then(|| renamed(&document)))
}

/// The same of a document that is known to hold one.
#[cfg(test)]
pub(super) fn presence(body: &[u8]) -> Option<Vec<u8>> {
    let document = Document::parse(body).ok()?;
    let full = document.root().is(PIDF_DIFF, "pidf-full");
    let text = String::from_utf8(renamed(&document)).ok()?;
    let text = text.replace(&format!(" xmlns:p=\"{PIDF_DIFF}\" version=\"1\""), "");
    full.then(|| text.into_bytes())
}

/// The root under the name of a presence document.
fn renamed(document: &Document<'_>) -> Vec<u8> {
    let root = document.root();
    let (text, [from, inner, inner_end, to]) = (document.text(), root.span());
    let start = &text[from..inner];
    let name = start.find(|c: char| c.is_whitespace() || matches!(c, '/' | '>'));
    let name = name.unwrap_or(start.len());
    let default = document.namespace_of("", root) == Some(PIDF);
    let mut out = Vec::with_capacity(text.len());
    for part in [
        &text[..from],
        if default {
            "<presence"
        } else {
            "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\""
        },
        &start[name..],
        &text[inner..inner_end],
        if root.is_empty_tag() {
            ""
        } else {
            "</presence>"
        },
        &text[to..],
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    out
}

/// The presence document that the patch in `body` makes of `base`.
///
/// # Errors
/// [`DocumentError`], with its place in the patch.
//= RFC 5261 4
//# operations are done in order, each to what the one before left
//= RFC 5264 4.2
//# a patch that cannot be done as a whole is not done at all
pub fn apply(body: &[u8], base: &[u8]) -> Result<Vec<u8>, DocumentError> {
    let patch = Document::parse(body)?;
    let root = patch.root();
    if !root.is(PIDF_DIFF, "pidf-diff") {
        return Err(patch.error_at(root, "not a patch of a presence document"));
    }
    let mut text = String::from_utf8_lossy(base).into_owned();
    for (number, operation) in root.children().enumerate() {
        if number >= OPERATIONS_MAX {
            return Err(patch.error_at(operation, "too many operations"));
        }
        text = perform(&patch, operation, &text).map_err(|what| patch.error_at(operation, what))?;
        if text.len() > BYTES_MAX {
            return Err(patch.error_at(operation, "a document that becomes too long"));
        }
    }
    Ok(text.into_bytes())
}

/// The text after one operation.
fn perform(
    patch: &Document<'_>,
    operation: Element<'_, '_>,
    text: &str,
) -> Result<String, &'static str> {
    let selector = operation
        .attribute("sel")
        .ok_or("an operation without sel")?;
    // Prefixes are those of the patch, where the operation stands.
    let of = |prefix: &str| {
        let at = patch_element(patch, operation.place());
        at.and_then(|at| patch.namespace_of(prefix, at))
            .map(str::to_owned)
    };
    let parsed = path::parse(&selector, &Names { of: &of });
    let (path, end) = parsed.map_err(|_| "a selector that is not supported")?;
    let document = Document::parse(text.as_bytes()).map_err(|_| "it broke the document")?;
    let target = only(&document, &path)?;
    let target = Target {
        text,
        element: target,
    };
    match (operation.namespace(), operation.local(), end) {
        (PIDF_DIFF, "add", End::Element) => match operation.attribute("type").as_deref() {
            None => target.add(operation),
            Some(kind) => {
                let name = kind
                    .strip_prefix('@')
                    .ok_or("a type that is not supported")?;
                target.set(name, Some(&operation.text()), false)
            }
        },
        (PIDF_DIFF, "replace", End::Element) => target.replace(operation),
        (PIDF_DIFF, "replace", End::Text) => target.retext(&operation.text()),
        (PIDF_DIFF, "replace", End::Attribute(name)) => {
            target.set(plain(&name)?, Some(&operation.text()), true)
        }
        (PIDF_DIFF, "remove", End::Element) => target.remove(operation),
        (PIDF_DIFF, "remove", End::Text) => target.retext(""),
        (PIDF_DIFF, "remove", End::Attribute(name)) => target.set(plain(&name)?, None, true),
        _ => Err("an unknown operation"),
    }
}

fn patch_element<'d, 'a>(patch: &'d Document<'a>, place: usize) -> Option<Element<'d, 'a>> {
    patch.root().children().find(|child| child.place() == place)
}

//= RFC 5261 4.1
//# a selector leads to exactly one node
fn only<'d, 'a>(document: &'d Document<'a>, path: &Path) -> Result<Element<'d, 'a>, &'static str> {
    match path::select(document, path)[..] {
        [element] => Ok(element),
        [] => Err("a selector that leads nowhere"),
        _ => Err("a selector that leads to more than one place"),
    }
}

fn plain(name: &Name) -> Result<&str, &'static str> {
    if name.namespace.is_empty() {
        Ok(&name.local)
    } else {
        Err("an attribute of a namespace")
    }
}

/// The elements in an operation, able to stand in a presence document.
fn content(operation: Element<'_, '_>) -> Vec<String> {
    let each = operation.children().map(|child| {
        let mut out = Vec::new();
        child.write_standalone(&AMBIENT, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    });
    each.collect()
}

fn escaped(text: &str) -> String {
    let mut out = Vec::new();
    escape(text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

struct Target<'t, 'd, 'a> {
    text: &'t str,
    element: Element<'d, 'a>,
}

impl Target<'_, '_, '_> {
    fn is_root(&self) -> bool {
        self.element.place() == 0
    }

    /// The text with what stands between two positions replaced.
    fn spliced(&self, from: usize, to: usize, with: &str) -> String {
        [&self.text[..from], with, &self.text[to..]].concat()
    }

    //= RFC 5261 4.3
    //# what is added goes behind the last child, or where pos says
    fn add(&self, operation: Element<'_, '_>) -> Result<String, &'static str> {
        let mut added = content(operation).concat();
        if added.is_empty() {
            added = escaped(&operation.text());
        }
        let [from, inner, inner_end, to] = self.element.span();
        let at = match operation.attribute("pos").as_deref() {
            Some("before" | "after") if self.is_root() => {
                return Err("nothing stands beside the root");
            }
            Some("before") => from,
            Some("after") => to,
            Some("prepend") | None if self.element.is_empty_tag() => {
                let source = self.element.source();
                let name = source[1..]
                    .split(|c: char| c.is_whitespace() || c == '/')
                    .next();
                let (name, start) = (name.unwrap_or_default(), source.trim_end_matches("/>"));
                return Ok(self.spliced(from, to, &format!("{start}>{added}</{name}>")));
            }
            Some("prepend") => inner,
            None => inner_end,
            Some(_) => return Err("an unknown pos"),
        };
        Ok(self.spliced(at, at, &added))
    }

    //= RFC 5261 4.4
    //# an element is replaced by exactly one
    fn replace(&self, operation: Element<'_, '_>) -> Result<String, &'static str> {
        let [from, _, _, to] = self.element.span();
        match &content(operation)[..] {
            [_] if self.is_root() => Err("the root stays"),
            [one] => Ok(self.spliced(from, to, one)),
            _ => Err("an element is replaced by one"),
        }
    }

    //= RFC 5261 4.5
    //# an element goes with what is in it, and with the blanks beside it where ws says so
    fn remove(&self, operation: Element<'_, '_>) -> Result<String, &'static str> {
        if self.is_root() {
            return Err("the root stays");
        }
        let [mut from, _, _, mut to] = self.element.span();
        let blanks = operation.attribute("ws");
        if matches!(blanks.as_deref(), Some("before" | "both")) {
            from = self.text[..from].trim_end().len();
        }
        if matches!(blanks.as_deref(), Some("after" | "both")) {
            to = self.text.len() - self.text[to..].trim_start().len();
        }
        Ok(self.spliced(from, to, ""))
    }

    fn retext(&self, text: &str) -> Result<String, &'static str> {
        if self.element.children().next().is_some() || self.element.text().is_empty() {
            return Err("an element that is more or less than a text");
        }
        let [_, inner, inner_end, _] = self.element.span();
        Ok(self.spliced(inner, inner_end, &escaped(text)))
    }

    /// Sets an attribute that must be there, or must not; `None` takes it away.
    fn set(&self, name: &str, value: Option<&str>, there: bool) -> Result<String, &'static str> {
        if self.element.attribute(name).is_some() != there {
            return Err(if there {
                "no such attribute"
            } else {
                "an attribute that is there"
            });
        }
        if !crate::xml::is_ncname(name) {
            return Err("an attribute of a namespace");
        }
        let [from, inner, ..] = self.element.span();
        let tag = &self.text[from..inner];
        let (begin, end) = match attribute(tag, name) {
            Some(place) => place,
            None => {
                let end = tag.trim_end_matches('>').trim_end_matches('/').len();
                (end, end)
            }
        };
        let written = value.map(|value| format!(" {name}=\"{}\"", escaped(value)));
        Ok(self.spliced(from + begin, from + end, &written.unwrap_or_default()))
    }
}

/// Where an attribute stands in a start tag, with the blanks before it.
fn attribute(tag: &str, name: &str) -> Option<(usize, usize)> {
    let bytes = tag.as_bytes();
    let mut at = tag.find(|c: char| c.is_whitespace())?;
    loop {
        let begin = at;
        at += tag[at..].find(|c: char| !c.is_whitespace())?;
        let equals = at + tag[at..].find('=')?;
        let is = tag[at..equals].trim_end() == name;
        let quote = equals + 1 + tag[equals + 1..].find(['"', '\''])?;
        let end = quote + 1 + tag[quote + 1..].find(char::from(bytes[quote]))? + 1;
        if is {
            return Some((begin, end));
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:a@x\">\
        <tuple id=\"t\"><status><basic>open</basic></status><contact priority=\"0.5\">sip:a@y</contact>\
        <note/></tuple> <note>one</note> <note>two</note></presence>";

    fn patched(operations: &str) -> Result<String, &'static str> {
        let patch = format!(
            "<p:pidf-diff xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:p=\"urn:ietf:params:xml:ns:pidf-diff\" \
             xmlns:r=\"urn:ietf:params:xml:ns:pidf:rpid\" version=\"2\" entity=\"sip:a@x\">{operations}</p:pidf-diff>"
        );
        let made = apply(patch.as_bytes(), BASE.as_bytes()).map_err(|error| error.what)?;
        let made = String::from_utf8(made).expect("text");
        Document::parse(made.as_bytes()).expect("it is still a document");
        Ok(made)
    }

    //= RFC 5261 4.1
    //= type=test
    //= RFC 5261 4.3
    //= type=test
    //= RFC 5261 4.4
    //= type=test
    //= RFC 5261 4.5
    //= type=test
    #[test]
    fn each_operation_does_what_it_says() {
        let tuple = "*/tuple[@id='t']";
        for (operation, from, to) in [
            (
                format!("<p:replace sel=\"{tuple}/status/basic/text()\">closed</p:replace>"),
                ">open<",
                ">closed<",
            ),
            (
                "<p:replace sel=\"/presence/tuple/contact/@priority\">0.8&amp;</p:replace>"
                    .to_owned(),
                "priority=\"0.5\"",
                "priority=\"0.8&amp;\"",
            ),
            (
                format!("<p:remove sel=\"{tuple}/contact/@priority\"/>"),
                " priority=\"0.5\"",
                "",
            ),
            (
                format!("<p:add sel=\"{tuple}/note\" type=\"@xml:lang\">en</p:add>"),
                "",
                "!an attribute of a namespace",
            ),
            (
                format!("<p:add sel=\"{tuple}/contact\" type=\"@a\">b</p:add>"),
                "priority=\"0.5\"",
                "priority=\"0.5\" a=\"b\"",
            ),
            (
                format!("<p:add sel=\"{tuple}/note\">x</p:add>"),
                "<note/>",
                "<note>x</note>",
            ),
            (
                "<p:add sel=\"*\"><note>three</note></p:add>".to_owned(),
                "two</note>",
                "two</note><note>three</note>",
            ),
            (
                "<p:add sel=\"presence\" pos=\"prepend\"><note>zero</note></p:add>".to_owned(),
                "<tuple",
                "<note>zero</note><tuple",
            ),
            (
                "<p:add sel=\"*/note[2]\" pos=\"before\"><note>x</note></p:add>".to_owned(),
                "<note>two",
                "<note>x</note><note>two",
            ),
            (
                "<p:add sel=\"*/note[.='one']\" pos=\"after\"><r:class>x</r:class></p:add>"
                    .to_owned(),
                "one</note>",
                "one</note><r:class xmlns:r=\"urn:ietf:params:xml:ns:pidf:rpid\">x</r:class>",
            ),
            (
                "<p:replace sel=\"*/note[1]\"><note>1</note></p:replace>".to_owned(),
                "<note>one</note>",
                "<note>1</note>",
            ),
            (
                "<p:remove sel=\"*/note[1]\" ws=\"before\"/>".to_owned(),
                " <note>one</note>",
                "",
            ),
            (
                "<p:remove sel=\"*/note[1]/text()\"/>".to_owned(),
                ">one<",
                "><",
            ),
        ] {
            let expected = match to.strip_prefix('!') {
                Some(what) => Err(what),
                None => Ok(BASE.replacen(from, to, 1)),
            };
            let made = patched(&operation);
            match expected {
                Ok(expected) if !made.as_ref().is_ok_and(|made| *made == expected) => {
                    panic!("{operation}\n{made:?}\n{expected}")
                }
                Err(what) => assert_eq!(made, Err(what), "{operation}"),
                Ok(_) => {}
            }
        }
    }

    //= RFC 5261 4
    //= type=test
    //= RFC 5264 4.2
    //= type=test
    #[test]
    fn what_cannot_be_done_is_an_error_and_what_can_is_done_in_order() {
        let twice = "<p:remove sel=\"*/note[1]\"/>".repeat(2);
        assert!(!patched(&twice).expect("both").contains("<note>"));
        for (operations, what) in [
            (
                "<p:remove sel=\"*/note\"/>",
                "a selector that leads to more than one place",
            ),
            (
                "<p:remove sel=\"*/nobody\"/>",
                "a selector that leads nowhere",
            ),
            ("<p:remove/>", "an operation without sel"),
            ("<p:remove sel=\"*\"/>", "the root stays"),
            (
                "<p:remove sel=\"id('t')\"/>",
                "a selector that is not supported",
            ),
            (
                "<p:replace sel=\"*/note[1]\"><a/><b/></p:replace>",
                "an element is replaced by one",
            ),
            (
                "<p:add sel=\"*\" pos=\"before\"><a/></p:add>",
                "nothing stands beside the root",
            ),
            (
                "<p:add sel=\"*/note[1]\" pos=\"there\"><a/></p:add>",
                "an unknown pos",
            ),
            (
                "<p:replace sel=\"*/tuple/@nothing\">x</p:replace>",
                "no such attribute",
            ),
            (
                "<p:add sel=\"*/tuple\" type=\"@id\">x</p:add>",
                "an attribute that is there",
            ),
            (
                "<p:replace sel=\"*/tuple/text()\">x</p:replace>",
                "an element that is more or less than a text",
            ),
            ("<p:move sel=\"*/note[1]\"/>", "an unknown operation"),
            (
                "<p:remove sel=\"*/note[1]\"/><p:remove sel=\"*/note[2]\"/>",
                "a selector that leads nowhere",
            ),
        ] {
            assert_eq!(patched(operations), Err(what), "{operations}");
        }
        let many = "<p:add sel=\"*\"><note>x</note></p:add>".repeat(65);
        assert_eq!(patched(&many), Err("too many operations"));
        let long = format!(
            "<p:add sel=\"*\"><note>{}</note></p:add>",
            "x".repeat(66_000)
        );
        assert_eq!(patched(&long), Err("a document that becomes too long"));
    }
}
