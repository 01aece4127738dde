//! Changes inside a document (RFC 4825 §8.2): its text with one element or attribute more, less, or another.
//!
//! The text is spliced and read again, so everything else in it stays as its owner wrote it.

use shard::xml::{Document, Element};

use super::check::{Conflict, Inside};
use super::selector::{Found, Selector};

/// A document as it would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// Its text.
    pub text: Vec<u8>,
    /// Whether there was nothing at that place before.
    pub created: bool,
}

/// Why nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unedited {
    /// Nothing is there: 404.
    Nothing,
    /// 409.
    Conflict(Conflict),
}

impl From<Conflict> for Unedited {
    fn from(conflict: Conflict) -> Unedited {
        Unedited::Conflict(conflict)
    }
}

fn splice(text: &str, range: std::ops::Range<usize>, new: &str) -> String {
    [&text[..range.start], new, &text[range.end..]].concat()
}

fn no_parent() -> Conflict {
    Conflict::of(
        "no-parent",
        "what it is to stand in does not exist, or is not one",
    )
}

/// The document with `body` at the selected place.
///
/// # Errors
/// [`Conflict`]
//= RFC 4825 8.2.2
//# what is put is found by the same selector afterwards
pub fn put(document: &Document<'_>, selector: &Selector, body: &[u8]) -> Result<Edited, Conflict> {
    let body = std::str::from_utf8(body).map_err(|_| Conflict::of("not-utf-8", ""))?;
    if let Some(name) = &selector.attribute {
        return put_attribute(document, selector, name, body);
    }
    let body = body.trim();
    let text = document.text();
    let (at, new, created) = match selector.find(document) {
        Found::One(element) => (element.range(), body.to_owned(), false),
        Found::Many => return Err(Conflict::of("cannot-insert", "the place is more than one")),
        Found::Nothing => {
            let Found::One(parent) = selector.parent(document) else {
                return Err(no_parent());
            };
            match selector.place(parent) {
                Some(place) => (place..place, body.to_owned(), true),
                None => {
                    // An empty element becomes one with an end tag.
                    let range = parent.range();
                    let end = format!(">{body}</{}>", parent.name());
                    (range.end - 2..range.end, end, true)
                }
            }
        }
    };
    let spliced = splice(text, at, &new);
    let again = Document::parse(spliced.as_bytes())
        .map_err(|error| Conflict::of("not-xml-frag", error.to_string()))?;
    match selector.find(&again) {
        Found::One(element) if &spliced[element.range()] == body => Ok(Edited {
            created,
            text: spliced.clone().into_bytes(),
        }),
        _ => Err(Conflict::of(
            "cannot-insert",
            "the selector would not find what was put",
        )),
    }
}

/// The document without what is selected.
///
/// # Errors
/// [`Unedited`]
//= RFC 4825 8.2.4
//# what is deleted is not found by the same selector afterwards
pub fn delete(document: &Document<'_>, selector: &Selector) -> Result<Edited, Unedited> {
    let Found::One(element) = selector.find(document) else {
        return Err(Unedited::Nothing);
    };
    let text = document.text();
    let range = match &selector.attribute {
        None => element.range(),
        Some(name) => attribute(text, element, name).ok_or(Unedited::Nothing)?.0,
    };
    let spliced = splice(text, range, "");
    let cannot = |phrase: String| Unedited::Conflict(Conflict::of("cannot-delete", phrase));
    let again = Document::parse(spliced.as_bytes()).map_err(|error| cannot(error.to_string()))?;
    let stays = match (selector.find(&again), &selector.attribute) {
        (Found::Nothing, _) => false,
        (Found::One(element), Some(name)) => element.attribute(name).is_some(),
        _ => true,
    };
    if stays {
        return Err(cannot("another one would be found in its place".to_owned()));
    }
    Ok(Edited {
        created: false,
        text: spliced.clone().into_bytes(),
    })
}

fn put_attribute(
    document: &Document<'_>,
    selector: &Selector,
    name: &str,
    body: &str,
) -> Result<Edited, Conflict> {
    let Found::One(element) = selector.find(document) else {
        return Err(Conflict {
            inside: Inside::Nothing,
            ..no_parent()
        });
    };
    let text = document.text();
    let value = body.replace('"', "&quot;");
    let (at, new, created) = match attribute(text, element, name) {
        Some((whole, _)) => (whole, format!(" {name}=\"{value}\""), false),
        None => {
            let place = element.range().start + 1 + element.name().len();
            (place..place, format!(" {name}=\"{value}\""), true)
        }
    };
    let spliced = splice(text, at, &new);
    let wrong = || Conflict::of("not-xml-att-value", "");
    let again = Document::parse(spliced.as_bytes()).map_err(|_| wrong())?;
    // Nothing else may have come in with the value.
    let same =
        again.root().range().len() + text.len() == document.root().range().len() + spliced.len();
    match selector.find(&again) {
        Found::One(element) if same && element.attribute(name).is_some() => Ok(Edited {
            created,
            text: spliced.clone().into_bytes(),
        }),
        _ => Err(Conflict::of(
            "cannot-insert",
            "the selector would not find what was put",
        )),
    }
}

/// Where an attribute stands, with the blanks before it, and where its value does.
fn attribute(
    text: &str,
    element: Element<'_, '_>,
    name: &str,
) -> Option<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let range = element.range();
    let mut at = range.start + 1 + element.name().len();
    loop {
        let begin = at;
        let rest = &text[at..range.end];
        let blanks = rest.len() - rest.trim_start().len();
        at += blanks;
        let rest = &text[at..range.end];
        if rest.starts_with('>') || rest.starts_with('/') || blanks == 0 {
            return None;
        }
        let equals = rest.find('=')?;
        let known = rest[..equals].trim();
        let behind = &rest[equals + 1..];
        let quote = behind.len() - behind.trim_start().len();
        let open = behind[quote..].chars().next()?;
        let value = at + equals + 1 + quote + 1;
        let end = value + text[value..range.end].find(open)?;
        if known == name {
            return Some((begin..end + 1, value..end));
        }
        at = end + 1;
    }
}

/// The value of the attribute that a selector names, as it is written.
#[must_use]
pub fn value<'t>(text: &'t str, element: Element<'_, '_>, name: &str) -> Option<&'t str> {
    attribute(text, element, name).map(|(_, value)| &text[value])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "<a xmlns='urn:a'><c n='1'  m = \"x>y\"/><d/><!-- kept --></a>";

    fn selector(text: &str) -> Selector {
        Selector::read(text, None, "urn:a").expect("a selector")
    }

    //= RFC 4825 8.2.2
    //= type=test
    #[test]
    fn what_is_put_is_found_again() {
        let document = Document::parse(TEXT.as_bytes()).expect("a document");
        for (at, body, expected) in [
            (
                "a/c",
                "<c n='2'/>",
                Ok("<a xmlns='urn:a'><c n='2'/><d/><!-- kept --></a>"),
            ),
            (
                "a/c[@n=\"2\"]",
                "<c n=\"2\"/>",
                Ok("<a xmlns='urn:a'><c n='1'  m = \"x>y\"/><c n=\"2\"/><d/><!-- kept --></a>"),
            ),
            (
                "a/e",
                "<e/>",
                Ok("<a xmlns='urn:a'><c n='1'  m = \"x>y\"/><d/><!-- kept --><e/></a>"),
            ),
            (
                "a/d/e",
                "<e>x</e>",
                Ok("<a xmlns='urn:a'><c n='1'  m = \"x>y\"/><d><e>x</e></d><!-- kept --></a>"),
            ),
            ("a/c/@m", "<", Err("not-xml-att-value")),
            (
                "a/c/@n",
                "2\" z=\"3",
                Ok(
                    "<a xmlns='urn:a'><c n=\"2&quot; z=&quot;3\"  m = \"x>y\"/><d/><!-- kept --></a>",
                ),
            ),
            (
                "a/d/@n",
                "2",
                Ok("<a xmlns='urn:a'><c n='1'  m = \"x>y\"/><d n=\"2\"/><!-- kept --></a>"),
            ),
            ("a/c[@n=\"2\"]", "<c n=\"3\"/>", Err("cannot-insert")),
            ("a/e", "<e/><e/>", Err("cannot-insert")),
            ("a/e", "</a><a>", Err("not-xml-frag")),
            ("a/e", "x", Err("cannot-insert")),
            ("a/x/e", "<e/>", Err("no-parent")),
        ] {
            let edited = put(&document, &selector(at), body.as_bytes());
            let told = edited
                .as_ref()
                .map(|edited| std::str::from_utf8(&edited.text).expect("text"))
                .map_err(|conflict| conflict.element);
            assert_eq!(told, expected, "{at} {body}");
        }
    }

    //= RFC 4825 8.2.4
    //= type=test
    #[test]
    fn what_is_deleted_is_gone() {
        let text = "<a xmlns='urn:a'><c n='1'/><c n='2'/></a>";
        let document = Document::parse(text.as_bytes()).expect("a document");
        for (at, expected) in [
            ("a/c[@n=\"2\"]", Ok("<a xmlns='urn:a'><c n='1'/></a>")),
            ("a/c[1]/@n", Ok("<a xmlns='urn:a'><c/><c n='2'/></a>")),
            ("a/c[1]", Err("cannot-delete")),
            ("a/x", Err("nothing")),
            ("a/c", Err("nothing")),
            ("a", Err("cannot-delete")),
        ] {
            let edited = delete(&document, &selector(at));
            let told = match &edited {
                Ok(edited) => Ok(std::str::from_utf8(&edited.text).expect("text")),
                Err(Unedited::Nothing) => Err("nothing"),
                Err(Unedited::Conflict(conflict)) => Err(conflict.element),
            };
            assert_eq!(told, expected, "{at}");
        }
    }
}
