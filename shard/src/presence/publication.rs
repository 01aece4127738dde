//! Soft state by entity-tag (RFC 3903).

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::presence::bearing::Bearing;
use crate::presence::limits::{CONTENT_BYTES_MAX, PUBLICATIONS_MAX};
use crate::presence::package::Package;
use crate::presence::refusal::Refusal;
use crate::presence::source::{Condition, PublishSource};
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
    /// A tag that a client presents and that was never ours: no log begins with index 0.
    pub const FOREIGN: EntityTag = EntityTag {
        salt: 0,
        index: 0,
        position: 0,
    };

    /// Reads what [`fmt::Display`] wrote; `None` for a tag that was never ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<EntityTag> {
        let (salt, rest) = text.split_at_checked(8)?;
        let rest = rest.strip_prefix('-')?;
        let dash = memchr::memchr(b'-', rest.as_bytes())?;
        // One tag, one spelling: no sign, no capitals, no leading zeros, nothing behind.
        let short = |digits: &str| digits.len() == 1 || !digits.starts_with('0');
        let (index, position) = (&rest[..dash], &rest[dash + 1..]);
        if !short(index) || !short(position) {
            return None;
        }
        Some(EntityTag {
            salt: u32::try_from(hex(salt)?).ok()?,
            index: hex(index)?,
            position: u16::try_from(hex(position)?).ok()?,
        })
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the machinery of formatting: each answer to a PUBLISH has one.
        let mut text: SmallVec<[u8; 32]> = SmallVec::new();
        put_hex(self.salt.into(), 8, &mut text);
        text.push(b'-');
        put_hex(self.index, 1, &mut text);
        text.push(b'-');
        put_hex(self.position.into(), 1, &mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// The number of up to sixteen lower-case digits.
fn hex(digits: &str) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.bytes().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

/// Appends a number with at least so many digits.
fn put_hex(number: u64, width: u32, out: &mut SmallVec<[u8; 32]>) {
    let needed = (u64::BITS - number.leading_zeros()).div_ceil(4).max(width);
    for place in (0..needed).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * place) & 15) as usize]);
    }
}

/// What a successful PUBLISH without body does to the tag. House D11: the dialect's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagPolicy {
    /// RFC 3903, AudioCodes: each success gives a new tag.
    Renew,
    /// BluStar: the tag stays as long as the publication lives. All clients of a user share one
    /// publication, and one that does not know its tag is told it, and nothing else happens.
    Keep,
    /// BluStar's forwarding: there is one, and whoever publishes replaces it, with whatever tag.
    Replace,
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
    /// What it means to enhanced watchers.
    pub bearing: Bearing,
}

impl Content {
    /// The one copy of what the log entry says: a slice would keep the whole entry alive.
    fn store(
        stored: &[u8],
        bearing: Bearing,
        published_at: Timestamp,
        number: u32,
    ) -> Arc<Content> {
        Arc::new(Content {
            stored: stored.into(),
            published_at,
            number,
            bearing,
        })
    }
}

/// One publication: soft state that ends at a time unless it is refreshed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The only tag that the next request may present.
    pub tag: EntityTag,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was made, however often it was modified since.
    pub first_at: Timestamp,
    /// The source that it is found by; empty for a client's, which is found by its tag.
    pub source: Box<str>,
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
    /// What the content means to enhanced watchers.
    pub bearing: Bearing,
}

/// What a successful PUBLISH did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// SIP-ETag.
    pub tag: EntityTag,
    /// Expires.
    pub expires_s: u32,
    /// Whether a watcher can see the difference.
    pub visible: bool,
}

/// The live publications of one address, oldest first, and the number the next one takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publications {
    // One inline: most addresses have one publication.
    held: SmallVec<[(Package, Publication); 1]>,
    next_number: u32,
}

/// What a PUBLISH comes to, once its condition is checked.
enum Step<'a> {
    Create(&'a [u8]),
    CreateAndForget,
    /// Tells who does not know it what there is.
    Tell(usize),
    Refresh(usize),
    Modify(usize, &'a [u8]),
    Remove(usize),
}

impl Publications {
    /// The publications `held`, oldest first.
    pub(crate) fn from_parts(
        held: impl IntoIterator<Item = (Package, Publication)>,
        next_number: u32,
    ) -> Publications {
        Publications {
            held: held.into_iter().collect(),
            next_number,
        }
    }

    /// The number that the next publication takes.
    pub(crate) fn next_number(&self) -> u32 {
        self.next_number
    }

    /// Each live publication with its package, oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, (Package, Publication)> {
        self.held.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Nothing is published.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Does what the PUBLISH asks; `fresh` becomes the tag of the version that it makes.
    ///
    /// # Errors
    /// [`Refusal::NoMatch`], [`Refusal::ContentTooLarge`] or [`Refusal::TooManyPublications`], with
    /// nothing changed.
    pub fn publish(
        &mut self,
        request: &Publish<'_>,
        fresh: EntityTag,
        now: Timestamp,
    ) -> Result<Published, Refusal> {
        let expires_at = now.plus_s(request.expires_s);
        let keeps = request.tag_policy == TagPolicy::Keep;
        let (mut tag, mut expires_s) = (fresh, request.expires_s);
        let visible = match self.decide(request)? {
            //= RFC 3903 4.2
            //# without a tag, a publication of its own is made beside the others
            Step::Create(stored) => {
                let number = self.take_number();
                let content = Content::store(stored, request.bearing, now, number);
                self.held.push((
                    request.package,
                    Publication {
                        tag,
                        expires_at,
                        first_at: now,
                        source: "".into(),
                        content,
                    },
                ));
                true
            }
            Step::CreateAndForget => false,
            //= BLUSTAR 2.4
            //# the first PUBLISH of a client that starts is ignored, so that no wrong state spreads
            Step::Tell(at) => {
                let publication = &self.held[at].1;
                tag = publication.tag;
                expires_s = expires_s.min(publication.expires_at.seconds_after(now));
                false
            }
            Step::Refresh(at) => {
                let publication = &mut self.held[at].1;
                //= RFC 3903 4.3
                //# a refresh extends the life, leaves the state as it is, and gives a new tag
                //= BLUSTAR 2.8
                //# a refresh answers with the tag that there is
                if keeps {
                    tag = publication.tag;
                }
                publication.tag = tag;
                publication.expires_at = expires_at;
                false
            }
            //= RFC 3903 4.4
            //# a modification replaces the state and extends the life
            Step::Modify(at, stored) => {
                let publication = &mut self.held[at].1;
                let number = publication.content.number;
                let content = Content::store(stored, request.bearing, now, number);
                //= BLUSTAR 2.4
                //# the first PUBLISH makes the tag, and all others get it again
                if keeps {
                    tag = publication.tag;
                }
                publication.tag = tag;
                publication.expires_at = expires_at;
                publication.content = content;
                true
            }
            //= RFC 3903 4.5
            //# a lifetime of zero removes the state at once
            Step::Remove(at) => {
                self.held.remove(at);
                true
            }
        };
        Ok(Published {
            tag,
            expires_s,
            visible,
        })
    }

    /// The place of the publication that all BluStar clients share.
    fn shared(&self, package: Package) -> Option<usize> {
        let is_it =
            |(of, held): &(Package, Publication)| *of == package && held.content.bearing.shared;
        self.held.iter().position(is_it)
    }

    /// Ends what BluStar clients published, because none of them is there any more; tells whether there was
    /// anything.
    //= BLUSTAR 2.3
    //# without a client the user is signed out
    pub fn sign_out(&mut self) -> bool {
        let before = self.held.len();
        self.held.retain(|(_, held)| !held.content.bearing.shared);
        self.held.len() < before
    }

    /// The tag of what BluStar clients share, and the seconds that it lives.
    #[must_use]
    pub fn shared_tag(&self, now: Timestamp) -> Option<(EntityTag, u32)> {
        let held = &self.held[self.shared(Package::Presence)?].1;
        Some((held.tag, held.expires_at.seconds_after(now)))
    }

    /// Does what a source says with the one publication that it has.
    ///
    /// # Errors
    /// As [`Publications::publish`].
    pub(crate) fn publish_source(
        &mut self,
        request: &PublishSource<'_>,
        fresh: EntityTag,
        now: Timestamp,
    ) -> Result<Published, Refusal> {
        let is_it = |(package, held): &(Package, Publication)| {
            *package == Package::Presence && *held.source == *request.source
        };
        let at = self.held.iter().position(is_it);
        let holds = match (request.condition, at) {
            (Condition::Any, _) => true,
            (Condition::Tag(tag), Some(at)) => self.held[at].1.tag == tag,
            (Condition::Lives, at) => at.is_some(),
            (Condition::Absent, at) => at.is_none(),
            (Condition::Tag(_), None) => false,
        };
        if !holds {
            return Err(Refusal::NoMatch);
        }
        let content = request.content.filter(|_| request.expires_s > 0);
        let content = content.map(fitting).transpose()?;
        let expires_at = now.plus_s(request.expires_s);
        let visible = match (at, content) {
            (None, None) => false,
            (Some(at), None) => {
                self.held.remove(at);
                true
            }
            (None, Some(stored)) => {
                let presence =
                    |(package, _): &&(Package, Publication)| *package == Package::Presence;
                if self.held.iter().filter(presence).count() >= PUBLICATIONS_MAX {
                    return Err(Refusal::TooManyPublications);
                }
                let number = self.take_number();
                let publication = Publication {
                    tag: fresh,
                    expires_at,
                    first_at: now,
                    source: request.source.into(),
                    content: Content::store(stored, request.bearing, now, number),
                };
                self.held.push((Package::Presence, publication));
                true
            }
            (Some(at), Some(stored)) => {
                let publication = &mut self.held[at].1;
                let same = *publication.content.stored == *stored
                    && publication.content.bearing == request.bearing;
                publication.tag = fresh;
                publication.expires_at = expires_at;
                // Who says the same again keeps it alive, and nobody need be told.
                if !same {
                    let number = publication.content.number;
                    publication.content = Content::store(stored, request.bearing, now, number);
                }
                !same
            }
        };
        Ok(Published {
            tag: fresh,
            expires_s: request.expires_s,
            visible,
        })
    }

    fn decide<'a>(&self, request: &Publish<'a>) -> Result<Step<'a>, Refusal> {
        let known = |presented: EntityTag| {
            self.held
                .iter()
                .position(|(package, held)| *package == request.package && held.tag == presented)
        };
        let at = match request.tag_policy {
            //= BLUSTAR 4.3
            //# a forwarding takes the place of the one before
            TagPolicy::Replace => self.held.iter().position(|(package, held)| {
                *package == request.package && held.content.bearing.forwards
            }),
            TagPolicy::Renew | TagPolicy::Keep => request.if_match.and_then(known),
        };
        let shares = request.tag_policy == TagPolicy::Keep && request.bearing.shared;
        let replaces = request.tag_policy == TagPolicy::Replace;
        if at.is_none() && (request.if_match.is_none() || shares || replaces) {
            // Contradiction C-03: whoever does not know the tag of what lives is told it, and changes nothing.
            if let Some(at) = self.shared(request.package).filter(|_| shares) {
                return Ok(Step::Tell(at));
            }
            return match request.content {
                // Neither a tag nor a body: the dialect answers 400 before it comes here.
                None => Err(Refusal::NoMatch),
                Some(_) if request.expires_s == 0 => Ok(Step::CreateAndForget),
                Some(stored) => {
                    let alike = self
                        .held
                        .iter()
                        .filter(|(package, _)| *package == request.package);
                    if alike.count() >= PUBLICATIONS_MAX {
                        return Err(Refusal::TooManyPublications);
                    }
                    fitting(stored).map(Step::Create)
                }
            };
        }
        //= RFC 3903 6
        //# a tag that names no stored state fails the request, and nothing changes
        let at = at.ok_or(Refusal::NoMatch)?;
        match request.content {
            _ if request.expires_s == 0 => Ok(Step::Remove(at)),
            None => Ok(Step::Refresh(at)),
            Some(stored) => fitting(stored).map(|stored| Step::Modify(at, stored)),
        }
    }

    /// A number that no live publication has.
    fn take_number(&mut self) -> u32 {
        let mut number = self.next_number;
        // Only after four thousand million publications of one address can it be taken.
        while self
            .held
            .iter()
            .any(|(_, publication)| publication.content.number == number)
        {
            number = number.wrapping_add(1);
        }
        self.next_number = number.wrapping_add(1);
        number
    }

    /// Ends the publications that are due at `now`, telling each one's package.
    //= RFC 3903 4.3
    //# state that is not refreshed within its lifetime is removed
    pub fn expire(&mut self, now: Timestamp, mut ended: impl FnMut(Package)) {
        self.held.retain(|(package, publication)| {
            let lives = publication.expires_at > now;
            if !lives {
                ended(*package);
            }
            lives
        });
    }
}

fn fitting(stored: &[u8]) -> Result<&[u8], Refusal> {
    if stored.len() > CONTENT_BYTES_MAX {
        Err(Refusal::ContentTooLarge)
    } else {
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const BIG: &[u8] = &[0; CONTENT_BYTES_MAX + 1];

    fn tag(index: u64) -> EntityTag {
        EntityTag {
            salt: 0xabc,
            index,
            position: 3,
        }
    }

    fn publish<'a>(
        if_match: Option<u64>,
        content: Option<&'a [u8]>,
        expires_s: u32,
    ) -> Publish<'a> {
        Publish {
            presentity: "alice@example.com",
            package: Package::Presence,
            if_match: if_match.map(tag),
            content,
            expires_s,
            tag_policy: TagPolicy::Renew,
            bearing: Bearing::default(),
        }
    }

    #[test]
    fn a_tag_has_one_spelling() {
        for (text, expected) in [
            (
                "00000abc-1f-3",
                Some(EntityTag {
                    salt: 0xabc,
                    index: 0x1f,
                    position: 3,
                }),
            ),
            ("00000abc-1F-3", None),
            ("00000abc-01f-3", None),
            ("abc-1f-3", None),
            ("00000abc-1f", None),
            ("00000abc-1f-3-0", None),
            ("00000abc-+1f-3", None),
            ("00000abc-1f-10000", None),
            ("dx200xyz", None),
            ("", None),
        ] {
            assert_eq!(EntityTag::parse(text), expected, "{text}");
            if let Some(tag) = expected {
                assert_eq!(tag.to_string(), text);
            }
        }
    }

    //= RFC 3903 6
    //= type=test
    //= RFC 3903 4.2
    //= type=test
    //= RFC 3903 4.3
    //= type=test
    //= RFC 3903 4.4
    //= type=test
    //= RFC 3903 4.5
    //= type=test
    #[test]
    fn a_publication_changes_by_its_newest_tag_only() {
        use Refusal::{ContentTooLarge, NoMatch};
        let said = |expires_s, visible| {
            Ok(Published {
                tag: tag(2),
                expires_s,
                visible,
            })
        };
        for (name, request, expected, left) in [
            (
                "create a second",
                publish(None, Some(b"b"), 60),
                said(60, true),
                vec![tag(1), tag(2)],
            ),
            (
                "create for no time",
                publish(None, Some(b"b"), 0),
                said(0, false),
                vec![tag(1)],
            ),
            (
                "create nothing",
                publish(None, None, 60),
                Err(NoMatch),
                vec![tag(1)],
            ),
            (
                "create too much",
                publish(None, Some(BIG), 60),
                Err(ContentTooLarge),
                vec![tag(1)],
            ),
            (
                "refresh",
                publish(Some(1), None, 60),
                said(60, false),
                vec![tag(2)],
            ),
            (
                "modify",
                publish(Some(1), Some(b"b"), 60),
                said(60, true),
                vec![tag(2)],
            ),
            (
                "modify too much",
                publish(Some(1), Some(BIG), 60),
                Err(ContentTooLarge),
                vec![tag(1)],
            ),
            ("remove", publish(Some(1), None, 0), said(0, true), vec![]),
            (
                "remove with a body",
                publish(Some(1), Some(b"b"), 0),
                said(0, true),
                vec![],
            ),
            (
                "unknown tag",
                publish(Some(9), None, 60),
                Err(NoMatch),
                vec![tag(1)],
            ),
            (
                "unknown tag, remove",
                publish(Some(9), None, 0),
                Err(NoMatch),
                vec![tag(1)],
            ),
        ] {
            let mut publications = Publications::default();
            let first = publications.publish(&publish(None, Some(b"a"), 60), tag(1), NOW);
            assert_eq!(first.map(|p| p.tag), Ok(tag(1)), "{name}");
            assert_eq!(
                publications.publish(&request, tag(2), NOW),
                expected,
                "{name}"
            );
            let tags: Vec<EntityTag> = publications.iter().map(|(_, held)| held.tag).collect();
            assert_eq!(tags, left, "{name}");
        }
    }

    //= BLUSTAR 2.4
    //= type=test
    //= BLUSTAR 2.8
    //= type=test
    // proves: BLU-2.4-01 BLU-2.4-03
    #[test]
    fn blustar_clients_share_a_publication_and_its_tag() {
        let shared = Bearing {
            shared: true,
            ..Bearing::default()
        };
        let keep = |if_match, content, expires_s| Publish {
            tag_policy: TagPolicy::Keep,
            bearing: shared,
            ..publish(if_match, content, expires_s)
        };
        let foreign = Publish {
            if_match: Some(EntityTag::FOREIGN),
            ..keep(None, Some(b"b"), 60)
        };
        let (a, b) = (Some(b"a".as_slice()), Some(b"b".as_slice()));
        // What was there, the request, and: the tag, the seconds, whether it shows, what is said then.
        for (name, there, request, expected, said) in [
            ("first", false, keep(None, a, 60), Ok((tag(2), 60, true)), a),
            (
                "refresh",
                true,
                keep(Some(1), None, 90),
                Ok((tag(1), 90, false)),
                a,
            ),
            (
                "modify",
                true,
                keep(Some(1), b, 60),
                Ok((tag(1), 60, true)),
                b,
            ),
            (
                "first of a second client",
                true,
                keep(None, b, 60),
                Ok((tag(1), 50, false)),
                a,
            ),
            (
                "shorter than what lives",
                true,
                keep(None, b, 30),
                Ok((tag(1), 30, false)),
                a,
            ),
            (
                "a tag of another life",
                true,
                foreign.clone(),
                Ok((tag(1), 50, false)),
                a,
            ),
            (
                "the same, and nothing lives",
                false,
                foreign,
                Ok((tag(2), 60, true)),
                b,
            ),
            (
                "refresh of nothing",
                false,
                keep(Some(9), None, 60),
                Err(Refusal::NoMatch),
                None,
            ),
            (
                "remove",
                true,
                keep(Some(1), None, 0),
                Ok((tag(1), 0, true)),
                None,
            ),
        ] {
            let mut publications = Publications::default();
            if there {
                let first = publications.publish(&keep(None, a, 60), tag(1), NOW);
                assert_eq!(first.map(|p| p.tag), Ok(tag(1)), "{name}");
            }
            let later = NOW.plus_s(10);
            let done = publications.publish(&request, tag(2), later);
            let done = done.map(|p| (p.tag, p.expires_s, p.visible));
            // What is removed has no tag any more, and whichever is told matters to nobody.
            let done = done.map(|(t, s, v)| if s == 0 { (tag(1), s, v) } else { (t, s, v) });
            assert_eq!(done, expected, "{name}");
            let held: Vec<_> = publications
                .iter()
                .map(|(_, held)| &*held.content.stored)
                .collect();
            assert_eq!(held, said.into_iter().collect::<Vec<_>>(), "{name}");
        }
    }

    //= BLUSTAR 2.3
    //= type=test
    #[test]
    fn signing_out_ends_what_blustar_clients_said_and_nothing_else() {
        let mut publications = Publications::default();
        for (number, shared) in [(1, false), (2, true), (3, false)] {
            let bearing = Bearing {
                shared,
                ..Bearing::default()
            };
            let request = Publish {
                bearing,
                ..publish(None, Some(b"a"), 60)
            };
            assert!(publications.publish(&request, tag(number), NOW).is_ok());
        }
        assert_eq!(publications.shared_tag(NOW), Some((tag(2), 60)));
        assert!(publications.sign_out());
        let left: Vec<_> = publications.iter().map(|(_, held)| held.tag).collect();
        assert_eq!(left, [tag(1), tag(3)]);
        assert!(!publications.sign_out());
        assert_eq!(publications.shared_tag(NOW), None);
    }

    #[test]
    fn a_publication_keeps_its_number_for_life() {
        let mut publications = Publications {
            held: SmallVec::new(),
            next_number: u32::MAX,
        };
        for (index, if_match) in [(1, None), (2, None), (3, Some(1)), (4, None)] {
            let request = publish(if_match, Some(b"a"), 60);
            assert!(publications.publish(&request, tag(index), NOW).is_ok());
        }
        let numbers: Vec<_> = publications
            .iter()
            .map(|(_, held)| held.content.number)
            .collect();
        assert_eq!(numbers, [u32::MAX, 0, 1]);
    }

    #[test]
    fn a_presentity_has_a_bounded_number_of_publications() {
        let mut publications = Publications::default();
        for index in 1..=PUBLICATIONS_MAX as u64 {
            assert!(
                publications
                    .publish(&publish(None, Some(b"a"), 60), tag(index), NOW)
                    .is_ok()
            );
        }
        let more = publications.publish(&publish(None, Some(b"a"), 60), tag(100), NOW);
        assert_eq!(more, Err(Refusal::TooManyPublications));
        assert!(
            publications
                .publish(&publish(Some(5), Some(b"b"), 60), tag(101), NOW)
                .is_ok()
        );
    }

    //= RFC 3903 4.3
    //= type=test
    #[test]
    fn a_publication_ends_at_its_time() {
        let mut publications = Publications::default();
        assert!(
            publications
                .publish(&publish(None, Some(b"a"), 60), tag(1), NOW)
                .is_ok()
        );
        for (name, at_ms, ends) in [("before", 1_059_999, 0), ("due", 1_060_000, 1)] {
            let mut ended = 0;
            publications.expire(Timestamp(at_ms), |_| ended += 1);
            assert_eq!(ended, ends, "{name}");
        }
        assert!(publications.is_empty());
    }
}
