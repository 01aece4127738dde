//! `application/msrtc-adrl-categorylist+xml` (MS-PRES 2.2.2.4.1): whom to watch, and what of them.

use std::ops::Range;

use super::roaming_self::CONTEXT_AMBIENT;
use super::{DocumentError, canonical};
use crate::category::{Category, NAME_BYTES_MAX};
use crate::xml::{Document, Element};

/// The document's namespace.
const BATCH: &str = "http://schemas.microsoft.com/2006/01/sip/batch-subscribe";
/// The namespace of the list of categories.
const CATEGORY_LIST: &str = "http://schemas.microsoft.com/2006/09/sip/categorylist";

/// Bytes of one context.
const CONTEXT_BYTES_MAX: usize = 4_096;

/// One action, read.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whether to watch, or to stop.
    pub subscribe: bool,
    /// Whom.
    pub resources: Vec<AskedResource>,
    /// What of them: private categories are left out.
    pub categories: Vec<Category>,
}

/// One resource, read.
#[derive(Debug, PartialEq, Eq)]
pub struct AskedResource {
    /// Its address as it was written.
    pub uri: String,
    /// Its canonical address; `None` for what is none.
    pub address: Option<String>,
    /// Where its context stands in the buffer; `None` for none, an empty range for an empty one.
    pub context: Option<Range<usize>>,
}

/// Reads a batch; contexts are appended to `buffer`, each able to stand in a subscriber list.
///
/// # Errors
/// [`DocumentError`] (400).
pub fn parse(body: &[u8], buffer: &mut Vec<u8>) -> Result<Vec<Asked>, DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    if !root.is(BATCH, "batchSub") {
        return Err(document.error_at(root, "not a batchSub document"));
    }
    let mut actions = Vec::new();
    for child in root.children().filter(|child| child.is(BATCH, "action")) {
        let action = action(child, buffer).map_err(|what| document.error_at(child, what))?;
        actions.push(action);
    }
    if actions.is_empty() {
        return Err(document.error_at(root, "no action"));
    }
    Ok(actions)
}

fn action(element: Element<'_, '_>, buffer: &mut Vec<u8>) -> Result<Asked, &'static str> {
    let name = element.attribute("name");
    let subscribe = match name.as_deref().map(str::trim) {
        Some("subscribe") => true,
        Some("unsubscribe") => false,
        _ => return Err("an action is subscribe or unsubscribe"),
    };
    let list = element
        .children()
        .find(|child| child.is(BATCH, "adhocList"));
    let list = list.ok_or("an action without adhocList")?;
    let mut resources = Vec::new();
    for child in list.children().filter(|child| child.is(BATCH, "resource")) {
        let uri = child.attribute("uri").ok_or("a resource without uri")?;
        let context = match child.children().find(|inside| inside.is(BATCH, "context")) {
            None => None,
            Some(context) => {
                let begin = buffer.len();
                if let Some(content) = context.children().next() {
                    content.write_standalone(&[("", CONTEXT_AMBIENT)], buffer);
                }
                if buffer.len() - begin > CONTEXT_BYTES_MAX {
                    return Err("a context that is too large");
                }
                Some(begin..buffer.len())
            }
        };
        let address = canonical(&uri);
        resources.push(AskedResource {
            uri: uri.trim().to_owned(),
            address,
            context,
        });
    }
    if resources.is_empty() {
        return Err("an adhocList without resource");
    }
    let names = element
        .children()
        .find(|child| child.is(CATEGORY_LIST, "categoryList"));
    let names = names.ok_or("an action without categoryList")?;
    if !names
        .children()
        .any(|child| child.is(CATEGORY_LIST, "category"))
    {
        return Err("a categoryList without category");
    }
    let mut categories = Vec::new();
    for child in names
        .children()
        .filter(|child| child.is(CATEGORY_LIST, "category"))
    {
        let name = child.attribute("name").ok_or("a category without name")?;
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err("a category's name that is empty or too long");
        }
        let category = Category::named(&name);
        //= MS-PRES 3.4.5.1.3
        //# private categories in the list are ignored
        if !category.is_private() && !categories.contains(&category) {
            categories.push(category);
        }
    }
    Ok(Asked {
        subscribe,
        resources,
        categories,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(action: &str) -> String {
        format!(
            "<batchSub xmlns=\"{BATCH}\" uri=\"sip:bob@contoso.com\" name=\"\">{action}</batchSub>"
        )
    }

    //= MS-PRES 3.4.5.1.3
    //= type=test
    // proves: PRES-3.4.5.1.3-08 PRES-3.4.5.1.3-09 PRES-1.3.1.2-01 PRES-3.4.5.3-01
    #[test]
    fn a_batch_names_resources_and_public_categories() {
        let list = format!(
            "<categoryList xmlns=\"{CATEGORY_LIST}\"><category name=\"note\"/><category name=\"routing\"/>\
             <category name=\"state\"/><category name=\"note\"/></categoryList>"
        );
        let text = body(&format!(
            "<action name=\"subscribe\" id=\"1\"><adhocList><resource uri=\"sip:Alice@Contoso.com\"/>\
             <resource uri=\"sip:john@contoso.com\"><context/></resource>\
             <resource uri=\"nonsense\"><context><c xmlns=\"urn:c\"><w/></c></context></resource></adhocList>{list}</action>"
        ));
        let mut buffer = Vec::new();
        let actions = parse(text.as_bytes(), &mut buffer).expect("a batch");
        let [action] = &actions[..] else {
            panic!("one action")
        };
        assert!(action.subscribe);
        assert_eq!(action.categories, [Category::Note, Category::State]);
        let seen: Vec<(Option<&str>, Option<&[u8]>)> = action
            .resources
            .iter()
            .map(|r| {
                (
                    r.address.as_deref(),
                    r.context.clone().map(|range| &buffer[range]),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (Some("alice@contoso.com"), None),
                (Some("john@contoso.com"), Some(&b""[..])),
                (None, Some(&b"<c xmlns=\"urn:c\"><w/></c>"[..])),
            ]
        );
        for (name, bad) in [
            ("no action", body("")),
            (
                "another action",
                body(&format!(
                    "<action name=\"watch\"><adhocList/>{list}</action>"
                )),
            ),
            (
                "no list",
                body(&format!("<action name=\"subscribe\">{list}</action>")),
            ),
            (
                "no categories",
                body(
                    "<action name=\"subscribe\"><adhocList><resource uri=\"sip:a@b\"/></adhocList></action>",
                ),
            ),
            (
                "nobody",
                body(&format!(
                    "<action name=\"subscribe\"><adhocList/>{list}</action>"
                )),
            ),
            (
                "no uri",
                body(&format!(
                    "<action name=\"subscribe\"><adhocList><resource/></adhocList>{list}</action>"
                )),
            ),
            ("another root", "<batch/>".to_owned()),
        ] {
            assert!(parse(bad.as_bytes(), &mut Vec::new()).is_err(), "{name}");
        }
    }
}
