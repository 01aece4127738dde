//! One document per view and format, shared by all its watchers.
//!
//! Nothing is rendered before the first watcher needs it, and nothing twice: the workers that send to
//! a view's watchers share one [`Rendering`].

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use shard::subscription::dialog::Format;
use shard::subscription::view::View;

use crate::dialect::enhanced::answer;

/// Formats there are, with room for their numbers.
const FORMATS: usize = Format::MsPidf as usize + 1;

/// A view and the documents made of it so far.
#[derive(Debug)]
pub struct Rendering {
    view: Arc<View>,
    /// Whether contacts may be moved to a mail server.
    ucs: bool,
    documents: [OnceLock<Bytes>; FORMATS],
}

impl Rendering {
    /// Nothing rendered yet; `ucs` where contacts may be moved to a mail server.
    #[must_use]
    pub fn new(view: Arc<View>, ucs: bool) -> Rendering {
        Rendering {
            view,
            ucs,
            documents: Default::default(),
        }
    }

    /// What is shown.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The document in `format`; composed at the first call.
    pub fn document(&self, format: Format) -> &Bytes {
        self.documents[format as usize].get_or_init(|| {
            // Most documents are smaller; a larger one grows once or twice.
            let mut document = Vec::with_capacity(1_024);
            answer::compose(&self.view, format, self.ucs, &mut document);
            Bytes::from(document)
        })
    }
}
