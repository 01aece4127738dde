//! Reading numbers and slices out of bytes that may be damaged: every step is checked, nothing is
//! taken for granted about a length.
//!
//! Numbers are little-endian; a slice stands behind its length in 32 bits.

use bytes::BufMut;

/// What was expected where the bytes do not hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// Where, in bytes from the start.
    pub(super) at: usize,
    /// What was expected there.
    pub(super) what: &'static str,
}

/// A place in borrowed bytes.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    /// From the very start up to where this cursor may read.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The beginning of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Complains about what was just read.
    pub(super) fn wrong<T>(&self, what: &'static str) -> Result<T, Unreadable> {
        Err(Unreadable { at: self.at, what })
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Unreadable> {
        if self.left() == 0 {
            Ok(())
        } else {
            self.wrong("the end")
        }
    }

    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Unreadable> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..length) else {
            return self.wrong(what);
        };
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Unreadable> {
        let taken = self.take(N, what)?;
        Ok(taken.try_into().expect("as many bytes were taken"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Unreadable> {
        self.array::<1>("a byte").map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Unreadable> {
        self.array("a number of 16 bits").map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array("a number of 32 bits").map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array("a number of 64 bits").map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Result<u128, Unreadable> {
        self.array("a number of 128 bits").map(u128::from_le_bytes)
    }

    /// A slice behind its length.
    pub(super) fn slice(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.u32()? as usize;
        self.take(length, "as many bytes as the length says")
    }

    /// A cursor over the part behind its length; this one goes on behind the part. What is not read of
    /// it is skipped.
    pub(super) fn part(&mut self) -> Result<Cursor<'a>, Unreadable> {
        let length = self.slice()?.len();
        Ok(Cursor {
            bytes: &self.bytes[..self.at],
            at: self.at - length,
        })
    }

    /// Text behind its length.
    pub(super) fn text(&mut self) -> Result<&'a str, Unreadable> {
        match std::str::from_utf8(self.slice()?) {
            Ok(text) => Ok(text),
            Err(_) => self.wrong("UTF-8 before here"),
        }
    }

    /// A count of things that take at least `least` bytes each, which are still to come: so that
    /// memory is reserved for what can be there only.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, Unreadable> {
        let count = self.u32()? as usize;
        if count > self.left() / least {
            self.wrong("fewer things")
        } else {
            Ok(count)
        }
    }
}

/// Appends a slice behind its length.
pub(super) fn put_slice(bytes: &[u8], out: &mut impl BufMut) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("an entry is far smaller than 4 GB"));
    out.put_slice(bytes);
}
