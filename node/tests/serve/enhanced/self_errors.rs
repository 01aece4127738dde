//! What is wrong with a subscription to one's own data (MS-PRES 3.3.5.3), and endpoints that have left.

use std::time::Duration;

use transport::sip::{Name, Response, StatusCode};

use super::batch::{configured, granted, together};
use super::client::{
    BATCH_LINES, Client, Dialog, SELF_LINES, batch, diagnostic, note, publication, roaming_list,
    somebody, text,
};
use super::tree;

const TYPE: &str = "application/vnd-microsoft-roaming-self+xml";

fn signed_in(name: &str) -> Client {
    Client::sign_in(together(), &somebody(name))
}

//= MS-PRES 2.2.2.3.1
//= type=test
//= MS-PRES 3.3.5.3
//= type=test
//# what is wrong with a request is said, and neither a new dialog nor the one there is changes
// proves: PRES-2.2.2.3.1-01 PRES-2.2.2.3.1-02 PRES-2.2.2.3.1-03 PRES-2.2.2.3.1-05 PRES-2.2.2.3.1-06
// proves: PRES-3.3.5.3-01 PRES-3.3.5.3-02 PRES-3.3.5.3-03 PRES-3.3.5.3-04
#[test]
fn a_wrong_request_changes_nothing() {
    const NS: &str = "http://schemas.microsoft.com/2006/09/sip/roaming-self";
    let mut bob = signed_in("bob");
    let other = format!("sip:{}@contoso.com", somebody("alice"));
    let own = bob.uri.clone();
    let (mut kept, first) = bob.watch_self(&["categories"]);
    granted(first);
    let good = roaming_list(&["subscribers"]);
    let event = "vnd-microsoft-roaming-self";
    let unknown = format!("<roamingList xmlns=\"{NS}\"><roaming type=\"moods\"/></roamingList>");
    let untyped = format!("<roamingList xmlns=\"{NS}\"><roaming/></roamingList>");
    let empty = format!("<roamingList xmlns=\"{NS}\"/>");
    let elsewhere = good.replace(NS, "urn:other");
    let html = SELF_LINES.replace(TYPE, "text/html");
    let presence = "presence";
    for (name, event, to, lines, media, body, status, diagnosis) in [
        (
            "another event",
            "winfo",
            &own,
            SELF_LINES,
            TYPE,
            good.as_str(),
            489,
            None,
        ),
        (
            "of presence",
            presence,
            &own,
            SELF_LINES,
            TYPE,
            &good,
            406,
            None,
        ),
        (
            "another Accept",
            event,
            &own,
            html.as_str(),
            TYPE,
            &good,
            406,
            None,
        ),
        (
            "another type",
            event,
            &own,
            SELF_LINES,
            "text/xml",
            &good,
            415,
            Some(4013),
        ),
        (
            "no body",
            event,
            &own,
            SELF_LINES,
            TYPE,
            "",
            400,
            Some(4001),
        ),
        (
            "no XML",
            event,
            &own,
            SELF_LINES,
            TYPE,
            "<roamingList",
            400,
            Some(4001),
        ),
        (
            "another root",
            event,
            &own,
            SELF_LINES,
            TYPE,
            "<a/>",
            400,
            Some(4001),
        ),
        (
            "another namespace",
            event,
            &own,
            SELF_LINES,
            TYPE,
            &elsewhere,
            400,
            Some(4001),
        ),
        (
            "an unknown kind",
            event,
            &own,
            SELF_LINES,
            TYPE,
            &unknown,
            400,
            Some(4001),
        ),
        (
            "no kind",
            event,
            &own,
            SELF_LINES,
            TYPE,
            &untyped,
            400,
            Some(4001),
        ),
        (
            "nothing",
            event,
            &own,
            SELF_LINES,
            TYPE,
            &empty,
            400,
            Some(4001),
        ),
        (
            "somebody else",
            event,
            &other,
            SELF_LINES,
            TYPE,
            &good,
            400,
            Some(4000),
        ),
        (
            "nobody",
            event,
            &"sip:carol@fabrikam.example".to_owned(),
            SELF_LINES,
            TYPE,
            &good,
            404,
            Some(4005),
        ),
    ] {
        let mut dialog = Dialog::new(event, to);
        let answer = bob.subscribe(&mut dialog, Some(3_600), lines, media, body);
        assert_eq!(answer.status().number(), status, "{name}");
        assert_eq!(diagnostic(&answer), diagnosis, "{name}");
        assert!(answer.header(Name::Expires).is_none(), "{name}");
        if event == "vnd-microsoft-roaming-self" && *to == own {
            let answer = bob.subscribe(&mut kept, Some(3_600), lines, media, body);
            assert_eq!(answer.status().number(), status, "{name}, in the dialog");
            assert_eq!(diagnostic(&answer), diagnosis, "{name}, in the dialog");
        }
    }
    let all = "expireType=\"static\"";
    granted(bob.publish(&publication("note", 0, 400, 0, all, &note("still told"))));
    let next = bob.told(&kept);
    assert_eq!(
        next.cseq(),
        2,
        "no number was used, and the scope is the old one"
    );
    assert!(text(next.body()).contains("still told"));
    assert_eq!(bob.phone.drain(Duration::from_millis(300)).len(), 0);
}

//= MS-PRES 2.2.2.3.1
//= type=test
//# a kind of a later day is not refused
// proves: PRES-2.2.2.3.1-07
#[test]
fn kinds_of_a_later_day_are_ignored() {
    let mut bob = signed_in("bob");
    let mut dialog = Dialog::new("vnd-microsoft-roaming-self", &bob.uri);
    let body =
        roaming_list(&["categories", "delegates"]).replace("type=\"delegates\"", "type=\"moods\"");
    let answer = granted(bob.subscribe(&mut dialog, Some(3_600), SELF_LINES, TYPE, &body));
    let body = text(answer.body());
    assert_eq!(tree::elements(&body, "categories", &[]).len(), 1);
    assert!(tree::elements(&body, "delegates", &[]).is_empty());
}

//= MS-PRES 3.3.5.3
//= type=test
//# an endpoint that is not registered: 403 where nobody is challenged (contradiction C-66); its dialog is gone
#[test]
fn an_endpoint_that_left_is_refused() {
    let mut bob = signed_in("bob");
    let (mut dialog, _) = bob.watch_self(&["categories"]);
    assert_eq!(bob.renew(0, "").status(), StatusCode::OK);
    let refresh = bob.scope(&mut dialog, &["categories"]);
    assert_eq!(refresh.status().number(), 481);
    for expires in [3_600, 600] {
        let mut dialog = Dialog::new("vnd-microsoft-roaming-self", &bob.uri);
        let body = roaming_list(&["categories"]);
        let new = bob.subscribe(&mut dialog, Some(expires), SELF_LINES, TYPE, &body);
        assert_eq!(new.status().number(), 403);
        assert_eq!(diagnostic(&new), Some(4010));
    }
}

//= MS-PRES 3.3.5.3
//= type=test
//= MS-PRES 3.4.5.3
//= type=test
//# where users prove who they are, an endpoint that is not registered gets 401
// proves: PRES-3.3.5.3-05 PRES-3.4.5.1.3-06 PRES-3.4.5.3-10
#[test]
fn an_endpoint_that_left_is_challenged() {
    use md5::{Digest as _, Md5};
    let hash = |text: String| {
        let bytes = Md5::digest(text.as_bytes());
        bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let data = tempfile::tempdir().expect("a folder");
    let users = data.path().join("users");
    let secret = hash("bob:contoso.com:wonder".to_owned());
    std::fs::write(&users, format!("bob:contoso.com:MD5:{secret}\n")).expect("written");
    let toml = format!(
        "[auth]\nmode = 'digest'\nrealm = 'contoso.com'\nusers = '{}'\n",
        users.display()
    );
    let server = configured(data.path(), &toml);
    let (mut bob, refused) = Client::register(&server, "bob", "");
    assert_eq!(refused.status().number(), 401);
    let mut count = 0;
    let mut proof = |answer: &Response, method: &str, uri: &str| {
        let line = answer
            .lines()
            .find(|(name, value)| *name == "WWW-Authenticate" && value.contains("algorithm=MD5"))
            .map(|(_, value)| value.to_owned())
            .expect("a challenge");
        let nonce = line.split("nonce=\"").nth(1).expect("a nonce");
        let nonce = nonce.split('"').next().expect("its end").to_owned();
        count += 1;
        let response = hash(format!(
            "{secret}:{nonce}:{count:08x}:c:auth:{}",
            hash(format!("{method}:{uri}"))
        ));
        format!(
            "Authorization: Digest username=\"bob\", realm=\"contoso.com\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm=MD5, cnonce=\"c\", qop=auth, nc={count:08x}\r\n"
        )
    };
    let line = proof(&refused, "REGISTER", "sip:contoso.com");
    assert_eq!(bob.renew(600, &line).status(), StatusCode::OK);
    let own = bob.uri.clone();
    let alice = "sip:alice@contoso.com".to_owned();
    let batched = super::batch::BATCH;
    let single = BATCH_LINES.replace("Require: adhoclist, categoryList\r\n", "");
    let wanted = batch(&own, "subscribe", &[&alice], &["note"]);
    let scope = roaming_list(&["categories"]);
    let watches = [
        ("vnd-microsoft-roaming-self", &own, SELF_LINES, TYPE, &scope),
        ("presence", &own, BATCH_LINES, batched, &wanted),
        ("presence", &alice, &single, batched, &wanted),
    ];
    for registered in [true, false] {
        if !registered {
            let line = proof(&refused, "REGISTER", "sip:contoso.com");
            assert_eq!(bob.renew(0, &line).status(), StatusCode::OK);
        }
        for (event, to, lines, media, body) in watches {
            let line = proof(&refused, "SUBSCRIBE", to);
            let mut dialog = Dialog::new(event, to);
            let lines = format!("{line}{lines}");
            let answer = bob.subscribe(&mut dialog, Some(3_600), &lines, media, body);
            let expected = if registered { 200 } else { 401 };
            assert_eq!(answer.status().number(), expected, "{event}");
            if !registered {
                assert!(answer.lines().any(|(name, _)| name == "WWW-Authenticate"));
                assert_eq!(diagnostic(&answer), Some(4010));
            }
        }
    }
}
