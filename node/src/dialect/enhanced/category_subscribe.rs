//! SUBSCRIBE for categories (MS-PRES 3.4): batched and single, kept and polled.

use std::ops::Range;

use shard::category::Category;
use shard::document::batch_subscribe::{self, Asked};
use shard::document::rlmi::Rejection;
use shard::machine::command::{Abroad, Command, Elsewhere, Extras, Resubscribe, Subscribe};
use shard::presence::container::Network;
use shard::slot::Slot;
use shard::subscription::dialog::{Away, DialogKey, Format, LocalTag, Package};
use shard::subscription::watch::{Action, Resource, Wish};
use transport::dialog::DialogRoute;
use transport::sip::header::MediaType;
use transport::sip::uri::Uri;
use transport::sip::{Name, Request, gruu};

use super::{
    Aside, accepts, body_of_type, canonical_of, delivery, diagnostics, display_name, endpoint,
    in_dialog, malformed, network, piggyback,
};
use crate::config::Hints;
use crate::dialect::{
    Answer, Circumstances, Grace, Poll, Scratch, Translated, foreign_address, refusal, simple,
};

/// The document of the request.
const REQUEST: &str = "application/msrtc-adrl-categorylist+xml";

/// What the answer is made of, the documents first.
const ANSWER: [&str; 3] = [
    "application/msrtc-event-categories+xml",
    "application/rlmi+xml",
    "multipart/related",
];

/// Whether a SUBSCRIBE for `presence` is one for categories.
//= MS-PRES 1.3.3
//# enhanced presence is preferred where Accept holds it
pub(in crate::dialect) fn is_for_categories(request: &Request) -> bool {
    let media = request.header(Name::ContentType).map(MediaType::parse);
    let says = media.is_some_and(|media| media.essence.eq_ignore_ascii_case(REQUEST));
    let named = |essence: &str| {
        let mut accepted = request.values(Name::Accept).map(MediaType::parse);
        accepted.any(|media| media.essence.eq_ignore_ascii_case(essence))
    };
    // Without a body nobody can say which categories: older clients, which list every type there is,
    // mean a document then.
    let bare = request.body().is_empty() && simple::accepted(request).is_ok();
    says || is_batch(request) || named(ANSWER[0]) && !bare
}

/// Whether Require holds both tags.
//= MS-PRES 3.4.5.1.1
//# adhoclist and categoryList in Require make it a batch; anything else is single
fn is_batch(request: &Request) -> bool {
    let requires = |tag: &str| {
        let mut tags = request.values(Name::Require);
        tags.any(|required| required.eq_ignore_ascii_case(tag))
    };
    requires("adhoclist") && requires("categoryList")
}

/// What the packages of enhanced clients have in common.
pub(super) struct Subscription<'s> {
    pub(super) package: Package,
    pub(super) format: Format,
    pub(super) wish: Wish<'s>,
    /// Whether the endpoint must be registered at the dialog's home.
    pub(super) must_register: bool,
    /// What other shards have to do with it.
    pub(super) elsewhere: Vec<Elsewhere<'s>>,
    pub(super) aside: Aside,
}

/// The parts of [`Scratch`] that a subscription is written into and points to.
pub(super) struct Buffers<'s> {
    /// The dialog's home.
    pub(super) presentity: &'s str,
    pub(super) watcher: &'s str,
    pub(super) route: &'s mut Vec<u8>,
    pub(super) target: &'s mut Vec<u8>,
}

impl<'s> Buffers<'s> {
    /// Those of a subscription to what `scratch` names.
    pub(super) fn of(scratch: &'s mut Scratch) -> Buffers<'s> {
        let Scratch {
            presentity,
            watcher,
            route,
            target,
            ..
        } = scratch;
        Buffers {
            presentity,
            watcher,
            route,
            target,
        }
    }

    /// Turns a subscription into a command or a question.
    pub(super) fn finish(
        self,
        request: &'s Request,
        circumstances: &Circumstances<'_>,
        subscription: Subscription<'s>,
    ) -> Result<Translated<'s>, Answer> {
        let Buffers {
            presentity,
            watcher,
            route,
            target,
        } = self;
        let policy = circumstances.policy;
        let asked = request
            .expires()
            .map_err(|error| Answer::of_parse(&error))?;
        let expires_s = match asked {
            //= MS-PRES 2.2.2.3.2
            //# who leaves the interval to us gets one of its own, so that not all refresh at once
            None => policy.subscription.spread(circumstances.chance),
            Some(_) => policy.subscription.grant_subscription(asked)?,
        };
        let Subscription {
            package,
            format,
            wish,
            must_register,
            elsewhere,
            aside,
        } = subscription;
        let endpoint = endpoint(request);
        let registered = circumstances.registered;
        let extras = Extras {
            abroad: Abroad {
                registered_at: registered
                    .filter(|(registered, _)| endpoint == Some(*registered))
                    .map(|(_, at)| at),
                resources: elsewhere,
            },
            network: network(request, circumstances),
            delivery: delivery(request, circumstances.flow),
            piggyback: piggyback(request),
            endpoint,
            registered: must_register && policy.enhanced.must_register,
            display_name: display_name(request),
            wish,
            watchers_max: policy.enhanced.watchers,
        };
        simple::write_target(request, circumstances, target)?;
        if let Some(to_tag) = request.to_tag() {
            let local_tag = LocalTag::parse(to_tag);
            let local_tag = local_tag.ok_or_else(|| Answer::of(refusal::NO_DIALOG))?;
            return Ok(Translated::Change {
                slot: local_tag.slot(),
                command: Command::Resubscribe(Resubscribe {
                    slot: local_tag.slot(),
                    dialog: DialogKey::of(request.call_id(), to_tag, request.from_tag()),
                    cseq: request.cseq(),
                    expires_s,
                    target,
                    extras: Some(Box::new(extras)),
                    savers: None,
                }),
                grace: if expires_s == 0 {
                    Grace::End
                } else {
                    Grace::Refresh
                },
                aside,
            });
        }
        let slot = Slot::of(presentity);
        //= MS-PRES 3.4.5.1.2
        //# Expires 0 without a To tag is a poll
        if expires_s == 0 {
            let poll = Poll::of(slot, presentity, watcher, format, &extras)
                .with_elsewhere(&extras, circumstances.map);
            return Ok(Translated::Poll(Box::new(poll), aside));
        }
        let local_tag = LocalTag::new(slot, circumstances.chance);
        let local_text = local_tag.to_string();
        route.clear();
        DialogRoute::write_from(request, &local_text, route);
        Ok(Translated::Change {
            slot,
            command: Command::Subscribe(Subscribe {
                presentity,
                watcher,
                package,
                format,
                dialog: DialogKey::of(request.call_id(), &local_text, request.from_tag()),
                local_tag,
                cseq: request.cseq(),
                expires_s,
                route,
                target,
                extras: Some(Box::new(extras)),
                savers: None,
            }),
            grace: Grace::New,
            aside,
        })
    }
}

pub(super) fn subscribe<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let Scratch {
        presentity,
        watcher,
        content,
        names,
        route,
        target,
        ..
    } = scratch;
    //= MS-PRES 2.2.2.4.1
    //# Accept holds what the answer is made of; what else it holds is ignored
    if !accepts(request, &ANSWER) {
        return Err(Answer::of(refusal::NOT_ACCEPTABLE).with("Accept", ANSWER.join(", ")));
    }
    foreign_address(request.from().uri, watcher)?;
    content.clear();
    let ends = request.expires().is_ok_and(|expires| expires == Some(0));
    //= MS-PRES 3.4.5.3
    //# 400 without a body, but for the end of a dialog, which needs none
    let bare = in_dialog(request) && ends;
    let actions = if bare {
        Vec::new()
    } else {
        let body = body_of_type(request, REQUEST, circumstances)?;
        let read = batch_subscribe::parse(body, content);
        read.map_err(|error| malformed(&error, circumstances))?
    };
    check_width(&actions, circumstances)?;
    let plan = if is_batch(request) || bare {
        Plan::of_batch(request, actions, circumstances, watcher)?
    } else {
        Plan::of_single(request, actions, circumstances, watcher)?
    };
    *presentity = plan.home;
    names.clear();
    names.extend(
        plan.served
            .iter()
            .flat_map(|served| &served.resources)
            .map(|r| r.0.clone()),
    );
    names.extend(plan.elsewhere.iter().map(|(address, ..)| address.clone()));
    let (content, mut names): (&'s [u8], _) = (content, names.iter());
    let map = circumstances.map;
    let shard_of = |address: &str| map.shard_of(Slot::of(address));
    let own =
        is_of_us(watcher, request, circumstances) && shard_of(presentity) == shard_of(watcher);
    let actions = plan.served.into_iter().map(|served| Action {
        subscribe: served.subscribe,
        resources: (served.resources.into_iter().zip(names.by_ref()))
            .map(|((_, context), address)| Resource {
                address,
                context: context.map(|range| &content[range]),
            })
            .collect(),
        categories: served.categories,
    });
    let actions: Vec<Action<'s>> = actions.collect();
    let elsewhere = plan.elsewhere.into_iter().zip(names);
    let elsewhere = elsewhere.map(|((_, context, deed), address)| Elsewhere {
        address,
        context: context.map(|range| &content[range]),
        deed,
    });
    let elsewhere = elsewhere.collect();
    let wish = if bare {
        Wish::Same
    } else {
        Wish::Categories(actions)
    };
    let buffers = Buffers {
        presentity,
        watcher,
        route,
        target,
    };
    buffers.finish(
        request,
        circumstances,
        Subscription {
            package: Package::Categories,
            format: Format::Categories,
            wish,
            must_register: own,
            elsewhere,
            aside: Aside::Batch {
                rejected: plan.rejected,
            },
        },
    )
}

/// Whether a watcher is a user of ours, and not one whom an edge lets in.
fn is_of_us(watcher: &str, request: &Request, circumstances: &Circumstances<'_>) -> bool {
    let domain = watcher.rsplit_once('@').map_or("", |(_, domain)| domain);
    circumstances.policy.serves(domain)
        && network(request, circumstances) == Network::SameEnterprise
}

/// The operator's limits.
//= MS-PRES 3.4.5.1.3
//# the resources of a batch and the categories of each are limited by what the administrator set
fn check_width(actions: &[Asked], circumstances: &Circumstances<'_>) -> Result<(), Answer> {
    let settings = &circumstances.policy.enhanced;
    let resources: usize = actions.iter().map(|action| action.resources.len()).sum();
    let wide = actions
        .iter()
        .any(|action| action.categories.len() > settings.categories);
    if resources > settings.resources || wide {
        let answer = Answer::of(refusal::TOO_MUCH);
        return Err(diagnostics::SUBSCRIPTION_LIMIT.on(answer, circumstances));
    }
    Ok(())
}

/// An action with those of its resources that are served here.
struct Served {
    subscribe: bool,
    /// Canonical addresses, and where their contexts stand.
    resources: Vec<(String, Option<Range<usize>>)>,
    categories: Vec<Category>,
}

/// What of a request is served here, and where.
struct Plan {
    /// The address whose slot the dialog lives in.
    home: String,
    served: Vec<Served>,
    rejected: Vec<(String, Rejection)>,
    /// Who lives in another shard and is watched from here, or is to be told that it is watched.
    elsewhere: Vec<(String, Option<Range<usize>>, Away)>,
}

impl Plan {
    /// A batch is served by one shard: the one that the Request-URI names, that the dialog lives in, or
    /// the watcher's own. What lives elsewhere is told where to be asked for (house D6); or, where the pool is
    /// to look like one server, the watcher's own shard serves everything, through relays (house D7).
    //= MS-PRES 3.4.5.1.3.1
    //# a resource on another server comes back with the URI to ask; one of another deployment, or unknown,
    //# without
    fn of_batch(
        request: &Request,
        actions: Vec<Asked>,
        circumstances: &Circumstances<'_>,
        watcher: &str,
    ) -> Result<Plan, Answer> {
        let (policy, map) = (circumstances.policy, circumstances.map);
        let pool = &policy.enhanced.pool;
        let named = |uri: &str| gruu::shard(&Uri::parse(uri).ok()?, pool);
        let named = named(request.uri()).or_else(|| named(request.to().uri));
        //= MS-PRES 3.4.5.3
        //# 403 when From and To differ; our own GRUU as To counts as the watcher's address (house D21)
        if named.is_none() && canonical_of(request.to().uri).as_deref() != Some(watcher) {
            let answer = Answer::of(refusal::NOT_YOURSELF);
            return Err(diagnostics::DEFAULT.on(answer, circumstances));
        }
        let own = map.shard_of(Slot::of(watcher));
        let inside = request.to_tag().and_then(LocalTag::parse);
        let shard = match (inside, named) {
            (Some(tag), _) => map.shard_of(tag.slot()),
            (None, Some(shard))
                if usize::from(shard) < map.shard_count()
                    && policy.enhanced.hints == Hints::Shard =>
            {
                shard
            }
            (None, _) => own,
        };
        let from = network(request, circumstances);
        let mut plan = Plan {
            home: watcher.to_owned(),
            served: Vec::new(),
            rejected: Vec::new(),
            elsewhere: Vec::new(),
        };
        for action in actions {
            let mut served = Served {
                subscribe: action.subscribe,
                resources: Vec::new(),
                categories: action.categories,
            };
            for resource in action.resources {
                let domain = resource
                    .address
                    .as_deref()
                    .and_then(|address| address.rsplit_once('@'));
                let ours = domain.is_some_and(|(_, domain)| policy.serves(domain));
                let address = resource
                    .address
                    .filter(|address| ours && circumstances.knows(address));
                let lives = address
                    .as_deref()
                    .map(|address| map.shard_of(Slot::of(address)));
                let shown = |address: &str| policy.enhanced.abroad.allows(address, from);
                if address.as_deref().is_some_and(|address| !shown(address)) {
                    let answer = Answer::of(refusal::NOT_AUTHORIZED);
                    return Err(diagnostics::NOT_AUTHORIZED.on(answer, circumstances));
                }
                match (address, lives) {
                    (Some(address), Some(lives)) if lives == shard => {
                        served.resources.push((address, resource.context));
                    }
                    (Some(address), Some(_)) if policy.enhanced.hints == Hints::None => {
                        let categories = served.categories.clone();
                        let (context, deed) = if action.subscribe {
                            (resource.context, Away::Watch(categories))
                        } else {
                            (None, Away::Unwatch(categories))
                        };
                        plan.elsewhere.push((address, context, deed));
                    }
                    // Who stops watching needs no hint.
                    _ if !action.subscribe => {}
                    (Some(address), Some(lives)) => {
                        if resource.context.is_some() {
                            plan.elsewhere
                                .push((address, resource.context, Away::Hinted));
                        }
                        let hint = gruu::of_shard(pool, &policy.domains[0], lives);
                        let hint = Rejection::Resubscribe(Some(hint));
                        plan.rejected.push((resource.uri, hint));
                    }
                    _ => plan
                        .rejected
                        .push((resource.uri, Rejection::Resubscribe(None))),
                }
            }
            plan.served.push(served);
        }
        // The dialog lives in the shard that serves it: with the watcher, or else with the first resource.
        if shard != own
            && let Some((first, _)) = plan.served.iter().flat_map(|s| &s.resources).next()
        {
            plan.home.clone_from(first);
        }
        Ok(plan)
    }

    /// A single subscription is to the one resource that To names.
    //= MS-PRES 3.4.5.1.1
    //# one action, which subscribes to one resource, that of To
    fn of_single(
        request: &Request,
        actions: Vec<Asked>,
        circumstances: &Circumstances<'_>,
        watcher: &str,
    ) -> Result<Plan, Answer> {
        let policy = circumstances.policy;
        let wrong = |row| Err(diagnostics::DEFAULT.on(Answer::of(row), circumstances));
        let Ok([action]) = <[Asked; 1]>::try_from(actions) else {
            return wrong(refusal::MANY_ACTIONS);
        };
        if !action.subscribe {
            return wrong(refusal::SINGLE_UNSUBSCRIBE);
        }
        let Ok([resource]) = <[_; 1]>::try_from(action.resources) else {
            return wrong(refusal::MANY_RESOURCES);
        };
        let address = canonical_of(request.to().uri);
        let (Some(address), true) = (address.clone(), address == resource.address) else {
            return wrong(refusal::OTHER_RESOURCE);
        };
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        let abroad = &policy.enhanced.abroad;
        //= MS-PRES 3.4.5.3
        //# 403 where the one who watches, or the one who is watched, may not deal with other domains
        let outgoing =
            !policy.serves(domain) && !abroad.allows(watcher, policy.enhanced.network_of(domain));
        if outgoing || !abroad.allows(&address, network(request, circumstances)) {
            let answer = Answer::of(refusal::NOT_AUTHORIZED);
            return Err(diagnostics::NOT_AUTHORIZED.on(answer, circumstances));
        }
        //= MS-PRES 3.4.5.3
        //# 404 for a resource that is not found
        let missing = |row| Err(diagnostics::USER_UNKNOWN.on(Answer::of(row), circumstances));
        if !policy.serves(domain) {
            return missing(policy.foreign);
        }
        if !circumstances.knows(&address) {
            return missing(refusal::NO_SUCH_USER);
        }
        let served = Served {
            subscribe: true,
            resources: vec![(address.clone(), resource.context)],
            categories: action.categories,
        };
        Ok(Plan {
            home: address,
            served: vec![served],
            rejected: Vec::new(),
            elsewhere: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use shard::presence::enhanced::Profile;
    use transport::flow::{Flow, Transport};
    use transport::sip::Message;

    use super::*;
    use crate::dialect::{Policy, translate};
    use crate::directory::{ByNumber, Found, Users};
    use crate::pool::map::{Change, PoolMap};
    use shard::document::search::{Fault, Search};

    /// Nobody is a user but these two.
    #[derive(Debug)]
    struct Few;

    impl Users for Few {
        fn knows(&self, address: &str) -> bool {
            ["alice@contoso.com", "bob@contoso.com"].contains(&address)
        }

        fn by_number(&self, _number: &str) -> ByNumber {
            ByNumber::Unasked
        }

        fn login(&self, _address: &str) -> Option<String> {
            None
        }

        fn profile(&self, _address: &str, _display_name: &str) -> Profile {
            Profile::default()
        }

        fn search(&self, _search: &Search<'_>, _limit: usize) -> Result<Found, Fault> {
            Err(Fault::Unknown)
        }
    }

    const OWN: &str = "vnd-microsoft-roaming-self";

    /// Bob's SUBSCRIBE.
    fn subscribe(event: &str, to: &str, require: &str, resources: &[&str]) -> Request {
        let list: String = resources
            .iter()
            .map(|uri| format!("<resource uri=\"{uri}\"/>"))
            .collect();
        let (media, body) = if event == OWN {
            let list = "<roamingList xmlns=\"http://schemas.microsoft.com/2006/09/sip/roaming-self\">\
                        <roaming type=\"categories\"/></roamingList>";
            (
                "application/vnd-microsoft-roaming-self+xml",
                list.to_owned(),
            )
        } else {
            let categories = "http://schemas.microsoft.com/2006/09/sip/categorylist";
            let body = format!(
                "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\"><action name=\"subscribe\">\
                 <adhocList>{list}</adhocList><categoryList xmlns=\"{categories}\"><category name=\"note\"/></categoryList>\
                 </action></batchSub>"
            );
            (REQUEST, body)
        };
        let message = format!(
            "SUBSCRIBE {to} SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:bob@contoso.com>;tag=f;epid=01010101\r\nTo: <{to}>\r\nCall-ID: c\r\nCSeq: 1 SUBSCRIBE\r\n\
             Contact: <sip:bob@192.0.2.1>\r\nEvent: {event}\r\n{require}Content-Type: {media}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        match Message::parse(Bytes::from(message)) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    /// What it comes to: status and diagnosis, or who is rejected.
    fn outcome(request: &Request) -> Result<Vec<(String, Rejection)>, (u16, String)> {
        let policy = Policy {
            domains: vec!["contoso.com".to_owned()],
            ..Policy::default()
        };
        let mut map = PoolMap::default();
        map.apply(&Change::Create { shards: 1 });
        let flow = Flow {
            worker: 0,
            transport: Transport::Tcp,
            number: 1,
            peer: ([192, 0, 2, 1], 5060).into(),
        };
        let circumstances = Circumstances {
            base: None,
            node: 1,
            policy: &policy,
            flow: &flow,
            contact: "sip:192.0.2.9",
            chance: 7,
            map: &map,
            trusted: true,
            profile: &crate::dialect::profile::Profile::of(crate::config::Dialect::Rfc),
            users: &Few,
            registered: None,
        };
        match translate(request, &circumstances, &mut Scratch::default()) {
            Translated::Answered(answer) => {
                let diagnosis = answer.header("ms-diagnostics").unwrap_or_default();
                let number = diagnosis.split(';').next().unwrap_or_default();
                Err((answer.row.status.number(), number.to_owned()))
            }
            Translated::Change {
                aside: Aside::Batch { rejected },
                ..
            } => Ok(rejected),
            other => panic!("{other:?}"),
        }
    }

    //= MS-PRES 3.4.5.3
    //= type=test
    //= MS-PRES 3.3.5.3
    //= type=test
    //# a user of our domain whom nobody knows: rejected in a batch, 404 alone, and 404 as To of a self
    //# subscription where a known one gets 400
    // proves: PRES-3.4.5.3-04 PRES-3.4.5.3-05 PRES-3.3.5.3-02 PRES-3.3.5.3-03
    #[test]
    fn a_user_whom_nobody_knows_is_not_found() {
        let batch = "Require: adhoclist, categoryList\r\n";
        let (own, alice) = ("sip:bob@contoso.com", "sip:alice@contoso.com");
        let nobody = "sip:nobody@contoso.com";
        let rejected = vec![(nobody.to_owned(), Rejection::Resubscribe(None))];
        let refused = |status: u16, number: &str| Err((status, number.to_owned()));
        for (name, event, to, require, resources, expected) in [
            (
                "a batch",
                "presence",
                own,
                batch,
                &[alice, nobody][..],
                Ok(rejected),
            ),
            ("known", "presence", alice, "", &[alice], Ok(Vec::new())),
            (
                "alone",
                "presence",
                nobody,
                "",
                &[nobody],
                refused(404, "4005"),
            ),
            ("To unknown", OWN, nobody, "", &[], refused(404, "4005")),
            ("To known", OWN, alice, "", &[], refused(400, "4000")),
        ] {
            let request = subscribe(event, to, require, resources);
            assert_eq!(outcome(&request), expected, "{name}");
        }
    }
}
