//! `[rules]`, `[xcap]` and `[[list]]` of node.toml: who may see what, where users say so themselves, and lists
//! that the server keeps.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// Lists of one deployment: each is looked at when somebody subscribes.
const LISTS_MAX: usize = 1_000;

/// Rules that the operator keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesSection {
    /// A folder of files, one for each user: `alice@example.com.xml`.
    pub directory: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct XcapSection {
    listen: Option<SocketAddr>,
    root: Option<String>,
}

/// The server of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xcap {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What paths begin with: `/xcap-root`.
    pub root: String,
}

/// A list as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListSection {
    uri: String,
    members: Vec<String>,
    file: Option<PathBuf>,
    users: Option<String>,
    watchers: Option<Vec<String>>,
}

/// A list that the server keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredList {
    /// By which URI it is subscribed to.
    pub uri: String,
    /// URIs of members.
    pub members: Vec<String>,
    /// A document with more of them (`application/resource-lists+xml`).
    pub file: Option<PathBuf>,
    /// Users of the directory whose attribute begins so: attribute and value.
    pub users: Option<(String, String)>,
    /// URIs of those who may subscribe; `None` for all users.
    pub watchers: Option<Vec<String>>,
}

/// Where documents are kept by their users, if they are.
///
/// # Errors
/// One line that says which setting and what was expected.
pub(super) fn xcap(section: XcapSection) -> Result<Option<Xcap>, String> {
    let root = section.root.unwrap_or_else(|| "/xcap-root".to_owned());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
    if !root.starts_with('/') || !root.chars().all(plain) || root.contains("//") {
        return Err(format!(
            "xcap.root = {root:?}; expected such as \"/xcap-root\""
        ));
    }
    let root = root.trim_end_matches('/').to_owned();
    Ok(section.listen.map(|listen| Xcap { listen, root }))
}

/// The lists.
///
/// # Errors
/// One line that says which setting and what was expected.
pub(super) fn lists(sections: Vec<ListSection>) -> Result<Vec<ConfiguredList>, String> {
    if sections.len() > LISTS_MAX {
        return Err(format!("there are more than {LISTS_MAX} lists"));
    }
    let mut lists: Vec<ConfiguredList> = Vec::new();
    for section in sections {
        let uri = section.uri.trim().to_owned();
        let known = uri.starts_with("sip:") || uri.starts_with("sips:") || uri.starts_with("pres:");
        if !known || !uri.contains('@') {
            return Err(format!(
                "list.uri = {uri:?}; expected such as \"sip:sales@example.com\""
            ));
        }
        if lists.iter().any(|list| list.uri == uri) {
            return Err(format!("list {uri} stands twice"));
        }
        let users = match section.users {
            None => None,
            Some(text) => match text.split_once('=') {
                Some((attribute, value)) if !attribute.is_empty() && !value.is_empty() => {
                    Some((attribute.trim().to_owned(), value.trim().to_owned()))
                }
                _ => {
                    return Err(format!(
                        "list {uri}: users = {text:?}; expected such as \"department=Sales\""
                    ));
                }
            },
        };
        if section.members.is_empty() && section.file.is_none() && users.is_none() {
            return Err(format!("list {uri} needs members, file or users"));
        }
        lists.push(ConfiguredList {
            uri,
            members: section.members,
            file: section.file,
            users,
            watchers: section.watchers,
        });
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct File {
        xcap: XcapSection,
        list: Vec<ListSection>,
    }

    fn file(text: &str) -> File {
        toml::from_str(text).expect("a file")
    }

    #[test]
    fn a_list_says_where_its_members_are() {
        let sound = "[[list]]\nuri = 'sip:all@example.com'\nmembers = ['sip:bob@example.com']\nusers = 'department=Sales'";
        let read = lists(file(sound).list).expect("sound");
        assert_eq!(
            read[0].users,
            Some(("department".to_owned(), "Sales".to_owned()))
        );
        for (text, says) in [
            ("[[list]]\nuri = 'all'", "expected such as \"sip:sales"),
            ("[[list]]\nuri = 'sip:a@b'", "needs members"),
            (
                "[[list]]\nuri = 'sip:a@b'\nusers = 'department'",
                "department=Sales",
            ),
            (
                "[[list]]\nuri = 'sip:a@b'\nmembers = ['x']\n[[list]]\nuri = 'sip:a@b'\nmembers = ['x']",
                "stands twice",
            ),
        ] {
            let fault = lists(file(text).list).expect_err(text);
            assert!(fault.contains(says), "{text}: {fault}");
        }
    }

    #[test]
    fn documents_are_served_only_where_somebody_says_so() {
        assert_eq!(xcap(file("").xcap), Ok(None));
        let on = xcap(file("[xcap]\nlisten = '127.0.0.1:80'\nroot = '/x/'").xcap).expect("sound");
        assert_eq!(on.expect("on").root, "/x");
        for root in ["xcap", "/a b", "/a//b", "/a?b"] {
            let text = format!("[xcap]\nroot = '{root}'");
            assert!(xcap(file(&text).xcap).is_err(), "{root}");
        }
    }
}
