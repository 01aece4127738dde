//! REGISTER (RFC 3261 §10, RFC 3327): contacts of an address.

use bytes::Bytes;
use shard::machine::command::{Binding, Bindings, Command, Register};
use shard::presence::endpoint::Endpoint;
use shard::presence::endpoint_id::EndpointId;
use shard::slot::Slot;
use shard::time::Timestamp;
use transport::dialog::Target;
use transport::sip::header::NameAddr;
use transport::sip::uri::Uri;
use transport::sip::write::Reply;
use transport::sip::{Name, Request, StatusCode, gruu};
use xxhash_rust::xxh3::xxh3_64;

use super::enhanced::diagnostics;
use super::{
    Answer, Aside, Circumstances, Grace, Policy, Scratch, Translated, address, enhanced, refusal,
};

/// REGISTER: the Request-URI names the domain, To names whose contacts they are.
pub(super) fn register<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let policy = circumstances.policy;
    address(request.uri(), policy, &mut scratch.watcher)?;
    address(request.to().uri, policy, &mut scratch.presentity)?;
    if !circumstances.knows(&scratch.presentity) {
        return Err(diagnostics::USER_UNKNOWN.on(Answer::of(refusal::NO_SUCH_USER), circumstances));
    }
    let enhanced = is_enhanced(request);
    if enhanced {
        check_enhanced(request, circumstances)?;
    }
    scratch.target.clear();
    let aor = scratch.presentity.as_str();
    let slot = Slot::of(aor);

    let contacts: Vec<&str> = request.values(Name::Contact).collect();
    let (bindings, grace) = match contacts.as_slice() {
        [] => (Bindings::Nothing, Grace::Refresh),
        ["*"] => (wildcard(request)?, Grace::End),
        contacts if contacts.contains(&"*") => return Err(Answer::of(refusal::BAD_WILDCARD)),
        contacts => {
            Target::write_from(
                request,
                circumstances.flow,
                circumstances.contact,
                &mut scratch.target,
            )
            .map_err(|error| Answer::of_parse(&error))?;
            scratch.path.clear();
            for line in request.headers(Name::Path) {
                let comma = if scratch.path.is_empty() { "" } else { ", " };
                scratch.path.push_str(comma);
                scratch.path.push_str(line);
            }
            let path = scratch.path.as_str();
            // An endpoint of theirs has one contact, which says to be replaced by where it comes from.
            scratch.names.clear();
            scratch.names.extend(
                contacts
                    .iter()
                    .map(|contact| replaced(contact, circumstances)),
            );
            let bindings = contacts
                .iter()
                .zip(&scratch.names)
                .map(|(contact, uri)| binding(contact, uri, request, policy, path, &scratch.target))
                .collect::<Result<Vec<_>, _>>()?;
            let ends = bindings.iter().all(|binding| binding.expires_s == 0);
            (
                Bindings::Each(bindings),
                if ends { Grace::End } else { Grace::New },
            )
        }
    };
    let command = Command::Register(Register {
        aor,
        call_id: xxh3_64(request.call_id().as_bytes()),
        cseq: request.cseq(),
        bindings,
        profile: enhanced.then(|| circumstances.users.profile(aor, request.from().display)),
    });
    Ok(Translated::Change {
        slot,
        command,
        grace,
        aside: if enhanced {
            Aside::Registration
        } else {
            Aside::Nothing
        },
    })
}

/// Whether a client of enhanced presence registers.
//= MS-PRES 3.2.5.1.1
//# such a client has msrtc-event-categories in Supported
fn is_enhanced(request: &Request) -> bool {
    enhanced::offers(request, "msrtc-event-categories") || enhanced::offers(request, "gruu-10")
}

//= MS-SIPREGE 3.1.2.5.1
//# 489 for another event, 400 without an endpoint identifier, 421 without gruu-10
fn check_enhanced(request: &Request, circumstances: &Circumstances<'_>) -> Result<(), Answer> {
    let event = request
        .header(Name::Event)
        .map(transport::sip::header::Event::parse);
    if event.is_some_and(|event| !event.package.eq_ignore_ascii_case("registration")) {
        let answer = Answer::of(refusal::BAD_EVENT).with("Allow-Events", "registration");
        return Err(diagnostics::NOT_REGISTRATION.on(answer, circumstances));
    }
    let names_contact = request
        .header(Name::Contact)
        .is_some_and(|contact| contact != "*");
    if names_contact && enhanced::endpoint(request).is_none() {
        return Err(diagnostics::NO_ENDPOINT.on(Answer::of(refusal::NO_ENDPOINT), circumstances));
    }
    if !enhanced::offers(request, "gruu-10") {
        let answer = Answer::of(refusal::GRUU_REQUIRED).with("Require", "gruu-10");
        return Err(diagnostics::GRUU_REQUIRED.on(answer, circumstances));
    }
    Ok(())
}

/// The contact's URI; where it says `proxy=replace`, with the address that it really comes from.
//= MS-SIP 3.1.5.3
//# host, port and maddr are replaced by the address of the connection, whose name is added
fn replaced(contact: &str, circumstances: &Circumstances<'_>) -> String {
    let Ok(contact) = NameAddr::parse(contact) else {
        return String::new();
    };
    let replace = contact
        .params
        .get("proxy")
        .is_some_and(|to| to.eq_ignore_ascii_case("replace"));
    let (true, Ok(uri)) = (replace, Uri::parse(contact.uri)) else {
        return contact.uri.to_owned();
    };
    let flow = circumstances.flow;
    let mut out = format!("sip:{}", flow.peer);
    for (name, value) in uri.params.iter() {
        if name.eq_ignore_ascii_case("maddr") || name.eq_ignore_ascii_case("ms-received-cid") {
            continue;
        }
        out.push(';');
        out.push_str(name);
        if !value.is_empty() {
            out.push('=');
            out.push_str(value);
        }
    }
    out.push_str(&format!(";ms-received-cid={:X}", flow.number as u32));
    out
}

//= RFC 3261 10.3
//# Contact * with another contact, or with an interval other than zero, gets 400
fn wildcard(request: &Request) -> Result<Bindings<'static>, Answer> {
    match request.expires() {
        Ok(Some(0)) => Ok(Bindings::RemoveAll),
        _ => Err(Answer::of(refusal::BAD_WILDCARD)),
    }
}

fn binding<'s>(
    contact: &'s str,
    uri: &'s str,
    request: &Request,
    policy: &Policy,
    path: &'s str,
    target: &'s [u8],
) -> Result<Binding<'s>, Answer> {
    let contact = NameAddr::parse(contact).map_err(|error| Answer::of_parse(&error))?;
    //= RFC 3261 10.3
    //# a contact's own expires parameter comes before the Expires header
    let asked = match contact.params.get("expires") {
        Some(text) => Some(seconds(text)),
        None => request
            .expires()
            .map_err(|error| Answer::of_parse(&error))?,
    };
    let expires_s = policy.registration.grant(asked)?;
    let q = match contact.params.get("q") {
        Some(text) => thousandths(text).ok_or_else(|| Answer::of(refusal::BAD_CONTACT))?,
        None => 1_000,
    };
    let instance = contact.params.get("+sip.instance").unwrap_or_default();
    // One endpoint, one binding, however its identity is written.
    let endpoint_id = EndpointId::parse(instance).or_else(|| enhanced::endpoint(request));
    let binding = match endpoint_id {
        Some(id) => xxh3_64(&id.0),
        None if instance.is_empty() => xxh3_64(contact.uri.as_bytes()),
        None => xxh3_64(instance.as_bytes()),
    };
    Ok(Binding {
        binding,
        contact: uri,
        instance,
        q,
        path,
        expires_s,
        target,
        endpoint_id,
    })
}

/// Seconds of an `expires` parameter; what cannot be read counts as an hour.
//= RFC 3261 10.2.1.1
//# a malformed value is treated as 3600
fn seconds(text: &str) -> u32 {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return 3_600;
    }
    text.parse().unwrap_or(u32::MAX)
}

/// A q value, 0 to 1 with up to three decimals, in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" | "" => Some(fraction),
        "1" if fraction == 0 => Some(1_000),
        _ => None,
    }
}

/// 200 to a REGISTER: every contact that is bound now, with what is left of it.
//= RFC 3261 10.3
//# the 200 lists all current bindings, each with its expires; Date may help the client's clock
#[must_use]
pub fn registered(request: &Request, to_tag: &str, endpoints: &[Endpoint], at: Timestamp) -> Bytes {
    let mut reply = Reply::new(request, StatusCode::OK, Some(to_tag));
    for endpoint in endpoints {
        let left_s = endpoint.expires_at.seconds_after(at);
        reply = match &*endpoint.instance {
            "" => reply.header(
                "Contact",
                format_args!("<{}>;expires={left_s}{}", endpoint.contact, Q(endpoint.q)),
            ),
            instance => reply.header(
                "Contact",
                format_args!(
                    "<{}>;+sip.instance=\"{instance}\";expires={left_s}{}",
                    endpoint.contact,
                    Q(endpoint.q)
                ),
            ),
        };
    }
    //= RFC 3327 5.3
    //# the registrar shows the stored path to a client that knows what it is
    for path in request.headers(Name::Path) {
        reply = reply.header("Path", path);
    }
    reply.finish()
}

/// 200 to a REGISTER of an enhanced client: the same, and what these clients look for.
//= MS-SIPREGE 4.1
//# GRUU and instance for each endpoint, Expires for all, presence-state, and one option tag to a line
#[must_use]
pub fn registered_enhanced(
    request: &Request,
    to_tag: &str,
    endpoints: &[Endpoint],
    at: Timestamp,
    refreshed: bool,
    address: &str,
) -> Bytes {
    let mut reply = Reply::new(request, StatusCode::OK, Some(to_tag));
    let own = enhanced::endpoint(request);
    let mut granted_s = 0;
    for endpoint in endpoints {
        let left_s = endpoint.expires_at.seconds_after(at);
        if endpoint.endpoint_id.is_some() && endpoint.endpoint_id == own {
            granted_s = left_s;
        }
        reply = match endpoint.endpoint_id {
            Some(id) => reply.header(
                "Contact",
                format_args!(
                    "<{}>;expires={left_s};+sip.instance=\"<urn:uuid:{id}>\";gruu=\"{}\"{}",
                    endpoint.contact,
                    gruu::of_endpoint(address, id.0),
                    Q(endpoint.q),
                ),
            ),
            None => reply.header(
                "Contact",
                format_args!("<{}>;expires={left_s}{}", endpoint.contact, Q(endpoint.q)),
            ),
        };
    }
    let action = if refreshed { "refreshed" } else { "added" };
    reply = reply
        .header("Expires", granted_s)
        .header("Allow-Events", super::ALLOW_EVENTS)
        // Clients compare each line as a whole.
        .header("Supported", "adhoclist")
        .header("Supported", "msrtc-event-categories");
    if granted_s > 0 {
        reply = reply.header(
            "presence-state",
            format_args!("register-action=\"{action}\""),
        );
    }
    if request.header(Name::MsKeepAlive).is_some() {
        //= MS-CONMGMT 2.2.1
        //# the client is told how long it may be silent
        let keep_alive = "UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300";
        reply = reply.header("ms-keep-alive", keep_alive);
    }
    reply.finish()
}

/// A preference as it is written: nothing when it is 1, which is what nothing means.
struct Q(u16);

impl std::fmt::Display for Q {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            1_000 => Ok(()),
            thousandths => write!(f, ";q=0.{thousandths:03}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_are_thousandths() {
        for (text, expected) in [
            ("1", Some(1_000)),
            ("1.0", Some(1_000)),
            ("1.000", Some(1_000)),
            ("0.7", Some(700)),
            (".25", Some(250)),
            ("0", Some(0)),
            ("0.001", Some(1)),
            ("1.1", None),
            ("0.0001", None),
            ("2", None),
            ("x", None),
            ("0.x", None),
        ] {
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }

    //= RFC 3261 10.2.1.1
    //= type=test
    #[test]
    fn an_interval_that_cannot_be_read_is_an_hour() {
        for (text, expected) in [
            ("60", 60),
            ("0", 0),
            ("", 3_600),
            ("abc", 3_600),
            ("-1", 3_600),
            ("99999999999", u32::MAX),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
