//! NOTIFY: how it is written, and what its failure means.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use shard::document::{self, lists, watcherinfo};
use shard::machine::effect::{Notice, SubscriptionState};
use shard::machine::tag;
use shard::subscription::dialog::{Delivery, EndReason, Format};
use shard::subscription::savers::Terms;
use transport::dialog::{DialogRoute, Target, write_request};
use transport::sip::StatusCode;
use transport::sip::header::NameAddr;
use transport::sip::uri::Uri;

use crate::dialect::enhanced::diagnostics;
use crate::dialect::savers;

/// What a notification shows.
#[derive(Clone, Debug)]
pub struct Body {
    /// Its type.
    pub content_type: &'static str,
    /// Whether it is compressed.
    pub gzip: bool,
    /// It; nothing for none.
    pub bytes: Bytes,
}

/// Writes a whole NOTIFY or BENOTIFY. `via` is the Via value of its transaction, `digest` that of what is seen.
//= RFC 6665 4.2.2
//# a NOTIFY names the event of its subscription and the subscription's state
#[must_use]
pub fn write(
    via: &str,
    notice: &Notice,
    route: &DialogRoute<'_>,
    target: &Target<'_>,
    body: &Body,
    digest: Option<u64>,
) -> Bytes {
    if notice.format.is_rlmi() && !body.bytes.is_empty() {
        return write_list(via, notice, route, target, &body.bytes);
    }
    let numbered = notice.cseq.saturating_sub(1);
    let finished = match notice.format {
        _ if body.bytes.is_empty() => None,
        //= RFC 3858 4.1
        //# the version is 0 first and grows by one with each notification in the dialog
        Format::Watcherinfo => Some(watcherinfo::finish(&body.bytes, numbered)),
        //= RFC 4235 4.1
        //# the version is 0 first and rises by one with each notification of the subscription
        // So it is as safe as the dialog's own number, and goes on with a new leader.
        Format::DialogInfo | Format::DialogLamp | Format::RegInfo => {
            Some(document::finish(&body.bytes, numbered))
        }
        _ => None,
    };
    if let Some(document) = finished {
        let shown = (body.content_type, &document[..]);
        return write_body(via, notice, route, target, shown, (None, None));
    }
    //= RFC 5839 6.1
    //# each notification says the tag of what there is, whether it shows it or not
    let tag = digest
        .filter(|_| savers::applies(notice.format))
        .map(|digest| {
            let terms = notice.terms.as_deref().map_or(0, Terms::digest);
            tag::dressed(digest, notice.format, terms)
        });
    let shown = (body.content_type, &body.bytes[..]);
    write_body(
        via,
        notice,
        route,
        target,
        shown,
        (tag, body.gzip.then_some("gzip")),
    )
}

/// A notification of a list: its version is one less than its CSeq, so that both grow by one and begin where
/// the RFCs have them begin.
//= RFC 4662 5.2
//# the version of the list grows by one with each notification in the dialog
fn write_list(
    via: &str,
    notice: &Notice,
    route: &DialogRoute<'_>,
    target: &Target<'_>,
    composed: &[u8],
) -> Bytes {
    let uri = NameAddr::parse(route.local).map_or("", |local| local.uri);
    let version = notice.cseq.saturating_sub(1);
    let (content_type, mut body) = lists::finish(composed, uri, version).unwrap_or_default();
    let deflated = notice.format == Format::RlmiDeflated;
    if deflated {
        body = super::savers::deflate(&body);
    }
    let coding = deflated.then_some("deflate");
    write_body(
        via,
        notice,
        route,
        target,
        (&content_type, &body),
        (None, coding),
    )
}

fn write_body(
    via: &str,
    notice: &Notice,
    route: &DialogRoute<'_>,
    target: &Target<'_>,
    (content_type, document): (&str, &[u8]),
    (tag, coding): (Option<u64>, Option<&str>),
) -> Bytes {
    let Notice {
        cseq,
        state,
        format,
        delivery,
        ..
    } = *notice;
    let method = match delivery {
        // A relay is no message: the machine makes parcels of it, and no notice.
        Delivery::Notify | Delivery::Relay => "NOTIFY",
        Delivery::Benotify => "BENOTIFY",
    };
    // The head without its addresses is some 350 bytes.
    let addresses =
        route.call_id.len() + route.local.len() + route.remote.len() + route.route_set.len();
    let mut out = BytesMut::with_capacity(512 + addresses + 2 * target.uri.len() + document.len());
    write_request(method, via, cseq, route, target, &mut out);
    out.extend_from_slice(b"Event: ");
    let event = match format {
        // REGISTER has another name for it.
        Format::Registration => "registration-notify",
        _ => route.event,
    };
    out.extend_from_slice(event.as_bytes());
    if format == Format::Registration {
        let diagnosis = diagnostics::SIGNED_OUT;
        let _ = write!(out, "\r\n{}: {}", diagnosis.name(), diagnosis.header(""));
    }
    match state {
        SubscriptionState::Active { expires_s } => {
            let _ = write!(out, "\r\nSubscription-State: active;expires={expires_s}");
            if let Some(terms) = &notice.terms {
                write_pace(terms, &mut out);
            }
            //= BLUSTAR 4.4
            //# a NOTIFY has Expires, too
            if format == Format::Blustar {
                let _ = write!(out, "\r\nExpires: {expires_s}");
            }
        }
        //= RFC 6665 4.1.3
        //# pending: taken, and nothing is decided yet
        SubscriptionState::Pending { expires_s } => {
            let _ = write!(out, "\r\nSubscription-State: pending;expires={expires_s}");
        }
        SubscriptionState::Terminated(_) if !is_standard(format) => {
            //= MS-SIP 3.5
            //# these clients are told the end by zero seconds
            out.extend_from_slice(b"\r\nsubscription-state: terminated;expires=0\r\nExpires: 0");
            //= MS-PRES 4.14.2
            //# the end of a subscription to contacts that have migrated says so
            if state == SubscriptionState::Terminated(EndReason::Migrated) {
                let told = diagnostics::SUBSCRIPTION_MIGRATED;
                let _ = write!(out, "\r\n{}: {}", told.name(), told.header(""));
            }
        }
        SubscriptionState::Terminated(reason) => {
            let _ = write!(
                out,
                "\r\nSubscription-State: terminated;reason={}",
                reason_text(reason)
            );
        }
    }
    //= RFC 4662 4.3
    //# a NOTIFY of a list requires eventlist
    if matches!(
        format,
        Format::Categories | Format::RoamingSelf | Format::Rlmi | Format::RlmiDeflated
    ) {
        out.extend_from_slice(b"\r\nRequire: eventlist");
    }
    if let Some(domain) = abroad(format, route) {
        let _ = write!(
            out,
            "\r\nms-edge-proxy-message-trust: ms-remote-fqdn={domain}"
        );
    }
    if let Some(tag) = tag {
        let _ = write!(out, "\r\nSIP-ETag: {}", savers::write_tag(tag));
    }
    if let Some(coding) = coding {
        let _ = write!(out, "\r\nContent-Encoding: {coding}");
    }
    if !document.is_empty() {
        out.extend_from_slice(b"\r\nContent-Type: ");
        out.extend_from_slice(content_type.as_bytes());
    }
    let _ = write!(out, "\r\nContent-Length: {}\r\n\r\n", document.len());
    out.extend_from_slice(document);
    out.freeze()
}

//= RFC 6446 4.2
//# the state says which pace holds
fn write_pace(terms: &Terms, out: &mut BytesMut) {
    for (name, seconds) in [
        ("min-interval", terms.min_interval_s),
        ("max-interval", terms.max_interval_s),
    ] {
        if seconds > 0 {
            let _ = write!(out, ";{name}={seconds}");
        }
    }
}

/// Our domain, for a watcher of another one whose servers look up what to call it.
//= MS-PRES 3.7.5.4
//# a NOTIFY with PIDF to another deployment names the one it comes from
fn abroad<'r>(format: Format, route: &DialogRoute<'r>) -> Option<&'r str> {
    let host = |address: &'r str| {
        let uri = NameAddr::parse(address).ok()?.uri;
        Some(Uri::parse(uri).ok()?.host)
    };
    let (own, theirs) = (host(route.local)?, host(route.remote)?);
    (format == Format::MsPidf && !own.eq_ignore_ascii_case(theirs)).then_some(own)
}

/// Whether watchers of this format know the reasons of RFC 6665.
fn is_standard(format: Format) -> bool {
    matches!(
        format,
        Format::Pidf
            | Format::Pres
            | Format::Rlmi
            | Format::RlmiDeflated
            | Format::Blustar
            | Format::DialogInfo
            | Format::DialogLamp
            | Format::MessageSummary
            | Format::RegInfo
            | Format::Watcherinfo
    )
}

fn reason_text(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Timeout => "timeout",
        EndReason::Deactivated => "deactivated",
        EndReason::Superseded | EndReason::Deregistered | EndReason::Migrated => "deactivated",
        EndReason::Rejected => "rejected",
        EndReason::Noresource | EndReason::Unreachable => "noresource",
    }
}

/// Whether a final response to a NOTIFY ends its subscription.
//= RFC 6665 4.2.2
//# 404, 405, 410, 416, 480 to 485, 489, 501 and 604 remove the subscription; others leave it
#[must_use]
pub fn ends_subscription(status: StatusCode) -> bool {
    matches!(
        status.number(),
        404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 6665 4.2.2
    //= type=test
    #[test]
    fn only_lasting_failures_end_a_subscription() {
        for (status, ends) in [
            (200, false),
            (202, false),
            (400, false),
            (401, false),
            (404, true),
            (405, true),
            (408, false),
            (410, true),
            (480, true),
            (481, true),
            (485, true),
            (486, false),
            (489, true),
            (500, false),
            (501, true),
            (503, false),
            (604, true),
        ] {
            let code = StatusCode::new(status).expect("a status");
            assert_eq!(ends_subscription(code), ends, "{status}");
        }
    }
}
