//! The event packages beside presence (RFC 4235, RFC 3842, RFC 3680): their documents, and who may watch them.

use shard::subscription::dialog::{Format, Package};
use transport::sip::header::{Event, MediaType};
use transport::sip::{Name, Request};

use super::enhanced::diagnostics;
use super::{Answer, Circumstances, refusal, simple};
use crate::config::DialogDetail;

/// The document of dialogs.
pub const DIALOG_INFO: &str = "application/dialog-info+xml";
/// The document of waiting messages.
pub const MESSAGE_SUMMARY: &str = "application/simple-message-summary";
/// The document of a registration.
pub const REGINFO: &str = "application/reginfo+xml";
/// The document of who watches.
pub const WATCHERINFO: &str = "application/watcherinfo+xml";

/// The package that an Event header names, in any letter case. What stands behind it is read over: `sla` and `ma`
/// of shared lines change nothing in what is told.
pub(super) fn named(event: Event<'_>) -> Option<Package> {
    [
        Package::Presence,
        Package::Dialog,
        Package::MessageSummary,
        Package::Reg,
        Package::Winfo,
    ]
    .into_iter()
    .find(|package| event.package.eq_ignore_ascii_case(package.as_str()))
}

/// Whether a package of this name is one of RFC 6665, and nothing of an enhanced client's.
#[must_use]
pub fn is_standard(package: &str) -> bool {
    named(Event::parse(package)).is_some()
}

/// The document that a publication of a package has; `None` for one that is not published.
pub(super) fn published(package: Package) -> Option<&'static str> {
    match package {
        Package::Presence => Some(simple::PIDF),
        Package::Dialog => Some(DIALOG_INFO),
        _ => None,
    }
}

/// Whether a watcher may watch this of somebody at all. The one place that is asked, for every package but
/// presence, where containers rule.
///
/// # Errors
/// 403.
//= RFC 3842 3.5
//# messages are told to their owner only
//= RFC 3680 4.4
//# a registration is told to its user, and to those whom the operator trusts
//= RFC 4235 3.6
//# dialogs are told to users of this pool; how much, says the format
//= RFC 3857 4.6
//# who watches is told to the presentity alone
pub(super) fn admit(
    package: Package,
    presentity: &str,
    watcher: &str,
    circumstances: &Circumstances<'_>,
) -> Result<(), Answer> {
    let policy = circumstances.policy;
    let own = presentity == watcher;
    let admitted = match package {
        Package::Dialog => {
            let host = watcher.rsplit_once('@').map(|(_, host)| host);
            own || host.is_none_or(|host| policy.serves(host))
        }
        Package::MessageSummary | Package::Winfo => own,
        Package::Reg => {
            own || policy
                .registration_watchers
                .iter()
                .any(|known| known == watcher)
        }
        _ => true,
    };
    if admitted {
        return Ok(());
    }
    let answer = match package {
        Package::Dialog => Answer::of(refusal::NOT_AUTHORIZED),
        _ => Answer::of(refusal::OWN_ONLY),
    };
    Err(diagnostics::NOT_YOURS.on(answer, circumstances))
}

/// The document that a watcher gets, who must be able to read it; PIDF and its relatives are the business of
/// [`simple::accepted`].
///
/// # Errors
/// 406 with the type that there is.
//= RFC 4235 3.3
//# application/dialog-info+xml is what every watcher reads; so with the others
pub(super) fn format(
    package: Package,
    request: &Request,
    presentity: &str,
    watcher: &str,
    circumstances: &Circumstances<'_>,
) -> Result<Format, Answer> {
    let (format, media) = match package {
        Package::Dialog => {
            let full = circumstances.policy.dialog_detail == DialogDetail::Full;
            let format = match full || presentity == watcher {
                true => Format::DialogInfo,
                false => Format::DialogLamp,
            };
            (format, DIALOG_INFO)
        }
        Package::MessageSummary => (Format::MessageSummary, MESSAGE_SUMMARY),
        Package::Reg => (Format::RegInfo, REGINFO),
        //= RFC 3857 4.4
        //# application/watcherinfo+xml is understood by everybody, and is what nothing said means
        Package::Winfo => (Format::Watcherinfo, WATCHERINFO),
        _ => return simple::accepted(request),
    };
    let mut offered = request
        .values(Name::Accept)
        .map(MediaType::parse)
        .peekable();
    let any = offered.peek().is_some();
    if any && !offered.any(|offered| offered.accepts(media)) {
        return Err(Answer::of(refusal::NOT_ACCEPTABLE).with("Accept", media));
    }
    Ok(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_known_by_its_name_whatever_stands_behind() {
        for (text, expected) in [
            ("presence", Some(Package::Presence)),
            ("Presence;id=1", Some(Package::Presence)),
            ("dialog", Some(Package::Dialog)),
            ("dialog;sla", Some(Package::Dialog)),
            ("Dialog;sla;ma", Some(Package::Dialog)),
            ("message-summary", Some(Package::MessageSummary)),
            ("reg", Some(Package::Reg)),
            ("presence.winfo", Some(Package::Winfo)),
            ("dialog.winfo", None),
            ("registration", None),
            ("", None),
        ] {
            assert_eq!(named(Event::parse(text)), expected, "{text}");
        }
    }
}
