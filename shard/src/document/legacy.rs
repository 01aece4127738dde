//! Enhanced presence for watchers of standard formats: PIDF with RPID (MS-PRES 3.7.5.4) and
//! `text/xml+msrtc.pidf` (MS-PRES 3.7.5.5).

use crate::category::legacy_interop::LegacyInterop;
use crate::category::state::OFFLINE;
use crate::category::{write_attribute, write_text};
use crate::slot::Aor;
use crate::subscription::view::{Legacy, Seen, View};

/// The namespace of the MSRTC format.
const MSRTC: &str = "http://schemas.microsoft.com/2002/09/sip/presence";

/// The identities of one who is known by more than one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linked {
    /// The one to be invited by; empty when there is none.
    pub primary: Box<str>,
    /// The others.
    pub secondary: Box<[Box<str>]>,
    /// What a client finds the photo by; empty when there is none.
    pub cid: Box<str>,
}

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
//# the activity in the tuple's status; linked identities, cid and display name beside the tuple
pub fn compose_ms_pidf(view: &View, linked: Option<&Linked>, out: &mut Vec<u8>) {
    let nothing = Legacy::default();
    let legacy = match &view.seen {
        Seen::Legacy(legacy) => legacy,
        Seen::Publications(contents) if contents.iter().all(|content| content.is_silent()) => {
            &nothing
        }
        _ => return super::pidf::compose(view, out),
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
    // Who sees nothing is not told who it is either.
    if let Some(linked) = linked.filter(|_| legacy.interop.is_some()) {
        linked.write(out);
    }
    write_text("ci:display-name", &legacy.profile.card.display_name, out);
    out.extend_from_slice(b"</presence>\n");
}

impl Linked {
    fn write(&self, out: &mut Vec<u8>) {
        if !self.primary.is_empty() {
            out.extend_from_slice(b"<linked-identities");
            write_attribute("primary-id", &self.primary, out);
            out.extend_from_slice(b"><secondary-identities>");
            for identity in &self.secondary {
                write_text("secondary-identity", identity, out);
            }
            out.extend_from_slice(b"</secondary-identities></linked-identities>");
        }
        write_text("cid", &self.cid, out);
    }
}

/// Appends the MSRTC document.
//= MS-PRES 3.7.5.5
//# availability, activity, displayName, email, phoneNumber and the aggregate, by the table
pub fn compose_msrtc(view: &View, out: &mut Vec<u8>) {
    let nothing = Legacy::default();
    let legacy = match &view.seen {
        Seen::Legacy(legacy) => legacy,
        // Who waits for the presentity's word is shown nothing at all.
        Seen::Nothing => return,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::enhanced::Profile;
    use crate::subscription::dialog::Package;
    use crate::time::Timestamp;

    fn view(interop: Option<LegacyInterop>) -> View {
        let mut profile = Profile::default();
        if interop.is_some() {
            profile.card.display_name = "Bob \"<\" B".into();
            profile.card.email = "bob@contoso.com".into();
            profile.phone = "+1 (123) 4567890 X67890".into();
        }
        View {
            presentity: Aor::sip("bob", "contoso.com"),
            package: Package::Presence,
            revision: 1,
            taken_at: Timestamp(0),
            seen: Seen::Legacy(Box::new(Legacy { interop, profile })),
        }
    }

    fn online() -> LegacyInterop {
        LegacyInterop {
            availability: 3_500,
            token: "".into(),
        }
    }

    fn text(compose: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        compose(&mut out);
        String::from_utf8(out).expect("documents are UTF-8")
    }

    //= MS-PRES 3.7.5.5
    //= type=test
    //# display name, mail address and telephone number are the directory's
    // proves: PRES-3.7.5.5-05 PRES-3.7.5.5-06
    #[test]
    fn msrtc_says_who_it_is_to_who_may_see_it() {
        let shown = text(|out| compose_msrtc(&view(Some(online())), out));
        for part in [
            "<displayName displayName=\"Bob &quot;&lt;&quot; B\"/>",
            "<email email=\"bob@contoso.com\"/>",
            "<phoneNumber number=\"+1 (123) 4567890 X67890\"/>",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let hidden = text(|out| compose_msrtc(&view(None), out));
        assert!(
            hidden.contains("<displayName displayName=\"\"/>"),
            "{hidden}"
        );
        assert!(hidden.contains("avail=\"18500\""), "{hidden}");
    }

    // proves: PRES-2.2.2.8.1-06
    #[test]
    fn identities_are_linked_for_who_may_see_them() {
        let linked = Linked {
            primary: "bob@a".into(),
            secondary: ["b&b@c".into()].into(),
            cid: "".into(),
        };
        let compose = |interop, linked: Option<&Linked>| {
            text(|out| compose_ms_pidf(&view(interop), linked, out))
        };
        let shown = compose(Some(online()), Some(&linked));
        let part = "</tuple><linked-identities primary-id=\"bob@a\"><secondary-identities>\
            <secondary-identity>b&amp;b@c</secondary-identity></secondary-identities></linked-identities><ci:";
        assert!(shown.contains(part), "{shown}");
        assert!(!shown.contains("<cid>"), "{shown}");
        for plain in [compose(Some(online()), None), compose(None, Some(&linked))] {
            assert!(!plain.contains("linked"), "{plain}");
        }
    }
}
