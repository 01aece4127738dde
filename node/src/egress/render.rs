//! One document per view and format, shared by all its watchers.
//!
//! Nothing is rendered before the first watcher needs it, and nothing twice: the workers that send to
//! a view's watchers share one [`Rendering`].

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use shard::document::legacy::Linked;
use shard::subscription::dialog::Format;
use shard::subscription::view::View;
use shard::time::Timestamp;

use crate::dialect::enhanced::answer::{self, Composing};
use crate::dialect::policy::{Identities, Policy};

/// Formats there are, with room for their numbers.
const FORMATS: usize = Format::Watcherinfo as usize + 1;

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
        }
    }

    /// Rendered elsewhere, in every format that is asked for.
    #[must_use]
    pub fn rendered(taken_at: Timestamp, documents: Vec<(Format, Bytes)>) -> Rendering {
        let rendering = Rendering {
            view: None,
            linked: None,
            settings: RenderSettings::default(),
            taken_at,
            documents: Default::default(),
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

    /// The document in `format`; composed at the first call, empty where only others were rendered.
    pub fn document(&self, format: Format) -> &Bytes {
        self.documents[format as usize].get_or_init(|| {
            // Most documents are smaller; a larger one grows once or twice.
            let mut document = Vec::with_capacity(1_024);
            if let Some(view) = &self.view {
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
