//! Standard SIMPLE: PUBLISH (RFC 3903) and SUBSCRIBE (RFC 6665, RFC 3856) for `presence`.

use std::borrow::Cow;

use bytes::Bytes;
use shard::document::{dialog_info, patch, pidf};
use shard::machine::command::{Command, Extras, Publish, Resubscribe, Subscribe};
use shard::presence::container::Network;
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::slot::Slot;
use shard::subscription::dialog::{Delivery, DialogKey, Format, LocalTag, Package};
use shard::subscription::watch::Wish;
use transport::dialog::{DialogRoute, Target};
use transport::flow::Flow;
use transport::sip::header::MediaType;
use transport::sip::write::Reply;
use transport::sip::{Name, Request, StatusCode};

use crate::config::{Dialect, PidfPublish};

use super::enhanced::diagnostics;
use super::kept_lists::KeptLists;
use super::{
    ALLOW_EVENTS, Answer, Aside, Circumstances, Fetch, Grace, Poll, Scratch, Translated, address,
    blustar, enhanced, events, foreign_address, lists, package, refusal, savers,
};

/// A publication of calls may live so briefly, in seconds, whatever others may.
const CALL_S_MIN: u32 = 5;

/// The document we take and give.
pub const PIDF: &str = "application/pidf+xml";

/// What Microsoft's older clients watch (MS-PRES 2.2.2.9).
const MSRTC: &str = "text/xml+msrtc.pidf";

/// Whether the presentity is a user of this deployment.
//= RFC 3903 6
//# 404 for a resource that is not there
fn known(presentity: &str, circumstances: &Circumstances<'_>) -> Result<(), Answer> {
    if circumstances.knows(presentity) {
        return Ok(());
    }
    Err(diagnostics::USER_UNKNOWN.on(Answer::of(refusal::NO_SUCH_USER), circumstances))
}

/// PUBLISH: the order of the checks is the RFC's, and a client may rely on it.
//= RFC 3903 6
//# 404 before 489 before 400 and 412 before 423 before 415
pub(super) fn publish<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let policy = circumstances.policy;
    if is_ignored(request, circumstances) {
        return Ok(Translated::Ignored);
    }
    let of_calls = package(request) == Ok(Package::Dialog);
    if blustar::speaks(circumstances) && !of_calls {
        return blustar::publish(request, circumstances, scratch);
    }
    address(request.uri(), policy, &mut scratch.presentity)?;
    known(&scratch.presentity, circumstances)?;
    let package = package(request)?;
    //= RFC 3903 6
    //# 489 for a package that nothing is published of
    let media = events::published(package)
        .ok_or_else(|| Answer::of(refusal::BAD_EVENT).with("Allow-Events", ALLOW_EVENTS))?;
    let if_match = if_match(request)?;
    let presentity = scratch.presentity.as_str();
    let slot = Slot::of(presentity);

    let rest = interval_and_body(
        request,
        circumstances,
        if_match,
        media,
        presentity,
        &mut scratch.content,
    );
    let (expires_s, content) = match (rest, if_match) {
        (Ok((_, Said::Patch)), Some(tag)) => {
            return Ok(Translated::Patch {
                slot,
                presentity,
                package,
                tag,
            });
        }
        (Ok((expires_s, said)), _) => (expires_s, said == Said::Content),
        (Err(otherwise), Some(tag)) => {
            return Ok(Translated::Doubtful {
                slot,
                presentity,
                package,
                tag,
                otherwise,
            });
        }
        (Err(answer), None) => return Err(answer),
    };
    let grace = match (expires_s, if_match, content) {
        (0, ..) => Grace::End,
        (_, Some(_), false) => Grace::Refresh,
        _ => Grace::New,
    };
    let command = Command::Publish(Publish {
        presentity,
        package,
        if_match,
        content: content.then_some(scratch.content.as_slice()),
        expires_s,
        //= AUDIOCODES p. 321
        //# each refresh is answered with a new tag
        tag_policy: if circumstances.profile.stable_tags {
            TagPolicy::Keep
        } else {
            TagPolicy::Renew
        },
        // What calls mean depends on what is known of them: the machine sees to it.
        bearing: if content && package == Package::Presence {
            pidf::bearing(&scratch.content)
        } else {
            Default::default()
        },
    });
    Ok(Translated::Change {
        slot,
        command,
        grace,
        aside: Aside::Nothing,
    })
}

/// Whether a publication is left without an answer (contradiction C-01).
//= MS-PRES 2.2.2.8
//# publication in PIDF is not supported and not answered, where the operator wants it so
//= MS-PRES 2.2.2.9
//# publication in MSRTC format, by who should know better, is not answered
fn is_ignored(request: &Request, circumstances: &Circumstances<'_>) -> bool {
    let media = request.header(Name::ContentType).map(MediaType::parse);
    let is = |essence: &str| {
        media.is_some_and(|media: MediaType<'_>| media.essence.eq_ignore_ascii_case(essence))
    };
    let strict = circumstances.policy.pidf_publish == PidfPublish::Ignore;
    strict && is(PIDF) || (strict || is_theirs(circumstances)) && is(MSRTC)
}

/// The one entity-tag of SIP-If-Match.
///
/// # Errors
/// 400 for more than one, 412 for one that cannot be ours.
fn if_match(request: &Request) -> Result<Option<EntityTag>, Answer> {
    let mut tags = request.values(Name::SipIfMatch);
    let Some(tag) = tags.next() else {
        return Ok(None);
    };
    if tags.next().is_some() {
        return Err(Answer::of(refusal::MANY_TAGS));
    }
    EntityTag::parse(tag)
        .map(Some)
        .ok_or_else(|| Answer::of(refusal::NO_MATCH))
}

/// What a PUBLISH says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// No more than that what was said still holds.
    Nothing,
    /// Something.
    Content,
    /// How to change what was said, which must be known first.
    Patch,
}

/// The granted interval, and whether there is a body, which is then in `content` in stored form.
fn interval_and_body(
    request: &Request,
    circumstances: &Circumstances<'_>,
    if_match: Option<EntityTag>,
    wanted: &'static str,
    presentity: &str,
    content: &mut Vec<u8>,
) -> Result<(u32, Said), Answer> {
    let asked = request
        .expires()
        .map_err(|error| Answer::of_parse(&error))?;
    let mut interval = circumstances.policy.publication;
    if wanted == events::DIALOG_INFO {
        // Publishers of calls let the end of one live for seconds (Kamailio: 10 or 11), and give up when refused.
        interval.min_s = interval.min_s.min(CALL_S_MIN);
    }
    let expires_s = circumstances.profile.publication(interval).grant(asked)?;
    if request.body().is_empty() {
        return match if_match {
            Some(_) => Ok((expires_s, Said::Nothing)),
            None => Err(Answer::of(refusal::NO_BODY)),
        };
    }
    let media = request.header(Name::ContentType).map(MediaType::parse);
    let is = |essence: &str| {
        media.is_some_and(|media: MediaType<'_>| media.essence.eq_ignore_ascii_case(essence))
    };
    let bad = |error| {
        Answer::of(refusal::BAD_DOCUMENT).with("Warning", format!("399 lamplight \"{error}\""))
    };
    if wanted != PIDF {
        if !is(wanted) {
            return Err(Answer::of(refusal::UNSUPPORTED_TYPE).with("Accept", wanted));
        }
        *content = dialog_info::parse(request.body()).map_err(bad)?;
        return Ok((expires_s, Said::Content));
    }
    // Where a tag outlives what it is of, nobody could say what a patch is of.
    let document = if is(savers::PIDF_DIFF) && !circumstances.profile.stable_tags {
        match patched(request.body(), circumstances.base, if_match, presentity)? {
            Patched::Document(document) => Cow::Owned(document),
            Patched::Unknown => return Ok((expires_s, Said::Patch)),
            Patched::Gone => return Ok((expires_s, Said::Nothing)),
        }
    } else if is(PIDF) {
        Cow::Borrowed(&request.body()[..])
    } else {
        let accepted = format!("{PIDF}, {}", savers::PIDF_DIFF);
        return Err(Answer::of(refusal::UNSUPPORTED_TYPE).with("Accept", accepted));
    };
    *content = pidf::parse(&document).map_err(bad)?;
    Ok((expires_s, Said::Content))
}

/// What a patch comes to.
enum Patched {
    /// This document.
    Document(Vec<u8>),
    /// Nobody knows before it is known what it is to be done to.
    Unknown,
    /// What it was to be done to is not there any more.
    Gone,
}

//= RFC 5264 4.1
//# a patch is of the publication that SIP-If-Match names; a first PUBLISH has the whole
fn patched(
    body: &[u8],
    base: Option<Option<&[u8]>>,
    if_match: Option<EntityTag>,
    presentity: &str,
) -> Result<Patched, Answer> {
    let bad = |error| {
        Answer::of(refusal::BAD_PATCH).with("Warning", format!("399 lamplight \"{error}\""))
    };
    if let Some(document) = patch::whole(body).map_err(bad)? {
        return Ok(Patched::Document(document));
    }
    match (if_match, base) {
        (None, _) => Err(Answer::of(refusal::NO_BODY)),
        (Some(_), None) => Ok(Patched::Unknown),
        (Some(_), Some(None)) => Ok(Patched::Gone),
        (Some(_), Some(Some(stored))) => {
            let base = patch::published(presentity, stored);
            patch::apply(body, &base)
                .map(Patched::Document)
                .map_err(bad)
        }
    }
}

/// SUBSCRIBE, inside or outside a dialog.
pub(super) fn subscribe<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let event = request
        .header(Name::Event)
        .map(transport::sip::header::Event::parse);
    if let Some(event) = event.filter(|event| enhanced::is_own(event.package)) {
        return enhanced::subscribe(event.package, request, circumstances, scratch);
    }
    if package(request)? != Package::Presence {
        if lists::is_one(request) {
            return Err(Answer::of(refusal::BAD_EXTENSION).with("Unsupported", lists::OPTION_TAG));
        }
        return match request.to_tag() {
            Some(tag) => resubscribe(request, tag, circumstances, scratch),
            None => first_subscribe(request, circumstances, scratch),
        };
    }
    if enhanced::is_for_categories(request) {
        return enhanced::subscribe_categories(request, circumstances, scratch);
    }
    if blustar::takes(request, circumstances) {
        return blustar::subscribe(request, circumstances, scratch);
    }
    if lists::is_one(request) {
        return lists::subscribe(request, circumstances, scratch);
    }
    if let Some(list) = circumstances.policy.lists.asked(request) {
        return lists::subscribe_kept(request, &list, circumstances, scratch);
    }
    match request.to_tag() {
        Some(tag) => resubscribe(request, tag, circumstances, scratch),
        None => first_subscribe(request, circumstances, scratch),
    }
}

fn first_subscribe<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let policy = circumstances.policy;
    address(request.uri(), policy, &mut scratch.presentity)?;
    known(&scratch.presentity, circumstances)?;
    foreign_address(request.from().uri, &mut scratch.watcher)?;
    let package = package(request)?;
    let (whom, who) = (&*scratch.presentity, &*scratch.watcher);
    events::admit(package, whom, who, circumstances)?;
    let format = events::format(package, request, whom, who, circumstances)?;
    let asked = request
        .expires()
        .map_err(|error| Answer::of_parse(&error))?;
    let interval = circumstances.profile.subscription(policy.subscription);
    let expires_s = interval.grant_subscription(asked)?;

    let format = dressed(format, request, circumstances);
    let extras = match package {
        Package::Presence => extras(request, format, Wish::Document, circumstances),
        _ => None,
    };
    let network = enhanced::network(request, circumstances);
    let presentity = scratch.presentity.as_str();
    let savers = match savers::applies(format) {
        true => savers::asked(request, presentity)?,
        false => None,
    };
    let slot = Slot::of(presentity);
    let local_tag = LocalTag::new(slot, circumstances.chance);
    let local_text = local_tag.to_string();
    scratch.route.clear();
    DialogRoute::write_from(request, &local_text, &mut scratch.route);
    write_target(request, circumstances, &mut scratch.target)?;

    //= RFC 6665 4.4.3
    //# Expires 0 outside a dialog fetches the state once
    if expires_s == 0 {
        //= MS-PRES 3.4.5.1.2
        //# a poll is answered in the 200 where the client can read it there
        if let Some(extras) = extras.filter(|extras| extras.piggyback) {
            let poll = Poll::of(slot, presentity, &scratch.watcher, format, &extras);
            return Ok(Translated::Poll(Box::new(poll), Aside::Nothing));
        }
        return Ok(Translated::Fetch(Fetch {
            slot,
            presentity,
            watcher: &scratch.watcher,
            network,
            package,
            format,
            local_tag,
            route: &scratch.route,
            target: &scratch.target,
            savers,
        }));
    }
    let command = Command::Subscribe(Subscribe {
        presentity,
        watcher: &scratch.watcher,
        package,
        format,
        dialog: DialogKey::of_package(package, request.call_id(), &local_text, request.from_tag()),
        local_tag,
        cseq: request.cseq(),
        expires_s,
        route: &scratch.route,
        target: &scratch.target,
        extras,
        savers,
    });
    Ok(Translated::Change {
        slot,
        command,
        grace: Grace::New,
        aside: Aside::Nothing,
    })
}

/// What a watcher of a document says that plain telephones do not; `None` for those.
fn extras<'s>(
    request: &'s Request,
    format: Format,
    wish: Wish<'s>,
    circumstances: &Circumstances<'_>,
) -> Option<Box<Extras<'s>>> {
    let network = enhanced::network(request, circumstances);
    let piggyback = format == Format::Msrtc && enhanced::piggyback(request);
    let delivery = enhanced::delivery(request, circumstances.flow);
    let display_name = request.from().display;
    let plain = format == Format::Pidf && delivery == Delivery::Notify && display_name.is_empty();
    if plain && network == Network::SameEnterprise {
        return None;
    }
    Some(Box::new(Extras {
        abroad: Default::default(),
        network,
        delivery,
        piggyback,
        endpoint: None,
        registered: false,
        display_name,
        wish,
        watchers_max: circumstances.policy.enhanced.watchers,
    }))
}

fn resubscribe<'s>(
    request: &'s Request,
    to_tag: &str,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    //= RFC 6665 4.2.1.4
    //# a SUBSCRIBE for a dialog that we do not have gets 481
    let local_tag = LocalTag::parse(to_tag).ok_or_else(|| Answer::of(refusal::NO_DIALOG))?;
    let package = package(request)?;
    let asked = request
        .expires()
        .map_err(|error| Answer::of_parse(&error))?;
    let interval = circumstances.policy.subscription;
    let interval = circumstances.profile.subscription(interval);
    let expires_s = interval.grant_subscription(asked)?;
    write_target(request, circumstances, &mut scratch.target)?;
    foreign_address(request.to().uri, &mut scratch.presentity)?;
    let slot = local_tag.slot();
    //= MS-PRES 3.7.5.5
    //# a refresh that offers it is answered with the document, as the first SUBSCRIBE was
    let document = package == Package::Presence && expires_s > 0;
    let msrtc = document && accepted(request).is_ok_and(|format| format == Format::Msrtc);
    let extras = if msrtc && enhanced::piggyback(request) {
        extras(request, Format::Msrtc, Wish::Same, circumstances)
    } else {
        None
    };
    let command = Command::Resubscribe(Resubscribe {
        slot,
        dialog: DialogKey::of_package(package, request.call_id(), to_tag, request.from_tag()),
        cseq: request.cseq(),
        expires_s,
        target: &scratch.target,
        extras,
        savers: savers::asked(request, &scratch.presentity)?,
    });
    let grace = if expires_s == 0 {
        Grace::End
    } else {
        Grace::Refresh
    };
    Ok(Translated::Change {
        slot,
        command,
        grace,
        aside: Aside::Nothing,
    })
}

/// The document the watcher wants; PIDF when it says nothing (RFC 3856 §6.7).
//= MS-PRES 1.3.3
//# of the formats that Accept holds, MSRTC comes before PIDF
pub(super) fn accepted(request: &Request) -> Result<Format, Answer> {
    let (mut any, mut pidf) = (false, false);
    for media in request.values(Name::Accept).map(MediaType::parse) {
        // Wildcards never mean a format that only its own watchers know.
        if media.essence.eq_ignore_ascii_case(MSRTC) {
            return Ok(Format::Msrtc);
        }
        any = true;
        pidf |= media.accepts(PIDF) || media.accepts(savers::PIDF_DIFF);
    }
    if any && !pidf {
        return Err(Answer::of(refusal::NOT_ACCEPTABLE).with("Accept", PIDF));
    }
    Ok(Format::Pidf)
}

/// PIDF as the watcher's own servers print it, where it comes from such (contradictions C-06 and C-69).
fn dressed(format: Format, request: &Request, circumstances: &Circumstances<'_>) -> Format {
    let foreign = enhanced::network(request, circumstances) != Network::SameEnterprise;
    //= RFC 3856 6.7
    //# whoever asks for a pres: URI is told of one (contradiction C-13)
    let pres = circumstances.profile.dialect == Dialect::Comsipl
        || request
            .uri()
            .get(..5)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("pres:"));
    match format {
        Format::Pidf if is_theirs(circumstances) || foreign => Format::MsPidf,
        Format::Pidf if pres => Format::Pres,
        _ => format,
    }
}

/// Whether a request is of one of Microsoft's clients or servers.
fn is_theirs(circumstances: &Circumstances<'_>) -> bool {
    circumstances.profile.dialect == Dialect::Ms
}

pub(super) fn write_target(
    request: &Request,
    circumstances: &Circumstances<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Answer> {
    out.clear();
    Target::write_from(
        request,
        circumstances.flow,
        circumstances.node,
        circumstances.contact,
        out,
    )
    .map_err(|error| Answer::of_parse(&error))
}

/// 200 to a PUBLISH.
//= RFC 3903 6
//# the 200 names the granted interval and the new entity-tag
#[must_use]
pub fn published(
    request: &Request,
    to_tag: &str,
    tag: EntityTag,
    expires_s: u32,
    contact: Option<&str>,
) -> Bytes {
    let mut reply = Reply::new(request, StatusCode::OK, Some(to_tag));
    if let Some(contact) = contact {
        reply = reply.header("Contact", format_args!("<{contact}>"));
    }
    // Forwarding has a tag of its own, but its clients know one tag for everything.
    let theirs = request
        .values(Name::SipIfMatch)
        .next()
        .filter(|_| blustar::forwards(request));
    let reply = match theirs {
        Some(theirs) => reply.header("SIP-ETag", theirs),
        None => reply.header("SIP-ETag", tag),
    };
    reply.header("Expires", expires_s).finish()
}

/// 204 to a SUBSCRIBE in a dialog; no NOTIFY follows.
//= RFC 5839 6.3
//# 204 says that it was done, and that nothing is told
#[must_use]
pub fn unchanged(request: &Request, expires_s: u32, contact: &str) -> Bytes {
    Reply::new(request, StatusCode::NO_NOTIFICATION, None)
        .record_route(request)
        .header("Contact", format_args!("<{contact}>"))
        .header("Expires", expires_s)
        .finish()
}

/// 200 to a SUBSCRIBE; the NOTIFY follows.
//= RFC 6665 4.2.1.1
//# 200, not 202, with the granted interval; the notifier's Contact makes the dialog
#[must_use]
pub fn subscribed(
    request: &Request,
    local_tag: LocalTag,
    expires_s: u32,
    contact: &str,
    flow: &Flow,
    kept: &KeptLists,
) -> Bytes {
    let local_tag = local_tag.to_string();
    let mut reply = Reply::new(request, StatusCode::OK, Some(&local_tag))
        .record_route(request)
        .header("Contact", format_args!("<{contact}>"));
    let listed = lists::is_one(request) || kept.asked(request).is_some();
    if listed && lists::knows_eventlist(request) {
        //= RFC 4662 4.2
        //# the answer to who subscribes to a list requires eventlist
        reply = reply.header("Require", "eventlist");
    }
    // A fetch of a list lives for a moment, which is more than was asked for.
    let asked = request.expires().ok().flatten().unwrap_or(expires_s);
    let mut reply = reply.header("Expires", expires_s.min(asked));
    //= MS-SIP 3.5
    //# who is told by BENOTIFY is told so first
    if enhanced::delivery(request, flow) == Delivery::Benotify {
        reply = reply.header("Supported", "ms-benotify");
    }
    reply.finish()
}
