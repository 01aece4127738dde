//! One document per view and format, shared by all its watchers.
//!
//! Nothing is rendered before the first watcher needs it, and nothing twice: the workers that send to
//! a view's watchers share one [`Rendering`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use shard::document::legacy::Linked;
use shard::document::partial::Unnumbered;
use shard::machine::tag;
use shard::subscription::dialog::Format;
use shard::subscription::view::View;
use shard::time::Timestamp;

use crate::dialect::enhanced::answer::{self, Composing};
use crate::dialect::policy::{Identities, Policy};

/// Documents that this process composed: one for each view and format that somebody was told of.
pub static COMPOSED: AtomicU64 = AtomicU64::new(0);

/// A document made of another one, for watchers with the same terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Of which document.
    pub format: Format,
    /// The digest of the terms.
    pub terms: u64,
    /// What is made of it.
    pub kind: Kind,
}

/// What is made of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What a filter leaves.
    Filtered,
    /// The whole, as the format of patches has it.
    Whole,
    /// A patch of the document with this digest.
    Patch(u64),
    /// The one with this digest, compressed.
    Compressed(u64),
}

/// Variants of one document that are kept: as many as there are filters among its watchers, or versions that
/// they have confirmed. Further ones are made anew for each.
const VARIANTS_MAX: usize = 64;

/// Formats there are, with room for their numbers.
const FORMATS: usize = Format::RlmiDeflated as usize + 1;

/// What the operator decided about documents.
#[derive(Clone, Debug)]
pub struct RenderSettings {
    /// The identities of everybody who has many.
    pub identities: Arc<Identities>,
    /// Whether contacts may be moved to a mail server.
    pub ucs: bool,
    /// The spelling of BluStar's namespace.
    pub namespace: Arc<str>,
}

/// For what was rendered elsewhere: nothing is composed with these.
impl Default for RenderSettings {
    fn default() -> RenderSettings {
        RenderSettings {
            identities: Arc::default(),
            ucs: false,
            namespace: Arc::default(),
        }
    }
}

impl RenderSettings {
    /// As the policy has them.
    #[must_use]
    pub fn of(policy: &Policy) -> RenderSettings {
        RenderSettings {
            identities: Arc::clone(&policy.identities),
            ucs: policy.enhanced.ucs,
            namespace: Arc::clone(&policy.blustar_namespace),
        }
    }
}

/// A view and the documents made of it so far; on a node that is only told, the documents alone.
#[derive(Debug)]
pub struct Rendering {
    view: Option<Arc<View>>,
    taken_at: Timestamp,
    linked: Option<Arc<Linked>>,
    settings: RenderSettings,
    documents: [OnceLock<Bytes>; FORMATS],
    /// The digest of what is seen, where it has one.
    digest: OnceLock<Option<u64>>,
    /// Empty where nobody saves anything.
    variants: Mutex<Vec<(Variant, Bytes)>>,
    unnumbered: Mutex<Vec<(Variant, Option<Arc<Unnumbered>>)>>,
}

impl Rendering {
    /// Nothing rendered yet.
    #[must_use]
    pub fn new(view: Arc<View>, settings: &RenderSettings) -> Rendering {
        Rendering {
            taken_at: view.taken_at,
            linked: settings.identities.get(view.presentity.as_str()).cloned(),
            view: Some(view),
            settings: settings.clone(),
            documents: Default::default(),
            digest: OnceLock::new(),
            variants: Mutex::default(),
            unnumbered: Mutex::default(),
        }
    }

    /// Rendered elsewhere, in every format that is asked for.
    #[must_use]
    pub fn rendered(
        taken_at: Timestamp,
        digest: Option<u64>,
        documents: Vec<(Format, Bytes)>,
    ) -> Rendering {
        let rendering = Rendering {
            view: None,
            linked: None,
            settings: RenderSettings::default(),
            taken_at,
            documents: Default::default(),
            digest: OnceLock::from(digest),
            variants: Mutex::default(),
            unnumbered: Mutex::default(),
        };
        for (format, document) in documents {
            let _ = rendering.documents[format as usize].set(document);
        }
        rendering
    }

    /// Entry time of what is shown.
    #[must_use]
    pub fn taken_at(&self) -> Timestamp {
        self.taken_at
    }

    /// The digest of what is seen, for its tags; `None` where it has none.
    pub fn digest(&self) -> Option<u64> {
        let view = self.view.as_deref();
        *self.digest.get_or_init(|| view.and_then(tag::digest))
    }

    /// A variant of a document, made by the first who needs it.
    pub fn variant(&self, variant: Variant, make: impl FnOnce() -> Bytes) -> Bytes {
        once(&self.variants, variant, make)
    }

    /// The same of one that each watcher has its own version of.
    pub fn unnumbered(
        &self,
        variant: Variant,
        make: impl FnOnce() -> Option<Unnumbered>,
    ) -> Option<Arc<Unnumbered>> {
        once(&self.unnumbered, variant, || make().map(Arc::new))
    }

    /// The document in `format`; composed at the first call, empty where only others were rendered.
    pub fn document(&self, format: Format) -> &Bytes {
        self.documents[format as usize].get_or_init(|| {
            // Most documents are smaller; a larger one grows once or twice.
            let mut document = Vec::with_capacity(1_024);
            if let Some(view) = &self.view {
                COMPOSED.fetch_add(1, Relaxed);
                let how = Composing {
                    ucs: self.settings.ucs,
                    linked: self.linked.as_deref(),
                    namespace: &self.settings.namespace,
                };
                answer::compose(view, format, how, &mut document);
            }
            Bytes::from(document)
        })
    }
}

/// What was made of this variant, or is made now. The lock is held meanwhile, so that nothing is made twice.
fn once<T: Clone>(
    made: &Mutex<Vec<(Variant, T)>>,
    variant: Variant,
    make: impl FnOnce() -> T,
) -> T {
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, known)) = made.iter().find(|(known, _)| *known == variant) {
        return known.clone();
    }
    let new = make();
    if made.len() < VARIANTS_MAX {
        made.push((variant, new.clone()));
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_every_format() {
        let known = (0..=u8::MAX).filter_map(Format::from_number);
        let greatest = known.map(|format| format as usize).max();
        assert_eq!(greatest, Some(FORMATS - 1));
    }
}
