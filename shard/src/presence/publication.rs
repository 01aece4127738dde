//! Soft state by entity-tag (RFC 3903).

use std::fmt;
use std::sync::Arc;

use crate::presence::package::Package;
use crate::time::Timestamp;

/// The tag of one version of a publication: never used twice for an address, because a log position
/// exists once, and the salt tells one life of a pool from the next.
//= RFC 3903 4.1
//# an entity-tag is unique among all versions of all publications of a resource
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityTag {
    /// Drawn once when the shard's first term started.
    pub salt: u32,
    /// The log index of the entry that made this version.
    pub index: u64,
    /// The request's place in that entry.
    pub position: u16,
}

impl EntityTag {
    /// Reads what [`fmt::Display`] wrote; `None` for a tag that was never ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<EntityTag> {
        let mut parts = text.split('-');
        let salt = u32::from_str_radix(parts.next()?, 16).ok()?;
        let index = u64::from_str_radix(parts.next()?, 16).ok()?;
        let position = u16::from_str_radix(parts.next()?, 16).ok()?;
        let tag = EntityTag { salt, index, position };
        // One tag, one spelling: no leading zeros, no sign, no capitals, nothing behind.
        (parts.next().is_none() && tag.to_string() == text).then_some(tag)
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}-{:x}", self.salt, self.index, self.position)
    }
}

/// What a successful PUBLISH without body does to the tag. House D11: the dialect's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagPolicy {
    /// RFC 3903, AudioCodes: each success gives a new tag.
    Renew,
    /// BluStar: a refresh answers with the tag it was given.
    Keep,
}

/// What one publication says, decided at the ingress; shared by every view that shows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    /// The published elements in the stored form of the document module of the package
    /// (for presence: [`crate::document::pidf::parse`]).
    pub stored: Box<[u8]>,
    /// When this content (not its refresh) was published.
    pub published_at: Timestamp,
    /// Names the publication within its presentity for as long as it lives, refreshed or modified.
    pub number: u32,
}

/// One publication: soft state that ends at a time unless it is refreshed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The only tag that the next request may present.
    pub tag: EntityTag,
    /// When it ends.
    pub expires_at: Timestamp,
    /// What it says.
    pub content: Arc<Content>,
}

/// PUBLISH: create, refresh, modify or remove soft state.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    /// Whose state.
    pub presentity: &'a str,
    /// Of which package.
    pub package: Package,
    /// SIP-If-Match; `None` creates.
    pub if_match: Option<EntityTag>,
    /// The new content in stored form; `None` leaves it as it is.
    pub content: Option<&'a [u8]>,
    /// Granted lifetime; 0 removes.
    pub expires_s: u32,
    /// What a refresh does to the tag.
    pub tag_policy: TagPolicy,
}
