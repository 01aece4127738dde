//! The rules of a subscriber, one table each.

use bytes::Bytes;
use transport::sip::Message;

use super::*;

const LOGIN: Option<(&str, &str)> = Some(("me", "secret"));

fn wants() -> Wants {
    Wants {
        uri: "sip:200@pbx".to_owned(),
        from: "sip:lamplight@example.com".to_owned(),
        event: "dialog",
        accept: "application/dialog-info+xml",
        expires_s: 600,
    }
}

fn at(now: u64) -> Moment<'static> {
    Moment {
        now,
        chance: 77,
        login: None,
    }
}

fn answer(ask: &Ask, status: u16, lines: &str) -> Response {
    let to = match ask.remote.contains(";tag=") || status < 200 {
        true => ask.remote.clone(),
        false => format!("{};tag=theirs", ask.remote),
    };
    let text = format!(
        "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\n\
         CSeq: {} SUBSCRIBE\r\n{lines}\r\n",
        ask.local, ask.call_id, ask.cseq
    );
    match Message::parse(Bytes::from(text)) {
        Ok(Message::Response(response)) => response,
        other => panic!("no response: {other:?}"),
    }
}

/// A NOTIFY in the dialog of `ask`.
fn notify(ask: &Ask, cseq: u32, tag: &str, lines: &str) -> Request {
    let uri = "sip:lamplight@h";
    let text = format!(
        "NOTIFY {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK2\r\nMax-Forwards: 70\r\nFrom: <sip:200@pbx>;tag={tag}\r\n\
         To: {}\r\nCall-ID: {}\r\nCSeq: {cseq} NOTIFY\r\nContact: <sip:200@192.0.2.9:5070>\r\n{lines}\r\n",
        ask.local, ask.call_id
    );
    match Message::parse(Bytes::from(text)) {
        Ok(Message::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

const ACTIVE: &str = "Event: dialog\r\nSubscription-State: active;expires=600\r\n";

/// One that is active at 1,000 ms, and its first request.
fn active() -> (Subscription, Ask) {
    let mut subscription = Subscription::new(wants(), 0);
    let ask = subscription.due(&mut at(1_000)).expect("it is asked for");
    let ok = answer(
        &ask,
        200,
        "Expires: 600\r\nContact: <sip:200@192.0.2.9>\r\n",
    );
    assert_eq!(
        subscription.answered(ask.number, Some(&ok), &mut at(1_000)),
        None
    );
    let taken = subscription.notified(&notify(&ask, 1, "theirs", ACTIVE), &at(1_000));
    assert_eq!(
        taken,
        Reply::Taken {
            begins: true,
            tells: true
        }
    );
    (subscription, ask)
}

fn resting(subscription: &Subscription) -> u64 {
    assert_eq!(subscription.standing(), Standing::Resting);
    subscription.next().expect("it is tried again")
}

//= RFC 6665 4.1.2.1
//= type=test
#[test]
fn a_subscription_is_asked_for_accepted_and_refreshed_in_time() {
    let mut subscription = Subscription::new(wants(), 500);
    assert_eq!(subscription.due(&mut at(499)), None);
    let ask = subscription.due(&mut at(500)).expect("it is time");
    assert_eq!(
        (ask.cseq, &*ask.target, &*ask.remote),
        (1, "sip:200@pbx", "<sip:200@pbx>")
    );
    assert_eq!(
        ask.lines,
        "Event: dialog\r\nAccept: application/dialog-info+xml\r\nExpires: 600\r\n"
    );
    assert!(
        ask.local.starts_with("<sip:lamplight@example.com>;tag=b"),
        "{}",
        ask.local
    );
    //= RFC 3261 12.1.2
    //= type=test
    let ok = answer(
        &ask,
        202,
        "Expires: 100\r\nRecord-Route: <sip:one;lr>, <sip:two;lr>\r\nRecord-Route: <sip:three;lr>\r\n\
         Contact: <sip:200@192.0.2.9>\r\n",
    );
    assert_eq!(
        subscription.answered(ask.number, Some(&ok), &mut at(600)),
        None
    );
    assert_eq!(subscription.standing(), Standing::Active);
    subscription.notified(
        &notify(
            &ask,
            9,
            "theirs",
            "Event: dialog\r\nSubscription-State: active\r\n",
        ),
        &at(700),
    );
    assert_eq!(subscription.told_until(), 100_600);
    let next = subscription.next().expect("it is refreshed");
    assert!((60_000..=81_000).contains(&next), "{next}");
    let refresh = subscription.due(&mut at(next)).expect("it is time");
    assert_eq!(
        (refresh.cseq, &*refresh.target),
        (2, "sip:200@192.0.2.9:5070")
    );
    assert_eq!(
        refresh.route_set,
        "<sip:three;lr>, <sip:two;lr>, <sip:one;lr>"
    );
    assert_eq!(refresh.remote, "<sip:200@pbx>;tag=theirs");
    assert_eq!(refresh.call_id, ask.call_id);
    // Whoever gives more than was asked for gives what was asked for.
    let ok = answer(&refresh, 200, "Expires: 9999\r\n");
    subscription.answered(refresh.number, Some(&ok), &mut at(next));
    assert_eq!(subscription.told_until(), next + 600_000);
    //= RFC 6665 4.1.3
    //= type=test
    let shorter = "Event: dialog\r\nSubscription-State: active;expires=10\r\n";
    subscription.notified(&notify(&ask, 10, "theirs", shorter), &at(next));
    assert_eq!(subscription.told_until(), next + 10_000);
    assert!(
        subscription
            .next()
            .is_some_and(|again| again <= next + 8_001)
    );
}

//= RFC 6665 4.1.2.2
//= type=test
//= RFC 3261 12.2.1.2
//= type=test
//= RFC 3261 20.33
//= type=test
#[test]
fn failures_of_a_first_request_and_of_a_refresh() {
    // Status, its lines, how it stands after a first request and after a refresh, and how long at least until it
    // is tried again.
    use Standing::{Active, Resting};
    for (status, lines, first, refresh, wait) in [
        (481, "", Resting, Resting, 0),
        (404, "", Resting, Resting, 0),
        (489, "", Resting, Resting, 0),
        (500, "", Resting, Active, 0),
        (503, "Retry-After: 60 (later)\r\n", Resting, Active, 60_000),
        (
            480,
            "Retry-After: 9;duration=1\r\n",
            Resting,
            Resting,
            9_000,
        ),
        (302, "", Resting, Active, 0),
        (423, "", Resting, Resting, 600_000),
        (401, "", Resting, Resting, 600_000),
    ] {
        let mut subscription = Subscription::new(wants(), 0);
        let ask = subscription.due(&mut at(0)).expect("it is asked for");
        let refused = answer(&ask, status, lines);
        assert_eq!(
            subscription.answered(ask.number, Some(&refused), &mut at(10)),
            None
        );
        assert_eq!(subscription.standing(), first, "{status}");
        assert!(
            subscription.next().is_some_and(|next| next > 10 + wait),
            "{status}"
        );
        let (mut subscription, ask) = active();
        let next = subscription.next().expect("it is refreshed");
        let again = subscription.due(&mut at(next)).expect("it is time");
        let refused = answer(&again, status, lines);
        assert_eq!(
            subscription.answered(again.number, Some(&refused), &mut at(next)),
            None
        );
        assert_eq!(subscription.standing(), refresh, "{status}");
        assert!(
            subscription
                .next()
                .is_some_and(|at| at > next + wait.min(200_000)),
            "{status}"
        );
        let lives = subscription.call_id() == Some(&*ask.call_id);
        assert_eq!(lives, refresh == Active, "{status}");
    }
    // No answer at all ends the dialog, too; and it is tried again, later each time, but not later than that.
    let (mut subscription, ask) = active();
    let mut now = subscription.next().expect("it is refreshed");
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let again = subscription.due(&mut at(now)).expect("it is time");
        assert_eq!(
            subscription.answered(again.number, None, &mut at(now)),
            None
        );
        assert_ne!(subscription.call_id(), Some(&*ask.call_id));
        let next = resting(&subscription);
        pauses.push(next - now);
        now = next;
    }
    assert!(pauses.is_sorted() && pauses[0] <= 500, "{pauses:?}");
    assert!(pauses[11] <= PAUSE_MAX_MS, "{pauses:?}");
}

//= RFC 6665 4.1.2.4
//= type=test
#[test]
fn who_accepts_and_never_notifies_is_asked_anew() {
    let mut subscription = Subscription::new(wants(), 0);
    let ask = subscription.due(&mut at(0)).expect("it is asked for");
    subscription.answered(
        ask.number,
        Some(&answer(&ask, 200, "Expires: 600\r\n")),
        &mut at(0),
    );
    assert_eq!(subscription.next(), Some(TIMER_N_MS));
    assert_eq!(subscription.due(&mut at(TIMER_N_MS)), None);
    resting(&subscription);
    assert_eq!(subscription.call_id(), None);
    assert_eq!(subscription.told_until(), 0, "nothing was ever told");
    // The same where the request was lost on its way to the worker.
    let mut subscription = Subscription::new(wants(), 0);
    subscription.due(&mut at(0)).expect("it is asked for");
    assert_eq!(subscription.next(), Some(ANSWER_MS));
    assert_eq!(subscription.due(&mut at(ANSWER_MS)), None);
    resting(&subscription);
}

//= RFC 6665 4.1.3
//= type=test
#[test]
fn the_reasons_of_an_end() {
    for (reason, refused, wait) in [
        (";reason=deactivated", false, 0),
        (";reason=Timeout;retry-after=900", false, 0),
        (";reason=probation;retry-after=60", false, 60_000),
        (";reason=probation", false, 0),
        (";reason=giveup;retry-after=5", false, 5_000),
        ("", false, 0),
        (";reason=whatever;retry-after=7", false, 7_000),
        (";reason=rejected", true, 0),
        (";reason=noresource", true, 0),
        (";reason=invariant", true, 0),
    ] {
        let (mut subscription, ask) = active();
        let over = format!("Event: dialog\r\nSubscription-State: terminated{reason}\r\n");
        let now = 50_000;
        let taken = subscription.notified(&notify(&ask, 2, "theirs", &over), &at(now));
        assert_eq!(
            taken,
            Reply::Taken {
                begins: false,
                tells: false
            },
            "{reason}"
        );
        assert_eq!(subscription.call_id(), None, "{reason}");
        if refused {
            assert_eq!(
                (subscription.standing(), subscription.next()),
                (Standing::Refused, None)
            );
            assert!(
                subscription.reconsider(now),
                "an operator may have it tried again"
            );
            continue;
        }
        let next = resting(&subscription);
        assert!(
            next >= now + wait && next <= now + wait + wait / 8 + PAUSE_MS,
            "{reason}: {next}"
        );
        let again = subscription
            .due(&mut Moment {
                chance: 78,
                ..at(next)
            })
            .expect("anew");
        assert_eq!(
            (again.cseq, &*again.remote),
            (1, "<sip:200@pbx>"),
            "{reason}"
        );
        assert_ne!(again.call_id, ask.call_id, "{reason}");
        // The dialog that was is not one of ours any more.
        let late = subscription.notified(&notify(&ask, 3, "theirs", ACTIVE), &at(next));
        assert_eq!(late, Reply::NoDialog, "{reason}");
        assert_eq!(subscription.answered(ask.number, None, &mut at(next)), None);
        assert_eq!(
            subscription.standing(),
            Standing::Asking,
            "an old answer changes nothing"
        );
    }
    // Who ends each dialog at once is asked less and less often.
    let mut subscription = Subscription::new(wants(), 0);
    let mut now = 0;
    for round in 0..8 {
        let ask = subscription.due(&mut at(now)).expect("it is asked for");
        subscription.answered(ask.number, Some(&answer(&ask, 200, "")), &mut at(now));
        let over = "Event: dialog\r\nSubscription-State: terminated;reason=deactivated\r\n";
        subscription.notified(&notify(&ask, 1, "theirs", over), &at(now));
        let next = resting(&subscription);
        assert!(
            next - now >= (PAUSE_MS << round) / 2,
            "{round}: {}",
            next - now
        );
        now = next;
    }
}

//= RFC 6665 4.4.1
//= type=test
//= RFC 3261 12.2.2
//= type=test
#[test]
fn a_notify_makes_a_dialog_and_others_are_none_of_ours() {
    let mut subscription = Subscription::new(wants(), 0);
    let ask = subscription.due(&mut at(0)).expect("it is asked for");
    let routed = format!("{ACTIVE}Record-Route: <sip:p;lr>\r\n");
    for (what, request, expected) in [
        (
            "another tag of ours",
            notify(
                &Ask {
                    local: "<sip:l@x>;tag=z".to_owned(),
                    ..ask.clone()
                },
                1,
                "one",
                ACTIVE,
            ),
            Reply::NoDialog,
        ),
        (
            "another package",
            notify(
                &ask,
                1,
                "one",
                "Event: presence\r\nSubscription-State: active\r\n",
            ),
            Reply::OtherEvent,
        ),
        (
            "no package",
            notify(&ask, 1, "one", "Subscription-State: active\r\n"),
            Reply::OtherEvent,
        ),
        (
            "no state",
            notify(&ask, 1, "one", "Event: dialog\r\n"),
            Reply::NoState,
        ),
        (
            "before the answer",
            notify(&ask, 5, "one", &routed),
            Reply::Taken {
                begins: true,
                tells: true,
            },
        ),
        (
            "another fork",
            notify(&ask, 6, "two", ACTIVE),
            Reply::NoDialog,
        ),
        (
            "one that was overtaken",
            notify(&ask, 4, "one", ACTIVE),
            Reply::Late,
        ),
        (
            "the same again",
            notify(&ask, 5, "one", ACTIVE),
            Reply::Late,
        ),
        (
            "one that waits for leave",
            notify(
                &ask,
                7,
                "one",
                "Event: dialog\r\nSubscription-State: Pending\r\n",
            ),
            Reply::Taken {
                begins: false,
                tells: false,
            },
        ),
        (
            "the next",
            notify(&ask, 8, "one", ACTIVE),
            Reply::Taken {
                begins: false,
                tells: true,
            },
        ),
    ] {
        assert_eq!(subscription.notified(&request, &at(10)), expected, "{what}");
    }
    // The answer comes last, and by another fork: the dialog is the one that was notified.
    subscription.answered(
        ask.number,
        Some(&answer(&ask, 200, "Expires: 600\r\n")),
        &mut at(20),
    );
    assert_eq!(subscription.standing(), Standing::Active);
    let next = subscription.next().expect("it is refreshed");
    assert!(
        next > 300_000,
        "it does not wait for a notification that was"
    );
    let refresh = subscription.due(&mut at(next)).expect("it is time");
    assert!(refresh.remote.ends_with(";tag=one"), "{}", refresh.remote);
    assert_eq!(refresh.route_set, "<sip:p;lr>");
}

//= RFC 3261 22.2
//= type=test
#[test]
fn a_challenge_is_answered_once() {
    let with = |now| Moment {
        login: LOGIN,
        ..at(now)
    };
    let challenge = "WWW-Authenticate: Digest realm=\"pbx\", nonce=\"n1\", qop=\"auth\"\r\n";
    let mut subscription = Subscription::new(wants(), 0);
    let ask = subscription.due(&mut with(0)).expect("it is asked for");
    let again = subscription.answered(
        ask.number,
        Some(&answer(&ask, 401, challenge)),
        &mut with(1),
    );
    let again = again.expect("with an answer");
    assert_eq!((again.cseq, &again.call_id), (2, &ask.call_id));
    assert!(
        again
            .lines
            .contains("Authorization: Digest username=\"me\", realm=\"pbx\", nonce=\"n1\"")
    );
    assert_eq!(again.remote, "<sip:200@pbx>", "the refusal made no dialog");
    // The password is wrong: not again for a while.
    let mut wrong = Subscription::new(wants(), 0);
    let ask = wrong.due(&mut with(0)).expect("it is asked for");
    let second = wrong.answered(
        ask.number,
        Some(&answer(&ask, 401, challenge)),
        &mut with(1),
    );
    let second = second.expect("with an answer");
    let none = wrong.answered(
        second.number,
        Some(&answer(&second, 401, challenge)),
        &mut with(2),
    );
    assert_eq!(none, None);
    assert!(resting(&wrong) >= LONG_PAUSE_MS);
    // It was right: the refresh is answered for before it is asked, and a nonce that has aged costs one more.
    subscription.answered(
        again.number,
        Some(&answer(&again, 200, "Expires: 600\r\n")),
        &mut with(3),
    );
    subscription.notified(&notify(&again, 1, "theirs", ACTIVE), &with(4));
    let next = subscription.next().expect("it is refreshed");
    let refresh = subscription.due(&mut with(next)).expect("it is time");
    assert!(refresh.lines.contains("nc=00000002"), "{}", refresh.lines);
    let stale = "Proxy-Authenticate: Digest realm=\"pbx\", nonce=\"n2\", stale=true\r\n";
    let last = subscription.answered(
        refresh.number,
        Some(&answer(&refresh, 407, stale)),
        &mut with(next),
    );
    let last = last.expect("with the new nonce");
    assert!(last.lines.contains("Proxy-Authorization: ") && last.lines.contains("nonce=\"n2\""));
    assert_eq!(
        (last.cseq, last.call_id),
        (refresh.cseq + 1, ask_call(&subscription))
    );
}

fn ask_call(subscription: &Subscription) -> String {
    subscription.call_id().expect("a dialog").to_owned()
}

#[test]
fn who_wants_longer_subscriptions_gets_them() {
    let mut subscription = Subscription::new(wants(), 0);
    let ask = subscription.due(&mut at(0)).expect("it is asked for");
    let brief = answer(&ask, 423, "Min-Expires: 3600\r\n");
    let again = subscription
        .answered(ask.number, Some(&brief), &mut at(1))
        .expect("longer");
    assert!(again.lines.contains("Expires: 3600\r\n"), "{}", again.lines);
    let shorter = answer(&again, 423, "Min-Expires: 10\r\n");
    assert_eq!(
        subscription.answered(again.number, Some(&shorter), &mut at(2)),
        None
    );
    resting(&subscription);
}

//= RFC 6665 4.1.2.3
//= type=test
#[test]
fn who_leaves_says_so() {
    // Active: with zero seconds, and the last notification is taken.
    let (mut subscription, ask) = active();
    let bye = subscription.end(&mut at(2_000)).expect("a farewell");
    assert!(
        bye.lines.contains("Expires: 0\r\n") && bye.cseq == 2,
        "{}",
        bye.lines
    );
    assert_eq!(subscription.end(&mut at(2_001)), None, "once");
    subscription.answered(
        bye.number,
        Some(&answer(&bye, 200, "Expires: 0\r\n")),
        &mut at(2_002),
    );
    assert!(!subscription.is_gone() && subscription.standing() == Standing::Over);
    let over = "Event: dialog\r\nSubscription-State: terminated;reason=timeout\r\n";
    let taken = subscription.notified(&notify(&ask, 2, "theirs", over), &at(2_003));
    assert_eq!(
        taken,
        Reply::Taken {
            begins: false,
            tells: false
        }
    );
    assert!(subscription.is_gone());
    // Nobody answers, or nothing was begun.
    let (mut silent, _) = active();
    let bye = silent.end(&mut at(2_000)).expect("a farewell");
    silent.answered(bye.number, None, &mut at(34_000));
    assert!(silent.is_gone());
    let mut idle = Subscription::new(wants(), 0);
    assert_eq!(idle.end(&mut at(0)), None);
    assert!(idle.is_gone());
    // The first request is on its way: what it brings is ended.
    let mut early = Subscription::new(wants(), 0);
    let ask = early.due(&mut at(0)).expect("it is asked for");
    assert_eq!(early.end(&mut at(1)), None);
    let ok = answer(&ask, 200, "Expires: 600\r\n");
    let bye = early
        .answered(ask.number, Some(&ok), &mut at(2))
        .expect("a farewell");
    assert!(bye.lines.contains("Expires: 0\r\n"), "{}", bye.lines);
    early.answered(bye.number, Some(&answer(&bye, 200, "")), &mut at(3));
    assert_eq!(early.next(), Some(3 + FAREWELL_MS));
    assert_eq!(early.due(&mut at(3 + FAREWELL_MS)), None);
    assert!(early.is_gone());
}

#[test]
fn a_part_that_was_missed_is_asked_for_soon_but_not_for_ever() {
    let (mut subscription, _) = active();
    subscription.hurry(&at(5_000));
    let ask = subscription.due(&mut at(5_000)).expect("at once");
    subscription.answered(
        ask.number,
        Some(&answer(&ask, 200, "Expires: 600\r\n")),
        &mut at(5_001),
    );
    subscription.hurry(&at(5_002));
    assert_eq!(
        subscription.due(&mut at(6_000)),
        None,
        "a moment ago it was"
    );
    subscription.hurry(&at(15_000));
    assert!(subscription.due(&mut at(15_000)).is_some());
}

/// Whatever comes, in whatever order: it is never stuck, CSeq grows within a dialog, and whoever leaves is gone in
/// the end.
#[test]
fn no_order_of_events_leaves_it_stuck() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    const STATUSES: [u16; 14] = [
        200, 202, 200, 200, 401, 407, 403, 404, 408, 423, 481, 489, 500, 503,
    ];
    const LINES: [&str; 5] = [
        "Expires: 600\r\n",
        "Expires: 0\r\n",
        "Retry-After: 30\r\nExpires: 3\r\n",
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\nMin-Expires: 900\r\n",
        "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", stale=true\r\n",
    ];
    const STATES: [&str; 7] = [
        "active;expires=20",
        "active",
        "pending;expires=60",
        "terminated;reason=deactivated",
        "terminated;reason=giveup;retry-after=9",
        "terminated;reason=noresource",
        "terminated",
    ];
    for run in 0..400 {
        let mut now = 0;
        let mut subscription = Subscription::new(wants(), draw(1_000));
        let mut asked: Vec<Ask> = Vec::new();
        let mut heard = 0;
        for step in 0..80 {
            let mut moment = Moment {
                now,
                chance: draw(u64::MAX),
                login: (run % 2 == 0).then_some(("me", "secret")),
            };
            let next = match draw(6) {
                0 | 1 => subscription.due(&mut moment),
                2 | 3 if !asked.is_empty() => {
                    let ask = &asked[asked.len() - 1 - draw(2) as usize % asked.len()];
                    let status = STATUSES[draw(14) as usize];
                    let response = answer(ask, status, LINES[draw(5) as usize]);
                    let number = ask.number;
                    let told = (draw(8) > 0).then_some(&response);
                    subscription.answered(number, told, &mut moment)
                }
                4 if !asked.is_empty() => {
                    heard += draw(3) as u32;
                    let state = STATES[draw(7) as usize];
                    let lines = format!("Event: dialog\r\nSubscription-State: {state}\r\n");
                    let tag = if draw(10) == 0 { "other" } else { "theirs" };
                    let ask = &asked[asked.len() - 1];
                    let reply = subscription.notified(&notify(ask, heard, tag, &lines), &moment);
                    let over = state.starts_with("terminated");
                    if matches!(reply, Reply::Taken { .. }) && over {
                        assert_eq!(subscription.call_id(), None, "run {run}, step {step}");
                    }
                    None
                }
                _ if step > 60 && draw(4) == 0 => subscription.end(&mut moment),
                _ => {
                    now = subscription.next().map_or(now + 1, |next| next.max(now));
                    None
                }
            };
            if let Some(ask) = next {
                let same = asked.iter().filter(|known| known.call_id == ask.call_id);
                assert!(
                    same.clone().all(|known| known.cseq < ask.cseq),
                    "run {run}, step {step}"
                );
                assert!(subscription.is_asking(), "run {run}, step {step}");
                asked.push(ask);
            }
            let rests =
                matches!(subscription.standing(), Standing::Refused) || subscription.is_gone();
            assert_eq!(
                subscription.next().is_none(),
                rests,
                "run {run}, step {step}"
            );
        }
        // Nobody answers any more.
        let ended = |moment: &mut Moment<'_>, subscription: &mut Subscription| {
            subscription.end(moment);
            subscription.due(moment);
        };
        for _ in 0..8 {
            ended(&mut at(now), &mut subscription);
            now = subscription.next().map_or(now, |next| next.max(now));
        }
        assert!(subscription.is_gone(), "run {run}: {:?}", subscription);
    }
}
