//! SUBSCRIBE for categories (MS-PRES 3.4): batched and single, kept and polled.

use std::ops::Range;

use shard::category::Category;
use shard::document::batch_subscribe::{self, Asked};
use shard::document::rlmi::Rejection;
use shard::machine::command::{Command, Extras, Resubscribe, Subscribe};
use shard::slot::Slot;
use shard::subscription::dialog::{DialogKey, Format, LocalTag, Package};
use shard::subscription::watch::{Action, Resource, Wish};
use transport::dialog::DialogRoute;
use transport::sip::header::MediaType;
use transport::sip::uri::Uri;
use transport::sip::{Name, Request, gruu};

use super::{
    Aside, Introduction, body, canonical_of, delivery, diagnostics, display_name, endpoint,
    in_dialog, malformed, network, piggyback,
};
use crate::dialect::{
    Answer, Circumstances, Grace, Poll, Scratch, Translated, foreign_address, refusal, simple,
};

/// The document of the request.
const REQUEST: &str = "application/msrtc-adrl-categorylist+xml";

/// Whether a SUBSCRIBE for `presence` is one for categories.
//= MS-PRES 1.3.3
//# enhanced presence is preferred where Accept holds it
pub(in crate::dialect) fn is_for_categories(request: &Request) -> bool {
    let media = request.header(Name::ContentType).map(MediaType::parse);
    let says = media.is_some_and(|media| media.essence.eq_ignore_ascii_case(REQUEST));
    says || is_batch(request)
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
        let expires_s = policy.subscription.grant_subscription(asked)?;
        let Subscription {
            package,
            format,
            wish,
            must_register,
            aside,
        } = subscription;
        let extras = Extras {
            network: network(request, circumstances),
            delivery: delivery(request, circumstances.flow),
            piggyback: piggyback(request),
            endpoint: endpoint(request),
            registered: must_register && policy.enhanced.must_register,
            display_name: display_name(request),
            wish,
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
            let poll = Poll::of(slot, presentity, watcher, format, &extras);
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
    foreign_address(request.from().uri, watcher)?;
    content.clear();
    let ends = request.expires().is_ok_and(|expires| expires == Some(0));
    let bare = in_dialog(request) && (request.body().is_empty() || ends);
    let actions = if bare {
        Vec::new()
    } else {
        let read = batch_subscribe::parse(body(request)?, content);
        read.map_err(|error| malformed(&error, circumstances))?
    };
    let plan = if is_batch(request) || bare {
        Plan::of_batch(request, actions, circumstances, watcher)?
    } else {
        Plan::of_single(request, actions, circumstances)?
    };
    let introduced = plan
        .elsewhere
        .into_iter()
        .map(|(address, context)| Introduction {
            address,
            watcher: watcher.clone(),
            network: network(request, circumstances),
            display_name: display_name(request).to_owned(),
            context: content[context].to_vec(),
        });
    let introductions = introduced.collect();
    *presentity = plan.home;
    names.clear();
    names.extend(
        plan.served
            .iter()
            .flat_map(|served| &served.resources)
            .map(|r| r.0.clone()),
    );
    let (content, mut names): (&'s [u8], _) = (content, names.iter());
    let own = presentity == watcher;
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
            aside: Aside::Batch {
                rejected: plan.rejected,
                introductions,
            },
        },
    )
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
    /// Who lives in another shard and is to be told that it is watched.
    elsewhere: Vec<(String, Range<usize>)>,
}

impl Plan {
    /// A batch is served by one shard: the one that the Request-URI names, that the dialog lives in, or
    /// the watcher's own. What lives elsewhere is told where to be asked for (house D6).
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
            return Err(Answer::of(refusal::NOT_YOURSELF));
        }
        let own = map.shard_of(Slot::of(watcher));
        let inside = request.to_tag().and_then(LocalTag::parse);
        let shard = match (inside, named) {
            (Some(tag), _) => map.shard_of(tag.slot()),
            (None, Some(shard)) if usize::from(shard) < map.shard_count() => shard,
            (None, _) => own,
        };
        let resources: usize = actions.iter().map(|action| action.resources.len()).sum();
        //= MS-PRES 3.4.5.1.3
        //# a batch with more contacts than a user may have is rejected
        if resources > policy.enhanced.resources {
            let answer = Answer::of(refusal::TOO_MUCH);
            return Err(diagnostics::SUBSCRIPTION_LIMIT.on(answer, circumstances));
        }
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
                match (address, lives) {
                    (Some(address), Some(lives)) if lives == shard => {
                        served.resources.push((address, resource.context));
                    }
                    // Who stops watching needs no hint.
                    _ if !action.subscribe => {}
                    (Some(address), Some(lives)) => {
                        plan.elsewhere
                            .extend(resource.context.map(|context| (address, context)));
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
    ) -> Result<Plan, Answer> {
        let wrong = |row| Err(Answer::of(row));
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
        //= MS-PRES 3.4.5.3
        //# 404 for a resource that is not found
        if !circumstances.policy.serves(domain) {
            return wrong(circumstances.policy.foreign);
        }
        if !circumstances.knows(&address) {
            let answer = Answer::of(refusal::NO_SUCH_USER);
            return Err(diagnostics::USER_UNKNOWN.on(answer, circumstances));
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
