//! Mitel BluStar's SIMPLE interface: PUBLISH and SUBSCRIBE as its clients send them.
//!
//! They address the server and name the user in To; their tags come from other lives of other servers; and
//! what they publish is one publication of the user, which all clients of the user share.

use shard::document::{blustar, pidf};
use shard::machine::command::{Command, Publish};
use shard::presence::bearing::Bearing;
use shard::presence::package::Package;
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::slot::Slot;
use shard::subscription::dialog::{Format, LocalTag};
use shard::subscription::watch::ClientId;
use transport::sip::header::{Event, MediaType, NameAddr};
use transport::sip::uri::Uri;
use transport::sip::{Method, Name, Request};
use xxhash_rust::xxh3::xxh3_64;

use super::lists::{self, Opening};
use super::savers;
use super::{
    Answer, Aside, Circumstances, Grace, Scratch, Translated, address, address_of, foreign_address,
    package, refusal, simple,
};
use crate::config::Dialect;
use crate::directory::{ByNumber, Users};

/// The event of the special PUBLISH.
const FORWARDING: &str = "lyncforwarding";

/// Whether a request is spoken to in BluStar's way.
pub(super) fn speaks(circumstances: &Circumstances<'_>) -> bool {
    circumstances.profile.dialect == Dialect::Blustar
}

/// Whether a SUBSCRIBE is taken in BluStar's way: also one with a list by somebody who does not read what
/// RFC 4662 has, where the operator did not say who it is (contradiction C-07).
pub(super) fn takes(request: &Request, circumstances: &Circumstances<'_>) -> bool {
    let unknown = !circumstances.profile.configured
        && lists::is_one(request)
        && !lists::knows_eventlist(request);
    speaks(circumstances) || unknown
}

/// Whether a PUBLISH says where calls go.
#[must_use]
pub fn forwards(request: &Request) -> bool {
    let event = request.header(Name::Event).map(Event::parse);
    event.is_some_and(|event| event.package.eq_ignore_ascii_case(FORWARDING))
}

/// Which client of its user sent a request: the one with this Contact. A controller of mobile clients has one
/// Contact for all of them; their dialogs live with different users, and so they are told apart.
//= BLUSTAR 2.11
//# clients behind one Contact are told apart by whose they are
#[must_use]
pub fn client_of(request: &Request) -> Option<ClientId> {
    let contact = request.values(Name::Contact).next()?;
    let contact = Uri::parse(NameAddr::parse(contact).ok()?.uri).ok()?;
    let text = format!(
        "{}@{}:{}",
        contact.user_unescaped(),
        contact.host.to_ascii_lowercase(),
        contact.port.unwrap_or(5060)
    );
    Some(ClientId(xxh3_64(text.as_bytes())))
}

/// The address that a request speaks for: of a number, the user's who has it.
#[must_use]
pub fn speaks_for(request: &Request, users: &dyn Users) -> Option<String> {
    let whose = match request.method() {
        Method::Publish if !forwards(request) => request.to().uri,
        _ => request.from().uri,
    };
    let uri = Uri::parse(whose).ok()?;
    Some(match users.by_number(&uri.user_unescaped()) {
        ByNumber::User(address) => address,
        ByNumber::Nobody | ByNumber::Unasked => address_of(&uri),
    })
}

/// PUBLISH.
pub(super) fn publish<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let policy = circumstances.policy;
    let forwards = forwards(request);
    // The user whose calls are forwarded is in From, and To says where to.
    let whose = if forwards {
        request.from().uri
    } else {
        request.to().uri
    };
    address(whose, policy, &mut scratch.presentity)?;
    if !circumstances.knows(&scratch.presentity) {
        return Err(Answer::of(refusal::NO_SUCH_USER));
    }
    if !forwards {
        package(request)?;
    }
    //= BLUSTAR 4.3
    //# Expires and Contact are mandatory
    if request.header(Name::Expires).is_none() {
        return Err(Answer::of(refusal::EXPIRES_MANDATORY));
    }
    let client = client_of(request).ok_or_else(|| Answer::of(refusal::CONTACT_MANDATORY))?;
    let asked = request
        .expires()
        .map_err(|error| Answer::of_parse(&error))?;
    let interval = circumstances.profile.publication(policy.publication);
    let expires_s = interval.grant(asked)?;
    let if_match = tag(request)?;
    let slot = Slot::of(&scratch.presentity);

    let (content, tag_policy, bearing) = if forwards {
        let (stored, bearing) = blustar::forwarding(request.to().uri);
        scratch.content = stored;
        (true, TagPolicy::Replace, bearing)
    } else if expires_s == 0 {
        //= BLUSTAR 2.2
        //# PUBLISH with Expires 0: the client is gone
        return Ok(Translated::Change {
            slot,
            command: Command::SignOff {
                presentity: &scratch.presentity,
                if_match,
                client,
            },
            grace: Grace::End,
            aside: Aside::Nothing,
        });
    } else {
        let shared = Bearing {
            shared: true,
            ..Bearing::default()
        };
        match read(request, if_match, &mut scratch.content)? {
            true => (
                true,
                policy_of(circumstances),
                pidf::bearing(&scratch.content),
            ),
            false => (false, policy_of(circumstances), shared),
        }
    };
    let grace = if content { Grace::New } else { Grace::Refresh };
    Ok(Translated::Change {
        slot,
        command: Command::Publish(Publish {
            presentity: &scratch.presentity,
            package: Package::Presence,
            if_match,
            content: content.then_some(scratch.content.as_slice()),
            expires_s,
            tag_policy,
            bearing,
        }),
        grace,
        aside: Aside::Nothing,
    })
}

fn policy_of(circumstances: &Circumstances<'_>) -> TagPolicy {
    if circumstances.profile.stable_tags {
        TagPolicy::Keep
    } else {
        TagPolicy::Renew
    }
}

/// The one entity-tag of SIP-If-Match; one that was never ours is a tag all the same.
fn tag(request: &Request) -> Result<Option<EntityTag>, Answer> {
    let mut tags = request.values(Name::SipIfMatch);
    let first = tags.next();
    if tags.next().is_some() {
        return Err(Answer::of(refusal::MANY_TAGS));
    }
    Ok(first.map(|tag| EntityTag::parse(tag).unwrap_or(EntityTag::FOREIGN)))
}

/// Whether there is a body, which is then in `content` in stored form.
//= BLUSTAR 2.8
//# a PUBLISH without a body refreshes
fn read(
    request: &Request,
    if_match: Option<EntityTag>,
    content: &mut Vec<u8>,
) -> Result<bool, Answer> {
    if request.body().is_empty() {
        return match if_match {
            Some(_) => Ok(false),
            None => Err(Answer::of(refusal::NO_BODY)),
        };
    }
    let media = request.header(Name::ContentType).map(MediaType::parse);
    if !media.is_some_and(|media| media.essence.eq_ignore_ascii_case(simple::PIDF)) {
        return Err(Answer::of(refusal::UNSUPPORTED_TYPE).with("Accept", simple::PIDF));
    }
    *content = pidf::parse_blustar(request.body()).map_err(|error| {
        Answer::of(refusal::BAD_DOCUMENT).with("Warning", format!("399 lamplight \"{error}\""))
    })?;
    Ok(true)
}

/// SUBSCRIBE to one address, in To, or to those of a list, the first of which is the client's own.
//= BLUSTAR 4.1
//# the first subscription of a client is to its own address, by which its clients are told apart
//= BLUSTAR 4.2
//# the first entry of a list is the client's own address
pub(super) fn subscribe<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    package(request)?;
    let uris = lists::uris(request)?;
    let required = request
        .values(Name::Require)
        .any(|tag| tag.eq_ignore_ascii_case(lists::OPTION_TAG));
    let theirs = request
        .to_tag()
        .filter(|tag| LocalTag::parse(tag).is_none());
    if let (Some(tag), None) = (request.to_tag(), theirs) {
        return lists::again(request, tag, uris, circumstances, scratch);
    }
    let is_list = uris.is_some();
    if required && !is_list {
        return Err(Answer::of(refusal::NO_LIST));
    }
    let uris = uris.unwrap_or_else(|| vec![request.to().uri.to_owned()]);
    lists::look_up(&uris[0], circumstances, &mut scratch.presentity);
    foreign_address(request.from().uri, &mut scratch.watcher)?;
    let own = is_list || is_own(request, circumstances, scratch);
    lists::take_in(uris, circumstances, scratch);
    let format = if lists::knows_eventlist(request) {
        savers::list_format(request)
    } else {
        Format::Blustar
    };
    let opening = Opening {
        format,
        client: client_of(request).filter(|_| own),
        // Contradiction C-17: a tag that was never ours is one that the client has for a new dialog.
        tag: theirs,
    };
    lists::open(request, &opening, circumstances, scratch)
}

/// Whether somebody subscribes to itself: by the same address, or by a number that the directory knows as
/// the same user's.
fn is_own(request: &Request, circumstances: &Circumstances<'_>, scratch: &Scratch) -> bool {
    if scratch.watcher == scratch.presentity {
        return true;
    }
    let Ok(from) = Uri::parse(request.from().uri) else {
        return false;
    };
    if address_of(&from) == scratch.presentity {
        return true;
    }
    match circumstances.users.by_number(&from.user_unescaped()) {
        ByNumber::User(address) => address == scratch.presentity,
        ByNumber::Nobody | ByNumber::Unasked => false,
    }
}
