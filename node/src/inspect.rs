//! What the admin listener is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use shard::category::mwi::Waiting;
use shard::document::pidf;
use shard::document::search::{Fault, Filter, Row, Search};
use shard::machine::apply::{Counts, Report};
use shard::machine::codec::encode_request;
use shard::machine::command::{Command, Request};
use shard::machine::outcome::RequestKey;
use shard::runner::Job;
use shard::slot::Aor;
use shard::subscription::dialog::Package;
use shard::subscription::view::View;
use tokio::sync::oneshot;
use transport::sip::uri::{Scheme, Uri};

use crate::egress::outbox::NOBODY;
use crate::hosting::Hosted;
use crate::ingress::endpoint::Shared;
use crate::ingress::feeds::Feeds;
use crate::ingress::route::Leader;
use crate::observe::report::{
    Asked, ContactsReport, ContactsWish, DirectoryReport, EndpointReport, FeedAnswer, FeedCall,
    Inspect, InspectError, NodeReport, PoolOrder, PoolReport, PresentityReport, PublicationReport,
    Readiness, ShardReport, UserReport, VoiceMail, WatcherReport,
};
use crate::pool::PoolGroup;
use crate::pool::map::{Change, PoolMap, Standing};
use crate::raft::log::Log;
use crate::raft::proposer::Batch;

/// How long a shard thread is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a map shows what was wanted.
type Shown = Box<dyn Fn(&PoolMap) -> bool + Send + Sync>;

/// A node, to look at.
pub(crate) struct Inspector {
    pub(crate) node: u64,
    pub(crate) domains: Vec<String>,
    pub(crate) listen: Vec<String>,
    pub(crate) pool: Arc<PoolGroup>,
    pub(crate) hosted: Hosted,
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Log,
    pub(crate) feeds: Arc<Feeds>,
}

impl Inspect for Inspector {
    fn pool(&self) -> PoolReport {
        let map = self.pool.map();
        let routes = self.shared.routes.current();
        let shards = self.hosted.all().into_iter().map(|(number, group)| {
            let place = usize::from(number);
            ShardReport {
                shard: number,
                status: group.status(),
                slots: map.slots_of(number).count(),
                in_flight: if place < routes.count() {
                    routes.reach(place).permits.taken()
                } else {
                    0
                },
                replicas: map
                    .shard(number)
                    .map(|entry| entry.replicas.clone())
                    .unwrap_or_default(),
            }
        });
        let nodes = map.nodes().map(|(number, entry)| NodeReport {
            node: number,
            standing: entry.standing.as_str(),
            peer: entry.record.peer.clone(),
            admin: entry.record.admin.clone(),
            sip: entry.record.sip.clone(),
            linked: number == self.node || self.shared.traffic.reaches(number),
        });
        PoolReport {
            node: self.node,
            domains: self.domains.clone(),
            listen: self.listen.clone(),
            epoch: map.epoch,
            nodes: nodes.collect(),
            map: self.pool.status(),
            shards: shards.collect(),
            log_stalled: self.log.stalled(),
        }
    }

    fn readiness(&self) -> Readiness {
        let mut waiting_for = Vec::new();
        if !self.pool.status().caught_up {
            waiting_for.push("the pool map".to_owned());
        }
        let map = self.pool.map();
        for (number, entry) in map.shards() {
            if entry.replicas.contains(&self.node) && self.hosted.get(number).is_none() {
                waiting_for.push(format!("shard {number}: not begun"));
            }
        }
        for (number, group) in self.hosted.all() {
            if !group.status().caught_up {
                waiting_for.push(format!("shard {number}: {}", group.status().role));
            }
        }
        waiting_for.extend(self.log.stalled());
        Readiness {
            ready: waiting_for.is_empty(),
            waiting_for,
        }
    }

    fn order(&self, order: PoolOrder) -> Asked<'_, Result<(), InspectError>> {
        Box::pin(async move {
            let map = self.pool.map();
            let unsound = |what: String| Err(InspectError::Unsound(what));
            let (change, done): (Change, Shown) = match order {
                PoolOrder::Snapshot => {
                    self.pool.core.snapshot(true).await;
                    for (_, group) in self.hosted.all() {
                        group.core.snapshot(true).await;
                    }
                    return Ok(());
                }
                PoolOrder::Lead(shard, to) => {
                    let Some(entry) = map.shard(shard) else {
                        return unsound(format!("there is no shard {shard}"));
                    };
                    if !entry.replicas.contains(&to) {
                        return unsound(format!(
                            "node {to} has no replica of shard {shard}; nodes {:?} have",
                            entry.replicas
                        ));
                    }
                    let others = entry.replicas.iter().filter(|node| **node != to);
                    let replicas: Vec<u64> = std::iter::once(&to).chain(others).copied().collect();
                    let wanted = replicas.clone();
                    (
                        Change::Place { shard, replicas },
                        Box::new(move |map| {
                            map.shard(shard)
                                .is_some_and(|entry| entry.replicas == wanted)
                        }),
                    )
                }
                PoolOrder::Drain(node) | PoolOrder::Resume(node) | PoolOrder::Remove(node) => {
                    let standing = match order {
                        PoolOrder::Drain(_) => Standing::Draining,
                        PoolOrder::Resume(_) => Standing::Serving,
                        _ => Standing::Leaving,
                    };
                    let Some(entry) = map.node(node) else {
                        return unsound(format!("there is no node {node}"));
                    };
                    if entry.standing == Standing::Gone && standing != Standing::Leaving {
                        return unsound(format!(
                            "node {node} is gone for good; join it as a new one"
                        ));
                    }
                    let others = map.hosts().iter().any(|host| *host != node);
                    if standing == Standing::Leaving && !others {
                        return unsound(format!(
                            "node {node} is the last one that can hold anything"
                        ));
                    }
                    (
                        Change::Stand { node, standing },
                        Box::new(move |map| {
                            map.node(node).is_some_and(|entry| {
                                entry.standing == standing || entry.standing == Standing::Gone
                            })
                        }),
                    )
                }
            };
            let made = self.pool.make(&change, done).await;
            made.map(drop)
                .map_err(|error| InspectError::NotNow(error.to_string()))
        })
    }

    fn presentity<'a>(&'a self, uri: &'a str) -> Asked<'a, Result<PresentityReport, InspectError>> {
        Box::pin(async move {
            let aor = address(uri).ok_or_else(|| InspectError::BadAddress(uri.to_owned()))?;
            let shard = self.pool.map().shard_of(aor.slot());
            // What a replica here knows; it may lag behind its leader by a heartbeat.
            let replica = self
                .hosted
                .get(shard)
                .ok_or(InspectError::Elsewhere(shard))?;
            let (give, take) = oneshot::channel();
            let asked = aor.clone();
            let job = Job::Read(Box::new(move |machine| {
                let report = machine.report(asked.as_str());
                drop(give.send((report, machine.fetch(asked.as_str(), Package::Presence))));
            }));
            replica.runner.submit(job).map_err(|_| InspectError::Busy)?;
            let answer = tokio::time::timeout(PATIENCE, take).await;
            let (report, view) = answer.ok().and_then(Result::ok).ok_or(InspectError::Busy)?;
            let report = report.ok_or_else(|| InspectError::Unknown(aor.to_string()))?;
            Ok(show(&aor, shard, &report, &view))
        })
    }

    fn directory(&self, name: &str) -> Result<DirectoryReport, InspectError> {
        let search = Search {
            filters: vec![Filter {
                attribute: "anr".into(),
                value: name.into(),
            }],
            max_results: None,
        };
        let limit = self.shared.policy.results_max;
        let found = self.shared.users.search(&search, limit);
        let found = found.map_err(|fault| match fault {
            Fault::Busy => InspectError::Busy,
            Fault::BadCall | Fault::NotAuthorized | Fault::Unknown => InspectError::NoDirectory,
        })?;
        let report = |row: Row<'_>| UserReport {
            presentity: format!("sip:{}", row.address),
            display_name: row.display_name.to_owned(),
            mail: row.email.to_owned(),
            phone: row.phone.to_owned(),
        };
        Ok(DirectoryReport {
            users: found.rows().map(report).collect(),
            more_available: found.more_available,
        })
    }

    //= MS-PRES 3.2.5.7
    //# what the voice mail server says of a user is published as that user's mwi
    fn set_voice_mail(&self, uri: &str, mail: VoiceMail) -> Result<(), InspectError> {
        let aor = address(uri).ok_or_else(|| InspectError::BadAddress(uri.to_owned()))?;
        let user = Uri::parse(&aor.to_string()).is_ok_and(|uri| {
            let ours = uri.scheme == Scheme::Tel || self.shared.policy.serves(uri.host);
            ours && self.shared.users.knows(aor.as_str())
        });
        if !user {
            return Err(InspectError::Foreign(aor.to_string()));
        }
        let command = Command::SetWaiting {
            presentity: aor.as_str(),
            waiting: Waiting {
                waiting: mail.waiting,
                unread: mail.unread,
                read: mail.read,
            },
        };
        let mut chance = [0; 16];
        getrandom::fill(&mut chance).map_err(|_| InspectError::Busy)?;
        let request = Request {
            key: RequestKey(u128::from_le_bytes(chance)),
            ticket: NOBODY,
            command,
        };
        let mut encoded = BytesMut::new();
        encode_request(&request, &mut encoded);
        let batch = Batch {
            requests: encoded.freeze(),
            tickets: vec![NOBODY],
        };
        let routes = self.shared.routes.current();
        let shard = routes.shard_of(aor.slot());
        match routes.leader(shard) {
            Leader::Here(replica) => replica
                .proposer
                .submit(batch)
                .map_err(|_| InspectError::Busy),
            Leader::There(node) => {
                let traffic = &self.shared.traffic;
                let sent = traffic.requests(node, shard as u16, &batch);
                sent.map_err(|_| InspectError::Busy)
            }
            Leader::Nowhere => Err(InspectError::Busy),
        }
    }

    fn contacts<'a>(
        &'a self,
        uri: &'a str,
        wish: ContactsWish,
    ) -> Asked<'a, Result<ContactsReport, InspectError>> {
        Box::pin(async move {
            let aor = address(uri).ok_or_else(|| InspectError::BadAddress(uri.to_owned()))?;
            let store = self.shared.contact_store.clone();
            let store = store.ok_or(InspectError::NoStore)?;
            // It waits for the shard, which openraft's thread must not.
            let done = tokio::task::spawn_blocking(move || store.wish(aor.as_str(), wish)).await;
            done.map_err(|_| InspectError::Busy)?
                .map_err(InspectError::NotNow)
        })
    }

    fn feed(&self, call: FeedCall) -> Asked<'_, FeedAnswer> {
        let feeds = Arc::clone(&self.feeds);
        waiting(move || feeds.call(&call))
    }

    fn presence(&self, uri: String, watcher: Option<String>) -> Asked<'_, FeedAnswer> {
        let feeds = Arc::clone(&self.feeds);
        waiting(move || feeds.presence(&uri, watcher.as_deref()))
    }

    fn metrics(&self) -> String {
        self.shared.metrics.text()
    }
}

/// Has something answered on a thread that may wait for a shard, which openraft's must not.
fn waiting(work: impl FnOnce() -> FeedAnswer + Send + 'static) -> Asked<'static, FeedAnswer> {
    Box::pin(async move {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|_| FeedAnswer {
            status: 500,
            headers: Vec::new(),
            body: serde_json::json!({ "error": "the call was not finished" }),
        })
    })
}

fn address(uri: &str) -> Option<Aor> {
    // An address without a scheme is a SIP address, as everybody says it.
    let with_scheme;
    let uri = if uri.contains(':') {
        uri
    } else {
        with_scheme = format!("sip:{uri}");
        &with_scheme
    };
    let uri = Uri::parse(uri).ok()?;
    Some(match uri.scheme {
        Scheme::Tel => Aor::tel(uri.user),
        Scheme::Sip | Scheme::Sips | Scheme::Pres => Aor::sip(&uri.user_unescaped(), uri.host),
    })
}

fn show(aor: &Aor, shard: u16, report: &Report, view: &View) -> PresentityReport {
    let mut document = Vec::new();
    pidf::compose(view, &mut document);
    PresentityReport {
        presentity: aor.to_string(),
        shard,
        publications: report
            .publications
            .iter()
            .map(|(package, publication)| PublicationReport {
                etag: publication.tag.to_string(),
                event: event(*package),
                published_at: publication.content.published_at.to_string(),
                expires_at: publication.expires_at.to_string(),
            })
            .collect(),
        endpoints: report
            .endpoints
            .iter()
            .map(|endpoint| EndpointReport {
                contact: endpoint.contact.to_string(),
                instance: endpoint.instance.to_string(),
                q: f32::from(endpoint.q) / 1_000.0,
                expires_at: endpoint.expires_at.to_string(),
            })
            .collect(),
        watchers: report
            .watchers
            .iter()
            .map(|(key, dialog)| WatcherReport {
                watcher: dialog.watcher.to_string(),
                dialog: key.to_string(),
                event: event(dialog.package),
                expires_at: dialog.expires_at.to_string(),
                cseq: dialog.local_cseq,
                notified_at: dialog.notified_at.to_string(),
            })
            .collect(),
        view: String::from_utf8_lossy(&document).into_owned(),
    }
}

fn event(package: Package) -> &'static str {
    package.as_str()
}

/// Asks every shard how much it holds, for a scrape; a shard that does not answer at once is left out.
pub(crate) fn counts(hosted: &Hosted) -> Vec<(u16, Counts)> {
    let mut counted = Vec::new();
    for (number, group) in hosted.all() {
        let (give, take) = std::sync::mpsc::sync_channel(1);
        let job = Job::Read(Box::new(move |machine| {
            let _ = give.send(machine.counts());
        }));
        if group.runner.submit(job).is_ok()
            && let Ok(counts) = take.recv_timeout(Duration::from_millis(200))
        {
            counted.push((number, counts));
        }
    }
    counted
}
