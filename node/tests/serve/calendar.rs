//! Calendars of a real CalDAV server, Radicale, as watchers are shown them.
//!
//! Times are real: an event of now runs now. Radicale is found as in `enhanced/contact_store.rs`; where it is
//! not, these tests are skipped and say what to install.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use shard::category::calendar_data::{Slot, free_busy};
use transport::sip::StatusCode;

use super::enhanced::client::{Client, categories, publication, text};
use super::enhanced::contact_store::Radicale;
use super::enhanced::tree;
use super::phone::{Phone, Publisher, Watch, document, told};
use super::pool::Pool;
use super::server::Server;

/// How long a change at the server may take to be seen: a refresh is a second, a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(40);

const ICS: &str = "text/calendar; charset=utf-8";

/// A zone that is not UTC, and its rules.
const ZONE: &str = "Europe/Berlin";
const VTIMEZONE: &str = "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:19701025T030000\r\n\
    RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\n\
    BEGIN:DAYLIGHT\r\nDTSTART:19700329T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\n\
    TZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n";

/// A CalDAV server with a calendar for each of these users.
fn calendars(users: &[&str]) -> Option<Radicale> {
    let radicale = Radicale::start()?;
    radicale.let_in(users);
    for user in users {
        radicale.send(user, "MKCALENDAR", "calendar/", "application/xml", "");
    }
    Some(radicale)
}

/// The settings of a node that reads them each second, and these.
fn settings(radicale: &Radicale, users: &[&str], domain: &str, more: &str) -> PathBuf {
    let (address, folder) = radicale.place();
    let logins: String = users
        .iter()
        .map(|user| format!("{user}@{domain}:{user}:secret\n"))
        .collect();
    std::fs::write(folder.join("logins"), logins).expect("written");
    let file = folder.join("node.toml");
    let text = format!(
        "[calendar]\nurl = \"http://{address}/{{user}}/calendar/\"\ncredentials = \"{}/logins\"\nrefresh = 1\n{more}",
        folder.display()
    );
    std::fs::write(&file, text).expect("written");
    file
}

fn utc(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn local(at: DateTime) -> String {
    at.strftime("%Y%m%dT%H%M%S").to_string()
}

/// Writes an event, whose lines these are; `others` are further components of it.
fn write(radicale: &Radicale, user: &str, uid: &str, lines: &[String], others: &str) {
    let body = format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\n{VTIMEZONE}BEGIN:VEVENT\r\nUID:{uid}\r\n\
         DTSTAMP:20260101T000000Z\r\nSUMMARY:{uid}\r\n{}\r\nEND:VEVENT\r\n{others}END:VCALENDAR\r\n",
        lines.join("\r\n")
    );
    radicale.send(user, "PUT", &format!("calendar/{uid}.ics"), ICS, &body);
}

fn remove(radicale: &Radicale, user: &str, uid: &str) {
    radicale.send(user, "DELETE", &format!("calendar/{uid}.ics"), "", "");
}

/// An event from one time to another, and more of it.
fn from_to(from: Timestamp, to: Timestamp, more: &[&str]) -> Vec<String> {
    let mut lines = vec![
        format!("DTSTART:{}", utc(from)),
        format!("DTEND:{}", utc(to)),
    ];
    lines.extend(more.iter().map(|line| (*line).to_owned()));
    lines
}

fn now() -> Timestamp {
    Timestamp::now()
}

/// A watcher of a telephone's user.
struct Watcher {
    phone: Phone,
    watch: Watch,
    last: String,
}

impl Watcher {
    fn of(server: &Server, user: &str) -> Watcher {
        let mut phone = Phone::udp(server.udp);
        let mut watch = Watch::new(user);
        assert_eq!(watch.subscribe(&mut phone, 3_600).status(), StatusCode::OK);
        let (_, last) = told(&phone.notify(Some(&watch.call_id)));
        Watcher { phone, watch, last }
    }

    /// Waits until what is shown has, or has not, an activity.
    fn until(&mut self, what: &str, activity: &str, shown: bool) {
        let until = Instant::now() + PATIENCE;
        while self.last.contains(activity) != shown {
            assert!(Instant::now() < until, "{what}: {}", self.last);
            for notify in self.phone.drain(Duration::from_millis(50)) {
                if notify.call_id() == self.watch.call_id {
                    self.last = told(&notify).1;
                }
            }
        }
    }
}

/// A counter of the connector.
fn counted(server: &Server, name: &str) -> u64 {
    let (_, metrics) = server.get("/metrics");
    let line = metrics
        .lines()
        .find(|line| line.starts_with(&format!("lamplight_{name}")));
    let line = line.unwrap_or_else(|| panic!("no {name}"));
    line.rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// Waits until so many more calendars were read.
fn reads(server: &Server, more: u64) {
    let wanted = counted(server, "calendar_reads") + more;
    let until = Instant::now() + PATIENCE;
    while counted(server, "calendar_reads") < wanted {
        assert!(Instant::now() < until, "nothing is read");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Each way in which time is taken, or given back, as a standard watcher is shown it.
fn every_way(server: &Server, radicale: &Radicale, user: &str) {
    const MEETING: &str = "<rpid:meeting";
    let mut watcher = Watcher::of(server, user);
    let mut phone = Phone::udp(server.udp);
    Publisher::new(user).publish(
        &mut phone,
        Some(3_600),
        &document(user, "open", "at my desk"),
    );
    watcher.until("the phone", "at my desk", true);
    reads(server, 2);
    watcher.until("nothing is planned", MEETING, false);

    // A meeting that runs; it is moved to another day; it is back; it is called off.
    let running = || from_to(now() - 10.minutes(), now() + 50.minutes(), &[]);
    write(radicale, user, "plain", &running(), "");
    watcher.until("a meeting runs", MEETING, true);
    assert!(
        watcher.last.contains("at my desk"),
        "the phone says what it said: {}",
        watcher.last
    );
    // One meeting is told once, however often it is read.
    let before = counted(server, "calendar_publications");
    reads(server, 3);
    assert_eq!(
        counted(server, "calendar_publications"),
        before,
        "nothing changed"
    );
    assert!(watcher.phone.drain(Duration::from_millis(100)).is_empty());
    write(
        radicale,
        user,
        "plain",
        &from_to(now() + 20.hours(), now() + 21.hours(), &[]),
        "",
    );
    watcher.until("it was moved", MEETING, false);
    write(radicale, user, "plain", &running(), "");
    watcher.until("it was moved back", MEETING, true);
    let cancelled = from_to(
        now() - 10.minutes(),
        now() + 50.minutes(),
        &["STATUS:CANCELLED"],
    );
    write(radicale, user, "plain", &cancelled, "");
    watcher.until("it was called off", MEETING, false);

    // What takes no time, or perhaps, or is over, or comes.
    for (uid, lines) in [
        (
            "free",
            from_to(
                now() - 10.minutes(),
                now() + 50.minutes(),
                &["TRANSP:TRANSPARENT"],
            ),
        ),
        (
            "perhaps",
            from_to(
                now() - 10.minutes(),
                now() + 50.minutes(),
                &["STATUS:TENTATIVE"],
            ),
        ),
        ("over", from_to(now() - 2.hours(), now() - 1.hour(), &[])),
        ("later", from_to(now() + 1.hour(), now() + 2.hours(), &[])),
    ] {
        write(radicale, user, uid, &lines, "");
    }
    reads(server, 2);
    watcher.until("no time is taken", MEETING, false);

    // Every week at this hour of its own zone; this week's is moved away, and back.
    let berlin = TimeZone::get(ZONE).expect("this machine knows zones");
    let begin = (now() - 10.minutes()).to_zoned(berlin);
    let first = begin.datetime() - 21.days();
    let weekly = [
        format!("DTSTART;TZID={ZONE}:{}", local(first)),
        "DURATION:PT1H".to_owned(),
        "RRULE:FREQ=WEEKLY".to_owned(),
    ];
    write(radicale, user, "weekly", &weekly, "");
    watcher.until("it recurs", MEETING, true);
    let moved = format!(
        "BEGIN:VEVENT\r\nUID:weekly\r\nDTSTAMP:20260101T000000Z\r\nRECURRENCE-ID;TZID={ZONE}:{}\r\n\
         DTSTART;TZID={ZONE}:{}\r\nDURATION:PT1H\r\nEND:VEVENT\r\n",
        local(begin.datetime()),
        local(begin.datetime() + 22.hours())
    );
    write(radicale, user, "weekly", &weekly, &moved);
    watcher.until("one of them was moved", MEETING, false);
    let excepted = [
        &weekly[..],
        &[format!("EXDATE;TZID={ZONE}:{}", local(begin.datetime()))],
    ]
    .concat();
    write(radicale, user, "weekly", &weekly, "");
    watcher.until("it is as it was", MEETING, true);
    write(radicale, user, "weekly", &excepted, "");
    watcher.until("one of them does not take place", MEETING, false);

    // A whole day, which begins where the operator says.
    let today = now().to_zoned(TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| date.strftime("%Y%m%d").to_string();
    let whole = [
        format!("DTSTART;VALUE=DATE:{}", day(today - 1.day())),
        format!("DTEND;VALUE=DATE:{}", day(today + 2.days())),
    ];
    write(radicale, user, "days", &whole, "");
    watcher.until("whole days", MEETING, true);
    remove(radicale, user, "days");
    watcher.until("they are free again", MEETING, false);

    // It ends when it ends.
    write(
        radicale,
        user,
        "short",
        &from_to(now() - 10.minutes(), now() + 12.seconds(), &[]),
        "",
    );
    watcher.until("the last minute of a meeting", MEETING, true);
    watcher.until("it ends", MEETING, false);
}

//= RFC 4791 7.10
//= type=test
#[test]
fn phones_are_shown_the_meetings_of_a_calendar() {
    let Some(radicale) = calendars(&["carol"]) else {
        return;
    };
    let file = settings(
        &radicale,
        &["carol"],
        "example.com",
        "report = \"free-busy\"\n",
    );
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_with(data.path(), &["--config", file.to_str().expect("a path")]);
    every_way(&server, &radicale, "carol");
    assert_eq!(counted(&server, "calendar_read_failures"), 0);
}

//= RFC 4791 9.6.5
//= type=test
#[test]
fn a_server_without_free_busy_expands_events() {
    let Some(radicale) = calendars(&["carol"]) else {
        return;
    };
    let more = format!("report = \"expand\"\ntime_zone = \"{ZONE}\"\n");
    let file = settings(&radicale, &["carol"], "example.com", &more);
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_with(data.path(), &["--config", file.to_str().expect("a path")]);
    every_way(&server, &radicale, "carol");
    assert_eq!(counted(&server, "calendar_read_failures"), 0);
}

/// The free and busy times in a document: when they begin, and each quarter of an hour.
fn taken(document: &str) -> Option<(Timestamp, Vec<Slot>)> {
    let starts = tree::attributes(document, "freeBusy", "startTime");
    let texts = tree::texts(document, "freeBusy");
    let slots = free_busy(texts.first()?, 0)?;
    Some((starts.first()?.parse().expect("a time"), slots))
}

//= MS-PRES 2.2.2.7.8
//= type=test
//= MS-PRES 2.2.2.7.1
//= type=test
#[test]
fn office_clients_are_shown_the_days_ahead_and_the_meeting() {
    let Some(radicale) = calendars(&["bob"]) else {
        return;
    };
    let file = settings(&radicale, &["bob"], "contoso.com", "");
    let data = tempfile::tempdir().expect("a folder");
    let server = super::enhanced::contact_store::start(data.path(), &file);
    // Tomorrow from ten to eleven, in UTC, and perhaps until twelve.
    let midnight = now()
        .to_zoned(TimeZone::UTC)
        .start_of_day()
        .expect("a day")
        .timestamp();
    let ten = midnight + 34.hours();
    write(
        &radicale,
        "bob",
        "tomorrow",
        &from_to(ten, ten + 1.hour(), &[]),
        "",
    );
    let perhaps = from_to(ten + 1.hour(), ten + 2.hours(), &["STATUS:TENTATIVE"]);
    write(&radicale, "bob", "perhaps", &perhaps, "");
    // It is read before its user is there, and shown all the same once he is.
    reads(&server, 2);
    let mut bob = Client::sign_in(&server, "bob");
    let mut eve = Client::sign_in(&server, "eve");
    let member = "<container id=\"300\" version=\"0\"><member action=\"add\" type=\"user\" value=\"eve@contoso.com\"/></container>";
    assert_eq!(bob.set_members(member).status(), StatusCode::OK);
    let (dialog, answer) = eve.watch(&["sip:bob@contoso.com"], &["state", "calendarData"]);
    assert_eq!(answer.status(), StatusCode::OK);

    let mut free = taken(&categories(answer.body()));
    let until = Instant::now() + PATIENCE;
    let mut state = String::new();
    let look = |eve: &mut Client, free: &mut Option<(Timestamp, Vec<Slot>)>, state: &mut String| {
        for notify in eve.rest(&dialog) {
            let said = categories(notify.body());
            *free = taken(&said).or(free.take());
            if said.contains("<availability>") {
                *state = said;
            }
        }
        assert!(Instant::now() < until + PATIENCE, "{free:?} {state}");
    };
    while free.is_none() {
        look(&mut eve, &mut free, &mut state);
    }
    let (start, slots) = free.take().expect("said");
    assert_eq!((start, slots.len()), (midnight, 384));
    let at = |hour: usize| &slots[4 * hour..4 * hour + 4];
    assert_eq!(at(33), [Slot::Free; 4]);
    assert_eq!(at(34), [Slot::Busy; 4]);
    assert_eq!(at(35), [Slot::Tentative; 4]);
    assert_eq!(at(36), [Slot::Free; 4]);

    // A meeting that runs makes one busy who is there, with its token; when it is over, one is free.
    let device = "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
        xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" manual=\"false\" xsi:type=\"machineState\">\
        <availability>3500</availability></state>";
    let device = [2, 3]
        .map(|container| publication("state", 90, container, 0, "expireType=\"endpoint\"", device));
    assert_eq!(bob.publish(&device.concat()).status(), StatusCode::OK);
    write(
        &radicale,
        "bob",
        "now",
        &from_to(now() - 5.minutes(), now() + 1.hour(), &[]),
        "",
    );
    while !state.contains("in-a-meeting") {
        look(&mut eve, &mut free, &mut state);
    }
    assert!(
        tree::texts(&state, "availability").contains(&"6500".to_owned()),
        "{state}"
    );
    let (_, own) = bob.watch_self(&["categories"]);
    let own = text(own.body());
    let kinds = own.matches("xsi:type=\"calendarState\"").count();
    assert_eq!(kinds, 2, "where states are aggregated: {own}");
    assert!(own.contains("uri=\"bob@contoso.com\""), "{own}");
    remove(&radicale, "bob", "now");
    while state.contains("in-a-meeting") {
        look(&mut eve, &mut free, &mut state);
    }
}

#[test]
fn a_server_that_does_not_answer_leaves_what_was_seen_until_it_ends() {
    let Some(mut radicale) = calendars(&["carol", "dave"]) else {
        return;
    };
    let users = ["carol", "dave"];
    let file = settings(&radicale, &users, "example.com", "hold = 30\n");
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_with(data.path(), &["--config", file.to_str().expect("a path")]);
    let mut short = Watcher::of(&server, "carol");
    let mut long = Watcher::of(&server, "dave");
    write(
        &radicale,
        "dave",
        "long",
        &from_to(now() - 10.minutes(), now() + 2.hours(), &[]),
        "",
    );
    long.until("a meeting runs", "<rpid:meeting", true);
    // Then one that ends soon, and one that begins while the server is away.
    let end = now() + 12.seconds();
    write(
        &radicale,
        "carol",
        "short",
        &from_to(now() - 10.minutes(), end, &[]),
        "",
    );
    let next = from_to(end + 3.seconds(), end + 2.hours(), &["TRANSP:OPAQUE"]);
    write(&radicale, "carol", "next", &next, "");
    short.until("a meeting runs", "<rpid:meeting", true);
    reads(&server, 2);
    radicale.kill();
    let gone = Instant::now();
    short.until("it ends without the server", "<rpid:meeting", false);
    short.until("and the next begins", "<rpid:meeting", true);
    assert!(
        long.last.contains("<rpid:meeting"),
        "what was seen is in force"
    );
    // What nobody confirms ends when the operator says.
    long.until("it does not hold for ever", "<rpid:meeting", false);
    assert!(
        gone.elapsed() > Duration::from_secs(10),
        "it held: {:?}",
        gone.elapsed()
    );
    assert!(counted(&server, "calendar_read_failures") > 0);
    radicale.run();
    long.until("the server is back", "<rpid:meeting", true);
}

#[test]
fn the_next_leader_goes_on() {
    let users = ["u0", "u1", "u2", "u3"];
    let Some(radicale) = calendars(&users) else {
        return;
    };
    let file = settings(&radicale, &users, "example.com", "");
    let mut pool = Pool::start_with(3, 2, &std::fs::read_to_string(&file).expect("readable"));
    let meeting = || from_to(now() - 10.minutes(), now() + 1.hour(), &[]);
    for user in users {
        write(&radicale, user, "meeting", &meeting(), "");
    }
    pool.wait_until_all_vote();
    let victim = pool.leaders(0)[0].expect("a leader") as usize - 1;
    let stays = (victim + 1) % 3;
    let mut watchers: Vec<Watcher> = users
        .iter()
        .map(|user| Watcher::of(pool.node(stays), user))
        .collect();
    for watcher in &mut watchers {
        watcher.until("a meeting runs", "<rpid:meeting", true);
    }
    let read = |pool: &Pool, node: usize| counted(pool.node(node), "calendar_users");
    let looked_after: u64 = (0..3).map(|node| read(&pool, node)).sum();
    assert_eq!(looked_after, users.len() as u64, "each user by one node");
    pool.kill(victim);
    // Nobody is told anything else by the change, and changes are followed.
    let until = Instant::now() + PATIENCE;
    while (0..3)
        .filter(|node| *node != victim)
        .map(|node| read(&pool, node))
        .sum::<u64>()
        < users.len() as u64
    {
        assert!(Instant::now() < until, "nobody looks after them");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(2));
    for watcher in &mut watchers {
        for notify in watcher.phone.drain(Duration::from_millis(50)) {
            let (_, shown) = told(&notify);
            assert!(
                shown.contains("<rpid:meeting"),
                "the meeting goes on: {shown}"
            );
        }
    }
    for user in users {
        remove(&radicale, user, "meeting");
    }
    for watcher in &mut watchers {
        watcher.until("it was called off", "<rpid:meeting", false);
    }
}
