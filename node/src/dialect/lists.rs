//! SUBSCRIBE with a list in it (RFC 5367): one dialog, and the documents of many in it.
//!
//! What makes the dialog is the same for BluStar's clients (`blustar.rs`); here is what both need, and what
//! the RFC asks of everybody else.

use shard::document::lists;
use shard::machine::command::{Command, Extras, Resubscribe, Subscribe};
use shard::slot::Slot;
use shard::subscription::dialog::{Delivery, DialogKey, Format, LocalTag, Package};
use shard::subscription::watch::{ClientId, Entry, Origin, Wish};
use transport::dialog::DialogRoute;
use transport::sip::header::MediaType;
use transport::sip::uri::{Scheme, Uri};
use transport::sip::{Name, Request};

use super::profile::Profile;
use super::savers;
use super::{
    Answer, Aside, Circumstances, Grace, Scratch, Translated, canonical, enhanced, foreign_address,
    refusal, simple,
};
use crate::config::Dialect;
use crate::directory::ByNumber;

/// The option tag of a request that brings its list.
pub(super) const OPTION_TAG: &str = "recipient-list-subscribe";

const RESOURCE_LISTS: &str = "application/resource-lists+xml";

/// Whether a SUBSCRIBE brings a list.
pub(super) fn is_one(request: &Request) -> bool {
    let required = request
        .values(Name::Require)
        .any(|tag| tag.eq_ignore_ascii_case(OPTION_TAG));
    let media = request.header(Name::ContentType).map(MediaType::parse);
    required || media.is_some_and(|media| media.essence.eq_ignore_ascii_case(RESOURCE_LISTS))
}

/// Whether a client reads notifications of lists as RFC 4662 has them.
pub(super) fn knows_eventlist(request: &Request) -> bool {
    let mut offered = request.values(Name::Supported);
    offered.any(|tag| tag.eq_ignore_ascii_case("eventlist"))
}

/// What a list dialog begins with, besides its entries.
pub(super) struct Opening<'o> {
    /// How it is told.
    pub(super) format: Format,
    /// The client of the user whose address is the home, if such clients are counted.
    pub(super) client: Option<ClientId>,
    /// A tag that the client has for the dialog, though it was never ours.
    pub(super) tag: Option<&'o str>,
}

/// SUBSCRIBE with a list, by a client that reads what RFC 4662 has.
//= RFC 4662 4.2
//# a client without eventlist gets 421
pub(super) fn subscribe<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    if !knows_eventlist(request) {
        return Err(Answer::of(refusal::EVENTLIST_REQUIRED).with("Require", "eventlist"));
    }
    let uris = uris(request)?;
    match request.to_tag() {
        Some(tag) => again(request, tag, uris, circumstances, scratch),
        None => {
            let uris = uris.ok_or_else(|| Answer::of(refusal::NO_LIST))?;
            foreign_address(request.from().uri, &mut scratch.watcher)?;
            scratch.presentity.clone_from(&scratch.watcher);
            take_in(uris, circumstances, scratch);
            let opening = Opening {
                format: savers::list_format(request),
                client: None,
                tag: None,
            };
            open(request, &opening, circumstances, scratch)
        }
    }
}

/// SUBSCRIBE to a list that the server keeps. Its members are looked up anew with each, so a change of the
/// list shows with the next one, in full.
//= RFC 4662 4.2
//# a client without eventlist gets 421
pub(super) fn subscribe_kept<'s>(
    request: &'s Request,
    list: &str,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    if !knows_eventlist(request) {
        return Err(Answer::of(refusal::EVENTLIST_REQUIRED).with("Require", "eventlist"));
    }
    let lists = &circumstances.policy.lists;
    foreign_address(request.from().uri, &mut scratch.watcher)?;
    //= RFC 4662 7.1
    //# who may subscribe to a list is decided before anything of it is told
    if !lists.may_watch(list, &scratch.watcher, circumstances) {
        return Err(Answer::of(refusal::KEPT_OUT));
    }
    let uris = lists.members(list, circumstances.users);
    match request.to_tag() {
        Some(tag) => again(request, tag, Some(uris), circumstances, scratch),
        None => {
            scratch.presentity.clone_from(&scratch.watcher);
            take_in(uris, circumstances, scratch);
            let opening = Opening {
                format: savers::list_format(request),
                client: None,
                tag: None,
            };
            open(request, &opening, circumstances, scratch)
        }
    }
}

/// The URIs of the list that a request brings; `None` where it brings no body.
//= RFC 5367 4
//# a body of another type is not a list
pub(super) fn uris(request: &Request) -> Result<Option<Vec<String>>, Answer> {
    if request.body().is_empty() {
        return Ok(None);
    }
    let media = request.header(Name::ContentType).map(MediaType::parse);
    if !media.is_some_and(|media| media.essence.eq_ignore_ascii_case(RESOURCE_LISTS)) {
        return Err(Answer::of(refusal::UNSUPPORTED_TYPE).with("Accept", RESOURCE_LISTS));
    }
    lists::parse(request.body()).map(Some).map_err(|error| {
        Answer::of(refusal::BAD_DOCUMENT).with("Warning", format!("399 lamplight \"{error}\""))
    })
}

/// Whose address a URI is, and whether it is somebody's of this deployment.
//= BLUSTAR 2.1
//# a SIP address is looked for without its port, a number in the column of numbers
pub(super) fn look_up(uri: &str, circumstances: &Circumstances<'_>, out: &mut String) -> bool {
    let Ok(parsed) = Uri::parse(uri) else {
        out.clear();
        out.push_str(&uri.to_lowercase());
        return false;
    };
    canonical(&parsed, out);
    if parsed.scheme == Scheme::Tel {
        return match circumstances.users.by_number(parsed.user) {
            ByNumber::User(address) => {
                *out = address;
                true
            }
            ByNumber::Nobody => false,
            ByNumber::Unasked => true,
        };
    }
    circumstances.policy.serves(parsed.host) && circumstances.knows(out)
}

/// Takes entries in, in the order of the list: whose they are, and where their state is.
pub(super) fn take_in(uris: Vec<String>, circumstances: &Circumstances<'_>, scratch: &mut Scratch) {
    let home = circumstances.map.shard_of(Slot::of(&scratch.presentity));
    scratch.entries.clear();
    for uri in uris {
        let mut address = String::new();
        let known = look_up(&uri, circumstances, &mut address);
        let origin = if !known {
            Origin::Nowhere
        } else if circumstances.map.shard_of(Slot::of(&address)) == home {
            Origin::Here
        } else {
            Origin::Elsewhere
        };
        scratch.entries.push((uri, address, origin));
    }
}

fn wish(scratch: &Scratch, client: Option<ClientId>) -> Wish<'_> {
    let entries = scratch.entries.iter().map(|(uri, address, origin)| Entry {
        uri,
        address,
        origin: *origin,
    });
    Wish::List {
        client,
        entries: entries.collect(),
    }
}

fn extras<'s>(
    request: &'s Request,
    wish: Wish<'s>,
    circumstances: &Circumstances<'_>,
) -> Box<Extras<'s>> {
    Box::new(Extras {
        network: enhanced::network(request, circumstances),
        delivery: Delivery::Notify,
        piggyback: false,
        endpoint: None,
        registered: false,
        abroad: Default::default(),
        display_name: request.from().display,
        wish,
        watchers_max: circumstances.policy.enhanced.watchers,
    })
}

/// A dialog that begins: home, watcher and entries are in `scratch`.
pub(super) fn open<'s>(
    request: &'s Request,
    opening: &Opening<'_>,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    // Contradiction C-07: who is spoken to in BluStar's way is granted what BluStar's clients are.
    let theirs = Profile::of(Dialect::Blustar);
    let guessed = opening.format == Format::Blustar && !circumstances.profile.configured;
    let profile = if guessed {
        &theirs
    } else {
        circumstances.profile
    };
    let expires_s = granted(request, profile, circumstances)?;
    let slot = Slot::of(&scratch.presentity);
    let local_tag = LocalTag::new(slot, circumstances.chance);
    let local_text = opening
        .tag
        .map_or_else(|| local_tag.to_string(), str::to_owned);
    let dialog = DialogKey::of(request.call_id(), &local_text, request.from_tag());
    scratch.route.clear();
    DialogRoute::write_from(request, &local_text, &mut scratch.route);
    simple::write_target(request, circumstances, &mut scratch.target)?;
    let scratch = &*scratch;
    // The end of a dialog that has another's tag: only the slot says where it is.
    let command = if expires_s == 0 && opening.tag.is_some() {
        Command::Resubscribe(Resubscribe {
            slot,
            dialog,
            cseq: request.cseq(),
            expires_s,
            target: &scratch.target,
            extras: None,
            savers: None,
        })
    } else {
        Command::Subscribe(Subscribe {
            presentity: &scratch.presentity,
            watcher: &scratch.watcher,
            package: Package::List,
            format: opening.format,
            dialog,
            local_tag,
            cseq: request.cseq(),
            // A fetch of a list is a dialog that ends when it has told everything.
            expires_s: expires_s.max(1),
            route: &scratch.route,
            target: &scratch.target,
            extras: Some(extras(
                request,
                wish(scratch, opening.client),
                circumstances,
            )),
            savers: None,
        })
    };
    let grace = if expires_s == 0 {
        Grace::End
    } else {
        Grace::New
    };
    Ok(Translated::Change {
        slot,
        command,
        grace,
        aside: Aside::Nothing,
    })
}

/// SUBSCRIBE inside a dialog of ours, with another list or none.
pub(super) fn again<'s>(
    request: &'s Request,
    to_tag: &str,
    uris: Option<Vec<String>>,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let local_tag = LocalTag::parse(to_tag).ok_or_else(|| Answer::of(refusal::NO_DIALOG))?;
    let expires_s = granted(request, circumstances.profile, circumstances)?;
    simple::write_target(request, circumstances, &mut scratch.target)?;
    let slot = local_tag.slot();
    let ends = expires_s == 0;
    let listed = uris.is_some() && !ends;
    if let Some(uris) = uris.filter(|_| !ends) {
        // Where members live is seen from the dialog's slot, whoever is at home there.
        let home = circumstances.map.shard_of(slot);
        take_in(uris, circumstances, scratch);
        for (_, address, origin) in &mut scratch.entries {
            let here = circumstances.map.shard_of(Slot::of(address)) == home;
            *origin = match *origin {
                Origin::Nowhere => Origin::Nowhere,
                _ if here => Origin::Here,
                _ => Origin::Elsewhere,
            };
        }
    }
    let scratch = &*scratch;
    let wished = listed.then(|| extras(request, wish(scratch, None), circumstances));
    let command = Command::Resubscribe(Resubscribe {
        slot,
        dialog: DialogKey::of(request.call_id(), to_tag, request.from_tag()),
        cseq: request.cseq(),
        expires_s,
        target: &scratch.target,
        extras: wished,
        savers: None,
    });
    Ok(Translated::Change {
        slot,
        command,
        grace: if ends { Grace::End } else { Grace::Refresh },
        aside: Aside::Nothing,
    })
}

fn granted(
    request: &Request,
    profile: &Profile,
    circumstances: &Circumstances<'_>,
) -> Result<u32, Answer> {
    let asked = request
        .expires()
        .map_err(|error| Answer::of_parse(&error))?;
    let interval = profile.subscription(circumstances.policy.subscription);
    interval.grant_subscription(asked)
}
