//! RFC 3842, waiting messages: told to who watches them when they change.

use shard::category::mwi::Waiting;
use shard::machine::command::{Command, Subscribe};
use shard::slot::Slot;
use shard::subscription::dialog::{DialogKey, Format, LocalTag, Package};
use shard::subscription::view::Seen;

use crate::pool::{ALICE, Pool, active};

//= RFC 3842 3.6
//= type=test
#[test]
fn what_waits_is_told_when_it_changes() {
    let mut pool = Pool::start();
    pool.ask(Command::Subscribe(Subscribe {
        savers: None,
        presentity: ALICE,
        watcher: ALICE,
        package: Package::MessageSummary,
        format: Format::MessageSummary,
        dialog: DialogKey(1),
        local_tag: LocalTag::new(Slot::of(ALICE), 77),
        cseq: 1,
        expires_s: 600,
        route: b"route",
        target: b"target",
        extras: None,
    }));
    let shown = |pool: &Pool| match &pool.told[..] {
        [(view, notices)] => {
            assert_eq!((notices.len(), view.package), (1, Package::MessageSummary));
            match view.seen {
                Seen::Waiting(waiting) => waiting,
                _ => panic!("of another kind"),
            }
        }
        other => panic!("{} notifications", other.len()),
    };
    assert_eq!(shown(&pool), None);
    let waiting = Waiting {
        waiting: true,
        unread: Some(1),
        read: None,
    };
    let set = |waiting| Command::SetWaiting {
        presentity: ALICE,
        waiting,
    };
    pool.ask(set(waiting));
    assert_eq!(shown(&pool), Some(waiting));
    assert_eq!(pool.notices(), [(DialogKey(1), 2, active(600))]);
    pool.ask(set(waiting));
    assert_eq!(pool.notices(), [], "the same is no news");
    let none = Waiting {
        waiting: false,
        ..waiting
    };
    pool.ask(set(none));
    assert_eq!(shown(&pool), Some(none));
}
