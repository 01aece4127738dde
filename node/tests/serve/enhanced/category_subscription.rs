//! Subscription to categories (MS-PRES 2.2.2.4, 3.4): batched and single, kept and polled.

use transport::sip::{Name, Request, Response, StatusCode};

use super::batch::{BATCH, granted, near_and_far, parts, rejected, served, together, whose};
use super::client::{
    BATCH_LINES, Client, Dialog, batch, note, publication, shared, somebody, text,
};
use super::{schema, tree};

fn signed_in(name: &str) -> Client {
    Client::sign_in(together(), &somebody(name))
}

fn uri(name: &str) -> String {
    format!("sip:{}@contoso.com", somebody(name))
}

/// Publishes a note that everybody sees.
fn say(client: &mut Client, version: u32, what: &str) {
    let all = "expireType=\"static\"";
    let note = note(what);
    granted(client.publish(&publication("note", 0, 0, version, all, &note)));
}

fn single_lines() -> String {
    BATCH_LINES.replace("Require: adhoclist, categoryList\r\n", "")
}

/// A single subscription of `client` to somebody's categories.
fn watch_one(client: &mut Client, whom: &str, categories: &[&str]) -> (Dialog, Response) {
    let mut dialog = Dialog::new("presence", whom);
    let body = batch(&client.uri, "subscribe", &[whom], categories);
    let answer = client.subscribe(&mut dialog, Some(3_600), &single_lines(), BATCH, &body);
    (dialog, answer)
}

/// What is told next, as it must be: whose, and the document.
fn told(client: &mut Client, dialog: &Dialog) -> (String, String) {
    let told: Request = client.told(dialog);
    assert_eq!(told.method().as_str(), "BENOTIFY");
    let media = "application/msrtc-event-categories+xml";
    assert_eq!(told.header(Name::ContentType), Some(media));
    assert_eq!(told.header(Name::Event), Some("presence"));
    assert_eq!(told.header(Name::Require), Some("eventlist"));
    let body = text(told.body());
    schema::assert_valid(std::slice::from_ref(&body));
    (tree::attributes(&body, "categories", "uri").remove(0), body)
}

//= MS-PRES 2.2.2.4.2
//= type=test
//= MS-PRES 3.4.5.1.3
//= type=test
//= MS-PRES 1.3.1.6
//= type=test
//# an empty list of the rejected, then a document for each publisher: what it shows to this watcher of the
//# categories asked for, private ones left out
// proves: PRES-2.2.2.4.2-01 PRES-2.2.2.4.2-02 PRES-2.2.2.4.2-03 PRES-2.2.2.4.2-04 PRES-2.2.2.4.2-05
// proves: PRES-2.2.2.4.2-06 PRES-2.2.2.4.2-07 PRES-2.2.2.4.2-14 PRES-2.2.2.4.2-15 PRES-2.2.2.4.2-16
// proves: PRES-2.2.2.4.2-17 PRES-2.2.2.4.2-18 PRES-2.2.2.4.1-03 PRES-2.2.2.4.1-10 PRES-3.4.5.1.3-08
// proves: PRES-3.4.5.1.3-09 PRES-3.4.5.1.3-10 PRES-3.4.5.1.3-18 PRES-3.4.5.2-03 PRES-1.3.1.6-01
#[test]
fn a_batch_is_answered_with_a_part_for_each_publisher() {
    let (mut bob, mut alice, john) = (signed_in("bob"), signed_in("alice"), uri("john"));
    say(&mut alice, 0, "for all");
    granted(alice.publish(&publication(
        "note",
        0,
        400,
        0,
        "expireType=\"static\"",
        &note("for friends"),
    )));
    granted(alice.set_members(&format!(
        "<container id=\"400\" version=\"0\"><member action=\"add\" type=\"user\" value=\"{}\"/></container>",
        bob.uri.trim_start_matches("sip:")
    )));
    let first = batch(
        &bob.uri,
        "subscribe",
        &[&alice.uri],
        &[
            "note",
            "legacyInterop",
            "routing",
            "dndState",
            "state",
            "calendarData",
        ],
    );
    let second = batch(&bob.uri, "subscribe", &[&john], &["contactCard"]);
    // Two actions in one request.
    let action =
        second.find("<action").expect("an action")..second.find("</batchSub>").expect("an end");
    let body = first.replace("</batchSub>", &format!("{}</batchSub>", &second[action]));
    let mut dialog = Dialog::new("presence", &bob.uri);
    let answer = granted(bob.change_batch(&mut dialog, &body));
    assert_eq!(answer.header(Name::Require), Some("eventlist"));
    assert_eq!(answer.header(Name::Event), Some("presence"));
    assert_eq!(answer.header(Name::Expires), Some("3600"));
    assert_eq!(answer.other_headers("ms-piggyback-cseq").next(), Some("1"));
    let all = parts(&answer);
    assert!(all.iter().all(|part| part.encoding == "binary"));
    let bodies: Vec<String> = all.into_iter().map(|part| part.body).collect();
    schema::assert_valid(&bodies);
    let list = rejected(&answer);
    assert_eq!(
        tree::canonical(&list, &[]),
        format!(
            "{{urn:ietf:params:xml:ns:rlmi}}list fullState=\"false\" uri={:?} version=\"0\"\n",
            bob.uri
        )
    );
    assert_eq!(whose(&answer), [alice.uri.clone(), john]);
    let shown = &served(&answer)[0].1;
    let names = tree::attributes(shown, "category", "name");
    assert_eq!(names, ["calendarData", "note", "state"]);
    assert!(shown.contains("for friends") && !shown.contains("for all"));
    assert!(
        shown.contains("<category name=\"calendarData\"/>"),
        "{shown}"
    );
    for hidden in [
        "version",
        "container",
        "expireType",
        "expires",
        "endpointId",
    ] {
        assert_eq!(
            tree::attributes(shown, "category", hidden).len(),
            0,
            "{hidden}"
        );
    }
    let times = tree::attributes(shown, "category", "publishTime");
    assert_eq!(times.len(), 2);
}

//= MS-PRES 2.2.2.4.1
//= type=test
//# uri and name of batchSub and id of action say nothing
// proves: PRES-2.2.2.4.1-07 PRES-2.2.2.4.1-09
#[test]
fn names_in_a_request_say_nothing() {
    let (mut bob, alice) = (signed_in("bob"), uri("alice"));
    let body = batch(&bob.uri, "subscribe", &[&alice], &["note"]);
    let own = format!("uri=\"{}\" name=\"\"", bob.uri);
    for (from, to) in [
        (
            own.as_str(),
            "uri=\"sip:mallory@fabrikam.example\" name=\"Mallory\"",
        ),
        (&own, "uri=\"nonsense\""),
        (&own, ""),
        (" id=\"63792024\"", " id=\"no number\""),
        (" id=\"63792024\"", ""),
    ] {
        assert!(body.contains(from), "{from}");
        let mut dialog = Dialog::new("presence", &bob.uri);
        let answer = granted(bob.change_batch(&mut dialog, &body.replace(from, to)));
        assert_eq!(whose(&answer), [alice.as_str()], "{to}");
        assert_eq!(
            tree::attributes(&rejected(&answer), "list", "uri"),
            [bob.uri.clone()]
        );
    }
}

//= MS-PRES 3.4.5.1.3
//= type=test
//= MS-PRES 3.4.5.2
//= type=test
//= MS-PRES 2.2.2.4.3
//= type=test
//= MS-PRES 3.4.5.1.2
//= type=test
//# a change that the watcher can see is told in its dialog, refreshed or not, also when the server makes it
// proves: PRES-2.2.2.4.3-01 PRES-2.2.2.4.3-02 PRES-3.4.5.1.3-20 PRES-3.4.5.2-01 PRES-3.4.5.1.2-01
#[test]
fn what_a_watcher_sees_is_told_when_it_changes() {
    let (mut bob, mut alice) = (signed_in("bob"), signed_in("alice"));
    let (mut dialog, _) = bob.watch(&[&alice.uri], &["note", "contactCard"]);
    say(&mut alice, 0, "first");
    let (whose, body) = told(&mut bob, &dialog);
    assert_eq!(whose, alice.uri);
    assert_eq!(
        tree::attributes(&body, "category", "name"),
        ["note"],
        "only what changed"
    );
    for version in 1..4 {
        let again = batch(
            &bob.uri,
            "subscribe",
            &[&alice.uri],
            &["note", "contactCard"],
        );
        granted(bob.change_batch(&mut dialog, &again));
        say(&mut alice, version, &format!("after refresh {version}"));
        let (_, body) = told(&mut bob, &dialog);
        assert!(body.contains(&format!("after refresh {version}")));
    }
    // A container that the watcher does not see.
    let hidden = publication("note", 0, 400, 0, "expireType=\"static\"", &note("hidden"));
    granted(alice.publish(&hidden));
    let brief = publication(
        "note",
        5,
        0,
        0,
        "expireType=\"time\" expires=\"1\"",
        &note("brief"),
    );
    granted(alice.publish(&brief));
    let (_, body) = told(&mut bob, &dialog);
    assert!(body.contains("brief") && !body.contains("hidden"), "{body}");
    let (_, body) = told(&mut bob, &dialog);
    assert!(
        body.contains("after refresh 3") && !body.contains("brief"),
        "{body}"
    );
    assert_eq!(bob.rest(&dialog).len(), 0);
}

//= MS-PRES 3.4.5.1.3
//= type=test
//# a request in the dialog adds resources and categories and answers with those it names; unsubscribe takes
//# the listed ones out, with 200 also where there is nothing to take out
// proves: PRES-3.4.5.1.3-11 PRES-3.4.5.1.3-12 PRES-3.4.5.1.3-14 PRES-2.2.2.4.1-08
#[test]
fn a_dialog_grows_and_shrinks() {
    let (mut bob, mut alice, mut john) = (signed_in("bob"), signed_in("alice"), signed_in("john"));
    let own = bob.uri.clone();
    let (mut dialog, _) = bob.watch(&[&alice.uri], &["contactCard"]);
    say(&mut alice, 0, "unheard");
    assert_eq!(bob.rest(&dialog).len(), 0, "notes are not watched yet");
    let wider = batch(&own, "subscribe", &[&alice.uri], &["note"]);
    let answer = granted(bob.change_batch(&mut dialog, &wider));
    assert_eq!(
        tree::attributes(&served(&answer)[0].1, "category", "name").len(),
        2
    );
    let more = batch(&own, "subscribe", &[&john.uri], &["note"]);
    let answer = granted(bob.change_batch(&mut dialog, &more));
    assert_eq!(whose(&answer), [john.uri.clone()], "of those it names only");
    assert_eq!(answer.other_headers("ms-piggyback-cseq").next(), Some("3"));
    say(&mut alice, 1, "one");
    say(&mut john, 0, "two");
    assert_eq!(told(&mut bob, &dialog).0, alice.uri);
    assert_eq!(told(&mut bob, &dialog).0, john.uri);

    let narrower = batch(&own, "unsubscribe", &[&alice.uri], &["note"]);
    for _ in ["taken out", "not there"] {
        let answer = granted(bob.change_batch(&mut dialog, &narrower));
        assert_eq!(whose(&answer), Vec::<String>::new());
    }
    say(&mut alice, 2, "unheard");
    say(&mut john, 1, "three");
    assert_eq!(told(&mut bob, &dialog).0, john.uri);
    let gone = batch(&own, "unsubscribe", &[&john.uri], &["note"]);
    granted(bob.change_batch(&mut dialog, &gone));
    say(&mut john, 2, "unheard");
    assert_eq!(bob.rest(&dialog).len(), 0);
    let (new, answer) = {
        let mut dialog = Dialog::new("presence", &own);
        let answer = bob.change_batch(&mut dialog, &gone);
        (dialog, granted(answer))
    };
    assert_eq!(
        answer.header(Name::Expires),
        Some("0"),
        "there is nothing to keep"
    );
    assert_ne!(new.call_id, dialog.call_id);
    granted(bob.change_batch(&mut dialog, &more));
}

//= MS-PRES 3.4.5.1.1
//= type=test
//# without both option tags in Require it is a subscription to the one resource that To names
// proves: PRES-3.4.5.1.1-01 PRES-2.2.2.4.1-03
#[test]
fn a_single_subscription_is_to_one_resource() {
    let (mut bob, mut alice) = (signed_in("bob"), signed_in("alice"));
    let whom = alice.uri.clone();
    for require in ["", "Require: adhoclist\r\n", "Require: categoryList\r\n"] {
        let lines = format!("{}{require}", single_lines());
        let mut dialog = Dialog::new("presence", &whom);
        let body = batch(&bob.uri, "subscribe", &[&whom], &["contactCard", "note"]);
        let answer = bob.subscribe(&mut dialog, Some(3_600), &lines, BATCH, &body);
        assert_eq!(whose(&granted(answer)), [whom.as_str()], "{require}");
        // The same with To as a batch has it: single, and therefore wrong.
        let mut dialog = Dialog::new("presence", &bob.uri);
        let answer = bob.subscribe(&mut dialog, Some(3_600), &lines, BATCH, &body);
        assert_eq!(answer.status().number(), 400, "{require}");
    }
    let (mut dialog, answer) = watch_one(&mut bob, &whom, &["contactCard", "note"]);
    let (_, document) = served(&granted(answer)).remove(0);
    assert_eq!(
        tree::attributes(&document, "category", "name"),
        ["contactCard", "note"]
    );
    say(&mut alice, 0, "told");
    assert!(told(&mut bob, &dialog).1.contains("told"));
    let body = batch(&bob.uri, "subscribe", &[&whom], &["note"]);
    let answer = bob.subscribe(&mut dialog, Some(3_600), &single_lines(), BATCH, &body);
    assert_eq!(whose(&granted(answer)), [whom]);
}

//= MS-PRES 3.4.5.1.2
//= type=test
//= MS-PRES 3.4.5.1.3
//= type=test
//# Expires 0 without a To tag looks once: batched or single, and nothing is kept
// proves: PRES-3.4.5.1.2-02 PRES-3.4.5.1.2-04 PRES-3.4.5.1.3-21
#[test]
fn a_poll_looks_once() {
    let (mut bob, mut alice) = (signed_in("bob"), signed_in("alice"));
    say(&mut alice, 0, "seen");
    let (kept, _) = bob.watch(&[&alice.uri], &["note"]);
    let body = batch(&bob.uri, "subscribe", &[&alice.uri], &["note", "services"]);
    let to = [bob.uri.clone(), alice.uri.clone()];
    for (to, lines) in to.iter().zip([BATCH_LINES.to_owned(), single_lines()]) {
        let mut polls = Vec::new();
        for _ in 0..20 {
            let mut poll = Dialog::new("presence", to);
            let answer = granted(bob.subscribe(&mut poll, Some(0), &lines, BATCH, &body));
            assert_eq!(answer.header(Name::Expires), Some("0"));
            let over = answer.lines().any(|(name, value)| {
                name == "subscription-state" && value == "terminated;expires=0"
            });
            assert!(over);
            assert!(served(&answer)[0].1.contains("seen"));
            polls.push(poll);
        }
        let mut last = polls.pop().expect("one");
        let answer = bob.subscribe(&mut last, Some(600), &lines, BATCH, &body);
        assert_eq!(answer.status().number(), 481, "nothing was kept");
    }
    say(&mut alice, 1, "later");
    assert!(told(&mut bob, &kept).1.contains("later"));
    assert_eq!(bob.rest(&kept).len(), 0);
    assert_eq!(
        bob.phone.drain(std::time::Duration::from_millis(100)).len(),
        0,
        "no poll is told"
    );
}

//= MS-PRES 2.2.2.4.1
//= type=test
//= MS-PRES 3.4.5.1.3
//= type=test
//= MS-PRES 1.3.1.4
//= type=test
//# a context, empty or not, puts the watcher into the publisher's list, once, and tells the publisher;
//# without one nobody is told
// proves: PRES-2.2.2.4.1-11 PRES-2.2.2.4.1-12 PRES-2.2.2.4.1-13 PRES-3.4.5.1.3-15 PRES-3.4.5.1.3-16
// proves: PRES-3.4.5.1.3-17 PRES-1.3.1.4-01 PRES-1.3.1.4-02 PRES-1.3.1.4-03 PRES-1.3.1.4-04 PRES-1.3.1.4-05
#[test]
fn a_context_makes_a_watcher_known() {
    let mut alice = signed_in("alice");
    let (own, _) = alice.watch_self(&["subscribers"]);
    let resource = format!("<resource uri=\"{}\"/>", alice.uri);
    let context = "<context><subscriptionContext xmlns=\"http://schemas.microsoft.com/2008/09/sip/SubscriptionContext\" \
                   majorVersion=\"1\" minorVersion=\"0\"><watcher><contactList/></watcher><delegation/>\
                   </subscriptionContext></context>";
    let mut known = 0;
    for (context, network, said) in [
        ("", "", None),
        ("<context/>", "", Some("sameEnterprise")),
        (context, "", Some("sameEnterprise")),
        (
            context,
            "ms-source-network: federation\r\n",
            Some("federated"),
        ),
        (
            context,
            "ms-source-network: publiccloud\r\n",
            Some("publicCloud"),
        ),
    ] {
        let mut bob = signed_in("bob");
        let body = batch(&bob.uri, "subscribe", &[&alice.uri], &["note"]);
        let open = resource.replace("/>", ">");
        let body = body.replace(&resource, &format!("{open}{context}</resource>"));
        let (mut dialog, lines) = (
            Dialog::new("presence", &bob.uri),
            format!("{BATCH_LINES}{network}"),
        );
        for _ in ["first", "again"] {
            granted(bob.subscribe(&mut dialog, Some(3_600), &lines, BATCH, &body));
        }
        let Some(network) = said else {
            assert_eq!(alice.rest(&own).len(), 0);
            continue;
        };
        known += 1;
        let told = text(alice.told(&own).body());
        schema::assert_valid(std::slice::from_ref(&told));
        let entries = tree::elements(&told, "subscriber", &[]);
        assert_eq!(entries.len(), known, "all of them: {told}");
        let user = format!("user={:?}", bob.uri.trim_start_matches("sip:"));
        let entry = entries.iter().find(|entry| entry.contains(&user));
        let entry = entry.unwrap_or_else(|| panic!("{told}"));
        assert!(entry.contains("acknowledged=\"false\""), "{entry}");
        assert!(entry.contains(&format!("type={network:?}")), "{entry}");
        assert_eq!(
            entry.contains("delegation"),
            context.contains("delegation"),
            "{entry}"
        );
        assert_eq!(alice.rest(&own).len(), 0, "told once");
    }
}

//= MS-PRES 3.4.5.1.3.1
//= type=test
//= MS-PRES 2.2.2.4.2
//= type=test
//# who is not served here comes back as resubscribe: of another domain without, of another shard with the
//# URI to ask, where it is served, by a Request-URI alone too
// proves: PRES-3.4.5.1.3.1-01 PRES-3.4.5.1.3.1-02 PRES-3.4.5.1.3-19 PRES-3.4.5.3-04 PRES-2.2.2.4.2-08
// proves: PRES-2.2.2.4.2-09 PRES-2.2.2.4.2-12 PRES-2.2.2.4.2-13 PRES-3.4.5.1.1-04
#[test]
fn who_is_not_served_here_comes_back_with_a_hint() {
    let mut bob = Client::sign_in(shared(), &somebody("bob"));
    let (near, far, hint) = near_and_far(&mut bob);
    let foreign = "sip:carol@fabrikam.example";
    let (dialog, answer) = bob.watch(&[&near, foreign, &far], &["note"]);
    assert_eq!(whose(&granted(answer.clone())), [near.as_str()]);
    let list = rejected(&answer);
    schema::assert_valid(std::slice::from_ref(&list));
    assert_eq!(
        tree::attributes(&list, "resource", "uri"),
        [foreign, far.as_str()]
    );
    let instances = tree::elements(&list, "instance", &[]);
    let bare = far.trim_start_matches("sip:");
    let head = "{urn:ietf:params:xml:ns:rlmi}instance";
    let expected = [
        format!("{head} cid=\"carol@fabrikam.example\" id=\"0\" state=\"resubscribe\"\n"),
        format!("{head} cid={bare:?} id=\"0\" poolFqdn={hint:?} state=\"resubscribe\"\n"),
    ];
    for expected in &expected {
        assert!(instances.contains(expected), "{instances:?}");
    }
    // Following the hint: as Request-URI and To, or as Request-URI alone.
    let body = batch(&bob.uri, "subscribe", &[&far], &["note"]);
    let mut both = Dialog::new("presence", &hint);
    let answer = granted(bob.change_batch(&mut both, &body));
    assert_eq!(whose(&answer), [far.as_str()]);
    let call_id = somebody("hint");
    let own = bob.uri.clone();
    let head = bob.head("SUBSCRIBE", &own, None, &call_id, 1);
    let head = head.replacen(
        &format!("SUBSCRIBE {own} "),
        &format!("SUBSCRIBE {hint} "),
        1,
    );
    let lines = format!("Event: presence\r\n{BATCH_LINES}Content-Type: {BATCH}\r\n");
    let answer = granted(bob.phone.ask(head, &lines, &body));
    assert_eq!(whose(&answer), [far.as_str()]);
    // The publisher's change is told there, and the first dialog goes on.
    let (_, user) = far.split_at(4);
    let mut publisher = Client::sign_in(shared(), user.split('@').next().expect("a user"));
    say(&mut publisher, 0, "from afar");
    assert!(text(bob.phone.notify(Some(&call_id)).body()).contains("from afar"));
    assert_eq!(bob.rest(&dialog).len(), 0);
}

//= MS-PRES 3.4.5.1.3.1
//= type=test
//# a batch that nobody of is served keeps no dialog, and leaves the one there (4.6)
#[test]
fn a_batch_for_nobody_keeps_no_dialog() {
    let (mut bob, mut alice) = (signed_in("bob"), signed_in("alice"));
    let (kept, _) = bob.watch(&[&alice.uri], &["note"]);
    let (mut none, answer) = bob.watch(&["sip:carol@fabrikam.example"], &["note"]);
    let answer = granted(answer);
    assert_eq!(answer.header(Name::Expires), Some("0"));
    assert!(
        answer
            .lines()
            .any(|(name, value)| name == "subscription-state" && value == "terminated;expires=0")
    );
    assert_eq!(answer.other_headers("ms-piggyback-cseq").next(), Some("1"));
    assert_eq!(tree::elements(&rejected(&answer), "instance", &[]).len(), 1);
    let body = batch(&bob.uri, "subscribe", &[&alice.uri], &["note"]);
    assert_eq!(bob.change_batch(&mut none, &body).status().number(), 481);
    say(&mut alice, 0, "still told");
    assert!(told(&mut bob, &kept).1.contains("still told"));
}

//= MS-PRES 3.4.5.1.3
//= type=test
//# an endpoint has one batch: the older one is ended with Expires 0
// proves: PRES-3.4.5.1.3-05
#[test]
fn an_endpoint_has_one_batch() {
    let (mut bob, mut alice) = (signed_in("bob"), signed_in("alice"));
    let (first, _) = bob.watch(&[&alice.uri], &["note"]);
    let (second, answer) = bob.watch(&[&alice.uri], &["note"]);
    granted(answer);
    let end = bob.told(&first);
    assert_eq!(end.header(Name::Expires), Some("0"));
    assert!(end.lines().any(
        |(name, value)| name.eq_ignore_ascii_case("subscription-state")
            && value == "terminated;expires=0"
    ));
    say(&mut alice, 0, "once");
    assert!(told(&mut bob, &second).1.contains("once"));
    assert_eq!(bob.rest(&first).len(), 0);
}

//= MS-PRES 3.4.5.1.3
//= type=test
//= MS-PRES 3.4.5.1
//= type=test
//# an endpoint registers first, and its dialogs end with its registration
// proves: PRES-3.4.5.1-01 PRES-3.4.5.1.3-07 PRES-3.4.5.3-11
#[test]
fn dialogs_end_with_the_registration() {
    let (mut bob, mut alice) = (signed_in("bob"), signed_in("alice"));
    let (mut dialog, _) = bob.watch(&[&alice.uri], &["note"]);
    let (mut one, answer) = watch_one(&mut bob, &alice.uri, &["note"]);
    granted(answer);
    assert_eq!(bob.renew(0, "").status(), StatusCode::OK);
    say(&mut alice, 0, "unheard");
    assert_eq!(bob.rest(&dialog).len(), 0);
    let body = batch(&bob.uri, "subscribe", &[&alice.uri], &["note"]);
    assert_eq!(bob.change_batch(&mut dialog, &body).status().number(), 481);
    let refused = bob.watch(&[&alice.uri], &["note"]).1;
    assert_eq!(refused.status().number(), 403, "contradiction C-66");
    let refused = watch_one(&mut bob, &alice.uri, &["note"]).1;
    assert_eq!(refused.status().number(), 403);
    let again = bob.subscribe(&mut one, Some(600), &single_lines(), BATCH, &body);
    assert!([403, 481].contains(&again.status().number()), "{again:?}");
    let bound = publication("note", 9, 0, 0, "expireType=\"endpoint\"", &note("x"));
    assert_eq!(bob.publish(&bound).status().number(), 488);
    assert_eq!(bob.renew(600, "").status(), StatusCode::OK);
    granted(bob.watch(&[&alice.uri], &["note"]).1);
}

//= MS-PRES 3.4.5.1.3
//= type=test
//# Expires 0 in the dialog ends it without a word, with or without Require and a body (4.4.4)
#[test]
fn a_batch_is_ended_without_a_word() {
    let mut alice = signed_in("alice");
    let lines = [
        "",
        "Accept: application/msrtc-event-categories+xml, text/xml+msrtc.pidf\r\n",
        BATCH_LINES,
    ];
    for (version, lines) in (0..).zip(lines) {
        let mut bob = signed_in("bob");
        let (mut dialog, _) = bob.watch(&[&alice.uri], &["note"]);
        let lines = lines.replace(
            "text/xml+msrtc.pidf\r\n",
            "text/xml+msrtc.pidf, application/rlmi+xml, multipart/related\r\n",
        );
        let answer = granted(bob.subscribe(&mut dialog, Some(0), &lines, "", ""));
        assert_eq!(answer.header(Name::Expires), Some("0"), "{lines}");
        say(&mut alice, version, "unheard");
        assert_eq!(bob.rest(&dialog).len(), 0, "{lines}");
    }
}
