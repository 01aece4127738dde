//! What an XCAP URI names (RFC 4825 §6): a document, and perhaps something in it.

use shard::presence::documents::{Application, NAME_BYTES_MAX};
use transport::sip::uri::Uri;

use super::selector::Selector;
use crate::dialect::address_of;

/// An application usage (RFC 4825 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its names; the first is ours.
    pub auids: &'static [&'static str],
    /// What its documents are for.
    pub application: Application,
    /// The type of its documents.
    pub media: &'static str,
    /// The namespace that names without a prefix are in.
    pub namespace: &'static str,
}

/// What is served besides `xcap-caps`.
//= RFC 5025 9
//# the application usage of rules is pres-rules; that of the Open Mobile Alliance is the same document
pub const USAGES: [Usage; 2] = [
    Usage {
        auids: &["pres-rules", "org.openmobilealliance.pres-rules"],
        application: Application::Rules,
        media: "application/auth-policy+xml",
        namespace: "urn:ietf:params:xml:ns:common-policy",
    },
    Usage {
        auids: &["resource-lists"],
        application: Application::Lists,
        media: "application/resource-lists+xml",
        namespace: "urn:ietf:params:xml:ns:resource-lists",
    },
];

/// What a URI names.
#[derive(Clone, Debug, PartialEq)]
pub enum Named {
    /// What the server can do (RFC 4825 §12).
    Capabilities,
    /// A document of a user.
    Document {
        /// Of which usage.
        usage: Usage,
        /// Whose: a canonical address.
        user: String,
        /// Its URI, as it was written.
        uri: String,
        /// Its name.
        name: String,
        /// What in it, if not all.
        node: Option<Selector>,
    },
}

/// Why a URI names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// Nothing is there: 404.
    Nothing,
    /// It cannot be read: 400.
    Malformed(&'static str),
}

/// Reads the path and the query of a request.
///
/// # Errors
/// [`Unnamed`].
//= RFC 4825 6
//# root, application usage, users or global, document, and behind ~~ a place in it
pub fn read(root: &str, path: &str, query: Option<&str>) -> Result<Named, Unnamed> {
    let rest = path.strip_prefix(root).ok_or(Unnamed::Nothing)?;
    let rest = rest.strip_prefix('/').ok_or(Unnamed::Nothing)?;
    let (document, node) = match rest.split_once("/~~/") {
        Some((document, node)) => (document, Some(node)),
        None => (rest, None),
    };
    let mut parts = Vec::new();
    for part in document.split('/') {
        parts.push(unescape(part).ok_or(Unnamed::Malformed("a bad escape in the path"))?);
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if parts == ["xcap-caps", "global", "index"] && node.is_none() {
        return Ok(Named::Capabilities);
    }
    let [auid, "users", uri, name] = parts[..] else {
        return Err(Unnamed::Nothing);
    };
    let usage = USAGES.iter().find(|usage| usage.auids.contains(&auid));
    let usage = *usage.ok_or(Unnamed::Nothing)?;
    let parsed = Uri::parse(uri).map_err(|_| Unnamed::Nothing)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(legal) {
        return Err(Unnamed::Nothing);
    }
    let node = match node {
        None => None,
        Some(node) => {
            Some(Selector::read(node, query, usage.namespace).map_err(Unnamed::Malformed)?)
        }
    };
    Ok(Named::Document {
        usage,
        user: address_of(&parsed),
        uri: uri.to_owned(),
        name: name.to_owned(),
        node,
    })
}

/// Resolves %XX; `None` for what is no escape, or no UTF-8.
pub fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let (digits, behind) = behind.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            if digits.starts_with('+') {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = behind;
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 4825 6
    //= type=test
    #[test]
    fn a_uri_names_a_document_or_nothing() {
        for (path, expected) in [
            (
                "/x/pres-rules/users/sip:Alice@example.com/index",
                "Rules alice@example.com index",
            ),
            (
                "/x/org.openmobilealliance.pres-rules/users/sip%3Aalice%40example.com/pres-rules",
                "Rules alice@example.com pres-rules",
            ),
            (
                "/x/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5b1%5d",
                "Lists alice@example.com index at it",
            ),
            (
                "/x/resource-lists/users/sip:alice@example.com/index/~~/",
                "Malformed(\"an empty step\")",
            ),
            ("/x/resource-lists/users/sip:alice@example.com/", "Nothing"),
            (
                "/x/resource-lists/users/sip:alice@example.com/a%2Fb",
                "Nothing",
            ),
            (
                "/x/resource-lists/users/sip:alice@example.com/%zz",
                "Malformed(\"a bad escape in the path\")",
            ),
            ("/x/resource-lists/users/nobody/index", "Nothing"),
            ("/x/resource-lists/global/index", "Nothing"),
            ("/x/other/users/sip:alice@example.com/index", "Nothing"),
            (
                "/xx/pres-rules/users/sip:alice@example.com/index",
                "Nothing",
            ),
            ("/y", "Nothing"),
            ("/x/xcap-caps/global/index", "capabilities"),
        ] {
            let told = match read("/x", path, None) {
                Ok(Named::Capabilities) => "capabilities".to_owned(),
                Ok(Named::Document {
                    usage,
                    user,
                    name,
                    node,
                    ..
                }) => {
                    let at = node.map_or("", |_| " at it");
                    format!("{:?} {user} {name}{at}", usage.application)
                }
                Err(unnamed) => format!("{unnamed:?}"),
            };
            assert_eq!(told, expected, "{path}");
        }
    }
}
