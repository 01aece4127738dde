//! Where a presentity lives: its canonical address, and the slot that address hashes to.
//!
//! House D4: 1,024 slots for the life of a pool; a slot is the 64-bit xxh3 of the canonical address,
//! with the crate's fixed seed, so that every node and every release agrees.

use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// Slots of a pool. Fixed: changing it would move every presentity.
pub const SLOTS: u16 = 1_024;

/// One of the pool's [`SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a canonical address, as [`Aor::as_str`] gives it.
    #[must_use]
    pub fn of(canonical: &str) -> Slot {
        Slot::of_hash(hash(canonical))
    }

    /// The slot of an address whose [`hash`] is known.
    pub(crate) fn of_hash(hash: u64) -> Slot {
        Slot((hash % u64::from(SLOTS)) as u16)
    }

    /// A slot by number; `None` past the last.
    #[must_use]
    pub fn new(number: u16) -> Option<Slot> {
        (number < SLOTS).then_some(Slot(number))
    }

    /// Its number, below [`SLOTS`].
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

/// The hash that slots are made of; tables are ordered by it too, because comparing two numbers does
/// not fetch two strings from memory.
pub(crate) fn hash(canonical: &str) -> u64 {
    xxh3_64(canonical.as_bytes())
}

/// A canonical presentity or watcher address (address of record).
///
/// `user@host` for `sip:`, `sips:` and `pres:` alike, `tel:number` for telephone numbers; lower
/// case, no port, no parameters. House D21: addresses compare without regard to case, although
/// RFC 3261 §19.1.4 is stricter about the user part.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aor(Arc<str>);

impl Aor {
    /// The address of `user` at `host`, both already unescaped.
    #[must_use]
    pub fn sip(user: &str, host: &str) -> Aor {
        let mut text = String::new();
        write_sip(user, host, &mut text);
        Aor(Arc::from(text))
    }

    /// The address of a telephone number; visual separators (RFC 3966 §3) do not count.
    #[must_use]
    pub fn tel(number: &str) -> Aor {
        let mut text = String::new();
        write_tel(number, &mut text);
        Aor(Arc::from(text))
    }

    /// Takes over text that is canonical already, such as what [`Aor::as_str`] gave.
    #[must_use]
    pub fn from_canonical(text: &str) -> Aor {
        Aor(Arc::from(text))
    }

    /// The canonical text, without a scheme for SIP addresses.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The slot this address lives in.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::of(&self.0)
    }
}

/// Appends the canonical text of `user` at `host` to `out`, as [`Aor::sip`] has it.
pub fn write_sip(user: &str, host: &str, out: &mut String) {
    write_lower(user, out);
    if !user.is_empty() {
        out.push('@');
    }
    write_lower(host, out);
}

/// Appends the canonical text of a telephone number to `out`, as [`Aor::tel`] has it.
pub fn write_tel(number: &str, out: &mut String) {
    out.push_str("tel:");
    let begin = out.len();
    write_lower(number, out);
    let digits: String = out[begin..]
        .chars()
        .filter(|c| !matches!(c, '-' | '.' | '(' | ')'))
        .collect();
    out.replace_range(begin.., &digits);
}

fn write_lower(text: &str, out: &mut String) {
    if text.is_ascii() {
        let begin = out.len();
        out.push_str(text);
        out[begin..].make_ascii_lowercase();
    } else {
        out.push_str(&text.to_lowercase());
    }
}

/// The address as a URI: `sip:alice@example.com`, `tel:+15551234`.
impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.starts_with("tel:") {
            f.write_str("sip:")?;
        }
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::borrow::Borrow<str> for Aor {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_presentity_has_one_address() {
        let alice = Aor::sip("alice", "example.com");
        assert_eq!(Aor::sip("Alice", "EXAMPLE.com"), alice);
        assert_eq!(alice.to_string(), "sip:alice@example.com");
        assert_eq!(
            Aor::tel("+1(555)12-34").to_string(),
            "tel:+1555 1234".replace(' ', "")
        );
        assert_eq!(Aor::from_canonical(alice.as_str()), alice);
    }

    /// These numbers are a promise to every pool that exists: they may never change.
    #[test]
    fn slots_are_the_same_for_ever() {
        for (address, slot) in [
            ("alice@example.com", 511),
            ("bob@example.com", 874),
            ("tel:+15551234", 603),
            ("p0000001@bench.test", 499),
        ] {
            assert_eq!(Slot::of(address).number(), slot, "{address}");
        }
    }

    #[test]
    fn a_slot_is_below_the_limit() {
        assert_eq!(Slot::new(SLOTS), None);
        assert_eq!(Slot::new(7).map(Slot::number), Some(7));
    }
}
