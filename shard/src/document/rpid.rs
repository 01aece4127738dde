//! Rich presence (RFC 4480), and the older drafts that gateways and Microsoft's servers still speak.

use crate::xml::{Element, escape};

/// RFC 4480.
pub(super) const RPID: &str = "urn:ietf:params:xml:ns:pidf:rpid";

/// The drafts before it: activities are texts inside a tuple's status.
const DRAFTS: [&str; 2] = [
    "urn:ietf:params:xml:ns:pidf:status:rpid-status",
    "urn:ietf:params:xml:ns:pidf:rpid-status",
];

/// The activities that RFC 4480 §3.2 names.
const ACTIVITIES: [&str; 27] = [
    "appointment",
    "away",
    "breakfast",
    "busy",
    "dinner",
    "holiday",
    "in-transit",
    "looking-for-work",
    "lunch",
    "meal",
    "meeting",
    "on-the-phone",
    "other",
    "performance",
    "permanent-absence",
    "playing",
    "presentation",
    "shopping",
    "sleeping",
    "spectator",
    "steering",
    "travel",
    "tv",
    "unknown",
    "vacation",
    "working",
    "worship",
];

/// Collects what a draft's element inside a status says about the person; `false` when it is no draft's.
pub(super) fn take_draft(element: Element<'_, '_>, activities: &mut Vec<String>) -> bool {
    if !DRAFTS.contains(&element.namespace()) {
        return false;
    }
    match element.local() {
        "activities" => {
            for activity in element.children() {
                // Some write the activity as an element's name instead of its text.
                let text = activity.text();
                let text = if text.is_empty() {
                    activity.local().into()
                } else {
                    text
                };
                activities.push(text.trim().to_owned());
            }
        }
        "activity" => activities.push(element.text().into_owned()),
        _ => {}
    }
    true
}

/// Appends RFC 4480's activities.
pub(super) fn write_activities(activities: &[String], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<rpid:activities>");
    for activity in activities {
        let name = activity.to_ascii_lowercase();
        match ACTIVITIES
            .iter()
            .find(|known| **known == name && **known != "other")
        {
            Some(known) => {
                out.extend_from_slice(b"<rpid:");
                out.extend_from_slice(known.as_bytes());
                out.extend_from_slice(b"/>");
            }
            None => {
                out.extend_from_slice(b"<rpid:other>");
                escape(activity, out);
                out.extend_from_slice(b"</rpid:other>");
            }
        }
    }
    out.extend_from_slice(b"</rpid:activities>");
}
