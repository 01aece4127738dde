//! What a refused publication is told, and that it leaves everything as it was (MS-PRES 3.2.5.4).

use transport::sip::{Response, StatusCode};

use super::super::phone::fresh;
use super::client::{Client, configured, diagnostic, note, publication, somebody, text};
use super::tree;

const STATIC: &str = "expireType=\"static\"";
const PUBLISH: &str = "application/msrtc-category-publish+xml";
const RICH_PRESENCE: &str = "http://schemas.microsoft.com/2006/09/sip/rich-presence";

/// Everything that the user has, as another of its endpoints sees it.
pub fn state(observer: &mut Client) -> String {
    let (_, all) = observer.watch_self(&["categories", "containers", "subscribers"]);
    assert_eq!(all.status(), StatusCode::OK);
    tree::canonical(&text(all.body()), &["expires"])
}

/// A publish document.
fn document(uri: &str, publications: &str) -> String {
    format!(
        "<publish xmlns=\"{RICH_PRESENCE}\"><publications uri=\"{uri}\">{publications}</publications></publish>"
    )
}

/// SERVICE to somebody, who may be another than the one it is from.
fn service(client: &mut Client, to: &str, media: &str, body: &str) -> Response {
    let head = client.head("SERVICE", to, None, &format!("service-{}", fresh()), 1);
    let lines = format!("Content-Type: {media}\r\n");
    client.phone.ask(head, &lines, body)
}

//= MS-PRES 3.2.5.4
//= type=test
//# every error has its status and its ms-diagnostics, and nothing of the request holds
// proves: PRES-2.2.2.2.1-01 PRES-2.2.2.2.1-02 PRES-2.2.2.2.1-03 PRES-2.2.2.2.1-04 PRES-2.2.2.2.1-08
// proves: PRES-3.2.5.1.2-01 PRES-3.2.5.1.2-02 PRES-3.2.5.1.2-03 PRES-3.2.5.1.2-04 PRES-3.2.5.1.2-05
// proves: PRES-3.2.5.1.2-06 PRES-3.2.5.1.2-07 PRES-3.2.5.1.2-09 PRES-3.2.5.1.2-10 PRES-3.2.5.1.2-16
// proves: PRES-3.2.5.1.2-17 PRES-3.2.5.1.2-18 PRES-3.2.5.1.2-19 PRES-3.2.5.1.2-20
// proves: PRES-3.2.5.4-01 PRES-3.2.5.4-02 PRES-3.2.5.4-03 PRES-3.2.5.4-04 PRES-3.2.5.4-05 PRES-3.2.5.4-06
// proves: PRES-3.2.5.4-07 PRES-3.2.5.4-08 PRES-3.2.5.4-09 PRES-3.2.5.4-10 PRES-3.2.5.4-11 PRES-3.2.5.4-12
// proves: PRES-3.2.5.4-13 PRES-3.2.1-05 PRES-3.2.1-06 PRES-1.3.1.1-05 PRES-3.2.6.2-06
#[test]
fn a_refused_publication_changes_nothing() {
    let data = tempfile::tempdir().expect("a folder");
    let server = configured(
        data.path(),
        "[enhanced]\npublication_bytes = 1024\ncategory_bytes = 2048\n",
    );
    let (name, other) = (somebody("bob"), somebody("alice"));
    let mut bob = Client::sign_in(&server, &name);
    let mut observer = Client::sign_in(&server, &name);
    let mut witness = Client::sign_in(&server, &name);
    let _alice = Client::sign_in(&server, &other);
    let mut stranger = Client::new(&server, &name);
    let (uri, alice) = (bob.uri.clone(), format!("sip:{other}@contoso.com"));

    // Two notes of 900 bytes: the category may hold 2,048.
    let large = note(&"x".repeat(780));
    for instance in [1, 2] {
        let answer = bob.publish(&publication("note", instance, 300, 0, STATIC, &large));
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let (told, _) = witness.watch_self(&["categories"]);
    let before = state(&mut observer);

    let good = publication("device", 0, 300, 0, STATIC, "");
    let one = |category: &str, container: u32, version: u32, expire: &str, data: &str| {
        publication(category, 5, container, version, expire, data)
    };
    let with = |bad: &str| document(&uri, &format!("{good}{bad}"));
    let short = note("a");
    let (own, others) = (uri.clone(), alice.clone());
    let cases: Vec<(&str, &str, &str, String, u16, u32)> = vec![
        ("no body", &own, PUBLISH, String::new(), 400, 4001),
        (
            "half a document",
            &own,
            PUBLISH,
            with("")[..80].to_owned(),
            400,
            4001,
        ),
        (
            "another root",
            &own,
            PUBLISH,
            "<publications/>".to_owned(),
            400,
            4001,
        ),
        (
            "another namespace",
            &own,
            PUBLISH,
            with("").replace("rich-presence", "poor-presence"),
            400,
            4001,
        ),
        (
            "no categoryName",
            &own,
            PUBLISH,
            with(&one("note", 300, 0, STATIC, &short)).replace(" categoryName=\"note\"", ""),
            400,
            4001,
        ),
        (
            "an expireType of its own",
            &own,
            PUBLISH,
            with(&one("note", 300, 0, "expireType=\"forever\"", &short)),
            400,
            4001,
        ),
        (
            "a state that is none",
            &own,
            PUBLISH,
            with(&one("state", 300, 0, STATIC, &short)),
            400,
            4001,
        ),
        (
            "a state with an element that it does not have",
            &own,
            PUBLISH,
            with(&one("state", 300, 0, STATIC, UNLAWFUL_STATE)),
            400,
            4001,
        ),
        ("To is another", &others, PUBLISH, with(""), 403, 4000),
        (
            "To and the document are another's",
            &others,
            PUBLISH,
            document(&others, &good),
            403,
            4000,
        ),
        (
            "the document is another's",
            &own,
            PUBLISH,
            document(&others, &good),
            400,
            4000,
        ),
        (
            "time without expires",
            &own,
            PUBLISH,
            with(&one("note", 300, 0, "expireType=\"time\"", &short)),
            400,
            4001,
        ),
        (
            "expires without time",
            &own,
            PUBLISH,
            with(&one(
                "note",
                300,
                0,
                "expireType=\"user\" expires=\"60\"",
                &short,
            )),
            400,
            4001,
        ),
        (
            "read-only",
            &own,
            PUBLISH,
            with(&one("userProperties", 1, 0, STATIC, "")),
            403,
            2003,
        ),
        (
            "the removal of what is read-only",
            &own,
            PUBLISH,
            with(&publication(
                "userProperties",
                0,
                1,
                1,
                "expireType=\"static\" expires=\"0\"",
                "",
            )),
            403,
            2003,
        ),
        (
            "a name that nobody registered",
            &own,
            PUBLISH,
            with(&one("foo", 300, 0, STATIC, "")),
            403,
            4000,
        ),
        (
            "a name in other letters",
            &own,
            PUBLISH,
            with(&one("Note", 300, 0, STATIC, &short)),
            403,
            4000,
        ),
        (
            "the same instance twice",
            &own,
            PUBLISH,
            with(&one("note", 300, 0, STATIC, &short).repeat(2)),
            400,
            4001,
        ),
        (
            "creating what is there",
            &own,
            PUBLISH,
            with(&publication("note", 1, 300, 0, STATIC, &short)),
            409,
            2044,
        ),
        (
            "changing what is not there",
            &own,
            PUBLISH,
            with(&one("note", 300, 3, STATIC, &short)),
            409,
            2044,
        ),
        (
            "removing another version",
            &own,
            PUBLISH,
            with(&publication(
                "note",
                1,
                300,
                7,
                "expireType=\"static\" expires=\"0\"",
                "",
            )),
            409,
            2044,
        ),
        (
            "too large",
            &own,
            PUBLISH,
            with(&one("note", 300, 0, STATIC, &note(&"x".repeat(1_024)))),
            413,
            2010,
        ),
        (
            "too large with what is there",
            &own,
            PUBLISH,
            with(&one("note", 400, 0, STATIC, &large)),
            413,
            2010,
        ),
        ("another type", &own, "application/xml", with(""), 415, 4013),
    ];
    for (name, to, media, body, status, number) in cases {
        let answer = service(&mut bob, to, media, &body);
        assert_eq!(answer.status().number(), status, "{name}");
        assert_eq!(diagnostic(&answer), Some(number), "{name}");
        assert_eq!(state(&mut observer), before, "{name}");
    }
    let bound = with(&one("note", 300, 0, "expireType=\"endpoint\"", &short));
    let answer = service(&mut stranger, &uri, PUBLISH, &bound);
    assert_eq!(answer.status(), StatusCode::NOT_ACCEPTABLE_HERE);
    assert_eq!(diagnostic(&answer), Some(4010));
    assert_eq!(state(&mut observer), before);
    assert!(witness.rest(&told).is_empty(), "nobody is told of nothing");

    // The batch was good but for what was wrong with it.
    assert_eq!(bob.publish(&good).status(), StatusCode::OK);
    assert_ne!(state(&mut observer), before);
    assert_eq!(witness.rest(&told).len(), 1);
}

const UNLAWFUL_STATE: &str = "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
    xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" manual=\"true\" xsi:type=\"userState\">\
    <availability>soon</availability></state>";

//= MS-PRES 3.2.5.1.2
//= type=test
//# the operator registers further categories; what they hold is nobody's business but the clients'
// proves: PRES-1.3-02 PRES-3.2.5.1.2-06
#[test]
fn the_operator_says_which_categories_there_are() {
    let foreign = "<weather xmlns=\"urn:example:weather\" xmlns:w=\"urn:example:wind\" w:force=\"3\">\
                   <w:gust>5 &amp; more</w:gust> and rain</weather>";
    for (settings, allowed, refused) in [
        (
            "[enhanced]\nregistered_categories = [\"weather\"]\n",
            vec!["weather", "note"],
            vec!["tide"],
        ),
        (
            "[enhanced]\nunregistered_categories = true\n",
            vec!["weather", "tide"],
            vec![],
        ),
        ("[enhanced]\n", vec!["note"], vec!["weather"]),
    ] {
        let data = tempfile::tempdir().expect("a folder");
        let server = configured(data.path(), settings);
        let mut bob = Client::sign_in(&server, "bob");
        for category in allowed {
            let answer = bob.publish(&publication(category, 9, 300, 0, STATIC, foreign));
            assert_eq!(answer.status(), StatusCode::OK, "{settings} {category}");
            let shown = tree::elements(&text(answer.body()), "weather", &[]);
            assert_eq!(shown, [tree::canonical(foreign, &[])], "{settings}");
        }
        for category in refused {
            let answer = bob.publish(&publication(category, 9, 300, 0, STATIC, foreign));
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{settings}");
        }
    }
}

//= MS-PRES 2.2.2.2.3
//= type=test
//# a conflict names the publication, its version and the current one, with the current data
// proves: PRES-2.2.2.2.3-01 PRES-2.2.2.2.3-02 PRES-2.2.2.2.3-03 PRES-2.2.2.2.3-04 PRES-2.2.2.2.3-05
// proves: PRES-2.2.2.2.3-06 PRES-2.2.2.2.3-07
#[test]
fn a_conflict_says_what_there_is() {
    let mut bob = Client::sign_in(super::client::shared(), &somebody("bob"));
    for (version, words) in [(0, "first"), (1, "second")] {
        let answer = bob.publish(&publication("note", 0, 300, version, STATIC, &note(words)));
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let batch = |stale: u32, missing: u32| {
        [
            publication("note", 0, 200, 0, STATIC, &note("mine")),
            publication("note", 0, 300, stale, STATIC, &note("mine")),
            publication("note", 0, 400, missing, STATIC, &note("mine")),
        ]
        .concat()
    };
    let answer = bob.publish(&batch(1, 4));
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(
        answer.header(transport::sip::Name::ContentType),
        Some("application/msrtc-fault+xml")
    );
    assert_eq!(diagnostic(&answer), Some(2044));
    let fault = text(answer.body());
    let of = |attribute| tree::attributes(&fault, "operation", attribute);
    assert_eq!(
        (of("index"), of("version"), of("curVersion")),
        (
            vec!["2".to_owned(), "3".to_owned()],
            vec!["1".to_owned(), "4".to_owned()],
            vec!["2".to_owned(), "0".to_owned()]
        )
    );
    let code = roxmltree::Document::parse(&fault).expect("XML");
    let code = code
        .descendants()
        .find(|node| node.has_tag_name("Faultcode"));
    let code = code.and_then(|node| node.text()).unwrap_or_default();
    assert!(code.ends_with("BadCall.WrongDelta"), "{fault}");
    assert_eq!(
        tree::elements(&fault, "note", &[]),
        [tree::canonical(&note("second"), &[])]
    );
    assert_eq!(bob.publish(&batch(2, 0)).status(), StatusCode::OK);
}
