//! NOTIFY of a voice mail system (RFC 3842): what waits for a user becomes the category `mwi`.
//!
//! Nobody subscribes at the mail system: as the product that these clients know, it tells us of its own
//! accord, and again now and then. So this is the one NOTIFY outside a dialog that is not refused.

use shard::category::mwi::Waiting;
use shard::machine::command::Command;
use shard::slot::Slot;
use transport::sip::header::{Event, MediaType};
use transport::sip::{Name, Request};

use super::Aside;
use crate::dialect::{Answer, Circumstances, Grace, Scratch, Translated, address, refusal};

const SUMMARY: &str = "application/simple-message-summary";

/// Whether a NOTIFY is such a one (contradiction C-72): not of a dialog, and from whom we believe.
fn is_summary(request: &Request, trusted: bool) -> bool {
    let event = request.header(Name::Event).map(Event::parse);
    let named = event.is_some_and(|event| event.package.eq_ignore_ascii_case("message-summary"));
    trusted && named && request.to_tag().is_none()
}

//= MS-PRES 3.2.5.7
//# mwi is published for the user whom the voice mail system tells about
pub(in crate::dialect) fn notify<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    //= RFC 6665 4.1.3
    //# a NOTIFY that matches no subscription gets 481
    if !is_summary(request, circumstances.trusted) {
        return Err(Answer::of(refusal::NO_DIALOG));
    }
    address(
        request.to().uri,
        circumstances.policy,
        &mut scratch.presentity,
    )?;
    if !circumstances.knows(&scratch.presentity) {
        return Err(Answer::of(refusal::NO_SUCH_USER));
    }
    let media = request.header(Name::ContentType).map(MediaType::parse);
    if !media.is_some_and(|media| media.essence.eq_ignore_ascii_case(SUMMARY)) {
        return Err(Answer::of(refusal::UNSUPPORTED_TYPE).with("Accept", SUMMARY));
    }
    let text = std::str::from_utf8(request.body()).ok();
    let waiting = text.and_then(Waiting::read_summary);
    let waiting = waiting.ok_or_else(|| Answer::of(refusal::BAD_SUMMARY))?;
    Ok(Translated::Change {
        slot: Slot::of(&scratch.presentity),
        command: Command::SetWaiting {
            presentity: &scratch.presentity,
            waiting,
        },
        grace: Grace::Refresh,
        aside: Aside::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use transport::sip::Message;

    use super::*;

    #[test]
    fn only_a_trusted_summary_outside_a_dialog_is_taken() {
        for (name, event, to, trusted, taken) in [
            ("a summary", "message-summary", "<sip:bob@x>", true, true),
            (
                "in capitals",
                "Message-Summary;id=1",
                "<sip:bob@x>",
                true,
                true,
            ),
            (
                "from anybody",
                "message-summary",
                "<sip:bob@x>",
                false,
                false,
            ),
            (
                "in a dialog",
                "message-summary",
                "<sip:bob@x>;tag=1",
                true,
                false,
            ),
            ("of presence", "presence", "<sip:bob@x>", true, false),
        ] {
            let text = format!(
                "NOTIFY sip:bob@x SIP/2.0\r\nVia: SIP/2.0/TCP m;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
                 From: <sip:mail@x>;tag=1\r\nTo: {to}\r\nCall-ID: 1\r\nCSeq: 1 NOTIFY\r\nEvent: {event}\r\n\
                 Content-Length: 0\r\n\r\n"
            );
            let Ok(Message::Request(request)) = Message::parse(text.into_bytes().into()) else {
                panic!("{name}: a request");
            };
            assert_eq!(is_summary(&request, trusted), taken, "{name}");
        }
    }
}
