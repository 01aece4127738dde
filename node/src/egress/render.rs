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

use crate::dialect::enhanced::answer;
use crate::dialect::policy::Identities;

/// Formats there are, with room for their numbers.
const FORMATS: usize = Format::Registration as usize + 1;

/// A view and the documents made of it so far; on a node that is only told, the documents alone.
#[derive(Debug)]
pub struct Rendering {
    view: Option<Arc<View>>,
    taken_at: Timestamp,
    linked: Option<Arc<Linked>>,
    /// Whether contacts may be moved to a mail server.
    ucs: bool,
    documents: [OnceLock<Bytes>; FORMATS],
}

impl Rendering {
    /// Nothing rendered yet; `identities` are those of everybody who has many, `ucs` where contacts may be
    /// moved to a mail server.
    #[must_use]
    pub fn new(view: Arc<View>, identities: &Identities, ucs: bool) -> Rendering {
        Rendering {
            taken_at: view.taken_at,
            linked: identities.get(view.presentity.as_str()).cloned(),
            view: Some(view),
            ucs,
            documents: Default::default(),
        }
    }

    /// Rendered elsewhere, in every format that is asked for.
    #[must_use]
    pub fn rendered(taken_at: Timestamp, documents: Vec<(Format, Bytes)>) -> Rendering {
        let rendering = Rendering {
            view: None,
            linked: None,
            ucs: false,
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
                let linked = self.linked.as_deref();
                answer::compose(view, format, self.ucs, linked, &mut document);
            }
            Bytes::from(document)
        })
    }
}
