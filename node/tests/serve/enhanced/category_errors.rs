//! What is wrong with a category subscription (MS-PRES 3.4.5.3), and that nothing changes by it.

use transport::sip::Name;

use super::batch::{BATCH, granted, together};
use super::client::{
    BATCH_LINES, Client, Dialog, batch, diagnostic, note, publication, somebody, text,
};

/// One wrong request: what is wrong, event, lines, content type, body, status, diagnosis.
type Wrong<'w> = (&'w str, &'w str, &'w str, &'w str, String, u16, Option<u32>);

/// A watcher with a batch, and one whom it watches.
fn watching() -> (Client, Client, Dialog) {
    let mut bob = Client::sign_in(together(), &somebody("bob"));
    let alice = Client::sign_in(together(), &somebody("alice"));
    let (kept, answer) = bob.watch(&[&alice.uri], &["note"]);
    granted(answer);
    (bob, alice, kept)
}

/// The dialog is as it was: the next change is told with the next number.
fn is_unharmed(bob: &mut Client, alice: &mut Client, kept: &Dialog, what: &str) {
    let all = "expireType=\"static\"";
    let note = note("still told");
    granted(alice.publish(&publication("note", 0, 0, 0, all, &note)));
    let told = bob.told(kept);
    assert_eq!(told.cseq(), 2, "{what}: no number was used");
    assert!(text(told.body()).contains("still told"), "{what}");
    let end = "<publication categoryName=\"note\" instance=\"0\" container=\"0\" version=\"1\" expireType=\"static\" expires=\"0\"/>";
    granted(alice.publish(end));
    bob.told(kept);
    assert_eq!(
        bob.phone.drain(std::time::Duration::from_millis(100)).len(),
        0,
        "{what}"
    );
}

/// A body with other elements in the one action.
fn with(own: &str, list: &str, categories: &str) -> String {
    batch(own, "subscribe", &["sip:x@contoso.com"], &["note"])
        .replace(
            "<adhocList><resource uri=\"sip:x@contoso.com\"/></adhocList>",
            list,
        )
        .replace("<category name=\"note\"/>", categories)
}

//= MS-PRES 3.4.5.3
//= type=test
//= MS-PRES 2.2.2.4.1
//= type=test
//# 489, 406, 415, 400 and 403 for a batch; the dialog there stays as it is
// proves: PRES-2.2.2.4.1-01 PRES-2.2.2.4.1-04 PRES-2.2.2.4.1-05 PRES-2.2.2.4.1-06 PRES-2.2.2.4.1-08
// proves: PRES-3.4.5.3-01 PRES-3.4.5.3-02 PRES-3.4.5.3-03
#[test]
fn a_wrong_batch_changes_nothing() {
    let (mut bob, mut alice, mut kept) = watching();
    let own = bob.uri.clone();
    let good = batch(&own, "subscribe", &[&alice.uri], &["state"]);
    let categories = "application/msrtc-event-categories+xml, ";
    let no_categories = BATCH_LINES.replace(categories, "");
    let no_parts = BATCH_LINES.replace(", multipart/related", "");
    let no_list = BATCH_LINES.replace(" application/rlmi+xml,", "");
    let one = "<adhocList><resource uri=\"sip:x@contoso.com\"/></adhocList>";
    let name = "<category name=\"note\"/>";
    let wrong: Vec<Wrong<'_>> = vec![
        (
            "event",
            "winfo",
            BATCH_LINES,
            BATCH,
            good.clone(),
            489,
            None,
        ),
        (
            "Accept",
            "presence",
            &no_categories,
            BATCH,
            good.clone(),
            406,
            None,
        ),
        (
            "Accept parts",
            "presence",
            &no_parts,
            BATCH,
            good.clone(),
            406,
            None,
        ),
        (
            "Accept list",
            "presence",
            &no_list,
            BATCH,
            good.clone(),
            406,
            None,
        ),
        (
            "type",
            "presence",
            BATCH_LINES,
            "application/adrl+xml",
            good.clone(),
            415,
            Some(4013),
        ),
        (
            "no body",
            "presence",
            BATCH_LINES,
            BATCH,
            String::new(),
            400,
            Some(4001),
        ),
        (
            "no XML",
            "presence",
            BATCH_LINES,
            BATCH,
            "<batchSub".to_owned(),
            400,
            Some(4001),
        ),
        (
            "root",
            "presence",
            BATCH_LINES,
            BATCH,
            "<batchSub/>".to_owned(),
            400,
            Some(4001),
        ),
        (
            "no action",
            "presence",
            BATCH_LINES,
            BATCH,
            "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\"/>"
                .to_owned(),
            400,
            Some(4001),
        ),
        (
            "action",
            "presence",
            BATCH_LINES,
            BATCH,
            batch(&own, "watch", &[&alice.uri], &["note"]),
            400,
            Some(4001),
        ),
        (
            "nobody",
            "presence",
            BATCH_LINES,
            BATCH,
            with(&own, "<adhocList/>", name),
            400,
            Some(4001),
        ),
        (
            "no list",
            "presence",
            BATCH_LINES,
            BATCH,
            with(&own, "", name),
            400,
            Some(4001),
        ),
        (
            "no uri",
            "presence",
            BATCH_LINES,
            BATCH,
            with(&own, "<adhocList><resource/></adhocList>", name),
            400,
            Some(4001),
        ),
        (
            "no category",
            "presence",
            BATCH_LINES,
            BATCH,
            with(&own, one, ""),
            400,
            Some(4001),
        ),
        (
            "no name",
            "presence",
            BATCH_LINES,
            BATCH,
            with(&own, one, "<category/>"),
            400,
            Some(4001),
        ),
    ];
    for (what, event, lines, media, body, status, diagnosis) in &wrong {
        let mut dialog = Dialog::new(event, &own);
        let answer = bob.subscribe(&mut dialog, Some(3_600), lines, media, body);
        assert_eq!(answer.status().number(), *status, "{what}: {answer:?}");
        assert_eq!(diagnostic(&answer), *diagnosis, "{what}");
        if *event == "presence" {
            let answer = bob.subscribe(&mut kept, Some(3_600), lines, media, body);
            assert_eq!(answer.status().number(), *status, "{what}, in the dialog");
            assert_eq!(diagnostic(&answer), *diagnosis, "{what}, in the dialog");
        }
    }
    let mut dialog = Dialog::new("presence", &alice.uri);
    let answer = bob.change_batch(&mut dialog, &good);
    assert_eq!(answer.status().number(), 403, "From and To differ");
    assert_eq!(diagnostic(&answer), Some(4000));
    is_unharmed(&mut bob, &mut alice, &kept, "a batch");
}

//= MS-PRES 3.4.5.3
//= type=test
//= MS-PRES 3.4.5.1.1
//= type=test
//# a single subscription has one action, subscribe, with one resource, that of To; 404 for a resource that is
//# not found
// proves: PRES-3.4.5.1.1-02 PRES-3.4.5.1.1-06 PRES-3.4.5.1.1-07 PRES-3.4.5.1.1-08 PRES-3.4.5.3-05
// proves: PRES-3.4.5.3-06 PRES-3.4.5.3-07 PRES-3.4.5.3-08 PRES-3.4.5.3-09
#[test]
fn a_wrong_single_subscription_changes_nothing() {
    let (mut bob, mut alice, kept) = watching();
    let (own, whom) = (bob.uri.clone(), alice.uri.clone());
    let other = format!("sip:{}@contoso.com", somebody("john"));
    let foreign = "sip:carol@fabrikam.example".to_owned();
    let lines = BATCH_LINES.replace("Require: adhoclist, categoryList\r\n", "");
    let one = batch(&own, "subscribe", &[&whom], &["note"]);
    let action = &one[one.find("<action").expect("it is")..one.find("</batchSub>").expect("it is")];
    let twice = one.replace(action, &format!("{action}{action}"));
    for (what, to, body, status, diagnosis) in [
        (
            "two resources",
            &whom,
            batch(&own, "subscribe", &[&whom, &other], &["note"]),
            400,
            4000,
        ),
        ("two actions", &whom, twice, 400, 4000),
        (
            "unsubscribe",
            &whom,
            batch(&own, "unsubscribe", &[&whom], &["note"]),
            400,
            4000,
        ),
        (
            "another resource",
            &whom,
            batch(&own, "subscribe", &[&other], &["note"]),
            400,
            4000,
        ),
        ("no XML", &whom, "<batchSub".to_owned(), 400, 4001),
        (
            "not found",
            &foreign,
            batch(&own, "subscribe", &[&foreign], &["note"]),
            404,
            4005,
        ),
    ] {
        let mut dialog = Dialog::new("presence", to);
        let answer = bob.subscribe(&mut dialog, Some(3_600), &lines, BATCH, &body);
        assert_eq!(answer.status().number(), status, "{what}: {answer:?}");
        assert_eq!(diagnostic(&answer), Some(diagnosis), "{what}");
        assert!(answer.header(Name::Expires).is_none(), "{what}");
    }
    is_unharmed(&mut bob, &mut alice, &kept, "a single subscription");
}

//= MS-PRES 3.4.5.1.3
//= type=test
//= MS-PRES 3.4.5.3
//= type=test
//# a request in a dialog that is not there, or is about something else, gets 481
// proves: PRES-3.4.5.1.3-13 PRES-3.4.5.3-11
#[test]
fn a_dialog_that_is_not_there_is_not_refreshed() {
    let (mut bob, mut alice, kept) = watching();
    let body = batch(&bob.uri, "subscribe", &[&alice.uri], &["note"]);
    let (own, _) = bob.watch_self(&["containers"]);
    for to_tag in ["nobodys", "L0000000000000000abc"] {
        let mut dialog = kept.clone();
        dialog.to_tag = Some(to_tag.to_owned());
        let answer = bob.change_batch(&mut dialog, &body);
        assert_eq!(answer.status().number(), 481, "{to_tag}");
    }
    // The dialog of another event.
    let mut mixed = Dialog::new("presence", &bob.uri);
    mixed.call_id.clone_from(&own.call_id);
    (mixed.to_tag, mixed.cseq) = (own.to_tag.clone(), own.cseq);
    let answer = bob.change_batch(&mut mixed, &body);
    assert_eq!(answer.status().number(), 481);
    let public = answer.other_headers("ms-diagnostics-public").next();
    assert!(
        public.is_some_and(|line| line.starts_with("2014;")),
        "{answer:?}"
    );
    is_unharmed(&mut bob, &mut alice, &kept, "481");
}

//= MS-PRES 3.4.5.1.1
//= type=exception
// excepts: PRES-3.4.5.1.1-05 routing to another domain is a proxy's work: here a resource of another domain is not found
