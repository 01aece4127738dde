//! `application/simple-message-summary` (RFC 3842): whether voice mail waits, for plain telephones.

use crate::subscription::view::{Seen, View};

/// Appends the summary that `view` shows.
//= RFC 3842 5.2
//# a line that says whether messages wait, whose they are, and how many of them there are
pub fn compose(view: &View, out: &mut Vec<u8>) {
    let waiting = match &view.seen {
        Seen::Waiting(waiting) => *waiting,
        _ => None,
    };
    let is = waiting.is_some_and(|waiting| waiting.waiting);
    let mut text = format!(
        "Messages-Waiting: {}\r\nMessage-Account: {}\r\n",
        if is { "yes" } else { "no" },
        view.presentity
    );
    // Counts that nobody told are not made up.
    if let Some((unread, read)) = waiting.and_then(|w| Some((w.unread?, w.read.unwrap_or(0)))) {
        text += &format!("Voice-Message: {unread}/{read}\r\n");
    }
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::category::mwi::Waiting;
    use crate::slot::Aor;
    use crate::subscription::dialog::Package;
    use crate::time::Timestamp;

    //= RFC 3842 5.2
    //= type=test
    #[test]
    fn a_summary_says_what_is_known_and_is_read_back() {
        let waiting = |waiting, unread, read| {
            Some(Waiting {
                waiting,
                unread,
                read,
            })
        };
        for (known, expected) in [
            (
                None,
                "Messages-Waiting: no\r\nMessage-Account: sip:alice@example.com\r\n",
            ),
            (
                waiting(true, None, None),
                "Messages-Waiting: yes\r\nMessage-Account: sip:alice@example.com\r\n",
            ),
            (
                waiting(true, Some(2), Some(8)),
                "Messages-Waiting: yes\r\nMessage-Account: sip:alice@example.com\r\nVoice-Message: 2/8\r\n",
            ),
        ] {
            let alice = Aor::sip("alice", "example.com");
            let view = View {
                seen: Seen::Waiting(known),
                ..View::of_nothing(alice, Package::MessageSummary, Timestamp(1))
            };
            let mut out = Vec::new();
            compose(&view, &mut out);
            let text = String::from_utf8(out).expect("text");
            assert_eq!(text, expected);
            let read = Waiting::read_summary(&text).expect("a summary");
            assert_eq!(read, known.unwrap_or(read));
        }
    }
}
