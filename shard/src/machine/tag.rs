//! Entity-tags of what watchers see (RFC 5839): a digest of it, so that every replica, every node and a
//! later leader know the same one, and nothing is kept for it.
//!
//! It is taken of what a document is made of, not of the document: the machine composes none. Where a
//! document depends on the time as well, there is no tag.

use bytes::BufMut;
use xxhash_rust::xxh3::xxh3_64;

use crate::machine::values;
use crate::presence::publication::Content;
use crate::subscription::dialog::Format;
use crate::subscription::view::{Seen, View};

/// What is seen in a view, as a number; `None` where it has no tag. It is the same for whoever sees the same,
/// whatever they do not see.
//= RFC 5839 6.1
//# a tag is of one version of what a resource shows, and no other version has it
#[must_use]
pub fn digest(view: &View) -> Option<u64> {
    let mut bytes = Vec::with_capacity(1_024);
    bytes.put_slice(view.presentity.as_str().as_bytes());
    match &view.seen {
        Seen::Publications(contents) => {
            // A calendar's document changes with the time.
            if contents.iter().any(|content| content.bearing.shared) {
                return None;
            }
            bytes.put_u8(1);
            let mut newest: Vec<&Content> = contents.iter().map(|content| &**content).collect();
            newest.sort_by_key(|content| std::cmp::Reverse((content.published_at, content.number)));
            for content in newest {
                bytes.put_u32_le(content.number);
                bytes.put_slice(&content.bearing.numbers());
                bytes.put_u32_le(content.stored.len() as u32);
                bytes.put_slice(&content.stored);
            }
        }
        Seen::Legacy(legacy) => {
            bytes.put_u8(2);
            values::put_option(legacy.interop.as_ref(), &mut bytes, values::put_interop);
            values::put_profile(&legacy.profile, &mut bytes);
        }
        Seen::Rendered(document) => {
            bytes.put_u8(3);
            bytes.put_slice(document);
        }
        // What rules leave of a document is somebody's own: it is shown each time.
        Seen::Permitted { .. }
        | Seen::Watchers { .. }
        | Seen::Waiting(_)
        | Seen::Registrations { .. }
        | Seen::Categories(_)
        | Seen::Own(_)
        | Seen::Contacts { .. }
        | Seen::ContactStep { .. }
        | Seen::Nothing
        | Seen::Unknown
        | Seen::List { .. } => return None,
    }
    Some(xxh3_64(&bytes))
}

/// The tag of what has this digest, in a format and under terms with theirs.
#[must_use]
pub fn dressed(digest: u64, format: Format, terms: u64) -> u64 {
    match (format, terms) {
        (Format::Pidf, 0) => digest,
        _ => {
            let mut bytes = [0; 17];
            bytes[..8].copy_from_slice(&digest.to_le_bytes());
            bytes[8..16].copy_from_slice(&terms.to_le_bytes());
            bytes[16] = format as u8;
            xxh3_64(&bytes)
        }
    }
}
