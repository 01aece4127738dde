//! REGISTER (RFC 3261 §10, RFC 3327): contacts of an address.

use bytes::Bytes;
use shard::machine::command::{Binding, Bindings, Command, Register};
use shard::presence::endpoint::Endpoint;
use shard::slot::Slot;
use shard::time::Timestamp;
use transport::dialog::Target;
use transport::sip::header::NameAddr;
use transport::sip::write::Reply;
use transport::sip::{Name, Request, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

use super::{Answer, Circumstances, Grace, Policy, Scratch, Translated, address, refusal};

/// REGISTER: the Request-URI names the domain, To names whose contacts they are.
pub(super) fn register<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let policy = circumstances.policy;
    address(request.uri(), policy, &mut scratch.watcher)?;
    address(request.to().uri, policy, &mut scratch.presentity)?;
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
            let bindings = contacts
                .iter()
                .map(|contact| binding(contact, request, policy, path, &scratch.target))
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
    });
    Ok(Translated::Change {
        slot,
        command,
        grace,
    })
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
    let same = if instance.is_empty() {
        contact.uri
    } else {
        instance
    };
    Ok(Binding {
        binding: xxh3_64(same.as_bytes()),
        contact: contact.uri,
        instance,
        q,
        path,
        expires_s,
        target,
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
