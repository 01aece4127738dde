//! What the operator limits and allows in category subscriptions (MS-PRES 3.4.5.1.3, 3.4.5.3).

use transport::sip::{Name, Response};

use super::batch::{BATCH, configured, granted, rejected, served, whose};
use super::client::{
    BATCH_LINES, Client, Dialog, batch, diagnostic, note, publication, somebody, text,
};
use super::{schema, tree};

fn uri(name: &str) -> String {
    format!("sip:{}@contoso.com", somebody(name))
}

fn single(client: &mut Client, from: &str, whom: &str, more: &str) -> Response {
    let lines = BATCH_LINES.replace("Require: adhoclist, categoryList\r\n", more);
    let mut dialog = Dialog::new("presence", whom);
    let body = batch(from, "subscribe", &[whom], &["note"]);
    client.subscribe(&mut dialog, Some(3_600), &lines, BATCH, &body)
}

//= MS-PRES 3.4.5.1.3
//= type=test
//# one resource or category more than the administrator allows: 413, and nothing changes
// proves: PRES-3.4.5.1.3-01 PRES-3.4.5.1.3-02 PRES-3.4.5.1.3-03
#[test]
fn a_batch_is_limited_as_the_administrator_wants() {
    let data = tempfile::tempdir().expect("a folder");
    let server = configured(
        data.path(),
        "[enhanced]\ncontacts = 3\nresources = 3\n[limits]\ncategories = 2\n",
    );
    let mut bob = Client::sign_in(&server, "bob");
    let mut alice = Client::sign_in(&server, "alice");
    let all = [alice.uri.clone(), uri("b"), uri("c"), uri("d")];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let names = ["note", "contactCard", "services"];
    let (mut kept, answer) = bob.watch(&all[..3], &names[..2]);
    assert_eq!(whose(&granted(answer)), all[..3]);
    for (what, resources, categories) in [
        ("resources", &all[..], &names[..1]),
        ("categories", &all[..1], &names[..]),
    ] {
        let refused = bob.watch(resources, categories).1;
        assert_eq!(refused.status().number(), 413, "{what}");
        assert_eq!(diagnostic(&refused), Some(2012), "{what}");
        let body = batch(&bob.uri, "subscribe", resources, categories);
        let refused = bob.change_batch(&mut kept, &body);
        assert_eq!(refused.status().number(), 413, "{what}, in the dialog");
    }
    let all = "expireType=\"static\"";
    granted(alice.publish(&publication("note", 0, 0, 0, all, &note("still told"))));
    let told = bob.told(&kept);
    assert_eq!(told.cseq(), 2);
    assert!(text(told.body()).contains("still told"));
    // The list of contacts has the same limit.
    for (number, expected) in [(1, 200), (2, 200), (3, 200), (4, 413)] {
        // The first list has number 1, and each change adds one.
        let delta = number;
        let answer = bob.service(
            "application/SOAP+xml",
            &format!(
                "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:m=\"http://schemas.microsoft.com/winrtc/2002/11/sip\">\
                 <s:Body><m:setContact><m:displayName/><m:groups>1</m:groups><m:subscribed>true</m:subscribed>\
                 <m:URI>sip:c{number}@contoso.com</m:URI><m:externalURI/><m:deltaNum>{delta}</m:deltaNum></m:setContact></s:Body></s:Envelope>"
            ),
        );
        assert_eq!(answer.status().number(), expected, "{number}");
    }
}

//= MS-PRES 3.4.5.1.3.1
//= type=test
//= MS-PRES 2.2.2.4.2
//= type=test
//# one watcher too many is told who has too many: terminated, quotaExceeded, 413; the others are served
// proves: PRES-3.4.5.1.3.1-04 PRES-3.4.5.1.3.1-05 PRES-3.4.5.1.3.1-06 PRES-2.2.2.4.2-10 PRES-2.2.2.4.2-11
#[test]
fn one_watcher_too_many_is_told_so() {
    let data = tempfile::tempdir().expect("a folder");
    let server = configured(data.path(), "[limits]\nwatchers = 2\n");
    let (popular, other) = (uri("alice"), uri("john"));
    let mut watchers: Vec<Client> = (0..3)
        .map(|_| Client::sign_in(&server, &somebody("bob")))
        .collect();
    for watcher in &mut watchers[..2] {
        // In one dialog, and once more in it: that is one watcher.
        let (mut dialog, answer) = watcher.watch(&[&popular], &["note"]);
        granted(answer);
        let again = batch(&watcher.uri, "subscribe", &[&popular], &["state"]);
        assert_eq!(
            whose(&granted(watcher.change_batch(&mut dialog, &again))),
            [popular.as_str()]
        );
    }
    let bare = popular.trim_start_matches("sip:");
    let expected = format!(
        "{{urn:ietf:params:xml:ns:rlmi}}instance cid={bare:?} id=\"0\" reason=\"quotaExceeded\" \
         state=\"terminated\" statusCode=\"413\"\n"
    );
    let late = &mut watchers[2];
    let (_, answer) = late.watch(&[&other, &popular], &["note"]);
    let answer = granted(answer);
    assert_eq!(whose(&answer), [other.as_str()]);
    assert_eq!(answer.header(Name::Expires), Some("3600"));
    let list = rejected(&answer);
    schema::assert_valid(std::slice::from_ref(&list));
    assert_eq!(
        tree::attributes(&list, "resource", "uri"),
        [popular.as_str()]
    );
    assert_eq!(tree::elements(&list, "instance", &[]), [expected.as_str()]);
    // Nobody else, or alone: no dialog.
    let own = late.uri.clone();
    for answer in [
        late.watch(&[&popular], &["note"]).1,
        single(late, &own, &popular, ""),
    ] {
        let answer = granted(answer);
        assert_eq!(answer.header(Name::Expires), Some("0"));
        assert_eq!(
            tree::elements(&rejected(&answer), "instance", &[]),
            [expected.as_str()]
        );
        assert_eq!(served(&answer).len(), 0);
    }
    // One leaves, and there is room.
    let (mut first, answer) = watchers[0].watch(&[&other], &["note"]);
    granted(answer);
    let late = &mut watchers[2];
    let body = batch(&own, "subscribe", &[&popular], &["note"]);
    let mut dialog = Dialog::new("presence", &own);
    assert_eq!(
        whose(&granted(late.change_batch(&mut dialog, &body))),
        [popular.as_str()]
    );
    let body = batch(&watchers[0].uri, "subscribe", &[&popular], &["note"]);
    let answer = granted(watchers[0].change_batch(&mut first, &body));
    assert_eq!(
        tree::elements(&rejected(&answer), "instance", &[]),
        [expected]
    );
}

//= MS-PRES 3.4.5.3
//= type=test
//# who may not deal with federated domains or public clouds gets 403, asking or asked for
// proves: PRES-3.4.5.3-12 PRES-3.4.5.3-13 PRES-3.4.5.3-14
#[test]
fn the_administrator_says_who_deals_with_other_domains() {
    let data = tempfile::tempdir().expect("a folder");
    let server = configured(
        data.path(),
        "[federation]\nusers = ['alice@contoso.com', 'Carol@contoso.com']\n\
         public_users = ['carol@contoso.com']\n[enhanced]\npublic_domains = ['cloud.example']\n",
    );
    let federated = "ms-source-network: federation\r\n";
    let public = "ms-source-network: publicCloud\r\n";
    for (user, abroad, cloud) in [
        ("alice", true, false),
        ("bob", false, false),
        ("carol", true, true),
    ] {
        let mut client = Client::sign_in(&server, user);
        let own = client.uri.clone();
        for (whom, allowed) in [
            ("sip:x@fabrikam.example", abroad),
            ("sip:x@cloud.example", cloud),
        ] {
            let answer = single(&mut client, &own, whom, "");
            let expected = if allowed { (404, 4005) } else { (403, 2004) };
            let got = (
                answer.status().number(),
                diagnostic(&answer).expect("a number"),
            );
            assert_eq!(got, expected, "{user} asks for {whom}");
        }
        // Somebody from outside asks for it.
        let target = client.uri.clone();
        client.uri = "sip:x@fabrikam.example".to_owned();
        for (network, allowed) in [(federated, abroad), (public, cloud)] {
            let from = client.uri.clone();
            let answer = single(&mut client, &from, &target, network);
            let expected = if allowed { 200 } else { 403 };
            assert_eq!(answer.status().number(), expected, "{user} {network}");
            if !allowed {
                assert_eq!(diagnostic(&answer), Some(2004));
            }
        }
        let inside = format!("sip:{}@contoso.com", somebody("john"));
        client.uri = inside.clone();
        let mut john = Client::sign_in(&server, inside[4..].split('@').next().expect("a user"));
        granted(single(&mut john, &inside, &target, ""));
    }
}

//= MS-PRES 3.4.5.1.3
//= type=exception
// excepts: PRES-3.4.5.1.3-04 the bytes of all contexts in one list are limited by a constant (CONTEXT_BYTES_MAX); the watcher is served all the same

//= MS-PRES 3.4.5.1.2
//= type=exception
// excepts: PRES-3.4.5.1.2-03 a To outside the deployment gets 404, or 403 where the operator says `foreign = "forbidden"`

//= MS-PRES 3.4.5.1.3.1
//= type=exception
// excepts: PRES-3.4.5.1.3.1-03 poolFqdn is given: it names the shard that serves the resource

//= MS-PRES 3.4.5.2
//= type=exception
// excepts: PRES-3.4.5.2-02 notifications go over the connection that the SUBSCRIBE came by, which is that of the registration
// excepts: PRES-3.4.5.2-04 the list of rejected resources is told in answers only, each of which is complete: its version stays 0
