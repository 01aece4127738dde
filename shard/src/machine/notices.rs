//! Who is to be notified when the entry is done.
//!
//! While an entry is applied, only names are collected. At its end each dialog concerned takes one
//! CSeq and gets one notification with the newest state, however many requests of the entry changed
//! it. As the entry's replies come first, a SUBSCRIBE is answered before it is notified, and what a
//! watcher is told last is what there is.

use std::sync::Arc;

use crate::machine::digest::History;
use crate::machine::effect::{Effect, Notice, SubscriptionState};
use crate::machine::store::Store;
use crate::slot::Aor;
use crate::subscription::dialog::{Dialog, DialogKey, EndReason, Package};
use crate::subscription::view::View;
use crate::time::Timestamp;

/// Whom a presentity is shown to.
#[derive(Debug)]
enum Whom {
    Everyone,
    One(DialogKey),
    /// One whose dialog is gone: its final notice.
    Gone(Notice),
}

/// What an entry has made due.
#[derive(Debug, Default)]
pub(super) struct Notices {
    due: Vec<(Aor, Package, Whom)>,
}

impl Notices {
    /// The presentity changed for all its watchers.
    pub(super) fn everyone(&mut self, presentity: &Aor, package: Package) {
        self.due.push((presentity.clone(), package, Whom::Everyone));
    }

    /// One dialog asked for the state.
    pub(super) fn one(&mut self, presentity: &Aor, package: Package, key: DialogKey) {
        self.due.push((presentity.clone(), package, Whom::One(key)));
    }

    /// A dialog has ended and was taken out of the store.
    //= RFC 6665 4.2.2
    //# a subscription that ends is told so by a final NOTIFY with the reason
    pub(super) fn gone(
        &mut self,
        key: DialogKey,
        mut dialog: Dialog,
        reason: EndReason,
        now: Timestamp,
    ) {
        dialog.take_cseq(now);
        let notice = Notice::of(key, &dialog, SubscriptionState::Terminated(reason));
        self.due
            .push((dialog.presentity, dialog.package, Whom::Gone(notice)));
    }

    /// Turns what is due into effects, presentity by presentity in the order of their addresses.
    pub(super) fn tell(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        history: &mut History,
        effects: &mut Vec<Effect>,
    ) {
        // Stable, so that final notices keep the order in which the dialogs ended.
        self.due
            .sort_by(|(a, p, _), (b, q, _)| a.cmp(b).then(p.cmp(q)));
        let mut due = self.due.drain(..).peekable();
        while let Some((presentity, package, whom)) = due.next() {
            let mut group = Group::default();
            group.add(whom);
            while let Some((_, _, whom)) =
                due.next_if(|(other, of, _)| *other == presentity && *of == package)
            {
                group.add(whom);
            }
            let view = match store.watched(presentity.as_str()) {
                Some(watched) => View::of(&watched.presentity, package, now),
                None => View::of_nothing(presentity, package, now),
            };
            let notices = group.take(store, &view, now);
            if !notices.is_empty() {
                history.notify(&view, &notices);
                effects.push(Effect::Notify {
                    view: Arc::new(view),
                    notices,
                });
            }
        }
    }
}

/// All that is due about one presentity.
#[derive(Default)]
struct Group {
    everyone: bool,
    some: Vec<DialogKey>,
    notices: Vec<Notice>,
}

impl Group {
    fn add(&mut self, whom: Whom) {
        match whom {
            Whom::Everyone => self.everyone = true,
            Whom::One(key) => self.some.push(key),
            Whom::Gone(notice) => self.notices.push(notice),
        }
    }

    /// The final notices, then one for each living dialog concerned, which takes its next CSeq.
    fn take(self, store: &mut Store, view: &View, now: Timestamp) -> Vec<Notice> {
        let Group {
            everyone,
            mut some,
            mut notices,
        } = self;
        let mut worn_out = Vec::new();
        let mut tell = |key: DialogKey, dialog: &mut Dialog| {
            dialog.take_cseq(now);
            let state = if dialog.is_worn_out() {
                worn_out.push(key);
                //= RFC 6665 4.1.3
                //# deactivated: the watcher may subscribe anew at once
                SubscriptionState::Terminated(EndReason::Deactivated)
            } else {
                SubscriptionState::Active {
                    expires_s: dialog.expires_at.seconds_after(now),
                }
            };
            notices.push(Notice::of(key, dialog, state));
        };
        if everyone {
            store.for_each_watcher(view.presentity.as_str(), view.package, tell);
        } else {
            some.sort_unstable();
            some.dedup();
            for key in some {
                // One that ended in the same entry has had its final notice.
                store.change_dialog(view.presentity.slot(), key, |dialog| tell(key, dialog));
            }
        }
        for key in worn_out {
            store.remove_dialog(view.presentity.slot(), key);
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::dialog::{CSEQ_MAX, Format, LocalTag, Subscribe};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn dialog(local_cseq: u32) -> Dialog {
        let presentity = Aor::sip("alice", "example.com");
        let request = Subscribe {
            presentity: presentity.as_str(),
            watcher: "bob@example.com",
            package: Package::Presence,
            format: Format::Pidf,
            dialog: DialogKey(1),
            local_tag: LocalTag::new(presentity.slot(), 7),
            cseq: 1,
            expires_s: 600,
            route: b"route",
            target: b"target",
        };
        Dialog {
            local_cseq,
            ..Dialog::open(&request, presentity.clone(), NOW)
        }
    }

    fn told(store: &mut Store, notices: &mut Notices) -> Vec<(DialogKey, u32, SubscriptionState)> {
        let mut effects = Vec::new();
        notices.tell(store, NOW, &mut History::default(), &mut effects);
        let each = effects.into_iter().flat_map(|effect| match effect {
            Effect::Notify { notices, .. } => notices,
            Effect::Reply { .. } => panic!("nobody asked"),
        });
        each.map(|notice| (notice.dialog, notice.cseq, notice.state))
            .collect()
    }

    #[test]
    fn a_dialog_is_told_once_whatever_happened() {
        let active = SubscriptionState::Active { expires_s: 600 };
        let gone = SubscriptionState::Terminated(EndReason::Timeout);
        let alice = dialog(0).presentity;
        let (one, two) = (DialogKey(1), DialogKey(2));
        type Happens<'a> = &'a dyn Fn(&mut Store, &mut Notices);
        let everyone: Happens<'_> = &|_, notices| notices.everyone(&alice, Package::Presence);
        let asks: Happens<'_> = &|_, notices| notices.one(&alice, Package::Presence, one);
        let ends: Happens<'_> = &|store, notices| {
            if let Some(dialog) = store.remove_dialog(alice.slot(), one) {
                notices.gone(one, dialog, EndReason::Timeout, NOW);
            }
        };
        for (name, happens, expected) in [
            ("nothing", vec![], vec![]),
            (
                "a change",
                vec![everyone],
                vec![(one, 8, active), (two, 8, active)],
            ),
            (
                "two changes",
                vec![everyone, everyone],
                vec![(one, 8, active), (two, 8, active)],
            ),
            ("a question", vec![asks, asks], vec![(one, 8, active)]),
            (
                "both",
                vec![asks, everyone],
                vec![(one, 8, active), (two, 8, active)],
            ),
            ("an end", vec![asks, ends], vec![(one, 8, gone)]),
            (
                "an end and a change",
                vec![everyone, ends],
                vec![(one, 8, gone), (two, 8, active)],
            ),
        ] {
            let (mut store, mut notices) = (Store::default(), Notices::default());
            store.insert_dialog(one, dialog(7));
            store.insert_dialog(two, dialog(7));
            happens
                .into_iter()
                .for_each(|happen| happen(&mut store, &mut notices));
            assert_eq!(told(&mut store, &mut notices), expected, "{name}");
            assert_eq!(told(&mut store, &mut notices), [], "{name}, and no more");
        }
    }

    //= RFC 3261 8.1.1.5
    //= type=test
    #[test]
    fn a_dialog_without_further_numbers_is_ended() {
        let (mut store, mut notices) = (Store::default(), Notices::default());
        store.insert_dialog(DialogKey(1), dialog(CSEQ_MAX - 1));
        store.insert_dialog(DialogKey(2), dialog(CSEQ_MAX - 2));
        notices.everyone(&dialog(0).presentity, Package::Presence);
        let ended = SubscriptionState::Terminated(EndReason::Deactivated);
        let active = SubscriptionState::Active { expires_s: 600 };
        assert_eq!(
            told(&mut store, &mut notices),
            [
                (DialogKey(1), CSEQ_MAX, ended),
                (DialogKey(2), CSEQ_MAX - 1, active)
            ]
        );
        assert_eq!(store.counts().dialogs, 1);
    }
}
