//! Calls of a user, as dialog publications tell of them (RFC 4235): what is kept of each publication, how an
//! update changes it, and what it says of the user's telephone line.
//!
//! An update may come late, and several publishers may tell of one call. So states are compared: what has gone
//! further stays, and an update that would go back is put right to the state that is known. A call that ended is
//! remembered for a while, so that a late word does not make it ring again. Two entries are the same call
//!
//! - within one publication when they have one id and one Call-ID, and tags that do not contradict each other;
//! - between publications when Call-ID and local tag are the same, and their remote tags do not contradict.
//!
//! An entry without a Call-ID is a lamp and not a call (a PBX names its extension): each word about it is believed.

use crate::presence::bearing::{Bearing, Device, Doing};
use crate::time::Timestamp;

/// Living calls in one publication: more than any attendant's desk has lines.
pub const CALLS_MAX: usize = 64;

/// Ended calls that one publication remembers, the newest: 16 of some 150 bytes.
const ENDED_MAX: usize = 16;

/// How long an ended call is remembered, in milliseconds: 64·T1, after which no request of its time is under way.
const ENDED_MS: u64 = 32_000;

/// The first byte of the stored form; it is not the one of a presence document.
const FORM: u8 = 0x64;

/// How far a call is. The order is the rule, the numbers are stored for ever.
//= RFC 4235 3.7.1
//# trying, proceeding, early, confirmed, terminated, in this order
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CallState {
    /// Something was sent or received, nothing was answered.
    Trying = 1,
    /// A provisional response without a tag.
    Proceeding = 2,
    /// A provisional response with one: it rings.
    Early = 3,
    /// It was answered.
    Confirmed = 4,
    /// It is over.
    Terminated = 5,
}

impl CallState {
    const ALL: [CallState; 5] = [
        CallState::Trying,
        CallState::Proceeding,
        CallState::Early,
        CallState::Confirmed,
        CallState::Terminated,
    ];

    /// The word of the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CallState::Trying => "trying",
            CallState::Proceeding => "proceeding",
            CallState::Early => "early",
            CallState::Confirmed => "confirmed",
            CallState::Terminated => "terminated",
        }
    }

    /// Reads the word, in any letter case: there are publishers that write `Trying`.
    #[must_use]
    pub fn parse(text: &str) -> Option<CallState> {
        let text = text.trim();
        let mut all = CallState::ALL.into_iter();
        all.find(|state| state.as_str().eq_ignore_ascii_case(text))
    }

    fn from_number(number: u8) -> Option<CallState> {
        CallState::ALL
            .into_iter()
            .find(|state| *state as u8 == number)
    }
}

/// Who called. The numbers are stored for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// The user.
    Initiator = 1,
    /// The other.
    Recipient = 2,
}

impl Direction {
    /// The word of the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Initiator => "initiator",
            Direction::Recipient => "recipient",
        }
    }
}

/// One side of a call; empty texts where nothing was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party<'a> {
    /// A name.
    pub display: &'a str,
    /// An address: a URI.
    pub identity: &'a str,
    /// Where requests of the dialog go: a URI.
    pub target: &'a str,
    /// Parameters of the target: whether it is on hold, which appearance it has.
    pub params: Vec<(&'a str, &'a str)>,
}

/// One call; empty texts where nothing was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The publisher's name of it.
    pub id: &'a str,
    /// Its Call-ID.
    pub call_id: &'a str,
    /// The user's tag.
    pub local_tag: &'a str,
    /// The other's.
    pub remote_tag: &'a str,
    /// Who called, if it was said.
    pub direction: Option<Direction>,
    /// How far it is.
    pub state: CallState,
    /// In an update how many seconds old it is, plus one; in what is kept when it began, or ended if it has
    /// ended, in milliseconds. 0 when nobody knows.
    pub clock: u64,
    /// The user.
    pub local: Party<'a>,
    /// The other.
    pub remote: Party<'a>,
}

impl Call<'_> {
    /// It is not over.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.state != CallState::Terminated
    }

    /// Whether another entry of the same publication is this call.
    fn is_within(&self, other: &Call<'_>) -> bool {
        self.id == other.id && self.agrees(other) || self.is_across(other)
    }

    /// Whether an entry of another publication is this call.
    #[must_use]
    pub fn is_across(&self, other: &Call<'_>) -> bool {
        !self.local_tag.is_empty() && self.local_tag == other.local_tag && self.agrees(other)
    }

    /// The same Call-ID, and nothing that says otherwise.
    fn agrees(&self, other: &Call<'_>) -> bool {
        let fits = |one: &str, two: &str| one.is_empty() || two.is_empty() || one == two;
        let directions = self.direction.is_none()
            || other.direction.is_none()
            || self.direction == other.direction;
        !self.call_id.is_empty()
            && self.call_id == other.call_id
            && directions
            && fits(self.local_tag, other.local_tag)
            && fits(self.remote_tag, other.remote_tag)
    }

    /// Whether the user's telephone is in use by it, and not only ringing.
    fn occupies(&self) -> bool {
        match self.state {
            CallState::Terminated => false,
            CallState::Confirmed => true,
            CallState::Trying | CallState::Proceeding | CallState::Early => {
                self.direction == Some(Direction::Initiator)
            }
        }
    }
}

/// What a row of calls is. The numbers are stored for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// An update with all calls that there are.
    Full = 0,
    /// An update with those that changed.
    Partial = 1,
    /// What a publication says by now.
    Kept = 2,
    /// Ended calls of publications that have ended themselves.
    Memory = 3,
}

/// How a line is. The numbers are stored for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Line {
    /// No call.
    Idle = 0,
    /// Somebody calls.
    Ringing = 1,
    /// The user is on the phone.
    Busy = 2,
}

/// The calls of one publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls<'a> {
    /// What it is.
    pub scope: Scope,
    /// The number of the line; empty in an update that names none.
    pub line: &'a str,
    /// Each of them; those that ended come last, in the order in which they did.
    pub each: Vec<Call<'a>>,
}

impl<'a> Calls<'a> {
    /// Reads a stored form; `None` for what is none. What another release wrote makes no replica fall: the row
    /// ends where it is not understood.
    #[must_use]
    pub fn read(stored: &'a [u8]) -> Option<Calls<'a>> {
        let (scope, _, line, mut rest) = head(stored)?;
        let (count, after) = rest.split_first_chunk::<2>()?;
        rest = after;
        let mut each = Vec::new();
        for _ in 0..u16::from_le_bytes(*count) {
            let Some(call) = read_call(&mut rest) else {
                break;
            };
            each.push(call);
        }
        Some(Calls { scope, line, each })
    }

    /// The stored form.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 256 * self.each.len());
        out.extend_from_slice(&[FORM, self.scope as u8, self.state() as u8]);
        put(self.line, &mut out);
        let count = u16::try_from(self.each.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        for call in self.each.iter().take(usize::from(count)) {
            let direction = call.direction.map_or(0, |direction| direction as u8);
            out.extend_from_slice(&[call.state as u8, direction]);
            out.extend_from_slice(&call.clock.to_le_bytes());
            for text in [call.id, call.call_id, call.local_tag, call.remote_tag] {
                put(text, &mut out);
            }
            for party in [&call.local, &call.remote] {
                for text in [party.display, party.identity, party.target] {
                    put(text, &mut out);
                }
                let count = u8::try_from(party.params.len()).unwrap_or(u8::MAX);
                out.push(count);
                for (name, value) in party.params.iter().take(usize::from(count)) {
                    put(name, &mut out);
                    put(value, &mut out);
                }
            }
        }
        out
    }

    /// How the line is.
    fn state(&self) -> Line {
        let each = self.each.iter().filter(|call| call.lives());
        each.map(|call| match call.occupies() {
            true => Line::Busy,
            false => Line::Ringing,
        })
        .max()
        .unwrap_or(Line::Idle)
    }
}

/// Scope, line state, line, and what follows.
fn head(stored: &[u8]) -> Option<(Scope, Line, &str, &[u8])> {
    let (&[form, scope, state], mut rest) = stored.split_first_chunk::<3>()?;
    let scopes = [Scope::Full, Scope::Partial, Scope::Kept, Scope::Memory];
    let scope = scopes.into_iter().find(|known| *known as u8 == scope)?;
    let lines = [Line::Idle, Line::Ringing, Line::Busy];
    let state = lines.into_iter().find(|known| *known as u8 == state)?;
    let line = take(&mut rest)?;
    (form == FORM).then_some((scope, state, line, rest))
}

fn put(text: &str, out: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).expect("a body is at most 65,535 bytes");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let (text, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

fn read_call<'a>(rest: &mut &'a [u8]) -> Option<Call<'a>> {
    let (&[state, direction], after) = rest.split_first_chunk::<2>()?;
    let (clock, after) = after.split_first_chunk::<8>()?;
    *rest = after;
    Some(Call {
        state: CallState::from_number(state)?,
        direction: [Direction::Initiator, Direction::Recipient]
            .into_iter()
            .find(|known| *known as u8 == direction),
        clock: u64::from_le_bytes(*clock),
        id: take(rest)?,
        call_id: take(rest)?,
        local_tag: take(rest)?,
        remote_tag: take(rest)?,
        local: read_party(rest)?,
        remote: read_party(rest)?,
    })
}

fn read_party<'a>(rest: &mut &'a [u8]) -> Option<Party<'a>> {
    let (display, identity, target) = (take(rest)?, take(rest)?, take(rest)?);
    let (count, after) = rest.split_first()?;
    *rest = after;
    let mut params = Vec::new();
    for _ in 0..*count {
        params.push((take(rest)?, take(rest)?));
    }
    Some(Party {
        display,
        identity,
        target,
        params,
    })
}

/// The line that a publication is about, and how it is; `None` for what is no publication of calls, or a memory.
#[must_use]
pub fn line(stored: &[u8]) -> Option<(&str, Line)> {
    let (scope, state, line, _) = head(stored)?;
    (scope != Scope::Memory).then_some((line, state))
}

/// Whether it says what ended in publications that have ended themselves.
#[must_use]
pub fn is_memory(stored: &[u8]) -> bool {
    head(stored).is_some_and(|(scope, ..)| scope == Scope::Memory)
}

/// Whether this is a row of calls, whatever it says.
#[must_use]
pub fn is_form(stored: &[u8]) -> bool {
    stored.first() == Some(&FORM)
}

/// What calls mean to enhanced watchers: a telephone that is in use is a device, and its user is on the phone.
#[must_use]
pub fn bearing(stored: &[u8]) -> Bearing {
    match line(stored) {
        Some((_, Line::Busy)) => Bearing {
            device: Device::Online,
            doing: Doing::OnThePhone,
            ..Bearing::default()
        },
        _ => Bearing::default(),
    }
}

/// What a publication of `address` says after an update. `None` when that is too much, or the update is none.
//= RFC 4235 4.1.2
//# a full document is all there is; of a partial one each dialog takes the place of the one with its id
pub fn follow<'s>(
    update: &[u8],
    before: Option<&[u8]>,
    others: impl Iterator<Item = &'s [u8]>,
    address: &str,
    now: Timestamp,
) -> Option<Vec<u8>> {
    let update = Calls::read(update)?;
    let before = before.and_then(Calls::read);
    let known = before.as_ref().map_or(&[][..], |before| &before.each[..]);
    let others: Vec<Calls<'_>> = others.filter_map(Calls::read).collect();

    let mut living: Vec<Call<'_>> = Vec::new();
    let mut ended: Vec<Call<'_>> = Vec::new();
    ended.extend(known.iter().filter(|call| !call.lives()).cloned());
    if update.scope == Scope::Partial {
        living.extend(known.iter().filter(|call| call.lives()).cloned());
    }
    for told in &update.each {
        let mut call = told.clone();
        let same = known
            .iter()
            .find(|known| known.lives() && known.id == call.id);
        //= RFC 4235 4.1.1
        //# duration counts from the beginning of the dialog
        call.clock = match (told.clock, same) {
            (0, Some(same)) if same.call_id == call.call_id => same.clock,
            (0, _) => 0,
            (age, _) => now.0.saturating_sub((age - 1).saturating_mul(1_000)),
        };
        let within = known.iter().filter(|known| known.is_within(&call));
        let across = others.iter().flat_map(|other| &other.each);
        let across = across.filter(|known| known.is_across(&call));
        let held = |known: &&Call<'_>| known.lives() || known.clock + ENDED_MS > now.0;
        //= RFC 4235 3.7.1
        //# a dialog never goes back: a late word is put right to what is known
        let furthest = within.chain(across).filter(held).map(|known| known.state);
        call.state = furthest.fold(call.state, CallState::max);

        let place = living.iter().position(|living| living.id == call.id);
        match (call.lives(), place) {
            (true, None) => living.push(call),
            // Twice in one document: the further one.
            (true, Some(place)) if update.scope == Scope::Full => {
                if living[place].state < call.state {
                    living[place] = call;
                }
            }
            (true, Some(place)) => living[place] = call,
            (false, place) => {
                if let Some(place) = place {
                    living.remove(place);
                }
                end(&mut ended, call, now);
            }
        }
    }
    // What a full document leaves out is over.
    for gone in known.iter().filter(|call| call.lives()) {
        let told = |call: &Call<'_>| call.id == gone.id && call.call_id == gone.call_id;
        if !living.iter().any(told) && !ended.iter().any(told) {
            end(&mut ended, gone.clone(), now);
        }
    }
    ended.retain(|call| call.clock + ENDED_MS > now.0);
    let old = ended.len().saturating_sub(ENDED_MAX);
    ended.drain(..old);
    if living.len() > CALLS_MAX {
        return None;
    }
    let of_before = before.as_ref().map_or("", |before| before.line);
    let user = address.split('@').next().unwrap_or_default();
    let lines = [update.line, of_before, user];
    let line = lines.into_iter().find(|line| !line.is_empty());
    living.append(&mut ended);
    let kept = Calls {
        scope: Scope::Kept,
        line: line.unwrap_or_default(),
        each: living,
    };
    Some(kept.write())
}

/// Remembers a call that ended: by its names only.
fn end<'a>(ended: &mut Vec<Call<'a>>, call: Call<'a>, now: Timestamp) {
    if call.call_id.is_empty() {
        return;
    }
    let known = ended
        .iter_mut()
        .find(|known| !known.lives() && known.is_within(&call));
    if let Some(known) = known {
        // When it ended stays, unless that is forgotten; a tag that was missing is known now.
        if known.clock + ENDED_MS <= now.0 {
            known.clock = now.0;
        }
        for (known, told) in [
            (&mut known.local_tag, call.local_tag),
            (&mut known.remote_tag, call.remote_tag),
        ] {
            if known.is_empty() {
                *known = told;
            }
        }
        return;
    }
    ended.push(Call {
        state: CallState::Terminated,
        clock: now.0,
        local: Party::default(),
        remote: Party::default(),
        ..call
    });
}

/// Brings another publication as far as this one is, about the calls that both tell of; `None` when it is.
//= RFC 4235 3.7.1
//# several publishers of one dialog show one state, the furthest
#[must_use]
pub fn raise(stored: &[u8], by: &[u8], now: Timestamp) -> Option<Vec<u8>> {
    let (mut calls, by) = (Calls::read(stored)?, Calls::read(by)?);
    let mut ended = Vec::new();
    let mut raised = false;
    calls.each.retain_mut(|call| {
        let same = by.each.iter().filter(|known| known.is_across(call));
        let furthest = same
            .map(|known| known.state)
            .fold(call.state, CallState::max);
        raised |= furthest != call.state;
        let ends = call.lives() && furthest == CallState::Terminated;
        call.state = furthest;
        if ends {
            ended.push(call.clone());
        }
        !ends
    });
    for call in ended {
        end(&mut calls.each, call, now);
    }
    raised.then(|| calls.write())
}

/// What is remembered of publications that have ended: those of `before`, and what ended in this one. `None` when
/// that is nothing, and until when otherwise.
#[must_use]
pub fn remember(
    before: Option<&[u8]>,
    gone: &[u8],
    now: Timestamp,
) -> Option<(Vec<u8>, Timestamp)> {
    let gone = Calls::read(gone).filter(|gone| gone.scope == Scope::Kept)?;
    let before = before.and_then(Calls::read);
    let before = before.into_iter().flat_map(|before| before.each);
    let young = |call: &Call<'_>| !call.lives() && call.clock + ENDED_MS > now.0;
    // Only what says whose call it was is known again elsewhere.
    let named = |call: &Call<'_>| young(call) && !call.local_tag.is_empty();
    let mut each: Vec<Call<'_>> = before.filter(young).collect();
    each.extend(gone.each.into_iter().filter(named));
    let old = each.len().saturating_sub(ENDED_MAX);
    each.drain(..old);
    let until = each.iter().map(|call| call.clock).max()? + ENDED_MS;
    let memory = Calls {
        scope: Scope::Memory,
        line: "",
        each,
    };
    Some((memory.write(), Timestamp(until)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn call(id: &'static str, state: CallState) -> Call<'static> {
        Call {
            id,
            call_id: "c",
            local_tag: "l",
            remote_tag: "",
            direction: Some(Direction::Recipient),
            state,
            clock: 0,
            local: Party::default(),
            remote: Party {
                display: "Bob",
                identity: "sip:bob@example.com",
                target: "",
                params: vec![("+sip.rendering", "no")],
            },
        }
    }

    fn update(scope: Scope, each: Vec<Call<'_>>) -> Vec<u8> {
        let line = "";
        Calls { scope, line, each }.write()
    }

    fn follow_alone(update: &[u8], before: Option<&[u8]>, now: Timestamp) -> Vec<u8> {
        follow(update, before, std::iter::empty(), "200@example.com", now).expect("not too much")
    }

    fn states(stored: &[u8]) -> Vec<(String, CallState)> {
        let calls = Calls::read(stored).expect("calls");
        let each = calls.each.iter();
        each.map(|call| (call.id.to_owned(), call.state)).collect()
    }

    #[test]
    fn what_is_written_is_read_back_and_damage_ends_it() {
        let stored = update(
            Scope::Full,
            vec![call("a", CallState::Early), call("b", CallState::Confirmed)],
        );
        let calls = Calls::read(&stored).expect("calls");
        assert_eq!(calls.write(), stored);
        assert_eq!(line(&stored), Some(("", Line::Busy)));
        for length in 0..stored.len() {
            if let Some(cut) = Calls::read(&stored[..length]) {
                assert!(cut.each.len() < 2);
            }
        }
        assert_eq!(Calls::read(b"\x01"), None, "a presence document");
        assert_eq!(bearing(b"\x01"), Bearing::default());
    }

    //= RFC 4235 3.7.1
    //= type=test
    #[test]
    fn a_call_never_goes_back() {
        use CallState::{Confirmed, Early, Proceeding, Terminated, Trying};
        for (name, known, told, after_ms, expected) in [
            ("on", Trying, Early, 0, Early),
            ("answered", Early, Confirmed, 0, Confirmed),
            ("a late ringing", Confirmed, Early, 0, Confirmed),
            ("much later still", Confirmed, Trying, 900_000, Confirmed),
            ("after its end", Terminated, Early, 0, Terminated),
            (
                "after its end, later",
                Terminated,
                Confirmed,
                31_999,
                Terminated,
            ),
            // Whoever uses a Call-ID again is believed.
            ("a call of the same name", Terminated, Early, 32_000, Early),
            ("the same again", Proceeding, Proceeding, 0, Proceeding),
        ] {
            for scope in [Scope::Full, Scope::Partial] {
                let first = update(Scope::Full, vec![call("a", known)]);
                let first = follow_alone(&first, None, NOW);
                let later = update(scope, vec![call("a", told)]);
                let now = Timestamp(NOW.0 + after_ms);
                let kept = follow_alone(&later, Some(&first), now);
                assert_eq!(
                    states(&kept),
                    [("a".to_owned(), expected)],
                    "{name}, {scope:?}"
                );
            }
        }
        // A lamp without a Call-ID may shine as often as it likes.
        let lamp = |state| Call {
            call_id: "",
            local_tag: "",
            ..call("200", state)
        };
        let over = update(Scope::Full, vec![lamp(Terminated)]);
        let over = follow_alone(&over, None, NOW);
        assert_eq!(states(&over), []);
        let rings = follow_alone(&update(Scope::Full, vec![lamp(Early)]), Some(&over), NOW);
        assert_eq!(states(&rings), [("200".to_owned(), Early)]);
    }

    //= RFC 4235 4.1.2
    //= type=test
    #[test]
    fn a_full_document_is_all_and_a_partial_one_a_part() {
        use CallState::{Confirmed, Early, Terminated};
        let named = |id: &'static str, state| Call {
            call_id: id,
            local_tag: id,
            ..call(id, state)
        };
        let first = update(Scope::Full, vec![named("a", Early), named("b", Confirmed)]);
        let first = follow_alone(&first, None, NOW);
        for (name, scope, each, expected) in [
            (
                "all there is",
                Scope::Full,
                vec![named("b", Confirmed)],
                vec![("b", Confirmed), ("a", Terminated)],
            ),
            (
                "a part",
                Scope::Partial,
                vec![named("a", Confirmed)],
                vec![("a", Confirmed), ("b", Confirmed)],
            ),
            (
                "one ends",
                Scope::Partial,
                vec![named("a", Terminated)],
                vec![("b", Confirmed), ("a", Terminated)],
            ),
            (
                "one more",
                Scope::Partial,
                vec![named("c", Early)],
                vec![("a", Early), ("b", Confirmed), ("c", Early)],
            ),
            (
                "nothing",
                Scope::Full,
                vec![],
                vec![("a", Terminated), ("b", Terminated)],
            ),
            (
                "twice in one document",
                Scope::Full,
                vec![
                    named("b", Confirmed),
                    named("c", Early),
                    named("c", Confirmed),
                ],
                vec![("b", Confirmed), ("c", Confirmed), ("a", Terminated)],
            ),
        ] {
            let kept = follow_alone(&update(scope, each), Some(&first), NOW);
            let expected = expected.iter().map(|(id, s)| ((*id).to_owned(), *s));
            let expected: Vec<_> = expected.collect();
            assert_eq!(states(&kept), expected, "{name}");
        }
    }

    //= RFC 4235 4.1.1
    //= type=test
    #[test]
    fn a_duration_is_counted_from_the_beginning() {
        let told = |age: u64| Call {
            clock: age,
            ..call("a", CallState::Confirmed)
        };
        let begun = follow_alone(&update(Scope::Full, vec![told(11)]), None, NOW);
        let clock = |stored: &[u8]| Calls::read(stored).map(|calls| calls.each[0].clock);
        assert_eq!(clock(&begun), Some(990_000), "ten seconds old");
        let later = Timestamp(NOW.0 + 5_000);
        let silent = follow_alone(&update(Scope::Full, vec![told(0)]), Some(&begun), later);
        assert_eq!(clock(&silent), Some(990_000), "it goes on");
    }

    #[test]
    fn publishers_of_one_call_agree_and_of_two_do_not() {
        use CallState::{Confirmed, Early, Terminated};
        let of_phone = follow_alone(&update(Scope::Full, vec![call("p", Early)]), None, NOW);
        let proxy = |state, tag| Call {
            local_tag: tag,
            ..call("proxy", state)
        };
        for (name, told, expected) in [
            (
                "the same call is answered",
                proxy(Confirmed, "l"),
                Some(Confirmed),
            ),
            ("it ends", proxy(Terminated, "l"), Some(Terminated)),
            ("it is behind", proxy(CallState::Trying, "l"), None),
            ("another fork of it ends", proxy(Terminated, "other"), None),
            ("nobody knows of which fork", proxy(Terminated, ""), None),
        ] {
            let by = follow(
                &update(Scope::Full, vec![told]),
                None,
                [&*of_phone].into_iter(),
                "200@example.com",
                NOW,
            )
            .expect("not too much");
            let raised = raise(&of_phone, &by, NOW);
            let state = raised.map(|raised| states(&raised)[0].1);
            assert_eq!(state, expected, "{name}");
            if name == "it is behind" {
                assert_eq!(states(&by)[0].1, Early, "{name}");
            }
        }
    }

    /// What the random test of the conformance tests has found.
    #[test]
    fn an_end_that_is_forgotten_is_no_end_of_the_call_that_came_after() {
        let told = |state| update(Scope::Full, vec![call("a", state)]);
        let over = follow_alone(&told(CallState::Terminated), None, NOW);
        let now = NOW.plus_s(33);
        let by = follow_alone(&told(CallState::Terminated), Some(&over), now);
        assert_eq!(states(&by), [("a".to_owned(), CallState::Terminated)]);
        let other = follow_alone(&told(CallState::Confirmed), None, now);
        let raised = raise(&other, &by, now).expect("it ended");
        assert_eq!(states(&raised)[0].1, CallState::Terminated);
    }

    #[test]
    fn an_end_outlives_its_publication_for_a_while() {
        let over = update(Scope::Full, vec![call("a", CallState::Terminated)]);
        let over = follow_alone(&over, None, NOW);
        let (memory, until) = remember(None, &over, NOW).expect("it ended");
        assert_eq!(until, NOW.plus_s(32));
        assert_eq!(line(&memory), None);
        let late = update(Scope::Full, vec![call("other", CallState::Early)]);
        let kept = |now| {
            let others = [&*memory].into_iter();
            follow(&late, None, others, "200@example.com", now).expect("not too much")
        };
        assert_eq!(states(&kept(NOW))[0].1, CallState::Terminated);
        assert_eq!(states(&kept(until))[0].1, CallState::Early);
        let alive = follow_alone(&late, None, NOW);
        assert_eq!(
            remember(None, &alive, NOW),
            None,
            "a publisher that is lost"
        );
        assert_eq!(
            remember(None, &memory, NOW),
            None,
            "a memory is not remembered"
        );
    }

    #[test]
    fn a_line_has_a_number_and_a_state() {
        use CallState::{Confirmed, Early, Terminated, Trying};
        use Direction::{Initiator, Recipient};
        for (state, direction, expected) in [
            (Trying, Some(Initiator), Line::Busy),
            (Early, Some(Recipient), Line::Ringing),
            (Early, None, Line::Ringing),
            (Confirmed, None, Line::Busy),
            (Terminated, Some(Initiator), Line::Idle),
        ] {
            let told = Call {
                direction,
                ..call("a", state)
            };
            let kept = follow_alone(&update(Scope::Full, vec![told]), None, NOW);
            assert_eq!(line(&kept), Some(("200", expected)), "{state:?}");
            let on_the_phone = bearing(&kept).doing == Doing::OnThePhone;
            assert_eq!(on_the_phone, expected == Line::Busy, "{state:?}");
        }
    }
}
