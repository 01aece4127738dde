//! Enhanced presence for watchers of standard formats: PIDF with RPID (MS-PRES 3.7.5.4) and
//! `text/xml+msrtc.pidf` (MS-PRES 3.7.5.5).

use crate::category::legacy_interop::LegacyInterop;
use crate::category::state::OFFLINE;
use crate::category::{write_attribute, write_text};
use crate::slot::Aor;
use crate::subscription::view::{Legacy, Seen, View};

/// The namespace of the MSRTC format.
const MSRTC: &str = "http://schemas.microsoft.com/2002/09/sip/presence";

/// What is shown to who sees nothing: somebody who is not there.
fn interop(legacy: &Legacy) -> LegacyInterop {
    legacy.interop.clone().unwrap_or(LegacyInterop {
        availability: OFFLINE,
        token: "".into(),
    })
}

/// Appends the PIDF document, with the activity as RFC 4480 has it (contradiction C-05).
//= MS-PRES 3.7.5.4
//# one tuple; open or closed, and the activity, by the table
pub(super) fn compose_pidf(presentity: &Aor, legacy: &Legacy, out: &mut Vec<u8>) {
    let seen = interop(legacy).as_pidf();
    out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<presence");
    write_attribute("xmlns", "urn:ietf:params:xml:ns:pidf", out);
    write_attribute("xmlns:dm", "urn:ietf:params:xml:ns:pidf:data-model", out);
    write_attribute("xmlns:rpid", "urn:ietf:params:xml:ns:pidf:rpid", out);
    write_attribute("xmlns:c", "urn:ietf:params:xml:ns:pidf:cipid", out);
    write_attribute("entity", &presentity.to_string(), out);
    out.extend_from_slice(b"><tuple id=\"t0\"><status>");
    write_text("basic", if seen.open { "open" } else { "closed" }, out);
    out.extend_from_slice(b"</status></tuple>");
    let name = &legacy.profile.card.display_name;
    if seen.activity.is_some() || !name.is_empty() {
        out.extend_from_slice(b"<dm:person id=\"p0\">");
        if let Some(activity) = seen.activity {
            for part in ["<rpid:activities><rpid:", activity, "/></rpid:activities>"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        write_text("c:display-name", name, out);
        out.extend_from_slice(b"</dm:person>");
    }
    out.extend_from_slice(b"</presence>\n");
}

/// Appends the PIDF document exactly as Microsoft's servers print it (contradiction C-06).
//= MS-PRES 2.2.2.8.1
//# the activity in the tuple's status, the display name beside the tuple
pub fn compose_ms_pidf(view: &View, out: &mut Vec<u8>) {
    let Seen::Legacy(legacy) = &view.seen else {
        return super::pidf::compose(view, out);
    };
    let seen = interop(legacy).as_pidf();
    out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<presence");
    write_attribute("xmlns", "urn:ietf:params:xml:ns:pidf", out);
    write_attribute(
        "xmlns:ep",
        "urn:ietf:params:xml:ns:pidf:status:rpid-status",
        out,
    );
    write_attribute("xmlns:et", "urn:ietf:params:xml:ns:pidf:rpid-tuple", out);
    write_attribute("xmlns:ci", "urn:ietf:params:xml:ns:pidf:cipid", out);
    write_attribute("entity", &view.presentity.to_string(), out);
    out.extend_from_slice(b"><tuple id=\"0\"><status>");
    write_text("basic", if seen.open { "open" } else { "closed" }, out);
    if let Some(activity) = seen.activity {
        out.extend_from_slice(b"<ep:activities>");
        write_text("ep:activity", activity, out);
        out.extend_from_slice(b"</ep:activities>");
    }
    out.extend_from_slice(b"</status></tuple>");
    write_text("ci:display-name", &legacy.profile.card.display_name, out);
    out.extend_from_slice(b"</presence>\n");
}

/// Appends the MSRTC document.
//= MS-PRES 3.7.5.5
//# availability, activity, displayName, email, phoneNumber and the aggregate, by the table
pub fn compose_msrtc(view: &View, out: &mut Vec<u8>) {
    let nothing = Legacy::default();
    let legacy = match &view.seen {
        Seen::Legacy(legacy) => legacy,
        _ => &nothing,
    };
    let interop = interop(legacy);
    let seen = interop.as_msrtc();
    let (card, phone) = (&legacy.profile.card, &legacy.profile.phone);
    out.extend_from_slice(b"<presentity");
    write_attribute("uri", view.presentity.as_str(), out);
    write_attribute("xmlns", MSRTC, out);
    write_attribute(
        "xmlns:xsi",
        "http://www.w3.org/2001/XMLSchema-instance",
        out,
    );
    out.push(b'>');
    let mut element = |name: &str, attribute: &str, value: &str| {
        out.push(b'<');
        out.extend_from_slice(name.as_bytes());
        write_attribute(attribute, value, out);
        out.extend_from_slice(b"/>");
    };
    element("availability", "aggregate", &seen.availability.to_string());
    element("activity", "aggregate", &seen.activity.to_string());
    element("displayName", "displayName", &card.display_name);
    element("email", "email", &card.email);
    element("phoneNumber", "number", phone);
    out.extend_from_slice(b"<aggregate><states><state");
    write_attribute("avail", &seen.avail.to_string(), out);
    write_attribute("xsi:type", "userState", out);
    out.push(b'>');
    //= MS-PRES 3.7.5.5
    //# the state's text is the token of legacyInterop
    let token = if interop.token.is_empty() {
        seen.name
    } else {
        &interop.token
    };
    crate::xml::escape(token, out);
    out.extend_from_slice(b"</state></states></aggregate></presentity>");
}
