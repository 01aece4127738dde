//! Every category as its publisher writes it: accepted, kept, shown to whom it may be shown.

use super::reading::canonical_of;
use super::stage::{Item, Stage, at, endpoint};

const OWN: u8 = 0x11;

fn chat(properties: &[(&str, &str, &str)]) -> String {
    let each: String = properties
        .iter()
        .map(|(name, kind, value)| {
            format!("<property name=\"{name}\" type=\"{kind}\"><value>{value}</value></property>")
        })
        .collect();
    format!(
        "<propertyList xmlns=\"http://schemas.microsoft.com/2010/12/sip/propertyList\">{each}</propertyList>"
    )
}

fn item(category: &'static str, container: u16, instance: u32, content: &str) -> Item {
    Item {
        category,
        container,
        instance,
        life: "expireType=\"static\"".to_owned(),
        content: content.to_owned(),
    }
}

/// Category and content, in our own words.
fn examples() -> Vec<(&'static str, String)> {
    let state = |kind: &str, attributes: &str, inside: &str| {
        format!(
            "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xsi:type=\"{kind}\" {attributes}>{inside}</state>"
        )
    };
    let card = |attributes: &str, inside: &str| {
        format!(
            "<contactCard xmlns=\"http://schemas.microsoft.com/2006/09/sip/contactcard\" {attributes}>{inside}</contactCard>"
        )
    };
    let calendar = |inside: &str| {
        format!(
            "<calendarData xmlns=\"http://schemas.microsoft.com/2006/09/sip/calendarData\" mailboxID=\"bob@contoso.com\">{inside}</calendarData>"
        )
    };
    let busy = |version: u32, text: &str| {
        calendar(&format!(
            "<freeBusy startTime=\"2008-01-11T00:00:00Z\" granularity=\"PT15M\" encodingVersion=\"{version}\">{text}</freeBusy>"
        ))
    };
    vec![
        (
            "state",
            state(
                "machineState",
                "manual=\"false\" majorVersion=\"1\"",
                "<availability>3500</availability><delimiter xmlns=\"http://schemas.microsoft.com/2006/09/sip/commontypes\"/>\
                 <device>toaster</device><end xmlns=\"http://schemas.microsoft.com/2006/09/sip/commontypes\"/>\
                 <treatLocationAsProximate>true</treatLocationAsProximate>",
            ),
        ),
        (
            "state",
            state(
                "calendarState",
                "uri=\"bob@contoso.com\" startTime=\"2008-01-11T19:00:00Z\"",
                "<availability>6500</availability><activity token=\"in-a-meeting\" minAvailability=\"6500\" maxAvailability=\"unbounded\"/>\
                 <meetingSubject LCID=\"1033\" updated=\"2008-01-11T18:00:00Z\">A</meetingSubject>",
            ),
        ),
        ("contactCard", card("", "<identity><name><displayName LCID=\"1033\">Bob</displayName></name></identity>")),
        ("contactCard", card("isUCEnabled=\"true\"", "")),
        (
            "contactCard",
            card(
                "majorVersion=\"1\" minorVersion=\"2\"",
                "<address type=\"dacha\"><street>1</street><countryCode>usa</countryCode></address>\
                 <url type=\"blog\" updated=\"2008-01-11T18:00:00Z\">http://x</url><phone type=\"work\"><uri>tel:1</uri></phone>\
                 <automaton>true</automaton><type>oracle</type><description>An answer</description>",
            ),
        ),
        (
            "contactCard",
            card("", "<photo type=\"enterprise\"><uri updated=\"2008-01-11T18:00:00Z\">http://x/p</uri><hash>abc</hash></photo>"),
        ),
        ("calendarData", busy(1, "AAAVVf/w")),
        ("calendarData", busy(2, "BQEiW4A=")),
        ("calendarData", calendar("")),
        (
            "routing",
            "<routing xmlns=\"urn:unknown:routing\" name=\"rtcdefault\" version=\"1\"><preamble><flags name=\"clientflags\" value=\"block\"/></preamble></routing>".to_owned(),
        ),
        ("note", "<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"><body type=\"personal\" uri=\"\">x</body></note>".to_owned()),
        (
            "mwi",
            "<mwi xmlns=\"http://schemas.microsoft.com/2006/09/sip/mwi\" messageWaiting=\"true\" unreadVoiceMailCount=\"3\"/>".to_owned(),
        ),
        (
            "linkedPICContacts",
            "<LinkedPicContactList xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\"><LinkedPicContactEntry primary-Identity=\"a@x\">\
             <secondary-identities><secondary-identity>b@y</secondary-identity></secondary-identities></LinkedPicContactEntry></LinkedPicContactList>".to_owned(),
        ),
        (
            "roomSetting",
            chat(&[
                ("ver", "string", "0.3"),
                ("url", "string", "ma-chan://x/1"),
                ("name", "string", "Room"),
                ("setting", "numeric", "33"),
                ("poolUri", "string", "sip:chat@x"),
                ("poolName", "string", "Europe"),
            ]),
        ),
        (
            "roomUpdate",
            chat(&[("ver", "string", "0.3"), ("url", "string", "ma-chan://x/1"), ("msgid", "numeric", "12")]),
        ),
        (
            "roomInvitation",
            chat(&[("Version", "string", "0.4"), ("Pool", "string", "sip:chat@x"), ("LastId", "numeric", "69")]),
        ),
        (
            "gcFilterSetting",
            chat(&[
                ("ver", "string", "0.4"),
                ("notificationSettings", "numeric", "33"),
                ("type", "numeric", "0"),
                ("name", "string", "Filter"),
                // Content that the client should not write, and that the server does not judge.
                ("senderscope", "numeric", "2"),
                ("specificsenders", "string", ""),
                ("Keywords", "string", "Test"),
                ("MatchWholeWords", "boolean", "true"),
                ("MatchAllWords", "boolean", "false"),
                ("filterId", "string", "{FCDB5A83}"),
            ]),
        ),
        (
            "contoso.mood",
            "<m:mood xmlns:m=\"urn:contoso:mood\" xmlns:n=\"urn:other\" m:of=\"day\"><n:deep>&lt;x&gt; <m:er/></n:deep><!-- why --></m:mood>".to_owned(),
        ),
    ]
}

//= MS-PRES 2.2.2.7
//= type=test
//# what a client publishes is kept as it is, whatever it holds beside what the server knows
//= MS-PRES 2.2.2.7.5
//= type=test
// proves: PRES-2.2.2.7-02 PRES-2.2.2.7.8-01 PRES-2.2.2.7.1-04 PRES-2.2.2.7.1-05 PRES-2.2.2.7.5-02 PRES-2.2.2.7.5-06
// proves: PRES-2.2.2.7.5-07 PRES-2.2.2.7.8-02 PRES-2.2.2.7.8-03 PRES-2.2.2.7.11-01 PRES-2.2.2.7.13.1-01
// proves: PRES-2.2.2.7.13.2-01 PRES-2.2.2.7.13.3-01 PRES-2.2.2.7.13.4-01 PRES-2.2.2.7.13.4-02
#[test]
fn every_category_is_kept_as_it_is() {
    let mut stage = Stage::start(at(1, 0, 0));
    stage.sign_in(at(1, 0, 0), endpoint(OWN));
    for (number, (category, content)) in (0x4000_0000..).zip(examples()) {
        stage.publish(
            at(1, 1, 0),
            endpoint(OWN),
            &[item(category, 1, number, &content)],
        );
        assert_eq!(
            stage.content(1, category, number),
            Some(canonical_of(&content)),
            "{category}"
        );
    }
}

//= MS-PRES 1.3.1.2
//= type=test
//# a private category is shown to its publisher, in whichever container it stands, and to nobody else
// proves: PRES-2.2.2.7-01 PRES-2.2.2.7.6-01 PRES-2.2.2.7.6-05 PRES-2.2.2.7.7-01 PRES-2.2.2.7.9-02
// proves: PRES-2.2.2.7.10-02 PRES-2.2.2.7.12-01
#[test]
fn what_is_private_is_shown_to_its_publisher_alone() {
    let mut stage = Stage::start(at(1, 0, 0));
    stage.sign_in(at(1, 0, 0), endpoint(OWN));
    let private = [
        "legacyInterop",
        "routing",
        "workingHours",
        "dndState",
        "mwi",
        "linkedPICContacts",
        "roomSetting",
        "roomUpdate",
        "roomInvitation",
        "gcFilterSetting",
    ];
    let examples = examples();
    let content = |category: &str| {
        let found = examples.iter().find(|(name, _)| *name == category);
        found.map_or_else(
            || "<x xmlns=\"urn:x\"/>".to_owned(),
            |(_, content)| content.clone(),
        )
    };
    for category in private {
        stage.publish(
            at(1, 1, 0),
            endpoint(OWN),
            &[item(category, 0, 77, &content(category))],
        );
        assert!(
            stage.content(0, category, 77).is_some(),
            "{category} is shown to oneself"
        );
        let seen = stage.seen_by("carol@contoso.com", &[category, "note"]);
        assert!(!seen.contains(category), "{category}: {seen}");
        assert!(
            seen.contains("<category name=\"note\"/>"),
            "{category}: {seen}"
        );
    }
    stage.publish(
        at(1, 2, 0),
        endpoint(OWN),
        &[item("note", 0, 77, &content("note"))],
    );
    let seen = stage.seen_by("carol@contoso.com", &["note"]);
    assert!(seen.contains(">x</body>"), "{seen}");
}

//= MS-PRES 2.2.2.7
//= type=test
//# content that its category's schema does not allow is refused
// proves: PRES-2.2.2.7.1-01 PRES-2.2.2.7.1-02 PRES-2.2.2.7.2-01 PRES-2.2.2.7.11-03 PRES-2.2.2.7.12-02
// proves: PRES-2.2.2.7.13-01 PRES-2.2.2.7.8-01
#[test]
fn what_is_not_of_its_category_is_refused() {
    let mut stage = Stage::start(at(1, 0, 0));
    stage.sign_in(at(1, 0, 0), endpoint(OWN));
    let empty = chat(&[]);
    let untyped = "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\"><availability>1</availability></state>";
    for (category, content) in [
        ("state", untyped),
        (
            "state",
            "<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"/>",
        ),
        (
            "device",
            "<device xmlns=\"http://schemas.microsoft.com/2006/09/sip/device\"/>",
        ),
        (
            "mwi",
            "<mwi xmlns=\"http://schemas.microsoft.com/2006/09/sip/mwi\"/>",
        ),
        (
            "linkedPICContacts",
            "<LinkedPicContactList><Entry/></LinkedPicContactList>",
        ),
        ("roomSetting", &*empty),
        ("roomUpdate", &*empty),
        ("roomInvitation", &*empty),
        ("gcFilterSetting", &*empty),
        ("contactCard", "<card/>"),
        ("calendarData", "<calendar/>"),
    ] {
        let before = stage.own();
        let done = stage.try_publish(at(1, 1, 0), endpoint(OWN), &[item(category, 2, 5, content)]);
        assert!(done.is_err(), "{category}: {content}");
        assert_eq!(stage.own(), before, "{category}");
    }
}
