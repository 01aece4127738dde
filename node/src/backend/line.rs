//! The state of one telephone line, out of the documents of its subscription; and what is published of it.

use std::collections::BTreeMap;

use shard::document::pidf;
use shard::xml::escape;

use super::dialog_info::{DIALOGS_MAX, Dialog, DialogInfo, Phase};
use crate::dialect::feed::Feed;

/// How long a dialog that ended is remembered: 64·T1, the longest that a message about it may be late.
const MEMORY_MS: u64 = 32_000;

/// Dialogs of a line at once, with those that ended a moment ago.
const KNOWN_MAX: usize = 4 * DIALOGS_MAX;

/// What a line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineState {
    Idle,
    Ringing,
    Busy,
}

impl LineState {
    /// In BluStar's words.
    //= BLUSTAR 3.1
    //# a line is idle, ringing or busy
    pub(super) fn as_str(self) -> &'static str {
        match self {
            LineState::Idle => "idle",
            LineState::Ringing => "ringing",
            LineState::Busy => "busy",
        }
    }
}

/// What came of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It was taken.
    Taken,
    /// One that is older than what is known: left out.
    Old,
    /// A part, and those before it were missed: everything has to be asked for.
    Gap,
}

/// The dialogs of a line.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// Of the last document of this subscription; none before the first.
    version: Option<u64>,
    /// Whether this subscription has told anything.
    known: bool,
    /// Dialogs that live, and those that ended with the time of their end.
    dialogs: BTreeMap<String, (bool, Phase, u64)>,
}

impl Line {
    /// A new subscription begins: versions count anew, and the first document is whole.
    pub(super) fn begin(&mut self) {
        (self.version, self.known) = (None, false);
    }

    /// Whether this subscription has told what the line does.
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// Takes a notification without a document: there is nothing to tell. Kamailio begins so where there is no call,
    /// and ends so a call whose end it has missed.
    //= RFC 6665 4.2.2
    //# who has no state to tell says so by an empty body
    pub(super) fn hear_nothing(&mut self, now_ms: u64) {
        self.known = true;
        self.forget(now_ms);
        for (_, phase, at) in self.dialogs.values_mut() {
            if *phase != Phase::Terminated {
                (*phase, *at) = (Phase::Terminated, now_ms);
            }
        }
    }

    /// Forgets dialogs that ended long ago.
    fn forget(&mut self, now_ms: u64) {
        self.dialogs.retain(|_, (_, phase, at)| {
            *phase != Phase::Terminated || now_ms.saturating_sub(*at) < MEMORY_MS
        });
    }

    /// Takes a document.
    //= RFC 4235 4.3
    //# a version that is not greater is left out; a part after a gap is asked for as a whole
    pub(super) fn hear(&mut self, document: DialogInfo, now_ms: u64) -> Heard {
        if self.version.is_some_and(|known| document.version <= known) {
            return Heard::Old;
        }
        let follows = self
            .version
            .is_some_and(|known| document.version == known + 1);
        if !document.full && !follows {
            return Heard::Gap;
        }
        (self.version, self.known) = (Some(document.version), true);
        self.forget(now_ms);
        if document.full {
            for (id, (_, phase, at)) in &mut self.dialogs {
                let named = document.dialogs.iter().any(|dialog| dialog.id == *id);
                if !named && *phase != Phase::Terminated {
                    (*phase, *at) = (Phase::Terminated, now_ms);
                }
            }
        }
        for Dialog { id, calls, phase } in document.dialogs {
            let known = self.dialogs.get(&id).map(|(_, phase, _)| *phase);
            //= RFC 4235 3.7.1
            //# a dialog goes one way: nothing is early after it was terminated, nor after it was confirmed
            if known.is_some_and(|known| known > phase) {
                continue;
            }
            if known.is_none() && self.dialogs.len() >= KNOWN_MAX {
                continue;
            }
            let at = match self.dialogs.get(&id) {
                Some((_, Phase::Terminated, at)) => *at,
                _ => now_ms,
            };
            self.dialogs.insert(id, (calls, phase, at));
        }
        Heard::Taken
    }

    /// What the line does.
    pub(super) fn state(&self) -> LineState {
        let living = || {
            self.dialogs
                .values()
                .filter(|(_, phase, _)| *phase != Phase::Terminated)
        };
        // Who has called is at the telephone before somebody answers.
        if living().any(|(calls, phase, _)| *calls || *phase == Phase::Confirmed) {
            LineState::Busy
        } else if living().next().is_some() {
            LineState::Ringing
        } else {
            LineState::Idle
        }
    }
}

/// The publication that says what a line of a user does, for so many seconds; `None` removes what was said.
///
/// An idle telephone says nothing of its user: whether somebody sits beside it is unknown.
//= BLUSTAR 2.5
//# what the switchboard says of a line becomes a part of the user's document
pub(super) fn feed(
    address: &str,
    source: &str,
    number: &str,
    said: Option<(LineState, u32)>,
) -> Feed {
    let Some((state, expires_s)) = said else {
        return Feed::of_connector(address, source, None, 0, Vec::new());
    };
    let content = pidf::parse(&document(source, number, state)).ok();
    Feed::of_connector(address, source, content, expires_s, Vec::new())
}

fn document(source: &str, number: &str, state: LineState) -> Vec<u8> {
    // The composed document has the presentity's own address.
    let mut xml = b"<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:nobody.invalid\" \
        xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
        xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
        xmlns:aa=\"http://www.aastra.com/presence/blustar/2011\">"
        .to_vec();
    let mut put = |parts: &[&str]| {
        parts
            .iter()
            .for_each(|part| xml.extend_from_slice(part.as_bytes()));
    };
    let busy = state == LineState::Busy;
    let mut escaped = Vec::new();
    escape(number, &mut escaped);
    let number = String::from_utf8_lossy(&escaped);
    // Somebody who speaks over it can be reached.
    if busy {
        put(&[
            "<tuple id=\"",
            source,
            "\"><status><basic>open</basic></status><dm:deviceID>tel:",
            &number,
            "</dm:deviceID></tuple>",
        ]);
    }
    put(&[
        "<dm:device id=\"",
        source,
        "-line\"><aa:line><aa:DN>",
        &number,
        "</aa:DN><aa:state>",
        state.as_str(),
        "</aa:state></aa:line><dm:deviceID>tel:",
        &number,
        "</dm:deviceID></dm:device>",
    ]);
    if busy {
        put(&[
            "<dm:person id=\"",
            source,
            "-person\"><rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>",
        ]);
    }
    put(&["</presence>"]);
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use shard::presence::bearing::{Device, Doing};

    fn info(version: u64, full: bool, dialogs: &[(&str, bool, Phase)]) -> DialogInfo {
        let dialogs = dialogs.iter().map(|(id, calls, phase)| Dialog {
            id: (*id).to_owned(),
            calls: *calls,
            phase: *phase,
        });
        DialogInfo {
            version,
            full,
            dialogs: dialogs.collect(),
        }
    }

    //= RFC 4235 3.7.1
    //= type=test
    //= RFC 4235 4.3
    //= type=test
    #[test]
    fn a_line_follows_its_documents_and_nothing_goes_back() {
        use LineState::{Busy, Idle, Ringing};
        use Phase::{Confirmed, Early, Terminated, Trying};
        let mut line = Line::default();
        for (what, version, full, dialogs, heard, state) in [
            (
                "a part before the whole",
                0,
                false,
                vec![("a", false, Early)],
                Heard::Gap,
                Idle,
            ),
            ("nothing", 1, true, vec![], Heard::Taken, Idle),
            (
                "it rings",
                2,
                false,
                vec![("a", false, Early)],
                Heard::Taken,
                Ringing,
            ),
            (
                "the same again",
                2,
                false,
                vec![("a", false, Confirmed)],
                Heard::Old,
                Ringing,
            ),
            (
                "somebody answers",
                3,
                false,
                vec![("a", false, Confirmed)],
                Heard::Taken,
                Busy,
            ),
            (
                "a late ringing",
                4,
                false,
                vec![("a", false, Early)],
                Heard::Taken,
                Busy,
            ),
            (
                "another one waits",
                5,
                false,
                vec![("b", false, Early)],
                Heard::Taken,
                Busy,
            ),
            (
                "a gap",
                7,
                false,
                vec![("b", false, Terminated)],
                Heard::Gap,
                Busy,
            ),
            (
                "the whole",
                8,
                true,
                vec![("b", false, Early)],
                Heard::Taken,
                Ringing,
            ),
            (
                "the first comes again",
                9,
                true,
                vec![("a", false, Early)],
                Heard::Taken,
                Idle,
            ),
            (
                "early after its end",
                10,
                false,
                vec![("b", false, Early)],
                Heard::Taken,
                Idle,
            ),
            (
                "a call goes out",
                11,
                true,
                vec![("c", true, Trying)],
                Heard::Taken,
                Busy,
            ),
            (
                "it ends",
                12,
                true,
                vec![("c", true, Terminated)],
                Heard::Taken,
                Idle,
            ),
        ] {
            assert_eq!(
                line.hear(info(version, full, &dialogs), 1_000),
                heard,
                "{what}"
            );
            assert_eq!(line.state(), state, "{what}");
        }
        // A switchboard that names its lamps after its lines uses an id again.
        let again = info(13, true, &[("c", true, Early)]);
        assert_eq!(line.hear(again, 1_000 + MEMORY_MS), Heard::Taken);
        assert_eq!(line.state(), Busy);
        // A new subscription counts anew.
        line.begin();
        assert!(!line.is_known());
        assert_eq!(
            line.hear(info(0, true, &[]), 2_000 + MEMORY_MS),
            Heard::Taken
        );
        assert_eq!(line.state(), Idle);
    }

    //= RFC 6665 4.2.2
    //= type=test
    #[test]
    fn no_document_means_no_call() {
        let mut line = Line::default();
        line.hear_nothing(1);
        assert!(line.is_known() && line.state() == LineState::Idle);
        line.hear(info(4, true, &[("a", false, Phase::Confirmed)]), 2);
        assert_eq!(line.state(), LineState::Busy);
        line.hear_nothing(3);
        assert_eq!(line.state(), LineState::Idle);
        line.hear(info(5, false, &[("a", false, Phase::Confirmed)]), 4);
        assert_eq!(line.state(), LineState::Idle, "it is over");
    }

    #[test]
    fn what_is_kept_of_a_line_is_bounded() {
        let mut line = Line::default();
        for version in 0..100 {
            let ids: Vec<String> = (0..64).map(|n| format!("{version}-{n}")).collect();
            let dialogs: Vec<_> = ids
                .iter()
                .map(|id| (id.as_str(), false, Phase::Early))
                .collect();
            line.hear(info(version, true, &dialogs), 1);
        }
        assert!(line.dialogs.len() <= KNOWN_MAX);
    }

    //= BLUSTAR 2.5
    //= type=test
    //= BLUSTAR 3.1
    //= type=test
    #[test]
    fn a_busy_line_is_a_device_and_an_idle_one_is_nobody() {
        for (state, device, doing) in [
            (LineState::Idle, Device::Absent, Doing::Nothing),
            (LineState::Ringing, Device::Absent, Doing::Nothing),
            (LineState::Busy, Device::Online, Doing::OnThePhone),
        ] {
            let stored = pidf::parse(&document("pbx.main.x", "+49<30>", state)).expect("sound");
            let bearing = pidf::bearing(&stored);
            assert_eq!(
                (bearing.device, bearing.doing),
                (device, doing),
                "{state:?}"
            );
        }
    }
}
