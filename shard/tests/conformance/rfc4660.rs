//! RFC 4660, filters of a subscription, on the machine: it keeps them, and knows that they change what is seen.

use shard::document::filter;
use shard::machine::command::{Command, Resubscribe, Subscribe};
use shard::machine::tag;
use shard::subscription::dialog::Format;
use shard::subscription::filter::Filter;
use shard::subscription::savers::{Asked, Condition, Wanted};

use crate::pool::{Pool, publish, resubscribe, subscribe, subscribed};

fn filter() -> Filter {
    let body = "<filter-set xmlns=\"urn:ietf:params:xml:ns:simple-filter\"><filter id=\"1\"><what><include>\
                //basic</include></what></filter></filter-set>";
    match filter::parse(body.as_bytes(), &|_| true) {
        Ok(Wanted::This(filter)) => filter,
        other => panic!("{other:?}"),
    }
}

fn asked(filter: Wanted, condition: Option<Condition>) -> Option<Box<Asked>> {
    Some(Box::new(Asked {
        condition,
        filter,
        ..Asked::default()
    }))
}

fn refresh(cseq: u32, savers: Option<Box<Asked>>) -> Command<'static> {
    match resubscribe(1, cseq, 600) {
        Command::Resubscribe(request) => Command::Resubscribe(Resubscribe { savers, ..request }),
        other => other,
    }
}

impl Pool {
    /// The filter under which the only notification of the last entry is sent.
    fn filter(&self) -> Option<Filter> {
        let terms = self.told[0].1[0].terms.as_deref();
        terms.and_then(|terms| terms.filter.clone())
    }
}

//= RFC 4660 3.3
//= type=test
#[test]
fn a_filter_holds_until_it_is_removed_whoever_leads() {
    let mut pool = Pool::start();
    let first = match subscribe(1, 1, 600) {
        Command::Subscribe(first) => Command::Subscribe(Subscribe {
            savers: asked(Wanted::This(filter()), None),
            ..first
        }),
        other => other,
    };
    pool.ask(first);
    assert_eq!(pool.filter(), Some(filter()));
    pool.restore();
    pool.lead(2);
    pool.ask(publish(None, Some("a"), 600));
    assert_eq!(pool.filter(), Some(filter()));
    pool.ask(refresh(2, None));
    assert_eq!(pool.filter(), Some(filter()), "a refresh keeps it");

    // Who changes the filter sees something else, although nothing changed.
    let digest = tag::digest(&pool.told[0].0).expect("a tag");
    let seen = tag::dressed(digest, Format::Pidf, filter().digest());
    let removed = refresh(3, asked(Wanted::Nothing, Some(Condition::Is(seen))));
    assert_eq!(pool.ask(removed), subscribed(600));
    assert_eq!(pool.filter(), None);
    let again = refresh(
        4,
        asked(Wanted::This(filter()), Some(Condition::Is(digest))),
    );
    assert_eq!(pool.ask(again), subscribed(600));
    assert_ne!(
        pool.ask(refresh(5, asked(Wanted::Same, Some(Condition::Is(seen))))),
        subscribed(600)
    );
}
