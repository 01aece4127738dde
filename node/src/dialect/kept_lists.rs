//! Lists that the server keeps (RFC 4662): subscribed to by their own URI, their members from the settings, a
//! file, or the directory.
//!
//! What is done for a dialog is as for lists in requests (`lists.rs`); here is where the members come from.
//! They are looked up with each SUBSCRIBE, so a change of a list shows with the next refresh.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use shard::document::lists;
use shard::document::search::{Filter, Search};
use shard::presence::limits::BATCH_RESOURCES_MAX;
use transport::sip::Request;
use transport::sip::uri::Uri;

use super::{Circumstances, address_of};
use crate::config::policy::ConfiguredList;
use crate::directory::Users;

/// A list, as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct KeptList {
    /// URIs.
    members: Vec<String>,
    /// Users of the directory whose attribute begins so.
    users: Option<(String, String)>,
    /// Canonical addresses of those who may subscribe; `None` for all users.
    watchers: Option<Vec<String>>,
}

type Table = BTreeMap<String, KeptList>;

/// All lists, by canonical address. What stands in files can be read again.
#[derive(Debug, Default)]
pub struct KeptLists {
    settings: Vec<ConfiguredList>,
    table: RwLock<Arc<Table>>,
}

fn canonical(uri: &str) -> Option<String> {
    Uri::parse(uri).ok().map(|uri| address_of(&uri))
}

impl KeptLists {
    /// The lists of the settings; reads their files.
    ///
    /// # Errors
    /// One line that says which list cannot be had.
    pub fn of(settings: &[ConfiguredList]) -> Result<KeptLists, String> {
        let table = read(settings)?;
        Ok(KeptLists {
            settings: settings.to_vec(),
            table: RwLock::new(Arc::new(table)),
        })
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// As [`KeptLists::of`]; then the lists stay as they were.
    pub fn reload(&self) -> Result<usize, String> {
        let table = Arc::new(read(&self.settings)?);
        let lists = table.len();
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(lists)
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The address of the list that a SUBSCRIBE is to, if it is to one. Inside a dialog its To says so.
    pub(super) fn asked(&self, request: &Request) -> Option<String> {
        if self.settings.is_empty() {
            return None;
        }
        let uri = match request.to_tag() {
            Some(_) => request.to().uri,
            None => request.uri(),
        };
        canonical(uri).filter(|address| self.table().contains_key(address))
    }

    /// Whether an address may subscribe to a list.
    pub(super) fn may_watch(
        &self,
        list: &str,
        watcher: &str,
        circumstances: &Circumstances<'_>,
    ) -> bool {
        let table = self.table();
        match table.get(list).map(|list| &list.watchers) {
            None => false,
            Some(Some(watchers)) => watchers.iter().any(|known| known == watcher),
            Some(None) => {
                let host = watcher.rsplit_once('@').map_or("", |(_, host)| host);
                circumstances.policy.serves(host) && circumstances.knows(watcher)
            }
        }
    }

    /// The members of a list, those of lists in it among them, each once.
    //= RFC 4662 4.5
    //# a list in a list is shown by its members; one that holds itself ends there
    pub(super) fn members(&self, list: &str, users: &dyn Users) -> Vec<String> {
        let table = self.table();
        let (mut uris, mut seen) = (Vec::new(), vec![list.to_owned()]);
        let mut open = vec![list.to_owned()];
        while let Some(address) = open.pop() {
            let Some(list) = table.get(&address) else {
                continue;
            };
            let mut own = list.members.clone();
            if let Some((attribute, value)) = &list.users {
                own.extend(found(users, attribute, value));
            }
            let mut nested = Vec::new();
            for uri in own {
                let list = canonical(&uri).filter(|address| table.contains_key(address));
                match list {
                    Some(list) if !seen.contains(&list) => {
                        seen.push(list.clone());
                        nested.push(list);
                    }
                    None if uris.len() < BATCH_RESOURCES_MAX && !uris.contains(&uri) => {
                        uris.push(uri);
                    }
                    _ => {}
                }
            }
            open.extend(nested.into_iter().rev());
        }
        uris
    }
}

/// Users of the directory whose attribute begins so; nobody where the directory cannot be searched now.
fn found(users: &dyn Users, attribute: &str, value: &str) -> Vec<String> {
    let search = Search {
        filters: vec![Filter {
            attribute: attribute.into(),
            value: value.into(),
        }],
        max_results: None,
    };
    match users.search(&search, BATCH_RESOURCES_MAX) {
        Ok(found) => found
            .rows()
            .map(|row| format!("sip:{}", row.address))
            .collect(),
        Err(fault) => {
            tracing::warn!(
                attribute,
                value,
                ?fault,
                "a list's users cannot be searched for"
            );
            Vec::new()
        }
    }
}

fn read(settings: &[ConfiguredList]) -> Result<Table, String> {
    let mut table = Table::new();
    for list in settings {
        let address = canonical(&list.uri).ok_or_else(|| format!("{} is no URI", list.uri))?;
        let mut members = list.members.clone();
        if let Some(path) = &list.file {
            members.extend(
                file(path)
                    .map_err(|why| format!("list {}: {}: {why}", list.uri, path.display()))?,
            );
        }
        let watchers = match &list.watchers {
            None => None,
            Some(watchers) => {
                let each = watchers.iter().map(|uri| {
                    canonical(uri).ok_or_else(|| format!("list {}: {uri} is no URI", list.uri))
                });
                Some(each.collect::<Result<Vec<_>, _>>()?)
            }
        };
        let kept = KeptList {
            members,
            users: list.users.clone(),
            watchers,
        };
        if table.insert(address, kept).is_some() {
            return Err(format!("list {} stands twice", list.uri));
        }
    }
    Ok(table)
}

fn file(path: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    lists::parse(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Everybody;

    fn list(uri: &str, members: &[&str]) -> ConfiguredList {
        ConfiguredList {
            uri: uri.to_owned(),
            members: members.iter().map(|&uri| uri.to_owned()).collect(),
            file: None,
            users: None,
            watchers: None,
        }
    }

    //= RFC 4662 4.5
    //= type=test
    #[test]
    fn a_list_in_a_list_is_its_members() {
        let lists = KeptLists::of(&[
            list("sip:all@a", &["sip:x@a", "sip:Sales@a", "sip:y@a"]),
            list("sip:sales@a", &["sip:s@a", "sip:x@a", "sip:all@a"]),
        ])
        .expect("sound");
        assert_eq!(
            lists.members("all@a", &Everybody),
            ["sip:x@a", "sip:y@a", "sip:s@a"]
        );
        assert_eq!(
            lists.members("sales@a", &Everybody),
            ["sip:s@a", "sip:x@a", "sip:y@a"]
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let broken = ConfiguredList {
            file: Some("/nowhere/sales.xml".into()),
            ..list("sip:sales@a", &[])
        };
        let fault = KeptLists::of(&[broken]).expect_err("no file");
        assert!(fault.contains("sip:sales@a: /nowhere/sales.xml"), "{fault}");
    }
}
