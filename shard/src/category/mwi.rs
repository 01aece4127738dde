//! The category `mwi` (MS-PRES 2.2.2.7.11): waiting voice mail.

use crate::category::write_attribute;
use crate::xml::Element;

/// The category's namespace.
pub(super) const MWI: &str = "http://schemas.microsoft.com/2006/09/sip/mwi";

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whether there is something new.
    pub waiting: bool,
    /// Messages not heard yet.
    pub unread: Option<u32>,
    /// Messages heard and kept.
    pub read: Option<u32>,
}

impl Waiting {
    /// Reads a message summary (RFC 3842 §5.2): its first line, and the counts of its voice messages.
    //= MS-PRES 3.2.5.7
    //# the voice mail information of the NOTIFY becomes the mwi category
    #[must_use]
    pub fn read_summary(body: &str) -> Option<Waiting> {
        let mut lines = body.lines().map(str::trim).filter(|line| !line.is_empty());
        let value = |line: &str, name: &str| {
            let (key, value) = line.split_once(':')?;
            key.trim()
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        };
        let waiting = match value(lines.next()?, "Messages-Waiting")?
            .to_ascii_lowercase()
            .as_str()
        {
            "yes" => true,
            "no" => false,
            _ => return None,
        };
        let counts = lines.find_map(|line| value(line, "Voice-Message"));
        let counts = counts.as_deref().and_then(|text| {
            let text = text.split('(').next()?;
            let (unread, read) = text.split_once('/')?;
            Some((unread.trim().parse().ok()?, read.trim().parse().ok()?))
        });
        Some(Waiting {
            waiting,
            unread: counts.map(|(unread, _)| unread),
            read: counts.map(|(_, read)| read),
        })
    }

    /// Reads the category as a client publishes it.
    ///
    /// # Errors
    /// What is wrong with it.
    //= MS-PRES 2.2.2.7.11
    //# whether messages wait must be said, the counts may be
    pub fn read(element: Element<'_, '_>) -> Result<Waiting, &'static str> {
        if !element.is(MWI, "mwi") {
            return Err("an mwi is an element mwi of its namespace");
        }
        let waiting = element.attribute("messageWaiting");
        let waiting = match waiting.as_deref().map(str::trim) {
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            _ => return Err("messageWaiting is neither true nor false"),
        };
        let count = |name: &str| match element.attribute(name) {
            None => Ok(None),
            Some(text) => text.trim().parse().map(Some),
        };
        let wrong = |_| "a count of messages is no number";
        Ok(Waiting {
            waiting,
            unread: count("unreadVoiceMailCount").map_err(wrong)?,
            read: count("readVoiceMailCount").map_err(wrong)?,
        })
    }

    /// Appends the XML.
    pub fn write(&self, out: &mut Vec<u8>) {
        for part in ["<mwi xmlns=\"", MWI, "\""] {
            out.extend_from_slice(part.as_bytes());
        }
        write_attribute(
            "messageWaiting",
            if self.waiting { "true" } else { "false" },
            out,
        );
        if let Some(unread) = self.unread {
            write_attribute("unreadVoiceMailCount", &unread.to_string(), out);
        }
        if let Some(read) = self.read {
            write_attribute("readVoiceMailCount", &read.to_string(), out);
        }
        out.extend_from_slice(b"/>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-PRES 3.2.5.7
    //= type=test
    // proves: PRES-2.2.2.7.11-01
    #[test]
    fn a_summary_becomes_an_mwi() {
        for (body, expected) in [
            (
                "Messages-Waiting: yes\r\nMessage-Account: sip:a@b\r\nVoice-Message: 2/8 (0/2)\r\n",
                Some((true, Some(2), Some(8))),
            ),
            ("messages-waiting: no\r\n", Some((false, None, None))),
            (
                "Messages-Waiting: yes\r\nVoice-Message: many\r\n",
                Some((true, None, None)),
            ),
            ("Messages-Waiting: perhaps\r\n", None),
            ("", None),
        ] {
            let read = Waiting::read_summary(body).map(|w| (w.waiting, w.unread, w.read));
            assert_eq!(read, expected, "{body}");
        }
    }

    // proves: PRES-2.2.2.7.11-02 PRES-2.2.2.7.11-03
    //= MS-PRES 2.2.2.7.11
    //= type=test
    #[test]
    fn an_mwi_is_written_as_it_is_read() {
        let mut out = Vec::new();
        let waiting = Waiting {
            waiting: true,
            unread: Some(33),
            read: Some(24),
        };
        waiting.write(&mut out);
        let document = crate::xml::Document::parse(&out).expect("well-formed");
        assert_eq!(Waiting::read(document.root()), Ok(waiting));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "<mwi xmlns=\"http://schemas.microsoft.com/2006/09/sip/mwi\" messageWaiting=\"true\" \
             unreadVoiceMailCount=\"33\" readVoiceMailCount=\"24\"/>"
        );
    }
}
