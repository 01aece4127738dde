//! Documents that a user keeps with the server (RFC 4825): rules, and lists.
//!
//! What they mean to the machine is read at the edge and stands beside the text. The text is kept as it came,
//! because whoever put it there wants it back.

use std::sync::Arc;

use crate::presence::publication::EntityTag;
use crate::presence::refusal::Refusal;
use crate::presence::rules::{self, Rule, Rules};
use crate::time::Timestamp;

/// Documents of one user: one of each application, and some more.
pub const DOCUMENTS_MAX: usize = 8;

/// Bytes of one document: 8 of them are half a megabyte at most.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a document's name.
pub const NAME_BYTES_MAX: usize = 64;

/// What a document is for. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Application {
    /// Presence rules (RFC 5025).
    Rules = 1,
    /// Lists of resources (RFC 4826).
    Lists = 2,
    /// Which lists are watched by which address (RFC 4826).
    Services = 3,
}

impl Application {
    /// The application with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Application> {
        [
            Application::Rules,
            Application::Lists,
            Application::Services,
        ]
        .into_iter()
        .find(|known| *known as u8 == number)
    }
}

/// Who keeps a document. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Keeper {
    /// The user.
    User = 1,
    /// The operator, in a file.
    File = 2,
}

impl Keeper {
    /// The keeper with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Keeper> {
        [Keeper::User, Keeper::File]
            .into_iter()
            .find(|known| *known as u8 == number)
    }
}

/// What must be there for a change to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever.
    Anything,
    /// No document.
    Nothing,
    /// One of these versions.
    OneOf(Vec<EntityTag>),
}

/// A document that is to be kept, or removed.
#[derive(Clone, Debug, PartialEq)]
pub struct SetDocument<'a> {
    /// Whose.
    pub presentity: &'a str,
    /// What for.
    pub application: Application,
    /// Its name.
    pub name: &'a str,
    /// Who keeps it.
    pub keeper: Keeper,
    /// What must be there.
    pub expected: Expected,
    /// The text; `None` removes it.
    pub content: Option<&'a [u8]>,
    /// What it says, of rules.
    pub rules: Rules,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What for.
    pub application: Application,
    /// Its name.
    pub name: Box<str>,
    /// Its version.
    pub tag: EntityTag,
    /// Who keeps it.
    pub keeper: Keeper,
    /// The text.
    pub content: Arc<[u8]>,
    /// What it says, of rules.
    pub rules: Arc<Rules>,
}

/// What a change of documents did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The version that lives, or the last one that did.
    pub tag: EntityTag,
    /// Whether there was none before.
    pub created: bool,
    /// Whether what watchers see may be another.
    pub rules: bool,
}

/// All documents of one user, by application and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    held: Vec<Document>,
    /// The time for which rules were last looked at: until [`Documents::due`] they say the same.
    at: Timestamp,
    /// When a rule begins or ceases to hold; the end of time for never.
    due: Timestamp,
}

impl Default for Documents {
    fn default() -> Documents {
        Documents {
            held: Vec::new(),
            at: Timestamp(0),
            due: Timestamp(u64::MAX),
        }
    }
}

impl Documents {
    /// The documents that a snapshot holds; `None` when they are out of order.
    #[must_use]
    pub(crate) fn from_parts(
        held: Vec<Document>,
        at: Timestamp,
        due: Timestamp,
    ) -> Option<Documents> {
        let key = |document: &Document| (document.application, document.name.clone());
        let ordered = held.is_sorted_by(|one, other| key(one) < key(other));
        ordered.then_some(Documents { held, at, due })
    }

    /// For when rules were last looked at, and until when they say the same.
    #[must_use]
    pub fn span(&self) -> (Timestamp, Timestamp) {
        (self.at, self.due)
    }

    /// None is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Each, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Document> {
        self.held.iter()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, application: Application, name: &str) -> Option<&Document> {
        self.place(application, name)
            .ok()
            .map(|place| &self.held[place])
    }

    fn place(&self, application: Application, name: &str) -> Result<usize, usize> {
        self.held.binary_search_by(|held| {
            let of = held.application.cmp(&application);
            of.then_with(|| (*held.name).cmp(name))
        })
    }

    /// The rules of all documents; `None` where no document has any, and rules have no say.
    pub fn rules(&self) -> Option<impl Iterator<Item = &Rule>> {
        let rules = |held: &&Document| held.application == Application::Rules;
        let any = self.held.iter().any(|held| rules(&held));
        let all = self.held.iter().filter(rules);
        any.then(|| all.flat_map(|held| &held.rules.0))
    }

    /// Keeps or removes a document.
    ///
    /// # Errors
    /// [`Refusal::NoMatch`] (412), [`Refusal::DocumentKept`] where the operator keeps it,
    /// [`Refusal::DocumentTooLarge`], [`Refusal::TooManyDocuments`]; nothing is changed then.
    pub fn set(
        &mut self,
        request: &SetDocument<'_>,
        fresh: EntityTag,
        now: Timestamp,
    ) -> Result<Kept, Refusal> {
        let place = self.place(request.application, request.name);
        let known = place.ok().map(|place| &self.held[place]);
        //= RFC 4825 7.11
        //# a conditional request is done only when its condition holds
        let holds = match &request.expected {
            Expected::Anything => true,
            Expected::Nothing => known.is_none(),
            Expected::OneOf(tags) => known.is_some_and(|known| tags.contains(&known.tag)),
        };
        if !holds {
            return Err(Refusal::NoMatch);
        }
        let is_file = |known: &Document| known.keeper == Keeper::File;
        if request.keeper == Keeper::User && known.is_some_and(is_file) {
            return Err(Refusal::DocumentKept);
        }
        let ruled = request.application == Application::Rules;
        let kept = match (place, request.content) {
            (Err(_), None) => return Err(Refusal::UnknownDocument),
            (Ok(place), None) => {
                let removed = self.held.remove(place);
                Kept {
                    tag: removed.tag,
                    created: false,
                    rules: ruled,
                }
            }
            (place, Some(content)) => {
                let rules_many = request.rules.0.len() > rules::RULES_MAX;
                if content.len() > DOCUMENT_BYTES_MAX
                    || request.name.len() > NAME_BYTES_MAX
                    || rules_many
                {
                    return Err(Refusal::DocumentTooLarge);
                }
                if place.is_err() && self.held.len() >= DOCUMENTS_MAX {
                    return Err(Refusal::TooManyDocuments);
                }
                let document = Document {
                    application: request.application,
                    name: request.name.into(),
                    tag: fresh,
                    keeper: request.keeper,
                    content: content.into(),
                    rules: Arc::new(request.rules.clone()),
                };
                match place {
                    Ok(place) => self.held[place] = document,
                    Err(place) => self.held.insert(place, document),
                }
                Kept {
                    tag: fresh,
                    created: place.is_err(),
                    rules: ruled,
                }
            }
        };
        if kept.rules {
            self.look(now);
        }
        Ok(kept)
    }

    /// Looks at the rules as they are at `now`; tells whether one of them began or ceased to hold.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let due = self.due <= now;
        if due {
            self.look(now);
        }
        due
    }

    fn look(&mut self, now: Timestamp) {
        self.at = now;
        let rules = self.held.iter().flat_map(|held| &held.rules.0);
        self.due = rules::next_change(rules, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(index: u64) -> EntityTag {
        EntityTag {
            salt: 1,
            index,
            position: 0,
        }
    }

    fn set<'a>(name: &'a str, expected: Expected, content: Option<&'a [u8]>) -> SetDocument<'a> {
        SetDocument {
            presentity: "alice@example.com",
            application: Application::Lists,
            name,
            keeper: Keeper::User,
            expected,
            content,
            rules: Rules::default(),
        }
    }

    //= RFC 4825 7.11
    //= type=test
    #[test]
    fn a_condition_is_about_the_version_that_lives() {
        let mut documents = Documents::default();
        let mut index = 0;
        for (name, expected, content, told) in [
            (
                "gone",
                Expected::OneOf(vec![tag(1)]),
                Some(&b"x"[..]),
                Err(Refusal::NoMatch),
            ),
            (
                "none to remove",
                Expected::Anything,
                None,
                Err(Refusal::UnknownDocument),
            ),
            ("made", Expected::Nothing, Some(b"x"), Ok((4, true))),
            (
                "made again",
                Expected::Nothing,
                Some(b"x"),
                Err(Refusal::NoMatch),
            ),
            (
                "stale",
                Expected::OneOf(vec![tag(3)]),
                Some(b"y"),
                Err(Refusal::NoMatch),
            ),
            (
                "newer",
                Expected::OneOf(vec![tag(3), tag(4)]),
                Some(b"y"),
                Ok((7, false)),
            ),
            (
                "removed",
                Expected::OneOf(vec![tag(7)]),
                None,
                Ok((7, false)),
            ),
        ] {
            index += 1;
            let done = documents.set(
                &set("index", expected, content),
                tag(index + 1),
                Timestamp(0),
            );
            let done = done.map(|kept| (kept.tag.index, kept.created));
            assert_eq!(done, told, "{name}");
        }
        assert!(documents.is_empty());
    }

    #[test]
    fn there_are_few_and_none_is_large() {
        let mut documents = Documents::default();
        let large = vec![b'x'; DOCUMENT_BYTES_MAX + 1];
        let request = set("large", Expected::Anything, Some(&large));
        let told = documents.set(&request, tag(1), Timestamp(0));
        assert_eq!(told, Err(Refusal::DocumentTooLarge));
        for number in 0..=DOCUMENTS_MAX {
            let name = number.to_string();
            let request = set(&name, Expected::Anything, Some(b"x"));
            let told = documents.set(&request, tag(1), Timestamp(0));
            assert_eq!(told.is_ok(), number < DOCUMENTS_MAX, "{number}");
        }
    }

    #[test]
    fn what_the_operator_keeps_the_user_does_not_change() {
        let mut documents = Documents::default();
        let theirs = SetDocument {
            keeper: Keeper::File,
            ..set("index", Expected::Anything, Some(b"x"))
        };
        assert!(documents.set(&theirs, tag(1), Timestamp(0)).is_ok());
        for content in [Some(&b"y"[..]), None] {
            let own = set("index", Expected::Anything, content);
            let told = documents.set(&own, tag(2), Timestamp(0));
            assert_eq!(told, Err(Refusal::DocumentKept));
        }
    }
}
