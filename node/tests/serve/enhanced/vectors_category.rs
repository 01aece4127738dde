//! The examples of category notifications (MS-PRES 2.2.2.4.3, 4.4.3), replayed: somebody goes into a meeting.

use transport::sip::StatusCode;

use super::super::server::Server;
use super::client::{Client, note, publication, text, uuid};
use super::tree;
use super::vectors::read;

const STATIC: &str = "expireType=\"static\"";
const ENDPOINT: &str = "expireType=\"endpoint\"";

/// Working hours and free and busy times as they are printed: what stands between these tags of the example.
fn printed(body: &str, place: usize) -> String {
    let mut parts = body.split("<calendarData ").skip(1);
    let part = parts.nth(place).expect("calendarData");
    let end = part.find("</calendarData>").expect("its end");
    format!("<calendarData {}</calendarData>", &part[..end])
}

/// A state of this kind.
fn state(kind: &str, rest: &str) -> String {
    format!(
        "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" manual=\"false\" xsi:type=\"{kind}\">{rest}</state>"
    )
}

/// An element as it says something: services and capabilities in whatever order.
fn of(document: &str, category: &str) -> Vec<String> {
    let all = tree::elements(document, "category", &["publishTime"]);
    let named = format!("name=\"{category}\"");
    let mut lines: Vec<String> = all
        .iter()
        .filter(|element| element.contains(&named))
        .flat_map(|element| element.lines().map(str::to_owned))
        .collect();
    lines.sort();
    lines
}

//= MS-PRES 2.2.2.4.3
//= type=test
//= MS-PRES 4.4.3
//= type=test
//# what a watcher is told of somebody who goes into a meeting, as it is printed
#[test]
fn a_meeting_is_told_as_printed() {
    let (Some(told), Some(all)) = (
        read("2.2.2.4.3-category.benotify"),
        read("4.4.3-category-calendar.benotify"),
    ) else {
        return;
    };
    let data = tempfile::tempdir().expect("a folder");
    let arguments = ["--domain", "contoso.com", "--shards", "1"];
    let server = Server::start_with(data.path(), &arguments);
    let mut publisher = Client::sign_in(&server, "user2");
    let mut bob = Client::sign_in(&server, "bob");
    let member = format!(
        "<container id=\"300\" version=\"0\"><member action=\"add\" type=\"user\" value=\"{}\"/></container>",
        bob.uri
    );
    assert_eq!(publisher.set_members(&member).status(), StatusCode::OK);

    let machine = state(
        "machineState",
        "<availability>3500</availability><endpointLocation>Home_Custom_EndPoint_Location</endpointLocation>",
    );
    let device = "<device xmlns=\"http://schemas.microsoft.com/2006/09/sip/device\"><capabilities preferred=\"false\" \
        uri=\"sip:user2@contoso.com\"><text capture=\"true\" render=\"true\" publish=\"false\"/>\
        <gifInk capture=\"false\" render=\"true\" publish=\"false\"/>\
        <isfInk capture=\"false\" render=\"true\" publish=\"false\"/></capabilities>\
        <timezone>00:00:00-00:00</timezone><machineName>MachineName</machineName></device>"
        .replace("<device ", &format!("<device endpointId=\"{}\" ", uuid(publisher.instance).to_uppercase()));
    let online = [
        publication("state", 831_107_580, 2, 0, ENDPOINT, &machine),
        publication("state", 831_107_580, 3, 0, ENDPOINT, &machine),
        publication("device", 412_819_398, 2, 0, ENDPOINT, &device),
        publication("note", 0, 300, 0, STATIC, &note("here")),
        publication(
            "calendarData",
            2_135_971_629,
            300,
            0,
            STATIC,
            &printed(&all.body, 0),
        ),
        publication("calendarData", 0, 300, 0, STATIC, &printed(&all.body, 1)),
    ]
    .concat();
    let answer = publisher.publish(&online);
    assert_eq!(answer.status(), StatusCode::OK, "{}", text(answer.body()));

    let names = ["calendarData", "contactCard", "note", "services", "state"];
    let (few, answer) = bob.watch(&["sip:user2@contoso.com"], &["state", "services"]);
    assert_eq!(answer.status(), StatusCode::OK);
    let mut second = Client::sign_in(&server, "bob");
    let (many, answer) = second.watch(&["sip:user2@contoso.com"], &names);
    assert_eq!(answer.status(), StatusCode::OK);

    let meeting = state(
        "calendarState",
        "<availability>6500</availability><activity token=\"in-a-meeting\"/>\
         <endpointLocation/><meetingSubject>Customer Meeting</meetingSubject>\
         <meetingLocation>Conference Room - Building 7</meetingLocation>",
    );
    let goes = publication("state", 1_073_741_825, 2, 0, STATIC, &meeting)
        + &publication("state", 1_073_741_825, 3, 0, STATIC, &meeting);
    let answer = publisher.publish(&goes);
    assert_eq!(answer.status(), StatusCode::OK, "{}", text(answer.body()));

    for (client, dialog, example, names) in [
        (&mut bob, &few, &told, &["state"][..]),
        (&mut second, &many, &all, &["state"][..]),
    ] {
        let heard = client.told(dialog);
        assert_eq!(heard.method().as_str(), "BENOTIFY");
        let heard = text(heard.body());
        for name in names {
            assert_eq!(of(&heard, name), of(&example.body, name), "{heard}");
        }
    }
    // What did not change is not told again; it is what was shown at first, as it is printed.
    let (_, answer) = second.watch(&["sip:user2@contoso.com"], &names);
    let shown = text(answer.body());
    let begin = shown.find("<categories").expect("categories");
    let end = shown.rfind("</categories>").expect("their end") + "</categories>".len();
    for name in ["state", "services", "calendarData"] {
        assert_eq!(of(&shown[begin..end], name), of(&all.body, name), "{shown}");
    }
}
