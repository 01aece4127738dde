//! The identity of an endpoint (MS-SIPRE 2.2.5): the UUID of its `+sip.instance`.

use std::fmt;

/// A UUID, as its 16 bytes are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub [u8; 16]);

impl EndpointId {
    /// Reads a UUID in any letter case, bare or as `urn:uuid:`, with or without brackets.
    //= MS-PRES 2.2.2.1
    //# endpointId is the UUID of +sip.instance; letter case does not count (contradiction C-49)
    #[must_use]
    pub fn parse(text: &str) -> Option<EndpointId> {
        let text = text.trim().trim_start_matches('<').trim_end_matches('>');
        let text = match text.get(..9) {
            Some(urn) if urn.eq_ignore_ascii_case("urn:uuid:") => &text[9..],
            _ => text,
        };
        let hyphens = [8, 13, 18, 23];
        if text.len() != 36 || !hyphens.iter().all(|at| text.as_bytes()[*at] == b'-') {
            return None;
        }
        let mut digits = text.bytes().filter(|byte| *byte != b'-');
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            let mut digit = || char::from(digits.next()?).to_digit(16);
            *byte = (digit()? << 4 | digit()?) as u8;
        }
        digits.next().is_none().then_some(EndpointId(bytes))
    }
}

/// Lower case, as computed data has it; the alternate form `{:#}` is upper case, as attributes have it.
impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            if f.alternate() {
                write!(f, "{byte:02X}")?;
            } else {
                write!(f, "{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-PRES 2.2.2.1
    //= type=test
    #[test]
    fn an_endpoint_has_one_identity_however_it_is_written() {
        let plain = "221ef77e-3a68-5570-86ed-6ea5bd4b7ff8";
        for text in [
            plain,
            "221EF77E-3A68-5570-86ED-6EA5BD4B7FF8",
            "<urn:uuid:221EF77E-3a68-5570-86ED-6EA5BD4B7FF8>",
            " URN:UUID:221ef77e-3a68-5570-86ed-6ea5bd4b7ff8",
        ] {
            let id = EndpointId::parse(text).expect(text);
            assert_eq!(id.to_string(), plain);
            assert_eq!(format!("{id:#}"), plain.to_uppercase());
        }
        for text in [
            "",
            "urn:uuid:",
            "221ef77e3a68557086ed6ea5bd4b7ff8",
            "221ef77e-3a68-5570-86ed-6ea5bd4b7ffg",
            "221ef77e-3a68-5570-86ed-6ea5bd4b7ff-",
            "äöüäöüäöüäöüäöüäöü",
        ] {
            assert_eq!(EndpointId::parse(text), None, "{text}");
        }
    }
}
