//! What the admin listener is told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};
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
use shard::slot::{Aor, Slot};
use shard::subscription::dialog::Package;
use shard::subscription::view::View;
use tokio::sync::oneshot;
use transport::sip::uri::{Scheme, Uri};

use crate::egress::outbox::NOBODY;
use crate::hosting::Hosted;
use crate::ingress::endpoint::Shared;
use crate::ingress::feeds::Feeds;
use crate::ingress::route::Leader;
use crate::mover::Freezes;
use crate::observe::refusals::Refusal;
use crate::observe::report::{
    Asked, ContactsReport, ContactsWish, DirectoryReport, DiskReport, EndpointReport, FeedAnswer,
    FeedCall, GroupStatus, Inspect, InspectError, MoveReport, NodeReport, PoolOrder, PoolReport,
    PresentityReport, ProfileReport, PublicationReport, Readiness, SetAside, ShardReport,
    UserReport, VoiceMail, WatcherReport,
};
use crate::peer::call::Calls;
use crate::pool::map::{Change, PoolMap, REPLICAS, SHARDS_MAX, Standing};
use crate::pool::{PoolGroup, balance, placement};
use crate::raft::damage::Damage;
use crate::raft::log::Log;
use crate::raft::proposer::Batch;
use crate::raft::types::GroupId;

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
    pub(crate) freezes: Arc<Freezes>,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) damage: Arc<Damage>,
    pub(crate) calls: Calls,
    /// Whether the node is being stopped.
    pub(crate) stopping: Arc<AtomicBool>,
    /// The data folder.
    pub(crate) data: PathBuf,
}

impl Inspector {
    /// What is missing until every replica here has caught up, in words.
    pub(crate) fn waits_for(&self) -> Vec<String> {
        let mut waiting_for = Vec::new();
        let status = self.pool.status();
        if !status.caught_up {
            waiting_for.push(behind("the pool map", &status));
        }
        let set_aside = self.damage.all();
        let map = self.pool.map();
        for (number, entry) in map.shards() {
            let group = GroupId(u32::from(number) + 1);
            let aside = set_aside.iter().any(|(of, _)| *of == group);
            let missing = self.hosted.get(number).is_none() && !aside;
            if entry.replicas.contains(&self.node) && missing {
                waiting_for.push(format!("shard {number}: not begun"));
            }
        }
        for (group, why) in set_aside {
            waiting_for.push(format!(
                "{group}: set aside until its group has let it go, which needs a majority without it: {why}"
            ));
        }
        for (number, group) in self.hosted.all() {
            let status = group.status();
            if !status.caught_up {
                waiting_for.push(behind(&format!("shard {number}"), &status));
            }
        }
        waiting_for.extend(self.log.stalled());
        waiting_for
    }

    fn disk(&self) -> DiskReport {
        let (mut batches, mut sync_us) = (0, 0);
        for (name, _, value) in self.log.stats().list() {
            match name {
                "batches" => batches = value,
                "sync_microseconds" => sync_us = value,
                _ => {}
            }
        }
        let (free_bytes, total_bytes) = room(&self.data).unwrap_or_default();
        DiskReport {
            free_bytes,
            total_bytes,
            mean_sync_us: sync_us.checked_div(batches).unwrap_or(0),
        }
    }
}

/// Why a replica does not do its work.
fn behind(what: &str, status: &GroupStatus) -> String {
    if let Some(why) = &status.stopped {
        return format!("{what}: stopped: {why}");
    }
    match (status.role, status.leader, status.heard_ms) {
        ("leader", ..) => {
            format!("{what}: leader, its term has not begun yet, or no majority hears it")
        }
        (role, None, _) => format!("{what}: {role}, nobody leads"),
        (role, Some(leader), None) => format!("{what}: {role}, node {leader} was not heard yet"),
        (role, Some(leader), Some(heard_ms)) => format!(
            "{what}: {role}, {} entries and {} ms behind, node {leader} heard {heard_ms} ms ago",
            status.lag_entries, status.behind_ms
        ),
    }
}

/// Bytes that are free and that there are, on the disk of a folder.
fn room(folder: &Path) -> Option<(u64, u64)> {
    let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes()).ok()?;
    // SAFETY: the path ends with a zero, and the structure is plain numbers that the call fills.
    let told = unsafe {
        let mut told: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &raw mut told) == 0).then_some(told)
    }?;
    Some((told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize))
}

impl Inspector {
    /// The profiles, and who has spoken so far.
    fn profiles(&self) -> Vec<ProfileReport> {
        let mut reports: Vec<ProfileReport> = Vec::new();
        let peers = self.shared.peers.all();
        for profile in self.shared.policy.profiles.iter() {
            // Several User-Agents are known by one dialect.
            if reports.iter().any(|known| known.profile == profile.name) {
                continue;
            }
            let theirs = peers.iter().filter(|peer| peer.profile == profile.name);
            reports.push(ProfileReport {
                profile: profile.name.clone(),
                dialect: profile.dialect.as_str(),
                habits: profile.habits(),
                peers: theirs
                    .map(|peer| format!("{} {}", peer.address, peer.user_agent))
                    .collect(),
            });
        }
        reports
    }
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
                parcels: group.runner.gauges().parcels.load(Acquire),
                parcels_lost: group.runner.gauges().parcels_lost.load(Acquire),
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
            linked_ms: millis(self.calls.mesh().up_for(number)),
            round_trip_us: self
                .calls
                .round_trip(number)
                .map(|took| took.as_micros() as u64),
        });
        let set_aside = self.damage.all().into_iter().map(|(group, why)| SetAside {
            group: group.to_string(),
            why,
        });
        PoolReport {
            node: self.node,
            domains: self.domains.clone(),
            listen: self.listen.clone(),
            epoch: map.epoch,
            nodes: nodes.collect(),
            map: self.pool.status(),
            shards: shards.collect(),
            slots: map
                .shards()
                .map(|(number, _)| map.slots_of(number).count())
                .collect(),
            moves: moves(&map),
            freezes: self.freezes.report(),
            log_stalled: self.log.stalled(),
            set_aside: set_aside.collect(),
            disk: self.disk(),
            waiting_for: self.readiness().waiting_for,
            profiles: self.profiles(),
        }
    }

    fn readiness(&self) -> Readiness {
        let mut waiting_for = self.waits_for();
        let map = self.pool.map();
        let standing = map.node(self.node).map(|entry| entry.standing);
        match standing {
            Some(standing) if standing > Standing::Serving => {
                waiting_for.push(format!("the node is {}", standing.as_str()));
            }
            _ => {}
        }
        if self.stopping.load(Acquire) {
            waiting_for.push("the node is stopping".to_owned());
        }
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
                PoolOrder::Shards(total) => return self.add_shards(&map, total).await,
                PoolOrder::StayAll => return self.stay_all(&map).await,
                PoolOrder::Balance => return self.begin_moves(balance::even(&map)).await,
                PoolOrder::MoveSlots(from, to, count) => {
                    for shard in [from, to] {
                        if map.shard(shard).is_none() {
                            return unsound(format!("there is no shard {shard}"));
                        }
                    }
                    if from == to {
                        return unsound("they are there already".to_owned());
                    }
                    let plan = balance::some(&map, from, to, usize::from(count));
                    return self.begin_moves(plan).await;
                }
                PoolOrder::MoveThese(slots, to) => {
                    if map.shard(to).is_none() {
                        return unsound(format!("there is no shard {to}"));
                    }
                    if let Some(slot) = slots.iter().find(|slot| Slot::new(**slot).is_none()) {
                        return unsound(format!("there is no slot {slot}; they are 0 to 1023"));
                    }
                    let plan = slots.into_iter().map(|slot| (slot, to));
                    let plan = plan.filter(|(slot, to)| {
                        let at = Slot::new(*slot).map(|slot| map.shard_of(slot));
                        at != Some(*to) && map.moving(*slot).is_none()
                    });
                    return self.begin_moves(plan.collect()).await;
                }
                PoolOrder::Place(shard, nodes) => {
                    let replicas = placed(&map, shard, &nodes).map_err(InspectError::Unsound)?;
                    let wanted = replicas.clone();
                    (
                        Change::Place { shard, replicas },
                        Box::new(move |map| {
                            map.shard(shard)
                                .is_some_and(|entry| entry.replicas == wanted)
                        }),
                    )
                }
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
        // Nobody here would try again, when the slot is served by nobody for a moment.
        if self.pool.map().moving(aor.slot().number()).is_some() {
            return Err(InspectError::Busy);
        }
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

    fn refusals(&self) -> Vec<Refusal> {
        self.shared.metrics.refusals.list()
    }
}

impl Inspector {
    /// Adds shards until there are so many, and spreads the slots. What was done before is not done again.
    async fn add_shards(&self, map: &PoolMap, total: u16) -> Result<(), InspectError> {
        let count = map.shard_count();
        if usize::from(total) < count {
            return Err(InspectError::Unsound(format!(
                "there are {count} shards already, and none is ever taken away"
            )));
        }
        if total > SHARDS_MAX {
            return Err(InspectError::Unsound(format!(
                "a pool has at most {SHARDS_MAX} shards"
            )));
        }
        for shard in count as u16..total {
            let replicas = balance::for_new_shard(&self.pool.map());
            let change = Change::AddShard { shard, replicas };
            self.make(&change, move |map| map.shard_count() > usize::from(shard))
                .await?;
        }
        self.begin_moves(balance::even(&self.pool.map())).await
    }

    async fn begin_moves(&self, moves: Vec<(u16, u16)>) -> Result<(), InspectError> {
        if moves.is_empty() {
            return Ok(());
        }
        // Whether each began now, was on its way before, or has arrived already.
        let wanted = moves.clone();
        let begun = move |map: &PoolMap| {
            wanted.iter().all(|(slot, to)| {
                let there = Slot::new(*slot).is_some_and(|slot| map.shard_of(slot) == *to);
                there || map.moving(*slot).is_some()
            })
        };
        self.make(&Change::BeginMoves { moves }, begun).await
    }

    /// Ends all moves where they are: what has not moved stays.
    async fn stay_all(&self, map: &PoolMap) -> Result<(), InspectError> {
        for (slot, moving) in map.moves() {
            let number = moving.number;
            let change = Change::EndMove {
                slot,
                number,
                made: false,
            };
            let ended = move |map: &PoolMap| map.moving(slot).is_none_or(|m| m.number != number);
            self.make(&change, ended).await?;
        }
        Ok(())
    }

    async fn make(
        &self,
        change: &Change,
        done: impl Fn(&PoolMap) -> bool,
    ) -> Result<(), InspectError> {
        let made = self.pool.make(change, done).await;
        made.map(drop)
            .map_err(|error| InspectError::NotNow(error.to_string()))
    }
}

fn moves(map: &PoolMap) -> Vec<MoveReport> {
    let moves = map.moves().filter_map(|(slot, moving)| {
        Some(MoveReport {
            slot,
            from: map.shard_of(Slot::new(slot)?),
            to: moving.to,
            number: moving.number,
        })
    });
    moves.collect()
}

/// Where the replicas of a shard are to be, when these nodes are named: they come first, those that are there
/// now fill up. What the pool would undo at once is refused, with the reason.
fn placed(map: &PoolMap, shard: u16, nodes: &[u64]) -> Result<Vec<u64>, String> {
    let entry = map
        .shard(shard)
        .ok_or_else(|| format!("there is no shard {shard}"))?;
    let hosts = map.hosts();
    if let Some(node) = nodes.iter().find(|node| !hosts.contains(node)) {
        return Err(format!("node {node} holds nothing; nodes {hosts:?} do"));
    }
    let room = REPLICAS.min(hosts.len());
    let mut replicas: Vec<u64> = Vec::new();
    for node in nodes.iter().chain(&entry.replicas) {
        if hosts.contains(node) && !replicas.contains(node) && replicas.len() < room {
            replicas.push(*node);
        }
    }
    if nodes.len() > room {
        return Err(format!("a shard has {room} replicas here"));
    }
    let mut planned = map.clone();
    let replicas_wanted = replicas.clone();
    planned.apply(&Change::Place { shard, replicas });
    match placement::next(&planned) {
        Some(Change::Place {
            shard: of,
            replicas,
        }) if of == shard => Err(format!(
            "the pool would undo it, because it keeps nodes and leaders even: it would put shard {shard} on \
             nodes {replicas:?}; drain or remove a node to keep it free"
        )),
        _ => Ok(replicas_wanted),
    }
}

fn millis(time: Option<Duration>) -> Option<u64> {
    time.map(|time| time.as_millis() as u64)
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
