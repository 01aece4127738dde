//! Delegates (MS-PRES 2.2.2.10, 3.9).

use transport::sip::{Name, StatusCode};

use super::client::{Client, diagnostic, server, shared, somebody, text};
use super::tree;

const SET_DELEGATE: &str = "application/msrtc-setDelegate+xml";
const DELEGATES: &str = "http://schemas.microsoft.com/2007/09/sip/delegates";
const RULES: &[(&str, &[&str], &[&str])] = &[
    ("delegates", &["version"], &[]),
    ("delegate", &["uri", "publish", "redelegate"], &[]),
];

/// A setDelegates document with this version and these elements.
fn document(version: &str, inside: &str) -> String {
    format!(
        "<setDelegates xmlns=\"http://schemas.microsoft.com/2007/09/sip/delegate-management\" {version}>{inside}</setDelegates>"
    )
}

/// A change of one delegate.
fn change(version: u32, action: &str, user: &str, allowed: &str) -> String {
    let delegate = format!("<delegate uri=\"{user}\" action=\"{action}\">{allowed}</delegate>");
    document(&format!("version=\"{version}\""), &delegate)
}

/// The delegates element of an answer or a notification, which conforms to the schema.
fn list(body: &[u8]) -> String {
    let body = text(body);
    tree::conforms(&body, DELEGATES, "delegates", RULES);
    tree::elements(&body, "delegates", &[]).concat()
}

/// The same, as it should be: user, publish, redelegate.
fn expected(version: u32, delegates: &[(&str, bool, bool)]) -> String {
    let each = delegates.iter().map(|(user, publish, redelegate)| {
        format!("<delegate uri=\"{user}@contoso.com\" publish=\"{publish}\" redelegate=\"{redelegate}\"/>")
    });
    let inside: String = each.collect();
    let element =
        format!("<delegates xmlns=\"{DELEGATES}\" version=\"{version}\">{inside}</delegates>");
    tree::canonical(&element, &[])
}

/// The delegates that a user's own client is shown.
fn own(client: &mut Client) -> String {
    let (_, answer) = client.watch_self(&["delegates"]);
    list(answer.body())
}

//= MS-PRES 3.9.5.2
//= type=test
//# add, modify and remove; each updates the version
//= MS-PRES 3.9.5.3
//= type=test
//# each self subscription with delegates in its scope is told the whole list
//= MS-PRES 2.2.2.10.1
//= type=test
//= MS-PRES 2.2.2.10.2
//= type=test
//= MS-PRES 2.2.2.10.3
//= type=test
// proves: PRES-2.2.2.10.1-01 PRES-2.2.2.10.1-02 PRES-2.2.2.10.1-03 PRES-2.2.2.10.2-01 PRES-2.2.2.10.2-03
// proves: PRES-2.2.2.10.2-05 PRES-2.2.2.10.3-01 PRES-2.2.2.10.3-02 PRES-3.9.1-01 PRES-3.9.5.2-03 PRES-3.9.5.2-07
// proves: PRES-3.9.5.2-08 PRES-3.9.5.2-13 PRES-3.9.5.3-01 PRES-3.9.5.3-02 PRES-3.9.5.3-03 PRES-3.9.5.3-04
#[test]
fn delegates_are_added_modified_and_removed() {
    let name = somebody("bob");
    let mut desk = Client::sign_in(shared(), &name);
    let mut laptop = Client::sign_in(shared(), &name);
    let (at_desk, first) = desk.watch_self(&["delegates", "containers"]);
    let (at_laptop, _) = laptop.watch_self(&["delegates"]);
    assert_eq!(list(first.body()), expected(0, &[]));
    let both =
        "<publishOperation authorization=\"allow\"/><redelegateOperation authorization=\"allow\"/>";
    let publish =
        "<publishOperation authorization=\"allow\"/><redelegateOperation authorization=\"deny\"/>";
    let redelegate =
        "<publishOperation authorization=\"deny\"/><redelegateOperation authorization=\"allow\"/>";
    let (john, alice) = ("sip:john@contoso.com", "alice@contoso.com");
    for (step, (name, media, action, user, allowed, after)) in (0..).zip([
        (
            "add",
            SET_DELEGATE,
            "add",
            john,
            both,
            vec![("john", true, true)],
        ),
        (
            "add another",
            "application/msrtc-setDelegate +xml",
            "add",
            alice,
            publish,
            vec![("john", true, true), ("alice", true, false)],
        ),
        (
            "add who is there: updated",
            SET_DELEGATE,
            "add",
            john,
            redelegate,
            vec![("john", false, true), ("alice", true, false)],
        ),
        (
            "nothing said is denied",
            SET_DELEGATE,
            "modify",
            john,
            "",
            vec![("john", false, false), ("alice", true, false)],
        ),
        (
            "modify who is not: created",
            SET_DELEGATE,
            "modify",
            "SIP:Carol@CONTOSO.com",
            both,
            vec![
                ("john", false, false),
                ("alice", true, false),
                ("carol", true, true),
            ],
        ),
        (
            "remove",
            SET_DELEGATE,
            "remove",
            john,
            "",
            vec![("alice", true, false), ("carol", true, true)],
        ),
        (
            "remove another",
            SET_DELEGATE,
            "remove",
            "sip:alice@contoso.com",
            "",
            vec![("carol", true, true)],
        ),
        (
            "down to nobody",
            SET_DELEGATE,
            "remove",
            "sip:carol@contoso.com",
            "",
            vec![],
        ),
    ]) {
        let answer = desk.service(media, &change(step, action, user, allowed));
        assert_eq!(answer.status(), StatusCode::OK, "{name}");
        let after = expected(step + 1, &after);
        let kind = Some("application/vnd-microsoft-roaming-self+xml");
        assert_eq!(answer.header(Name::ContentType), kind, "{name}");
        assert_eq!(list(answer.body()), after, "{name}");
        for (endpoint, dialog) in [(&mut desk, &at_desk), (&mut laptop, &at_laptop)] {
            let told = endpoint.told(dialog);
            assert_eq!(told.header(Name::ContentType), kind, "{name}");
            assert_eq!(list(told.body()), after, "{name}");
            assert!(
                !text(told.body()).contains("<containers"),
                "{name}: only what changed"
            );
        }
    }
}

//= MS-PRES 3.9.5.4
//= type=test
//# 400 for a wrong body or oneself, 403 for another From or who is not there, 404 for who is no user, 409 for a
//# stale version; nothing changes
//= MS-PRES 2.2.2.10.4
//= type=test
//= MS-PRES 3.9.5.1
//= type=test
// proves: PRES-2.2.2.10.2-02 PRES-2.2.2.10.2-04 PRES-2.2.2.10.4-01 PRES-2.2.2.10.4-02 PRES-2.2.2.10.4-03
// proves: PRES-3.9.5.1-01 PRES-3.9.5.2-01 PRES-3.9.5.2-02 PRES-3.9.5.2-03 PRES-3.9.5.2-04 PRES-3.9.5.2-05
// proves: PRES-3.9.5.2-06 PRES-3.9.5.2-09 PRES-3.9.5.2-12 PRES-3.9.5.4-01 PRES-3.9.5.4-02 PRES-3.9.5.4-03
// proves: PRES-3.9.5.4-04 PRES-3.9.5.4-05 PRES-3.9.5.4-06
#[test]
fn what_is_wrong_changes_no_delegate() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let other = format!("sip:{}@contoso.com", somebody("alice"));
    let john = "sip:john@contoso.com";
    assert_eq!(
        bob.service(SET_DELEGATE, &change(0, "add", john, ""))
            .status(),
        StatusCode::OK
    );
    assert_eq!(
        bob.service(SET_DELEGATE, &change(1, "add", &other, ""))
            .status(),
        StatusCode::OK
    );
    let before = own(&mut bob);
    let (own_uri, good) = (bob.uri.clone(), change(2, "remove", john, ""));
    let one = |attributes: &str, inside: &str| {
        document(
            "version=\"2\"",
            &format!("<delegate {attributes}>{inside}</delegate>"),
        )
    };
    let (bad, forbidden) = (StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN);
    let named = "uri=\"sip:john@contoso.com\" action=\"modify\"";
    for (name, body, status, code) in [
        ("no body", String::new(), bad, Some(4001)),
        ("no XML", "<setDelegates".to_owned(), bad, Some(4001)),
        (
            "another document",
            "<x xmlns=\"urn:x\"/>".to_owned(),
            bad,
            Some(4001),
        ),
        (
            "no version",
            document(
                "",
                "<delegate uri=\"sip:john@contoso.com\" action=\"add\"/>",
            ),
            bad,
            Some(4001),
        ),
        ("nobody", document("version=\"2\"", ""), bad, Some(4001)),
        (
            "two",
            good.replace(
                "</setDelegates>",
                "<delegate uri=\"sip:x@contoso.com\" action=\"add\"/></setDelegates>",
            ),
            bad,
            Some(4001),
        ),
        ("no uri", one("action=\"add\"", ""), bad, Some(4001)),
        (
            "a uri that is none",
            one("uri=\"x\" action=\"add\"", ""),
            bad,
            Some(4001),
        ),
        (
            "no action",
            one("uri=\"sip:john@contoso.com\"", ""),
            bad,
            Some(4001),
        ),
        (
            "another action",
            one("uri=\"sip:john@contoso.com\" action=\"toggle\"", ""),
            bad,
            Some(4001),
        ),
        (
            "no authorization",
            one(named, "<publishOperation/>"),
            bad,
            Some(4001),
        ),
        (
            "another authorization",
            one(named, "<redelegateOperation authorization=\"maybe\"/>"),
            bad,
            Some(4001),
        ),
        ("oneself", change(2, "add", &own_uri, ""), bad, Some(4000)),
        (
            "not there",
            change(2, "remove", "sip:carol@contoso.com", ""),
            forbidden,
            Some(4000),
        ),
        (
            "of another deployment",
            change(2, "add", "sip:carol@fabrikam.com", ""),
            StatusCode::NOT_FOUND,
            Some(4005),
        ),
        (
            "stale",
            change(1, "remove", john, ""),
            StatusCode::CONFLICT,
            Some(2141),
        ),
        (
            "ahead",
            change(3, "add", "sip:carol@contoso.com", ""),
            StatusCode::CONFLICT,
            Some(2141),
        ),
    ] {
        let answer = bob.service(SET_DELEGATE, &body);
        assert_eq!(answer.status(), status, "{name}");
        assert_eq!(diagnostic(&answer), code, "{name}");
        assert_eq!(own(&mut bob), before, "{name}");
        if status == StatusCode::CONFLICT {
            assert_eq!(
                answer.header(Name::ContentType),
                Some("application/msrtc-fault+xml")
            );
            let fault = text(answer.body());
            assert_eq!(
                tree::texts(&fault, "Faultcode"),
                ["Client.BadCall.WrongDelta"],
                "{name}"
            );
            assert_eq!(
                tree::attributes(&fault, "operation", "index"),
                ["1"],
                "{name}"
            );
            assert_eq!(
                tree::attributes(&fault, "operation", "curVersion"),
                ["2"],
                "{name}"
            );
        }
    }
    let answer = bob.service_to(&other, SET_DELEGATE, &good);
    assert_eq!(answer.status(), forbidden, "From and To differ");
    assert_eq!(own(&mut bob), before);
    // The same again with the version that the conflict named; and then there is nobody left to remove.
    assert_eq!(bob.service(SET_DELEGATE, &good).status(), StatusCode::OK);
    let again = change(3, "remove", john, "");
    assert_eq!(bob.service(SET_DELEGATE, &again).status(), forbidden);
}

//= MS-PRES 3.9.5.2
//= type=test
//# the delegates are limited, as the operator says
//= MS-PRES 3.9.5.4
//= type=test
// proves: PRES-3.9.5.2-10 PRES-3.9.5.2-11 PRES-3.9.5.4-07
#[test]
fn more_delegates_than_the_operator_allows_are_refused() {
    let data = tempfile::tempdir().expect("a folder");
    let config = data.path().join("node.toml");
    std::fs::write(&config, "[enhanced]\ndelegates = 1\n").expect("written");
    let config = config.to_str().expect("a path is text").to_owned();
    let server = server(&data.path().join("data"), &["--config", &config]);
    let mut bob = Client::sign_in(&server, &somebody("bob"));
    let add = |version, user| change(version, "add", user, "");
    assert_eq!(
        bob.service(SET_DELEGATE, &add(0, "sip:john@contoso.com"))
            .status(),
        StatusCode::OK
    );
    let before = own(&mut bob);
    let answer = bob.service(SET_DELEGATE, &add(1, "sip:alice@contoso.com"));
    assert_eq!(answer.status(), StatusCode::ENTITY_TOO_LARGE);
    assert_eq!(diagnostic(&answer), Some(4008));
    assert_eq!(own(&mut bob), before);
    // Who is there may still be changed.
    assert_eq!(
        bob.service(SET_DELEGATE, &add(1, "sip:john@contoso.com"))
            .status(),
        StatusCode::OK
    );
}
