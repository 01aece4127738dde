//! Bodies that save traffic: what a filter leaves, patches, compressed ones; and what must be remembered of a
//! watcher for it.
//!
//! A patch is only written against the notification just before, and only when its watcher has confirmed that
//! one (D37): whatever was lost, replaced by a newer one, or told by another node, is followed by the whole.
//! The memory is of this worker alone and may be lost at any time.

use std::collections::BTreeMap;
use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use shard::document::{filter, partial};
use shard::machine::effect::{Notice, SubscriptionState};
use shard::subscription::dialog::{DialogKey, Format};
use shard::subscription::filter::Filter;
use shard::subscription::savers::{Cause, Terms};
use xxhash_rust::xxh3::xxh3_64;

use super::notify::Body;
use super::render::{Kind, Rendering, Variant};
use crate::dialect::enhanced::answer::content_type;
use crate::dialect::savers::{PIDF_DIFF, applies};

/// Watchers remembered by one worker: with documents of 1 KB that nobody shares, 64 MB.
const KNOWN_MAX: usize = 65_536;

/// What a watcher was told last.
#[derive(Debug)]
struct Known {
    cseq: u32,
    /// Whether it has answered that.
    confirmed: bool,
    /// What it saw, as far as patches or triggers are about it.
    seen: Bytes,
}

/// What this worker's watchers were told last: those who read patches, or named triggers.
#[derive(Debug, Default)]
pub struct Memory {
    known: BTreeMap<DialogKey, Known>,
}

impl Memory {
    /// A notification was answered with success.
    pub fn confirmed(&mut self, dialog: DialogKey, cseq: u32) {
        if let Some(known) = self
            .known
            .get_mut(&dialog)
            .filter(|known| known.cseq == cseq)
        {
            known.confirmed = true;
        }
    }

    /// A dialog is over, or nobody knows what its watcher has seen.
    pub fn forget(&mut self, dialog: DialogKey) {
        self.known.remove(&dialog);
    }

    fn remember(&mut self, notice: &Notice, seen: Bytes) {
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&notice.dialog) {
            // Everybody is told the whole once more.
            self.known.clear();
        }
        let known = Known {
            cseq: notice.cseq,
            confirmed: false,
            seen,
        };
        self.known.insert(notice.dialog, known);
    }

    /// The body of a notification under terms; `None` where no trigger fired, and nothing is to be sent.
    pub fn dress(
        &mut self,
        rendering: &Rendering,
        notice: &Notice,
        terms: &Terms,
        gzip_above: usize,
    ) -> Option<Body> {
        let plain = rendering.document(notice.format);
        if !applies(notice.format) {
            return Some(Body::plain(notice.format, plain.clone()));
        }
        let ends = matches!(notice.state, SubscriptionState::Terminated(_));
        if notice.cause == Cause::Suppressed {
            //= RFC 5839 6.2
            //# the notification that makes the dialog has no body then
            self.forget(notice.dialog);
            return Some(Body::plain(notice.format, Bytes::new()));
        }
        let triggers = terms.filter.as_ref().filter(|filter| filter.has_triggers());
        if let Some(filter) = triggers
            && matches!(notice.cause, Cause::Changed | Cause::Again)
            && !ends
            && let Some(known) = self.known.get_mut(&notice.dialog)
        {
            let fires = filter::fires(filter, &known.seen, plain);
            known.seen = plain.clone();
            if !fires {
                return None;
            }
        }
        let filtered = match &terms.filter {
            Some(filter) => filtered(rendering, notice.format, filter),
            None => plain.clone(),
        };
        // A watcher with triggers is told the whole: what it has seen is not what it was sent.
        let mut body = match (terms.partial, triggers) {
            (true, None) => self.partial(rendering, notice, terms, &filtered),
            _ => Body::plain(notice.format, filtered.clone()),
        };
        if ends {
            self.forget(notice.dialog);
        } else if triggers.is_some() {
            self.remember(notice, plain.clone());
        } else if terms.partial {
            self.remember(notice, filtered);
        }
        if terms.gzip && body.bytes.len() > gzip_above {
            let variant = Variant {
                format: notice.format,
                terms: terms.digest(),
                kind: Kind::Compressed(xxh3_64(&body.bytes)),
            };
            let small = rendering.variant(variant, || compress(&body.bytes));
            if small.len() < body.bytes.len() {
                (body.bytes, body.gzip) = (small, true);
            }
        }
        Some(body)
    }

    /// A patch of what the watcher has confirmed, or the whole.
    //= RFC 5263 4.4
    //# what answers a SUBSCRIBE is whole; patches follow, each of what was told before it
    fn partial(
        &self,
        rendering: &Rendering,
        notice: &Notice,
        terms: &Terms,
        filtered: &Bytes,
    ) -> Body {
        let variant = |kind| Variant {
            format: notice.format,
            terms: terms.digest(),
            kind,
        };
        let known = self
            .known
            .get(&notice.dialog)
            .filter(|known| known.confirmed && known.cseq.checked_add(1) == Some(notice.cseq));
        let known = known.filter(|_| notice.cause != Cause::Asked);
        let patch = known.and_then(|known| {
            let kind = Kind::Patch(xxh3_64(&known.seen));
            rendering.unnumbered(variant(kind), || partial::difference(&known.seen, filtered))
        });
        let whole = || rendering.unnumbered(variant(Kind::Whole), || partial::whole(filtered));
        match patch.or_else(whole) {
            Some(unnumbered) => Body {
                content_type: PIDF_DIFF,
                gzip: false,
                bytes: unnumbered.numbered(notice.cseq).into(),
            },
            None => Body::plain(notice.format, filtered.clone()),
        }
    }
}

/// What a filter leaves of a document, shared by all who have the same.
fn filtered(rendering: &Rendering, format: Format, filter: &Filter) -> Bytes {
    let variant = Variant {
        format,
        terms: filter.digest(),
        kind: Kind::Filtered,
    };
    let plain = rendering.document(format);
    rendering.variant(variant, || {
        filter::apply(filter, plain).map_or_else(|| plain.clone(), Bytes::from)
    })
}

impl Body {
    /// A document as it is.
    #[must_use]
    pub fn plain(format: Format, bytes: Bytes) -> Body {
        Body {
            content_type: content_type(format),
            gzip: false,
            bytes,
        }
    }
}

/// The bytes in zlib's form, which HTTP and SIP call deflate.
#[must_use]
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::default());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// The bytes in gzip's form.
#[must_use]
pub fn compress(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::default());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it").into()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn what_is_compressed_is_small_and_comes_back() {
        let text = b"presence ".repeat(1_000);
        let small = compress(&text);
        assert!(small.len() < text.len() / 20);
        let mut out = Vec::new();
        let mut decoder = GzDecoder::new(&small[..]);
        decoder.read_to_end(&mut out).expect("gzip");
        assert_eq!(out, text);
    }
}
