//! What enhanced clients read in responses: the state that rides in a 200, or the conflict in a 409.

use std::sync::Arc;

use bytes::Bytes;
use shard::document::legacy::Linked;
use shard::document::rlmi::{self, Rejection};
use shard::document::{
    blustar, categories, contacts, dialog_info, fault, legacy, lists, message_summary, pidf,
    reginfo, roaming_self, watcherinfo,
};
use shard::machine::effect::Shown;
use shard::presence::container::Conflict;
use shard::subscription::dialog::Format;
use shard::subscription::view::{Seen, View};
use transport::sip::multipart::Related;
use transport::sip::write::Reply;
use transport::sip::{Name, Request, StatusCode};

use super::diagnostics::{self, Diagnosis};
use super::{Aside, offers};
use crate::dialect::events;

/// What the caller knows of the node.
#[derive(Clone, Copy, Debug)]
pub struct Here<'h> {
    /// Our own URI on the socket that the request came to.
    pub contact: &'h str,
    /// 64 bits that nobody can guess.
    pub chance: u64,
    /// Whether contacts may be moved to a mail server.
    pub ucs: bool,
}

impl Here<'_> {
    /// For what rides in an answer, which is nothing of BluStar's.
    fn composing(&self) -> Composing<'static> {
        Composing {
            ucs: self.ucs,
            linked: None,
            namespace: blustar::NAMESPACE,
        }
    }
}

/// The content type of a format.
#[must_use]
pub fn content_type(format: Format) -> &'static str {
    match format {
        Format::Pidf | Format::MsPidf | Format::Blustar | Format::Pres => "application/pidf+xml",
        // Its boundary is known when it is written, see `egress/notify.rs`.
        Format::Rlmi | Format::RlmiDeflated => "multipart/related",
        Format::Msrtc => "text/xml+msrtc.pidf",
        Format::Categories => "application/msrtc-event-categories+xml",
        Format::RoamingSelf => ROAMING_SELF,
        Format::RoamingContacts => "application/vnd-microsoft-roaming-contacts+xml",
        Format::Registration => "text/registration-event",
        Format::DialogInfo | Format::DialogLamp => events::DIALOG_INFO,
        Format::MessageSummary => events::MESSAGE_SUMMARY,
        Format::RegInfo => events::REGINFO,
        Format::Watcherinfo => "application/watcherinfo+xml",
    }
}

const ROAMING_SELF: &str = "application/vnd-microsoft-roaming-self+xml";

/// What a document depends on besides what is seen.
#[derive(Clone, Copy, Debug)]
pub struct Composing<'c> {
    /// Whether contacts may be moved to a mail server.
    pub ucs: bool,
    /// The other identities of whom it is about.
    pub linked: Option<&'c Linked>,
    /// The spelling of BluStar's namespace.
    pub namespace: &'c str,
}

/// Appends the document that shows `view` in `format`.
pub fn compose(view: &View, format: Format, how: Composing<'_>, out: &mut Vec<u8>) {
    let Composing {
        ucs,
        linked,
        namespace,
    } = how;
    match format {
        Format::Blustar => blustar::compose(view, namespace, out),
        Format::Rlmi | Format::RlmiDeflated => lists::compose(view, out),
        Format::Pres => pidf::compose_pres(view, out),
        // The version is put before it when it is sent, see `egress/notify.rs`.
        Format::Watcherinfo => watcherinfo::compose(view, out),
        Format::Pidf => pidf::compose(view, out),
        Format::MsPidf => legacy::compose_ms_pidf(view, linked, out),
        Format::Msrtc => legacy::compose_msrtc(view, out),
        Format::Categories => categories::compose(view, out),
        Format::RoamingSelf => roaming_self::compose(view, out),
        Format::RoamingContacts => contacts::compose(view, ucs, out),
        Format::DialogInfo => dialog_info::compose(view, dialog_info::Detail::Full, out),
        Format::DialogLamp => dialog_info::compose(view, dialog_info::Detail::Lamp, out),
        Format::MessageSummary => message_summary::compose(view, out),
        Format::RegInfo => reginfo::compose(view, out),
        //= MS-SIPREGE 3.2
        //# unregistered: the oldest of more endpoints than a user may have
        Format::Registration => out.extend_from_slice(b"deregistered;event=unregistered"),
    }
}

/// 200 to a SUBSCRIBE of an enhanced client, with what is shown in it.
//= MS-SIP 3.4
//# a body in the 200 has ms-piggyback-cseq, without which clients do not read it
#[must_use]
pub fn subscribed(
    request: &Request,
    to_tag: &str,
    expires_s: u32,
    shown: Option<&Shown>,
    aside: &Aside,
    here: Here<'_>,
) -> Bytes {
    let event = request.header(Name::Event).unwrap_or("presence");
    let mut reply = Reply::new(request, StatusCode::OK, Some(to_tag))
        .record_route(request)
        .header("Contact", format_args!("<{}>", here.contact))
        .header("Expires", expires_s)
        .header("Event", event);
    reply = if expires_s == 0 {
        reply.header("subscription-state", "terminated;expires=0")
    } else {
        reply.header(
            "subscription-state",
            format_args!("active;expires={expires_s}"),
        )
    };
    if offers(request, "ms-piggyback-first-notify") || offers(request, "ms-benotify") {
        reply = reply.header("Supported", "ms-benotify, ms-piggyback-first-notify");
    }
    let format = shown.and_then(|shown| Some(format_of(request, shown.views.first()?)));
    let categories = |view: &Arc<View>| matches!(view.seen, Seen::Categories(_));
    let batch = matches!(aside, Aside::Batch { .. })
        || shown.is_some_and(|shown| shown.views.iter().any(categories));
    if batch || format == Some(Format::RoamingSelf) {
        reply = reply.header("Require", "eventlist");
    }
    let Some(shown) = shown else {
        return match aside {
            // Without piggybacking there is no other place to say who is not served here.
            Aside::Batch { rejected } if !rejected.is_empty() => {
                related(reply, request, &Shown::default(), rejected, here)
            }
            _ => reply.finish(),
        };
    };
    reply = reply.header("ms-piggyback-cseq", shown.cseq.max(1));
    match (aside, shown.views.first()) {
        (Aside::Batch { rejected }, _) => related(reply, request, shown, rejected, here),
        // A refresh that says nothing of categories, in a dialog about them.
        (_, Some(_)) if batch => related(reply, request, shown, &[], here),
        (_, Some(view)) => {
            let format = format_of(request, view);
            let mut document = Vec::new();
            compose(view, format, here.composing(), &mut document);
            reply.body(content_type(format), &document)
        }
        (_, None) => reply.finish(),
    }
}

/// The format that a view goes out in, in answer to `request`.
fn format_of(request: &Request, view: &View) -> Format {
    match &view.seen {
        Seen::Own(_) => Format::RoamingSelf,
        Seen::Contacts { .. } | Seen::ContactStep { .. } => Format::RoamingContacts,
        Seen::Categories(_) => Format::Categories,
        Seen::Watchers { .. } => Format::Watcherinfo,
        Seen::Publications(_)
        | Seen::Permitted { .. }
        | Seen::Legacy(_)
        | Seen::Nothing
        | Seen::Unknown
        | Seen::Rendered(_)
        | Seen::Waiting(_)
        | Seen::Registrations { .. }
        | Seen::List { .. } => crate::dialect::simple::accepted(request).unwrap_or(Format::Pidf),
    }
}

/// A batch: who is not served, then one part for each who is.
//= MS-PRES 2.2.2.4.2
//# the list of rejected resources first, then a document for each of the others
fn related(
    reply: Reply,
    request: &Request,
    shown: &Shown,
    rejected: &[(String, Rejection)],
    here: Here<'_>,
) -> Bytes {
    let over = shown
        .over_quota
        .iter()
        .map(|aor| (aor.to_string(), Rejection::OverQuota));
    let rejected: Vec<(String, Rejection)> = rejected.iter().cloned().chain(over).collect();
    let mut body = Related::new(here.chance);
    body.part(Some("resourceList"), "application/rlmi+xml", |out| {
        rlmi::compose(request.from().uri, &rejected, out);
    });
    for view in &shown.views {
        body.part(None, content_type(Format::Categories), |out| {
            categories::compose(view, out)
        });
    }
    let content_type = body.content_type();
    reply.body(&content_type, &body.finish())
}

/// 200 to a SERVICE, with one's own data where it shows some.
#[must_use]
pub fn done(request: &Request, to_tag: &str, shown: Option<&Shown>) -> Bytes {
    let reply = Reply::new(request, StatusCode::OK, Some(to_tag));
    match shown.and_then(|shown| shown.views.first()) {
        //= MS-PRES 3.2.5.1.2
        //# the 200 has a roaming-self document with the instances that were modified
        Some(view) => {
            let mut document = Vec::new();
            roaming_self::compose(view, &mut document);
            reply.body(ROAMING_SELF, &document)
        }
        None => reply.finish(),
    }
}

/// 200 to a change of contacts; to addGroup with the group's number.
#[must_use]
pub fn contacts_changed(request: &Request, to_tag: &str, group: Option<u8>) -> Bytes {
    let reply = Reply::new(request, StatusCode::OK, Some(to_tag));
    match group {
        Some(group) => {
            let mut document = Vec::new();
            contacts::compose_group_id(group, &mut document);
            reply.body("application/SOAP+xml", &document)
        }
        None => reply.finish(),
    }
}

/// 409: what there is instead.
//= MS-PRES 2.2.2.2.3
//# 409 with ms-diagnostics and a fault document
#[must_use]
pub fn conflict(
    request: &Request,
    to_tag: &str,
    conflicts: &[Conflict],
    shown: Option<&Shown>,
    source: &str,
) -> Bytes {
    let media = request
        .header(Name::ContentType)
        .unwrap_or_default()
        .to_ascii_lowercase();
    let diagnosis: Option<Diagnosis> = if media.contains("category-publish") {
        Some(diagnostics::STALE_PUBLICATION)
    } else if media.contains("setdelegate") {
        Some(diagnostics::STALE_DELEGATES)
    } else {
        // That of containers is printed nowhere, and may be left out (companions 8.2).
        None
    };
    let mut reply = Reply::new(request, StatusCode::CONFLICT, Some(to_tag));
    if let Some(diagnosis) = diagnosis {
        reply = reply.header("ms-diagnostics", diagnosis.header(source));
    }
    let current = shown.map_or(&[][..], |shown| &shown.current);
    let mut document = Vec::new();
    fault::compose(conflicts, current, &mut document);
    reply.body("application/msrtc-fault+xml", &document)
}
