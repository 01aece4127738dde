//! Publications by name: what a source of a user's presence (a switchboard, a calendar, a script) says.
//!
//! A SIP client finds its publication by the tag that it was told. A source has a name instead, and one
//! publication under it: whoever speaks for the source may replace it without having kept anything, on
//! another node, after a restart. Tags are there as well, for those who want to be sure of what they
//! replace.
//!
//! Beside the document a source may bring category instances. They are kept only where containers rule what
//! is seen, because they would make a telephone's user one of enhanced presence.

use crate::presence::bearing::Bearing;
use crate::presence::enhanced::Changes;
use crate::presence::instance::Publication;
use crate::presence::presentity::Presentity;
use crate::presence::publication::{EntityTag, Published};
use crate::presence::refusal::Refusal;
use crate::time::Timestamp;

/// Letters of a source's name.
pub const SOURCE_BYTES_MAX: usize = 64;

/// What must be true of the source's publication before anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Any,
    /// It lives, with this tag.
    Tag(EntityTag),
    /// It lives.
    Lives,
    /// There is none.
    Absent,
}

/// What a source says of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishSource<'a> {
    /// Of whom.
    pub presentity: &'a str,
    /// Which source.
    pub source: &'a str,
    /// What must be true.
    pub condition: Condition,
    /// The document in stored form; `None` for none, which removes the one that there is.
    pub content: Option<&'a [u8]>,
    /// How long it lives, in seconds.
    pub expires_s: u32,
    /// What the document means to enhanced watchers.
    pub bearing: Bearing,
    /// Category instances. Their versions do not count: a source does not read before it writes.
    pub instances: Vec<Publication<'a>>,
    /// Bytes of a category over all its instances: the operator's limit.
    pub category_bytes_max: u32,
}

impl Presentity {
    /// Does what a source says; `fresh` is this request's own tag.
    ///
    /// # Errors
    /// [`Refusal::NoMatch`] when the condition does not hold, or a limit, with nothing changed.
    pub fn publish_source(
        &mut self,
        request: &PublishSource<'_>,
        fresh: EntityTag,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Result<Published, Refusal> {
        let mut touched = Vec::new();
        let instances = match self.claimed() {
            Some(enhanced) => Some(enhanced.instances.with_source(request, now, &mut touched)?),
            None => None,
        };
        let published = self.publications.publish_source(request, fresh, now)?;
        changes.standard |= published.visible;
        changes.touched.append(&mut touched);
        if let Some(enhanced) = &mut self.enhanced {
            if let Some(instances) = instances {
                enhanced.instances = instances;
            }
            enhanced.compute(&self.publications, now, changes);
        }
        if !changes.is_empty() {
            self.revision = fresh.index;
        }
        Ok(published)
    }
}
