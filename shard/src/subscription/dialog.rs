//! Subscription dialogs (RFC 6665): identity, both sequence numbers, expiry, and an opaque route.

use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

pub use crate::presence::package::Package;
use crate::slot::{Aor, Slot};
use crate::time::Timestamp;

/// Names a dialog: a hash of Call-ID and both tags. 128 bits, so that no two are ever equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialogKey(pub u128);

impl DialogKey {
    /// The key of the dialog with these identifiers (RFC 3261 §12), `local` being our side's tag.
    #[must_use]
    pub fn of(call_id: &str, local_tag: &str, remote_tag: &str) -> DialogKey {
        let mut text = Vec::with_capacity(call_id.len() + local_tag.len() + remote_tag.len() + 2);
        text.extend_from_slice(call_id.as_bytes());
        text.push(0);
        text.extend_from_slice(local_tag.as_bytes());
        text.push(0);
        text.extend_from_slice(remote_tag.as_bytes());
        DialogKey(xxh3_128(&text))
    }
}

impl fmt::Debug for DialogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for DialogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Our tag of a dialog. It carries the slot that the dialog lives in, so that any node routes an
/// in-dialog request without looking anything up; the rest is chance, drawn at the ingress.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LocalTag {
    slot: Slot,
    chance: u64,
}

impl LocalTag {
    /// A tag for a dialog in `slot`, with 64 bits that nobody can guess.
    #[must_use]
    pub fn new(slot: Slot, chance: u64) -> LocalTag {
        LocalTag { slot, chance }
    }

    /// Reads what [`fmt::Display`] wrote; `None` for a tag that was never ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<LocalTag> {
        let digits = text.strip_prefix('L')?;
        if digits.len() != 19 || !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let slot = Slot::new(u16::from_str_radix(&digits[..3], 16).ok()?)?;
        let chance = u64::from_str_radix(&digits[3..], 16).ok()?;
        Some(LocalTag { slot, chance })
    }

    /// Where the dialog lives.
    #[must_use]
    pub fn slot(self) -> Slot {
        self.slot
    }

    /// The part drawn by chance.
    #[must_use]
    pub fn chance(self) -> u64 {
        self.chance
    }
}

impl fmt::Display for LocalTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{:03x}{:016x}", self.slot.number(), self.chance)
    }
}

impl fmt::Debug for LocalTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The document that a watcher asked for. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Format {
    /// `application/pidf+xml` (RFC 3863).
    Pidf = 1,
}

impl Format {
    /// The format with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Format> {
        (number == 1).then_some(Format::Pidf)
    }
}

/// Why a subscription ended (RFC 6665 §4.1.3). Resource gone or moved comes with later dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// Not refreshed in time, or the watcher asked for the end.
    Timeout = 1,
    /// A new subscription would be accepted at once.
    Deactivated = 2,
    /// The presentity's policy changed.
    Rejected = 3,
    /// The state cannot be had any more.
    Noresource = 4,
    /// A NOTIFY was refused or never answered; nothing more is sent.
    Unreachable = 5,
}

impl EndReason {
    /// The reason with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<EndReason> {
        [
            EndReason::Timeout,
            EndReason::Deactivated,
            EndReason::Rejected,
            EndReason::Noresource,
            EndReason::Unreachable,
        ]
        .into_iter()
        .find(|reason| *reason as u8 == number)
    }
}

/// A subscription and the dialog it lives in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    /// What is watched.
    pub presentity: Aor,
    /// Who watches.
    pub watcher: Aor,
    /// Which package.
    pub package: Package,
    /// Which document.
    pub format: Format,
    /// Our tag, for repeating the answer to the first SUBSCRIBE.
    pub local_tag: LocalTag,
    /// The CSeq of the last NOTIFY; the next one is higher.
    pub local_cseq: u32,
    /// The CSeq of the last SUBSCRIBE; the next one must be higher.
    pub remote_cseq: u32,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last notified: a new leader repeats what is younger than 64·T1 (house D8).
    pub notified_at: Timestamp,
    /// Tags, addresses, route set, as transport wrote them: fixed for the dialog's life.
    pub route: Arc<[u8]>,
    /// Remote target and flow, as transport wrote them: replaced by each refresh.
    pub target: Arc<[u8]>,
}

/// SUBSCRIBE outside a dialog.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// What is watched.
    pub presentity: &'a str,
    /// Who watches.
    pub watcher: &'a str,
    /// Of which package.
    pub package: Package,
    /// The document asked for.
    pub format: Format,
    /// Names the dialog; made of Call-ID, `local_tag` and the watcher's tag.
    pub dialog: DialogKey,
    /// Our tag, drawn at the ingress; its slot is the presentity's.
    pub local_tag: LocalTag,
    /// CSeq number.
    pub cseq: u32,
    /// Granted lifetime, not 0 (a fetch is a query, house §5).
    pub expires_s: u32,
    /// Opaque, fixed for the dialog's life.
    pub route: &'a [u8],
    /// Opaque, replaced by each refresh.
    pub target: &'a [u8],
}

/// SUBSCRIBE inside a dialog.
#[derive(Clone, Debug, PartialEq)]
pub struct Resubscribe<'a> {
    /// Where the dialog lives (from our tag).
    pub slot: Slot,
    /// Which dialog.
    pub dialog: DialogKey,
    /// CSeq number.
    pub cseq: u32,
    /// Granted lifetime; 0 ends.
    pub expires_s: u32,
    /// Remote target and flow from here on.
    pub target: &'a [u8],
}
