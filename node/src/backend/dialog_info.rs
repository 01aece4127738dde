//! `application/dialog-info+xml` (RFC 4235) as a switchboard notifies it: what a line's state depends on, and
//! nothing else.

use shard::xml::{Document, Element};

/// The document's namespace.
const NAMESPACE: &str = "urn:ietf:params:xml:ns:dialog-info";

/// Dialogs of one document. A telephone has a handful; a document with more is somebody's mistake.
pub(super) const DIALOGS_MAX: usize = 64;

/// Bytes of the name of a dialog.
const NAME_BYTES_MAX: usize = 512;

/// Where a dialog is on its way, which has one direction (RFC 4235 §3.7.1). The order of the variants is the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Trying,
    Proceeding,
    Early,
    Confirmed,
    Terminated,
}

/// One dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dialog {
    /// Unique for its entity.
    pub(super) id: String,
    /// Whether the watched telephone called.
    pub(super) calls: bool,
    /// How far it is.
    pub(super) phase: Phase,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DialogInfo {
    /// Grows with each document of a subscription.
    pub(super) version: u64,
    /// Whether it names every dialog that there is.
    pub(super) full: bool,
    /// What it names.
    pub(super) dialogs: Vec<Dialog>,
}

impl DialogInfo {
    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    //= RFC 4235 4.1
    //# version, state and entity; each dialog with an id and a state
    pub(super) fn read(body: &[u8]) -> Result<DialogInfo, String> {
        let document = Document::parse(body).map_err(|error| error.to_string())?;
        let root = document.root();
        if !root.is(NAMESPACE, "dialog-info") {
            return Err("not a dialog-info document".to_owned());
        }
        let version = root.attribute("version");
        let version = version.and_then(|version| version.trim().parse().ok());
        let state = root.attribute("state").unwrap_or_default();
        let mut dialogs = Vec::new();
        for dialog in root
            .children()
            .filter(|child| child.is(NAMESPACE, "dialog"))
        {
            if dialogs.len() >= DIALOGS_MAX {
                return Err("too many dialogs".to_owned());
            }
            dialogs.push(read_dialog(dialog)?);
        }
        Ok(DialogInfo {
            version: version.ok_or("no version")?,
            // What is not said to be a part is everything.
            full: !state.trim().eq_ignore_ascii_case("partial"),
            dialogs,
        })
    }
}

fn read_dialog(dialog: Element<'_, '_>) -> Result<Dialog, String> {
    let id = dialog.attribute("id").unwrap_or_default();
    let id = id.trim();
    if id.is_empty() || id.len() > NAME_BYTES_MAX {
        return Err("a dialog without an id, or with one that is too long".to_owned());
    }
    let mut children = dialog.children();
    let state = children.find(|child| child.is(NAMESPACE, "state"));
    let state = state.ok_or("a dialog without a state")?.text();
    // Some write them with a capital letter.
    let phase = match state.trim().to_ascii_lowercase().as_str() {
        "trying" => Phase::Trying,
        "proceeding" => Phase::Proceeding,
        "early" => Phase::Early,
        "confirmed" => Phase::Confirmed,
        "terminated" => Phase::Terminated,
        _ => return Err("a state that RFC 4235 does not have".to_owned()),
    };
    let direction = dialog.attribute("direction").unwrap_or_default();
    Ok(Dialog {
        id: id.to_owned(),
        calls: direction.trim().eq_ignore_ascii_case("initiator"),
        phase,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(attributes: &str, dialogs: &str) -> String {
        format!(
            "<dialog-info xmlns=\"{NAMESPACE}\" entity=\"sip:200@x\" {attributes}>{dialogs}</dialog-info>"
        )
    }

    //= RFC 4235 4.1
    //= type=test
    #[test]
    fn a_document_has_dialogs_with_states() {
        let text = document(
            "version=\"00000000007\" state=\"partial\"",
            "<dialog id=\"a\" call-id=\"c\" direction=\"initiator\"><state event=\"x\">Early</state><local/></dialog>\
             <other xmlns=\"urn:x\"/><dialog id=\" b \"><state> confirmed </state></dialog>",
        );
        let read = DialogInfo::read(text.as_bytes()).expect("sound");
        assert_eq!((read.version, read.full), (7, false));
        let dialog = |id: &str, calls, phase| Dialog {
            id: id.to_owned(),
            calls,
            phase,
        };
        let expected = [
            dialog("a", true, Phase::Early),
            dialog("b", false, Phase::Confirmed),
        ];
        assert_eq!(read.dialogs, expected);
        let whole = document("version=\"0\" state=\"full\"", "");
        assert!(DialogInfo::read(whole.as_bytes()).expect("sound").full);
    }

    #[test]
    fn what_is_none_is_refused() {
        let dialog = "<dialog id=\"a\"><state>early</state></dialog>";
        let many = dialog.repeat(DIALOGS_MAX + 1);
        let long = dialog.replace("\"a\"", &format!("\"{}\"", "a".repeat(NAME_BYTES_MAX + 1)));
        for (what, text) in [
            ("no XML", "dialog-info".to_owned()),
            (
                "another document",
                "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\"/>".to_owned(),
            ),
            ("no version", document("state=\"full\"", "")),
            ("no number", document("version=\"x\" state=\"full\"", "")),
            (
                "no id",
                document("version=\"1\"", &dialog.replace(" id=\"a\"", "")),
            ),
            ("no state", document("version=\"1\"", "<dialog id=\"a\"/>")),
            (
                "another state",
                document("version=\"1\"", &dialog.replace("early", "late")),
            ),
            ("too many", document("version=\"1\"", &many)),
            ("a long id", document("version=\"1\"", &long)),
        ] {
            assert!(DialogInfo::read(text.as_bytes()).is_err(), "{what}");
        }
    }
}
