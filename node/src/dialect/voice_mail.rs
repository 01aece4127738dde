//! Waiting voice mail: a NOTIFY outside any dialog, from a voice mail server that we trust (RFC 3842).
//!
//! Nobody subscribed to it; the server of the messages says what it knows when it knows it, and again
//! every twelve hours. What was said before changes nothing.

use shard::category::mwi::Waiting;
use shard::machine::command::Command;
use shard::slot::Slot;
use transport::sip::header::{Event, MediaType};
use transport::sip::{Name, Request};

use super::{Answer, Aside, Circumstances, Grace, Scratch, Translated, address, refusal};

/// The event package.
const EVENT: &str = "message-summary";
/// The body.
const SUMMARY: &str = "application/simple-message-summary";

/// NOTIFY: the mail of the user whom the Request-URI names. Any other belongs to a subscription of ours,
/// and we have none.
//= RFC 6665 4.1.3
//# a NOTIFY that matches no subscription gets 481
//= MS-PRES 3.2.5.7
//# a notification about a user's voice mail is published as mwi (contradiction C-72: if it is trusted)
pub(super) fn notify<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let event = request.header(Name::Event).map(Event::parse);
    let ours = event.is_some_and(|event| event.package.eq_ignore_ascii_case(EVENT));
    if !ours || !circumstances.trusted || request.to_tag().is_some() {
        return Err(Answer::of(refusal::NO_DIALOG));
    }
    address(request.uri(), circumstances.policy, &mut scratch.presentity)?;
    if !circumstances.knows(&scratch.presentity) {
        return Err(Answer::of(refusal::NO_SUCH_USER));
    }
    let media = request.header(Name::ContentType).map(MediaType::parse);
    if !media.is_some_and(|media| media.essence.eq_ignore_ascii_case(SUMMARY)) {
        return Err(Answer::of(refusal::UNSUPPORTED_TYPE).with("Accept", SUMMARY));
    }
    let summary = std::str::from_utf8(request.body()).ok();
    let waiting = summary.and_then(Waiting::read_summary);
    let waiting = waiting.ok_or_else(|| Answer::of(refusal::BAD_SUMMARY))?;
    Ok(Translated::Change {
        slot: Slot::of(&scratch.presentity),
        command: Command::SetWaiting {
            presentity: &scratch.presentity,
            waiting,
        },
        grace: Grace::New,
        aside: Aside::Nothing,
    })
}
