//! `application/reginfo+xml` (RFC 3680): where a user is registered.

use crate::category::{write_attribute, write_text};
use crate::presence::endpoint::{Endpoint, Unbinding};
use crate::subscription::view::{Seen, View};
use crate::time::Timestamp;

/// Appends the document that shows `view`, to be finished ([`super::finish`]) with its version. All bindings that
/// there are stand in it, and once those that have just gone.
//= RFC 3680 5.1
//# one registration with its contacts; each says how it stands and what made it so
pub fn compose(view: &View, out: &mut Vec<u8>) {
    let (bound, unbound) = match &view.seen {
        Seen::Registrations { bound, unbound } => (&bound[..], &unbound[..]),
        _ => (&[][..], &[][..]),
    };
    let begin = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\"";
    super::unfinished(begin, " state=\"full\"><registration", out);
    let address = view.presentity.to_string();
    let hash = xxhash_rust::xxh3::xxh3_64(address.as_bytes());
    write_attribute("aor", &address, out);
    write_attribute("id", &format!("r{hash:016x}"), out);
    //= RFC 3680 4.7
    //# init without contacts, active with some, terminated when the last has just gone
    let state = match (bound.is_empty(), unbound.is_empty()) {
        (false, _) => "active",
        (true, false) => "terminated",
        (true, true) => "init",
    };
    write_attribute("state", state, out);
    out.push(b'>');
    for endpoint in bound {
        write_contact(endpoint, None, view.taken_at, out);
    }
    for (endpoint, how) in unbound {
        write_contact(endpoint, Some(*how), view.taken_at, out);
    }
    out.extend_from_slice(b"</registration></reginfo>\n");
}

fn write_contact(endpoint: &Endpoint, gone: Option<Unbinding>, now: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<contact");
    write_attribute("id", &format!("c{:016x}", endpoint.binding), out);
    let (state, event) = match gone {
        None => ("active", "registered"),
        Some(how) => ("terminated", how.as_str()),
    };
    write_attribute("state", state, out);
    write_attribute("event", event, out);
    let left_s = match gone {
        None => endpoint.expires_at.seconds_after(now),
        Some(_) => 0,
    };
    write_attribute("expires", &left_s.to_string(), out);
    write_attribute(
        "q",
        &format!("{}.{:03}", endpoint.q / 1_000, endpoint.q % 1_000),
        out,
    );
    out.push(b'>');
    write_text("uri", &endpoint.contact, out);
    if !endpoint.instance.is_empty() {
        out.extend_from_slice(b"<unknown-param name=\"+sip.instance\">");
        crate::xml::escape(
            &format!("\"<{}>\"", endpoint.instance.trim_matches(['<', '>'])),
            out,
        );
        out.extend_from_slice(b"</unknown-param>");
    }
    out.extend_from_slice(b"</contact>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Aor;
    use crate::subscription::dialog::Package;

    //= RFC 3680 5.1
    //= type=test
    //= RFC 3680 4.7
    //= type=test
    #[test]
    fn a_registration_is_its_contacts_and_those_that_have_gone() {
        let endpoint = |binding, instance: &str| Endpoint {
            binding,
            contact: "sip:phone@192.0.2.7;x=\"1\"".into(),
            instance: instance.into(),
            q: 500,
            path: "".into(),
            call_id: 1,
            cseq: 2,
            expires_at: Timestamp(61_000),
            target: b"target"[..].into(),
            endpoint_id: None,
        };
        let contact = "<uri>sip:phone@192.0.2.7;x=&quot;1&quot;</uri>";
        let named =
            "<unknown-param name=\"+sip.instance\">&quot;&lt;urn:uuid:1&gt;&quot;</unknown-param>";
        for (bound, unbound, state, contacts) in [
            (vec![], vec![], "init", String::new()),
            (
                vec![endpoint(1, "urn:uuid:1")],
                vec![],
                "active",
                format!(
                    "<contact id=\"c0000000000000001\" state=\"active\" event=\"registered\" expires=\"60\" q=\"0.500\">\
                     {contact}{named}</contact>"
                ),
            ),
            (
                vec![],
                vec![(endpoint(2, ""), Unbinding::Expired)],
                "terminated",
                format!(
                    "<contact id=\"c0000000000000002\" state=\"terminated\" event=\"expired\" expires=\"0\" q=\"0.500\">\
                     {contact}</contact>"
                ),
            ),
        ] {
            let alice = Aor::sip("alice", "example.com");
            let view = View {
                taken_at: Timestamp(1_000),
                seen: Seen::Registrations {
                    bound: bound.into(),
                    unbound,
                },
                ..View::of_nothing(alice, Package::Reg, Timestamp(1_000))
            };
            let mut out = Vec::new();
            compose(&view, &mut out);
            let text = String::from_utf8(super::super::finish(&out, 3)).expect("text");
            let id = text
                .split("id=\"r")
                .nth(1)
                .and_then(|rest| rest.get(..16))
                .expect("an id");
            assert_eq!(
                text,
                format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" \
                     version=\"3\" state=\"full\"><registration aor=\"sip:alice@example.com\" id=\"r{id}\" \
                     state=\"{state}\">{contacts}</registration></reginfo>\n"
                )
            );
        }
    }
}
