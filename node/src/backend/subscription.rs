//! One subscription of ours (RFC 6665 §4.1): when it is asked for, refreshed, begun anew, and given up.
//!
//! It is told the time, chance, and what came; it returns the request that is to be sent. So every rule is tested
//! by comparing values. A subscription outlives its dialogs: when a dialog ends, the next one is asked for, at once
//! or after a while, until somebody says that there is nothing to be had.

use std::fmt::Write as _;

use transport::sip::header::{Event, Name, NameAddr, Params};
use transport::sip::{Request, Response};

use super::challenge::Challenge;

/// How long a notification is waited for after a subscription was accepted: timer N of RFC 6665, 64·T1.
const TIMER_N_MS: u64 = 32_000;

/// How long an answer is waited for at most: a transaction ends after 32 s, or it is lost with its worker.
const ANSWER_MS: u64 = 40_000;

/// How long a subscription that we ended may still be notified of its end.
const FAREWELL_MS: u64 = 5_000;

/// The first pause after a failure, which doubles each time.
const PAUSE_MS: u64 = 500;
/// The longest pause.
const PAUSE_MAX_MS: u64 = 120_000;
/// The pause after a refusal that needs an operator: a wrong password tried often locks an account.
pub(super) const LONG_PAUSE_MS: u64 = 600_000;

/// A dialog that lived this long was none that failed.
const STEADY_MS: u64 = 30_000;

/// Challenges answered, and other hints followed, for one subscription attempt.
const HINTS_MAX: u32 = 3;

/// Seconds that are asked for at most, whatever a notifier wants.
const EXPIRES_MAX_S: u32 = 7 * 86_400;

/// Bytes of what a peer gives us to keep: its Contact, its tag, its route.
const KEPT_BYTES_MAX: usize = 4_096;

/// What is subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wants {
    /// Whose state: the Request-URI.
    pub(super) uri: String,
    /// Who we are.
    pub(super) from: String,
    /// The event package.
    pub(super) event: &'static str,
    /// The document.
    pub(super) accept: &'static str,
    /// For how long, in seconds.
    pub(super) expires_s: u32,
}

/// What comes from outside with each step.
pub(super) struct Moment<'m> {
    /// Milliseconds of a clock that never goes back.
    pub(super) now: u64,
    /// A number that nobody can guess.
    pub(super) chance: u64,
    /// Name and password, where there are some.
    pub(super) login: Option<(&'m str, &'m str)>,
}

impl Moment<'_> {
    /// A part of `span` between its half and its whole, by chance.
    fn part_of(&self, span: u64) -> u64 {
        span / 2 + self.chance % (span / 2 + 1)
    }
}

/// A SUBSCRIBE that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// Which of this subscription's; its end is told with it.
    pub(super) number: u32,
    pub(super) cseq: u32,
    pub(super) call_id: String,
    /// From, with our tag.
    pub(super) local: String,
    /// To, with theirs once it is known.
    pub(super) remote: String,
    /// Request-URI.
    pub(super) target: String,
    /// Route, comma separated.
    pub(super) route_set: String,
    /// Further header lines, each with its end.
    pub(super) lines: String,
}

/// What a NOTIFY is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// 200; `begins` says that it is the first of its dialog, `tells` that it tells how things are, with a document or
    /// without: neither does one that is pending, nor the last.
    Taken { begins: bool, tells: bool },
    /// 400: it does not say how its subscription is.
    NoState,
    /// 481: it is of no dialog of ours.
    NoDialog,
    /// 489: it is of another package.
    OtherEvent,
    /// 500: one that was sent after it has come before.
    Late,
}

/// How a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It waits until it is tried again.
    Resting,
    /// An answer is awaited, and there is no dialog.
    Asking,
    /// It lives.
    Active,
    /// The other side says that there is nothing to be had.
    Refused,
    /// We have ended it.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is on its way; at that time it is asked again.
    Resting(u64),
    /// A SUBSCRIBE is on its way, and not waited for beyond that time.
    Asking(u64),
    /// It lives, and is refreshed then.
    Active(u64),
    /// Never again by itself.
    Refused,
    /// Over; until then its last notification may come.
    Leaving(u64),
    /// Nothing is left.
    Gone,
}

/// A dialog, or one in the making.
#[derive(Clone, Debug)]
struct Dialog {
    call_id: String,
    local_tag: String,
    cseq: u32,
    /// To; with their tag when `made`.
    remote: String,
    target: String,
    route_set: String,
    made: Option<u64>,
    /// CSeq of their last request.
    heard: Option<u32>,
    /// When it expires, once that was said.
    until: Option<u64>,
    /// Until when the first notification has to come.
    silent_until: Option<u64>,
}

/// A subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    wants: Wants,
    stage: Stage,
    dialog: Option<Dialog>,
    challenge: Option<Challenge>,
    hints: u32,
    failures: u32,
    number: u32,
    expires_s: u32,
    /// When what was told last stops to be true, unless it is told again.
    told_until: u64,
    /// Before then it is not refreshed for a part that was missed.
    patient_until: u64,
    ending: bool,
    /// Whether the end was asked for.
    bade_farewell: bool,
    /// Whether name and password were shown, and are not good.
    misfit: bool,
}

impl Subscription {
    /// One that is asked for at `at`.
    pub(super) fn new(wants: Wants, at: u64) -> Subscription {
        Subscription {
            expires_s: wants.expires_s,
            wants,
            stage: Stage::Resting(at),
            dialog: None,
            challenge: None,
            hints: 0,
            failures: 0,
            number: 0,
            told_until: 0,
            patient_until: 0,
            ending: false,
            bade_farewell: false,
            misfit: false,
        }
    }

    /// How it is.
    pub(super) fn standing(&self) -> Standing {
        let lives = self
            .dialog
            .as_ref()
            .is_some_and(|dialog| dialog.made.is_some());
        match self.stage {
            Stage::Active(_) => Standing::Active,
            Stage::Asking(_) if self.ending => Standing::Over,
            Stage::Asking(_) if lives => Standing::Active,
            Stage::Asking(_) => Standing::Asking,
            Stage::Resting(_) => Standing::Resting,
            Stage::Refused => Standing::Refused,
            Stage::Leaving(_) | Stage::Gone => Standing::Over,
        }
    }

    /// Whether nothing is left of it.
    pub(super) fn is_gone(&self) -> bool {
        self.stage == Stage::Gone
    }

    /// Whether an answer is awaited.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.stage, Stage::Asking(_))
    }

    /// Whether name and password have just been refused.
    pub(super) fn has_misfit(&mut self) -> bool {
        std::mem::take(&mut self.misfit)
    }

    /// It is not asked for before then, if it is not there yet.
    pub(super) fn postpone(&mut self, until: u64) {
        if let Stage::Resting(at) = &mut self.stage {
            *at = until.max(*at);
        }
    }

    /// The operator has looked at it: what was refused, or rests, is asked for again then. Returns whether it is.
    pub(super) fn reconsider(&mut self, at: u64) -> bool {
        let waits = matches!(self.stage, Stage::Refused | Stage::Resting(_));
        if waits {
            self.failures = 0;
            self.stage = Stage::Resting(at);
        }
        waits
    }

    /// When what was told last stops to be true.
    pub(super) fn told_until(&self) -> u64 {
        self.told_until
    }

    /// The Call-ID of its dialog.
    pub(super) fn call_id(&self) -> Option<&str> {
        self.dialog.as_ref().map(|dialog| dialog.call_id.as_str())
    }

    /// When it is due again.
    pub(super) fn next(&self) -> Option<u64> {
        let dialog = self.dialog.as_ref();
        let silent = dialog.and_then(|dialog| dialog.silent_until);
        match self.stage {
            Stage::Resting(at) | Stage::Asking(at) | Stage::Leaving(at) => Some(at),
            Stage::Active(at) => {
                let until = dialog.and_then(|dialog| dialog.until);
                [Some(at), silent, until].into_iter().flatten().min()
            }
            Stage::Refused | Stage::Gone => None,
        }
    }

    /// Does what is due.
    pub(super) fn due(&mut self, moment: &mut Moment<'_>) -> Option<Ask> {
        if self.next().is_none_or(|next| next > moment.now) {
            return None;
        }
        match self.stage {
            Stage::Resting(_) => {
                self.hints = 0;
                Some(self.ask(moment))
            }
            // Whoever was to send it has lost it.
            Stage::Asking(_) => {
                self.lost(moment);
                None
            }
            Stage::Active(_) => {
                let past = |at: Option<u64>| at.is_some_and(|at| at <= moment.now);
                let dialog = self.dialog.as_ref();
                //= RFC 6665 4.1.2.4
                //# no NOTIFY within timer N of the answer: the subscription has failed
                if past(dialog.and_then(|dialog| dialog.silent_until)) {
                    self.lost(moment);
                    return None;
                }
                if past(dialog.and_then(|dialog| dialog.until)) {
                    self.dialog = None;
                }
                self.hints = 0;
                Some(self.ask(moment))
            }
            Stage::Leaving(_) => {
                self.dialog = None;
                self.stage = Stage::Gone;
                None
            }
            Stage::Refused | Stage::Gone => None,
        }
    }

    /// Ends it.
    //= RFC 6665 4.1.2.3
    //# a SUBSCRIBE with Expires 0 ends a subscription
    pub(super) fn end(&mut self, moment: &mut Moment<'_>) -> Option<Ask> {
        let was_ending = std::mem::replace(&mut self.ending, true);
        let lives = self
            .dialog
            .as_ref()
            .is_some_and(|dialog| dialog.made.is_some());
        match self.stage {
            _ if was_ending => None,
            Stage::Active(_) | Stage::Asking(_) if lives => {
                self.hints = 0;
                Some(self.ask(moment))
            }
            // The answer to what is on its way says whether there is something to end.
            Stage::Asking(_) => None,
            _ => {
                self.dialog = None;
                self.stage = Stage::Gone;
                None
            }
        }
    }

    /// A part was missed: the whole is asked for soon, but not again and again.
    //= RFC 4235 4.3
    //# who has missed a part refreshes its subscription, and is told the whole
    pub(super) fn hurry(&mut self, moment: &Moment<'_>) {
        if matches!(self.stage, Stage::Active(_)) && moment.now >= self.patient_until {
            self.patient_until = moment.now + 20 * PAUSE_MS;
            self.stage = Stage::Active(moment.now);
        }
    }

    /// A SUBSCRIBE, in the dialog if there is one.
    //= RFC 6665 4.1.2.1
    //# Event, Accept, and Expires with the time that is wished for
    fn ask(&mut self, moment: &mut Moment<'_>) -> Ask {
        let wants = &self.wants;
        let chance = moment.chance;
        let dialog = self.dialog.get_or_insert_with(|| Dialog {
            call_id: format!("{chance:016x}@lamplight"),
            local_tag: format!("b{:016x}", chance.rotate_left(29) ^ 0x5bd1_e995_9e37_79b9),
            cseq: 0,
            remote: format!("<{}>", wants.uri),
            target: wants.uri.clone(),
            route_set: String::new(),
            made: None,
            heard: None,
            until: None,
            silent_until: None,
        });
        dialog.cseq += 1;
        self.number = self.number.wrapping_add(1);
        self.stage = Stage::Asking(moment.now + ANSWER_MS);
        self.bade_farewell |= self.ending;
        let expires = if self.ending { 0 } else { self.expires_s };
        let mut lines = format!(
            "Event: {}\r\nAccept: {}\r\nExpires: {expires}\r\n",
            wants.event, wants.accept
        );
        //= RFC 3261 22.2
        //# a client that knows a challenge answers it before it is asked again
        if let (Some(challenge), Some(login)) = (&mut self.challenge, moment.login) {
            let line = challenge.answer(login, "SUBSCRIBE", &dialog.target, chance.rotate_left(7));
            let _ = lines.write_str(&line);
        }
        Ask {
            number: self.number,
            cseq: dialog.cseq,
            call_id: dialog.call_id.clone(),
            local: format!("<{}>;tag={}", wants.from, dialog.local_tag),
            remote: dialog.remote.clone(),
            target: dialog.target.clone(),
            route_set: dialog.route_set.clone(),
            lines,
        }
    }

    /// Waits for a while: as long as the other side says, or longer with each failure.
    fn rest(&mut self, told_s: Option<u32>, moment: &Moment<'_>) {
        self.dialog = None;
        if self.ending {
            self.stage = Stage::Gone;
            return;
        }
        self.stage = Stage::Resting(moment.now + self.pause(told_s, moment));
    }

    //= RFC 3261 20.33
    //# Retry-After says when a service is expected back
    fn pause(&mut self, told_s: Option<u32>, moment: &Moment<'_>) -> u64 {
        // Not all at once, when they were told the same.
        if let Some(told_s) = told_s {
            let told_ms = 1_000 * u64::from(told_s.min(EXPIRES_MAX_S));
            return told_ms + moment.chance % (PAUSE_MS + told_ms / 8);
        }
        let pause = (PAUSE_MS << self.failures.min(16)).min(PAUSE_MAX_MS);
        self.failures += 1;
        moment.part_of(pause)
    }

    /// Nobody answers.
    fn lost(&mut self, moment: &Moment<'_>) {
        self.rest(None, moment);
    }

    /// When a dialog is refreshed that lives until then.
    fn refresh_at(until: u64, moment: &Moment<'_>) -> u64 {
        // Between six and eight tenths of the way, so that those who began together do not come together.
        let left = until.saturating_sub(moment.now);
        moment.now + left * 6 / 10 + moment.chance % (left * 2 / 10 + 1)
    }

    /// A SUBSCRIBE has ended: with an answer, or without.
    pub(super) fn answered(
        &mut self,
        number: u32,
        response: Option<&Response>,
        moment: &mut Moment<'_>,
    ) -> Option<Ask> {
        // The dialog may have ended, and another begun, since it was sent.
        if number != self.number || !matches!(self.stage, Stage::Asking(_)) {
            return None;
        }
        //= RFC 3261 12.2.1.2
        //# no answer at all ends a dialog
        let Some(response) = response else {
            self.lost(moment);
            return None;
        };
        let status = response.status().number();
        let dialog = self.dialog.as_mut()?;
        match status {
            200..=299 => self.accepted(response, moment),
            401 | 407 => {
                let (name, proxy) = match status {
                    401 => ("WWW-Authenticate", false),
                    _ => ("Proxy-Authenticate", true),
                };
                let known = self.challenge.is_some();
                let values = response
                    .lines()
                    .filter(|(line, _)| line.eq_ignore_ascii_case(name));
                let fresh = Challenge::choose(values.map(|(_, value)| value), proxy);
                // An old answer was refused: the nonce has aged, or the password is wrong. Once is found out.
                let again = self.hints < HINTS_MAX
                    && fresh
                        .as_ref()
                        .is_some_and(|fresh| fresh.stale || !known || self.hints == 0);
                self.misfit = known && !again;
                self.challenge = fresh.filter(|_| again && moment.login.is_some());
                if self.challenge.is_some() {
                    self.hints += 1;
                    return Some(self.ask(moment));
                }
                self.rest(Some((LONG_PAUSE_MS / 1_000) as u32), moment);
                None
            }
            //= RFC 6665 4.1.2.1
            //# 423 says in Min-Expires how long it has to be
            423 => {
                let wanted = response.header(Name::MinExpires);
                let wanted = wanted.and_then(|wanted| wanted.trim().parse::<u32>().ok());
                match wanted.filter(|wanted| (self.expires_s + 1..=EXPIRES_MAX_S).contains(wanted))
                {
                    Some(wanted) if self.hints < HINTS_MAX && !self.ending => {
                        self.hints += 1;
                        self.expires_s = wanted;
                        Some(self.ask(moment))
                    }
                    _ => {
                        self.rest(Some((LONG_PAUSE_MS / 1_000) as u32), moment);
                        None
                    }
                }
            }
            _ => {
                let told_s = retry_after(response);
                let made = dialog.made.is_some();
                //= RFC 6665 4.1.2.2
                //# a refresh that gets 481, or one of those that end a dialog, means that there is none; after any
                //# other the subscription lives until it expires
                let over = matches!(status, 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604);
                let until = dialog.until.filter(|until| *until > moment.now);
                match until {
                    Some(_) if made && !over && !self.ending => {
                        let again = moment.now + self.pause(told_s, moment);
                        self.stage = Stage::Active(again);
                    }
                    _ => self.rest(told_s, moment),
                }
                None
            }
        }
    }

    fn accepted(&mut self, response: &Response, moment: &mut Moment<'_>) -> Option<Ask> {
        let dialog = self.dialog.as_mut()?;
        //= RFC 6665 4.1.2.1
        //# the answer may shorten the time, never lengthen it
        let granted = response.header(Name::Expires);
        let granted = granted.and_then(|granted| granted.trim().parse::<u32>().ok());
        let granted = granted.map_or(self.expires_s, |granted| granted.min(self.expires_s));
        let fits = |text: &str| text.len() <= KEPT_BYTES_MAX;
        if dialog.made.is_none() {
            let to = response.header(Name::To).filter(|to| fits(to));
            let (Some(to), Some(_)) = (to, response.to_tag()) else {
                self.lost(moment);
                return None;
            };
            to.clone_into(&mut dialog.remote);
            //= RFC 3261 12.1.2
            //# the route set of a UAC is the Record-Route of the answer, in reverse order
            let mut routes: Vec<&str> = response
                .headers(Name::RecordRoute)
                .flat_map(transport::sip::header::elements)
                .collect();
            routes.reverse();
            dialog.route_set = routes.join(", ");
            if !fits(&dialog.route_set) {
                self.lost(moment);
                return None;
            }
            dialog.made = Some(moment.now);
            dialog.silent_until = dialog.heard.is_none().then_some(moment.now + TIMER_N_MS);
        } else {
            self.failures = 0;
        }
        let contact = response
            .headers(Name::Contact)
            .flat_map(transport::sip::header::elements)
            .next();
        if let Some(contact) = contact.and_then(contact_uri) {
            contact.clone_into(&mut dialog.target);
        }
        if self.ending {
            // It was on its way when we wanted to leave.
            if !self.bade_farewell {
                return Some(self.ask(moment));
            }
            self.stage = Stage::Leaving(moment.now + FAREWELL_MS);
            return None;
        }
        if granted == 0 {
            self.lost(moment);
            return None;
        }
        let until = moment.now + 1_000 * u64::from(granted);
        dialog.until = Some(until);
        if dialog.heard.is_some() {
            self.told_until = until;
        }
        self.stage = Stage::Active(Subscription::refresh_at(until, moment));
        None
    }

    /// A NOTIFY has come whose Call-ID is that of our dialog.
    pub(super) fn notified(&mut self, request: &Request, moment: &Moment<'_>) -> Reply {
        let own = |dialog: &&mut Dialog| {
            request.call_id() == dialog.call_id
                && request.to_tag() == Some(dialog.local_tag.as_str())
        };
        let Some(dialog) = self.dialog.as_mut().filter(own) else {
            return Reply::NoDialog;
        };
        let event = request.header(Name::Event).map(Event::parse);
        if !event.is_some_and(|event| event.package.eq_ignore_ascii_case(self.wants.event)) {
            return Reply::OtherEvent;
        }
        let from = request.header(Name::From).unwrap_or_default();
        if from.len() > KEPT_BYTES_MAX {
            return Reply::NoDialog;
        }
        if dialog.made.is_some() {
            //= RFC 6665 4.1.3
            //# a request of another dialog gets 481
            let theirs = NameAddr::parse(&dialog.remote).ok();
            let tag = theirs.and_then(|theirs| theirs.params.get("tag"));
            if tag != Some(request.from_tag()) {
                return Reply::NoDialog;
            }
        }
        //= RFC 3261 12.2.2
        //# a request whose CSeq is lower than that of the last is out of order
        if dialog.heard.is_some_and(|heard| request.cseq() <= heard) {
            return Reply::Late;
        }
        let Some(state) = request.header(Name::SubscriptionState) else {
            return Reply::NoState;
        };
        let (state, params) = match state.find(';') {
            Some(at) => (&state[..at], Params(&state[at..])),
            None => (state, Params("")),
        };
        let begins = dialog.heard.is_none();
        dialog.heard = Some(request.cseq());
        dialog.silent_until = None;
        //= RFC 6665 4.4.1
        //# a NOTIFY that comes before the answer makes the dialog; a second one by another fork gets 481
        if dialog.made.is_none() {
            dialog.made = Some(moment.now);
            from.clone_into(&mut dialog.remote);
            let routes: Vec<&str> = request.values(Name::RecordRoute).collect();
            let routes = routes.join(", ");
            if routes.len() <= KEPT_BYTES_MAX {
                dialog.route_set = routes;
            }
        }
        if let Some(contact) = request.values(Name::Contact).next().and_then(contact_uri) {
            contact.clone_into(&mut dialog.target);
        }
        let number = |name: &str| {
            params
                .get(name)
                .and_then(|value| value.trim().parse::<u32>().ok())
        };
        if state.trim().eq_ignore_ascii_case("terminated") {
            let reason = params
                .get("reason")
                .unwrap_or_default()
                .to_ascii_lowercase();
            self.terminated(&reason, number("retry-after"), moment);
            return Reply::Taken {
                begins,
                tells: false,
            };
        }
        //= RFC 6665 4.1.3
        //# the time in Subscription-State counts before that of the answer
        let until = match number("expires") {
            Some(left) => Some(moment.now + 1_000 * u64::from(left.min(self.expires_s))),
            None => dialog.until,
        };
        if let Some(until) = until.filter(|_| !self.ending) {
            dialog.until = Some(until);
            self.told_until = until;
            if matches!(self.stage, Stage::Active(_)) {
                self.stage = Stage::Active(Subscription::refresh_at(until, moment));
            }
        }
        let tells = !state.trim().eq_ignore_ascii_case("pending");
        Reply::Taken { begins, tells }
    }

    /// The other side has ended the dialog.
    //= RFC 6665 4.1.3
    //# deactivated and timeout: at once anew; probation and giveup: after a while; rejected, noresource and
    //# invariant: not again
    fn terminated(&mut self, reason: &str, retry_s: Option<u32>, moment: &Moment<'_>) {
        let made = self.dialog.as_ref().and_then(|dialog| dialog.made);
        if made.is_some_and(|made| moment.now >= made + STEADY_MS) {
            self.failures = 0;
        }
        match reason {
            _ if self.ending => {
                self.dialog = None;
                self.stage = Stage::Gone;
            }
            "rejected" | "noresource" | "invariant" => {
                self.dialog = None;
                self.stage = Stage::Refused;
            }
            "deactivated" | "timeout" => self.rest(None, moment),
            _ => self.rest(retry_s, moment),
        }
    }
}

/// The URI of a Contact, if it can be asked for.
fn contact_uri(contact: &str) -> Option<&str> {
    let uri = NameAddr::parse(contact).ok()?.uri;
    let sound = uri.len() <= KEPT_BYTES_MAX && transport::sip::uri::Uri::parse(uri).is_ok();
    sound.then_some(uri)
}

fn retry_after(response: &Response) -> Option<u32> {
    let text = response.header(Name::RetryAfter)?;
    let digits = text.split([';', '(', ' ']).next()?;
    digits.trim().parse().ok()
}

#[cfg(test)]
mod tests;
