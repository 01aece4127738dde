//! Whether a document may be kept (RFC 4825 §8.2.5), and what 409 says when not.

use shard::document::rules;
use shard::presence::documents::{Application, DOCUMENT_BYTES_MAX};
use shard::presence::rules::Rules;
use shard::xml::{Document, Element, escape};

const LISTS: &str = "urn:ietf:params:xml:ns:resource-lists";
const ERROR: &str = "urn:ietf:params:xml:ns:xcap-error";

/// Why a document cannot be as somebody wants it: the element of `application/xcap-error+xml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The element's name.
    pub element: &'static str,
    /// What is wrong, for people; empty for nothing.
    pub phrase: String,
    /// What it says besides.
    pub inside: Inside,
}

/// What an error says besides its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Inside {
    /// Nothing.
    #[default]
    Nothing,
    /// A path that exists above one that does not.
    Ancestor(String),
    /// A place that must be unique, and is not.
    Exists(String),
}

impl Conflict {
    /// With a phrase.
    #[must_use]
    pub fn of(element: &'static str, phrase: impl Into<String>) -> Conflict {
        Conflict {
            element,
            phrase: phrase.into(),
            inside: Inside::Nothing,
        }
    }

    /// Something that is there already.
    fn twice(field: String) -> Conflict {
        Conflict {
            inside: Inside::Exists(field),
            ..Conflict::of("uniqueness-failure", "")
        }
    }

    /// The body of the 409.
    //= RFC 4825 11
    //# a conflict is told by a document that names its kind
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xcap-error xmlns=\"{ERROR}\"><{}",
            self.element
        )
        .into_bytes();
        if !self.phrase.is_empty() {
            out.extend_from_slice(b" phrase=\"");
            escape(&self.phrase, &mut out);
            out.push(b'"');
        }
        match &self.inside {
            Inside::Nothing => out.extend_from_slice(b"/>"),
            Inside::Ancestor(path) => {
                out.extend_from_slice(b"><ancestor>");
                escape(path, &mut out);
                out.extend_from_slice(format!("</ancestor></{}>", self.element).as_bytes());
            }
            Inside::Exists(field) => {
                out.extend_from_slice(b"><exists field=\"");
                escape(field, &mut out);
                out.extend_from_slice(format!("\"/></{}>", self.element).as_bytes());
            }
        }
        out.extend_from_slice(b"</xcap-error>\n");
        out
    }
}

/// What a document says of rules, once it may be kept.
///
/// # Errors
/// [`Conflict`].
//= RFC 4825 8.2.5
//# UTF-8, well-formed, of the schema, within the constraints of its usage: in this order
pub fn check(application: Application, body: &[u8]) -> Result<Rules, Conflict> {
    if body.len() > DOCUMENT_BYTES_MAX {
        return Err(Conflict::of(
            "constraint-failure",
            "the document is too large",
        ));
    }
    if std::str::from_utf8(body).is_err() {
        return Err(Conflict::of("not-utf-8", ""));
    }
    let document = Document::parse(body)
        .map_err(|error| Conflict::of("not-well-formed", error.to_string()))?;
    match application {
        Application::Rules => {
            if !document
                .root()
                .is("urn:ietf:params:xml:ns:common-policy", "ruleset")
            {
                return Err(Conflict::of("schema-validation-error", "not a ruleset"));
            }
            rules::parse(body)
                .map_err(|error| Conflict::of("constraint-failure", error.to_string()))
        }
        Application::Lists => {
            if !document.root().is(LISTS, "resource-lists") {
                return Err(Conflict::of(
                    "schema-validation-error",
                    "not resource-lists",
                ));
            }
            lists(document.root(), true)?;
            Ok(Rules::default())
        }
        Application::Services => Err(Conflict::of("constraint-failure", "not served")),
    }
}

/// RFC 4826 §3.1: lists have names that differ from their siblings', entries have URIs.
//= RFC 4826 3.4.5
//# names of lists are unique among siblings, and so are URIs of entries
fn lists(element: Element<'_, '_>, top: bool) -> Result<(), Conflict> {
    let (mut names, mut uris) = (Vec::new(), Vec::new());
    for child in element.children() {
        match (child.namespace(), child.local()) {
            (LISTS, "list") => {
                let name = child.attribute("name");
                if let Some(name) = name {
                    if names.contains(&name) {
                        return Err(Conflict::twice(format!("list[@name=\"{name}\"]/@name")));
                    }
                    names.push(name);
                }
                lists(child, false)?;
            }
            (LISTS, "entry") if !top => {
                let uri = child.attribute("uri").ok_or_else(|| {
                    Conflict::of("schema-validation-error", "an entry without uri")
                })?;
                if uris.contains(&uri) {
                    return Err(Conflict::twice(format!("entry[@uri=\"{uri}\"]/@uri")));
                }
                uris.push(uri);
            }
            (LISTS, "external" | "entry-ref" | "display-name") if !top => {}
            (LISTS, name) => {
                let phrase = format!("{name} does not stand there");
                return Err(Conflict::of("schema-validation-error", phrase));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 4825 8.2.5
    //= type=test
    //= RFC 4826 3.4.5
    //= type=test
    #[test]
    fn a_document_is_what_its_usage_asks() {
        let rules = |inside: &str| {
            format!("<ruleset xmlns=\"urn:ietf:params:xml:ns:common-policy\">{inside}</ruleset>")
        };
        let list =
            |inside: &str| format!("<resource-lists xmlns=\"{LISTS}\">{inside}</resource-lists>");
        let (of_rules, of_lists) = (Application::Rules, Application::Lists);
        let bomb = "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>".to_owned();
        for (name, application, body, expected) in [
            (
                "rules",
                of_rules,
                rules("<rule id=\"a\"/>").into_bytes(),
                None,
            ),
            ("no UTF-8", of_rules, vec![0xff], Some("not-utf-8")),
            (
                "not closed",
                of_rules,
                b"<ruleset>".to_vec(),
                Some("not-well-formed"),
            ),
            (
                "a bomb",
                of_rules,
                bomb.into_bytes(),
                Some("not-well-formed"),
            ),
            (
                "something else",
                of_rules,
                list("").into_bytes(),
                Some("schema-validation-error"),
            ),
            (
                "no id",
                of_rules,
                rules("<rule/>").into_bytes(),
                Some("constraint-failure"),
            ),
            (
                "too large",
                of_rules,
                rules(&" ".repeat(DOCUMENT_BYTES_MAX)).into_bytes(),
                Some("constraint-failure"),
            ),
            (
                "lists",
                of_lists,
                list("<list name=\"a\"><entry uri=\"sip:b\"/><list name=\"a\"/></list>")
                    .into_bytes(),
                None,
            ),
            (
                "an entry without a list",
                of_lists,
                list("<entry uri=\"sip:b\"/>").into_bytes(),
                Some("schema-validation-error"),
            ),
            (
                "no uri",
                of_lists,
                list("<list><entry/></list>").into_bytes(),
                Some("schema-validation-error"),
            ),
            (
                "a name twice",
                of_lists,
                list("<list name=\"a\"/><list name=\"a\"/>").into_bytes(),
                Some("uniqueness-failure"),
            ),
            (
                "a uri twice",
                of_lists,
                list("<list><entry uri=\"a\"/><entry uri=\"a\"/></list>").into_bytes(),
                Some("uniqueness-failure"),
            ),
        ] {
            let told = check(application, &body)
                .err()
                .map(|conflict| conflict.element);
            assert_eq!(told, expected, "{name}");
        }
    }

    //= RFC 4825 11
    //= type=test
    #[test]
    fn a_conflict_says_what_it_is() {
        let conflict = Conflict {
            inside: Inside::Ancestor("a/b".to_owned()),
            ..Conflict::of("no-parent", "a < b")
        };
        let body = conflict.write();
        let document = Document::parse(&body).expect("well-formed");
        let child = document.root().children().next().expect("one");
        assert!(child.is(ERROR, "no-parent"));
        assert_eq!(child.attribute("phrase").as_deref(), Some("a < b"));
    }
}
