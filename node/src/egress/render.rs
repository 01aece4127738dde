//! One document per view and format, shared by all its watchers.
//!
//! Nothing is rendered before the first watcher needs it, and nothing twice: the workers that send to
//! a view's watchers share one [`Rendering`].

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use shard::document::pidf;
use shard::subscription::dialog::Format;
use shard::subscription::view::View;

/// A view and the documents made of it so far.
#[derive(Debug)]
pub struct Rendering {
    view: Arc<View>,
    pidf: OnceLock<Bytes>,
}

impl Rendering {
    /// Nothing rendered yet.
    #[must_use]
    pub fn new(view: Arc<View>) -> Rendering {
        Rendering {
            view,
            pidf: OnceLock::new(),
        }
    }

    /// What is shown.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The document in `format`; composed at the first call.
    pub fn document(&self, format: Format) -> &Bytes {
        match format {
            Format::Pidf => self.pidf.get_or_init(|| {
                let stored: usize = self
                    .view
                    .contents
                    .iter()
                    .map(|content| content.stored.len())
                    .sum();
                // The root element and its namespaces are some 300 bytes.
                let mut document = Vec::with_capacity(stored + 400);
                pidf::compose(&self.view, &mut document);
                Bytes::from(document)
            }),
        }
    }
}

/// The Content-Type of a format.
#[must_use]
pub fn content_type(format: Format) -> &'static str {
    match format {
        Format::Pidf => "application/pidf+xml",
    }
}
