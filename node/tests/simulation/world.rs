//! One run: a pool begins, chance lets it suffer, then it must recover; everything is looked at all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use bytes::Bytes;
use node::peer::NodeNumber;
use node::pool::FOUNDER;
use node::pool::map::{Change, PoolMap, Standing};
use transport::sip::Message;

use crate::chance::Chance;
use crate::circles::{self, CONTAINERS, container_of};
use crate::fate;
use crate::host::{Founding, Host};
use crate::judge::{Judge, Observation, Seen, observe, slot_of};
use crate::mistakes::Mistake;
use crate::network::{Datagram, Net, Network, Weather};
use crate::phones::{
    Fetcher, LastWord, Learned, NEVER_MS, Publisher, Sees, Watcher, marks, read, user, watcher,
};
use crate::roamers::Roamer;
use crate::trace::Trace;

/// How far time goes in a step, in milliseconds.
const STEP_MS: u64 = 4;

/// Between two looks at every machine.
const LOOK_MS: u64 = 40;

/// How long who asks to join waits for the answer.
const JOINING_MS: u64 = 5_000;

/// How long a pool may take to form.
const FORMING_MS: u64 = 60_000;

/// How long a pool may take to recover after the faults: leaders, members, requests on their way.
const RECOVERY_MS: u64 = 60_000;

/// How long the pool may take to tell again what was lost: a NOTIFY is repeated for 64·T1.
const QUIET_MS: u64 = 40_000;

/// How long watchers may take to know everything, from then on; 64·T1 for those who are gone.
const KNOWING_MS: u64 = 60_000;

/// How long the longest lifetime is, and a little.
const LASTING_MS: u64 = 270_000;

/// What a run is made of; each seed stresses something else.
#[derive(Clone, Debug)]
struct Habits {
    nodes: u64,
    founding: Founding,
    presentities: usize,
    publishers: usize,
    watchers: usize,
    roamers: usize,
    chaos_ms: u64,
    /// Longest time between two faults.
    calm_ms: u64,
    /// How often each kind of fault comes, relative to the others.
    weights: [u64; FAULTS],
    /// Nodes that may be down or cut off at a time.
    victims: usize,
    /// How far clocks may be apart.
    skew_ms: u64,
    pace_ms: u64,
    /// Whether there is enhanced presence.
    circles: bool,
    /// Whether the end of everything is awaited.
    lasts: bool,
}

/// Kinds of faults: crash, all crash, pause, whole partition, one-way partition, deaf node, slow disk, failing
/// disk, clock jump, snapshot, drain or resume, another leader, a node more or less, watchers that leave, slots
/// that move, a shard more, a node that crashes again and again.
const FAULTS: usize = 17;

/// Shards that there may be in the end.
const SHARDS_MAX: u64 = 4;

impl Habits {
    fn draw(chance: &mut Chance, mistake: Option<Mistake>) -> Habits {
        let nodes = *chance.one(&[3, 3, 3, 4, 5]);
        let mut weights = [0; FAULTS].map(|_: u64| *chance.one(&[0, 1, 1, 2, 4]));
        weights[1] /= 4;
        if weights.iter().sum::<u64>() == 0 {
            weights = [1; FAULTS];
        }
        let mut habits = Habits {
            nodes,
            founding: Founding {
                shards: 1 + chance.below(3) as u16,
                kept_entries: *chance.one(&[5, 50, 1_000]),
            },
            presentities: 1 + chance.below(4) as usize,
            publishers: 1 + chance.below(5) as usize,
            watchers: 1 + chance.below(6) as usize,
            roamers: *chance.one(&[0, 0, 1, 3]),
            chaos_ms: *chance.one(&[6_000, 12_000, 25_000]),
            calm_ms: *chance.one(&[400, 1_500, 4_000]),
            weights,
            victims: *chance.one(&[1, 1, 2]),
            skew_ms: *chance.one(&[0, 0, 2_000, 5_000]),
            pace_ms: *chance.one(&[300, 1_000, 1_000, 4_000, 15_000]),
            circles: chance.percent(50),
            lasts: chance.percent(10),
        };
        if mistake.is_some() {
            // A mistake shows where there is much to be seen.
            habits.publishers = habits.publishers.max(3);
            habits.watchers = habits.watchers.max(4);
            habits.pace_ms = habits.pace_ms.min(1_000);
            habits.chaos_ms = habits.chaos_ms.max(12_000);
            for weight in [0, 2, 3, 9, 11] {
                habits.weights[weight] += 2;
            }
            habits.founding.kept_entries = 5;
            match mistake {
                Some(Mistake::StaleRoutes | Mistake::PartsPromised) => {
                    habits.founding.shards = 2;
                    habits.weights[14] += 4;
                }
                Some(Mistake::NoTellAgain) => {
                    // What is not said again for long, while links break.
                    habits.pace_ms = 15_000;
                    habits.chaos_ms = 25_000;
                    habits.watchers = 6;
                    habits.weights = [0; FAULTS];
                    (habits.weights[3], habits.weights[4]) = (4, 2);
                }
                Some(Mistake::TicketsBeginAnew) => {
                    habits.pace_ms = 300;
                    habits.weights[16] += 12;
                }
                _ => {}
            }
        }
        habits
    }
}

/// One run in progress.
pub struct World {
    chance: Chance,
    habits: Habits,
    now_ms: u64,
    network: Network,
    hosts: BTreeMap<NodeNumber, Host>,
    /// Nodes that the pool let go.
    retired: BTreeSet<NodeNumber>,
    restart_ms: BTreeMap<NodeNumber, u64>,
    heal_ms: Vec<(u64, Cut)>,
    flapping: Option<Flapping>,
    /// Whether snapshots were lost already.
    lost_a_disk: bool,
    publishers: Vec<Publisher>,
    watchers: Vec<Watcher>,
    fetchers: Vec<Fetcher>,
    roamers: Vec<Roamer>,
    /// Who shows each circle something else.
    hosts_of_circles: Vec<circles::Host>,
    /// After the faults: who looks through one node only, and whether it has seen something.
    probes: Vec<(Fetcher, SocketAddr)>,
    judge: Judge,
    seen: Seen,
    newest: BTreeMap<(NodeNumber, u16), Observation>,
    map: PoolMap,
    /// Who asks to join, and when it asks again: whom it asked may have died with the answer.
    admitting: Option<(NodeNumber, u64)>,
    mistake: Option<Mistake>,
    pub trace: Trace,
}

/// A node that crashes soon after each start.
#[derive(Clone, Copy, Debug)]
struct Flapping {
    node: NodeNumber,
    /// How often still.
    left: u64,
    next_ms: u64,
}

/// What is cut, until it is healed.
#[derive(Clone, Debug)]
enum Cut {
    Ways(Vec<(NodeNumber, NodeNumber)>),
    Deaf(NodeNumber),
}

/// A watcher sees no byte of a container that it is not in.
//= MS-PRES 3.2.5.3
//= type=test
//# whatever happens to the nodes, who is in no container of a category is shown nothing of it
fn overhears(watcher: &Watcher, message: &Message) -> Result<(), String> {
    let body = match message {
        Message::Request(request) => request.body(),
        Message::Response(response) => response.body(),
    };
    let own = match watcher.sees {
        Sees::Documents => None,
        Sees::Categories(container) => container,
    };
    let foreign = marks(&String::from_utf8_lossy(body))
        .into_iter()
        .find(|mark| container_of(mark).is_some_and(|container| Some(container) != own));
    match foreign {
        Some(mark) => Err(format!(
            "{} is in {own:?}, and is shown {mark}",
            watcher.call_id()
        )),
        None => Ok(()),
    }
}

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    pub trace: u64,
    pub virtual_ms: u64,
    /// Observations, notifications, fetches.
    pub counts: [u64; 3],
}

impl World {
    pub fn new(seed: u64, mistake: Option<Mistake>, root: &Path, loud: bool) -> World {
        let mut chance = Chance::new(seed);
        let habits = Habits::draw(&mut chance, mistake);
        let weather = Weather {
            link_ms: *chance.one(&[1, 5, 30]),
            datagram_ms: *chance.one(&[4, 20, 150]),
            lost: *chance.one(&[0, 2, 10]),
            twice: *chance.one(&[0, 2, 10]),
        };
        let network = Network::new(Net::new(Chance::new(chance.bits()), weather, mistake));
        let mut phones = 0;
        let mut next = |chance: &mut Chance| {
            phones += 1;
            (phones - 1, Chance::new(chance.bits()))
        };
        let publishers = (0..habits.publishers)
            .map(|place| {
                let (number, own) = next(&mut chance);
                let presentity = place % habits.presentities;
                Publisher::new(number, presentity, own, habits.pace_ms, habits.skew_ms)
            })
            .collect();
        let mut watchers: Vec<Watcher> = (0..habits.watchers)
            .map(|place| {
                let (number, own) = next(&mut chance);
                let presentity = place % habits.presentities;
                Watcher::new(number, presentity, own, 10 * habits.pace_ms, habits.skew_ms)
            })
            .collect();
        let mut hosts_of_circles = Vec::new();
        if habits.circles {
            let presentity = habits.presentities;
            let mut members = Vec::new();
            for container in [Some(CONTAINERS[0]), Some(CONTAINERS[1]), None] {
                let (number, own) = next(&mut chance);
                members.push(watcher(number));
                let pace_ms = 10 * habits.pace_ms;
                let mut watcher = Watcher::new(number, presentity, own, pace_ms, habits.skew_ms);
                watcher.sees = Sees::Categories(container);
                watchers.push(watcher);
            }
            let (number, own) = next(&mut chance);
            let members = [members[0].clone(), members[1].clone()];
            let host = circles::Host::new(number, presentity, members, own, habits.pace_ms);
            hosts_of_circles.push(host);
        }
        let fetchers = (0..2)
            .map(|_| {
                let (number, own) = next(&mut chance);
                Fetcher::new(number, habits.presentities as u64, own, habits.pace_ms)
            })
            .collect();
        let roamers = (0..habits.roamers)
            .map(|place| {
                let (number, own) = next(&mut chance);
                Roamer::new(number, place % habits.presentities, own, habits.skew_ms)
            })
            .collect();
        let hosts = (1..=habits.nodes)
            .map(|number| (number, Host::new(number, root, mistake)))
            .collect();
        let mut trace = Trace::new(loud);
        trace.note(0, || format!("seed {seed}: {habits:?}, {weather:?}"));
        World {
            chance,
            habits,
            now_ms: 0,
            network,
            hosts,
            retired: BTreeSet::new(),
            restart_ms: BTreeMap::new(),
            heal_ms: Vec::new(),
            flapping: None,
            lost_a_disk: false,
            publishers,
            watchers,
            fetchers,
            roamers,
            hosts_of_circles,
            probes: Vec::new(),
            judge: Judge::default(),
            seen: Seen::default(),
            newest: BTreeMap::new(),
            map: PoolMap::default(),
            admitting: None,
            mistake,
            trace,
        }
    }

    /// The whole run.
    pub fn run(&mut self) -> Result<Ended, String> {
        let ended = self.go();
        if ended.is_err() {
            self.describe();
        }
        ended
    }

    /// How all groups stand, for who reads a failure.
    fn describe(&mut self) {
        let mut stand = Vec::new();
        for host in self.hosts.values() {
            let Some(parts) = host.parts() else {
                stand.push(format!("node {} has not begun", host.number));
                continue;
            };
            let pool = parts.pool.core.raft.metrics().borrow().to_string();
            stand.push(format!("node {}: the pool map: {pool}", host.number));
            for (shard, group) in host.groups() {
                let raft = group.core.raft.metrics().borrow().to_string();
                stand.push(format!(
                    "node {}: shard {shard}: performs since {}, leads: {}, at rest: {}; {raft}",
                    host.number,
                    group.runner.gauges().performing_since.load(Acquire),
                    group.proposer.is_leading(),
                    group.proposer.is_at_rest(),
                ));
            }
        }
        for line in stand {
            self.note(|| line);
        }
    }

    fn go(&mut self) -> Result<Ended, String> {
        self.form()?;
        self.suffer()?;
        self.recover()?;
        Ok(Ended {
            trace: self.trace.sum(),
            virtual_ms: self.now_ms,
            counts: self.judge.counts,
        })
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        self.trace.note(self.now_ms, text);
    }

    // The pool begins.

    fn form(&mut self) -> Result<(), String> {
        self.start(FOUNDER)?;
        let wanted = self.habits.nodes.min(3);
        let until_ms = self.now_ms + FORMING_MS;
        loop {
            self.step(false)?;
            let next = (2..=wanted).find(|node| !self.hosts[node].is_known());
            if let Some(next) = next {
                self.admit(next);
            } else if self.is_whole().is_ok() {
                return Ok(());
            }
            if self.now_ms > until_ms {
                let why = self.is_whole().err().unwrap_or_default();
                return Err(format!("the pool does not form: {why}"));
            }
        }
    }

    fn start(&mut self, node: NodeNumber) -> Result<(), String> {
        self.note(|| format!("node {node} starts"));
        self.restart_ms.remove(&node);
        self.judge.reborn(node);
        let (now_ms, founding) = (self.now_ms, self.habits.founding);
        let Some(host) = self.hosts.get_mut(&node) else {
            return Ok(());
        };
        host.start(now_ms, founding, &self.network)
            .map_err(|why| format!("node {node} does not start: {why}"))
    }

    /// A node asks some other one to admit it, and again until it was admitted.
    fn admit(&mut self, node: NodeNumber) {
        if self.admitting.is_none() {
            self.admitting = Some((node, self.now_ms));
            self.ask_again_to_join();
        }
    }

    fn ask_again_to_join(&mut self) {
        let Some((node, again_ms)) = self.admitting else {
            return;
        };
        if self.now_ms < again_ms {
            return;
        }
        let able = |host: &&Host| host.parts().is_some() && host.is_up();
        let able: Vec<NodeNumber> = self
            .hosts
            .values()
            .filter(able)
            .map(|host| host.number)
            .collect();
        if let Some(&by) = self.chance.any(&able)
            && let Some(asked) = self.hosts.get_mut(&by)
        {
            asked.admit(node);
            self.admitting = Some((node, self.now_ms + JOINING_MS));
            self.note(|| format!("node {node} asks {by} to join"));
        }
    }

    fn admissions(&mut self) -> Result<(), String> {
        let mut admitted = Vec::new();
        for host in self.hosts.values_mut() {
            admitted.extend(host.admissions());
        }
        for (node, map) in admitted {
            if self.admitting.is_some_and(|(asking, _)| asking == node) {
                self.admitting = None;
            }
            let Some(host) = self.hosts.get_mut(&node) else {
                continue;
            };
            if !host.is_known() {
                host.admitted(map);
                self.start(node)?;
            }
        }
        self.ask_again_to_join();
        Ok(())
    }

    // Everything goes on by one step.

    fn step(&mut self, busy: bool) -> Result<(), String> {
        self.now_ms += STEP_MS;
        crate::STEPS.fetch_add(1, Relaxed);
        let now_ms = self.now_ms;
        fate::now_is(now_ms);
        fate::clocks(0, 0);
        let (frames, datagrams) = {
            let mut net = self.network.lock();
            net.now_ms = now_ms;
            (net.frames(), net.datagrams())
        };
        for arrival in frames {
            self.trace.mix(arrival.to, arrival.from, &arrival.frame);
            if let Some(host) = self.hosts.get(&arrival.to) {
                host.frame(arrival.class, arrival.from, arrival.frame);
            }
        }
        for datagram in datagrams {
            self.datagram(datagram)?;
        }
        let mut order: Vec<NodeNumber> = self.hosts.keys().copied().collect();
        for place in (1..order.len()).rev() {
            let other = self.chance.below(place as u64 + 1) as usize;
            order.swap(place, other);
        }
        for node in order {
            self.live(node)?;
        }
        fate::clocks(0, 0);
        if busy {
            self.use_phones();
        }
        self.follow_leaders();
        if now_ms.is_multiple_of(LOOK_MS) {
            self.look();
            self.admissions()?;
        }
        self.judge_seen()?;
        self.nobody_stopped()?;
        crate::panicked().map_or(Ok(()), |why| Err(format!("something panicked: {why}")))
    }

    fn live(&mut self, node: NodeNumber) -> Result<(), String> {
        let now_ms = self.now_ms;
        let hurried = self.chance.percent(50);
        let lazy = self.chance.below(4);
        let Some(host) = self.hosts.get_mut(&node) else {
            return Ok(());
        };
        if !host.is_up() {
            return Ok(());
        }
        if hurried {
            host.write(now_ms);
        }
        host.live(now_ms)
            .map_err(|why| format!("node {node} does not begin: {why}"))?;
        host.write(now_ms);
        let chance = &mut self.chance;
        host.apply(|_| lazy == 0 || chance.percent(75));
        let (address, sent) = (host.address, host.serve());
        for (to, bytes) in sent {
            self.trace.mix(node, 0, &bytes);
            if bytes.starts_with(b"NOTIFY")
                && let Some(Message::Request(notify)) = read(bytes.clone())
            {
                self.trace.note(now_ms, || {
                    format!(
                        "node {node} sends NOTIFY {} of {}",
                        notify.cseq(),
                        notify.call_id()
                    )
                });
                self.judge.notified(node, &notify)?;
            }
            let mut net = self.network.lock();
            if !net.deaf.contains(&node) {
                net.send(address, to, bytes);
            }
        }
        Ok(())
    }

    fn datagram(&mut self, datagram: Datagram) -> Result<(), String> {
        let Datagram { from, to, bytes } = datagram;
        let host = self.hosts.values().find(|host| host.address == to);
        if let Some(host) = host {
            let mut net = self.network.lock();
            if net.deaf.contains(&host.number) || host.running.is_none() {
                return Ok(());
            }
            if host.paused_until_ms.is_some() {
                // It waits in the socket.
                net.later(Datagram { from, to, bytes });
                return Ok(());
            }
            let bytes = net.tampering.datagram(host.number, bytes);
            drop(net);
            host.datagram(from, bytes);
            return Ok(());
        }
        let now_ms = self.now_ms;
        let Some(message) = read(bytes) else {
            return Err("a node sent what cannot be read".to_owned());
        };
        let mut answer: Option<Bytes> = None;
        let mut learned = Learned::Nothing;
        if let Some(publisher) = self.publishers.iter_mut().find(|p| p.line.address == to) {
            if let Message::Response(response) = &message {
                learned = publisher.receive(response, now_ms);
            }
        } else if let Some(host) = self
            .hosts_of_circles
            .iter_mut()
            .find(|h| h.line.address == to)
        {
            if let Message::Response(response) = &message {
                learned = host.receive(response, now_ms);
            }
        } else if let Some(roamer) = self.roamers.iter_mut().find(|r| r.line.address == to) {
            match &message {
                Message::Response(response) => learned = roamer.respond(response, now_ms),
                Message::Request(request) => answer = Some(roamer.notify(request)),
            }
        } else if let Some(watcher) = self.watchers.iter_mut().find(|w| w.line.address == to) {
            overhears(watcher, &message)?;
            match &message {
                Message::Response(response) => learned = watcher.respond(response, now_ms),
                Message::Request(request) => answer = watcher.notify(request, now_ms),
            }
        } else if let Some(fetcher) = self
            .fetchers
            .iter_mut()
            .chain(self.probes.iter_mut().map(|(probe, _)| probe))
            .find(|f| f.line.address == to)
        {
            match &message {
                Message::Response(response) => learned = fetcher.respond(response, now_ms),
                Message::Request(request) => {
                    let (told, shown) = fetcher.notify(request, now_ms);
                    (answer, learned) = (Some(told), shown);
                }
            }
        }
        self.trace.note(now_ms, || match &message {
            Message::Response(response) => format!(
                "{to} is told {} to {} of {} by {from}",
                response.status().number(),
                response.cseq().0,
                response.call_id()
            ),
            Message::Request(request) => format!(
                "{to} hears {} {} of {} from {from}: {:?}",
                request.method().as_str(),
                request.cseq(),
                request.call_id(),
                marks(&String::from_utf8_lossy(request.body()))
            ),
        });
        if let Some(answer) = answer {
            self.network.lock().send(to, from, answer);
        }
        self.judge.learned(learned, &self.publishers, now_ms)
    }

    fn use_phones(&mut self) {
        let nodes: Vec<SocketAddr> = self
            .hosts
            .values()
            .filter(|host| host.is_known() && !self.retired.contains(&host.number))
            .map(|host| host.address)
            .collect();
        let now_ms = self.now_ms;
        let mut sent = Vec::new();
        for publisher in &mut self.publishers {
            sent.extend(
                publisher
                    .tick(&nodes, now_ms)
                    .map(|s| (publisher.line.address, s)),
            );
        }
        for host in &mut self.hosts_of_circles {
            sent.extend(host.tick(&nodes, now_ms).map(|s| (host.line.address, s)));
        }
        for watcher in &mut self.watchers {
            sent.extend(
                watcher
                    .tick(&nodes, now_ms)
                    .map(|s| (watcher.line.address, s)),
            );
        }
        for roamer in &mut self.roamers {
            sent.extend(
                roamer
                    .tick(&nodes, now_ms)
                    .map(|s| (roamer.line.address, s)),
            );
        }
        for fetcher in &mut self.fetchers {
            sent.extend(
                fetcher
                    .tick(&nodes, now_ms)
                    .map(|s| (fetcher.line.address, s)),
            );
        }
        for (probe, node) in &mut self.probes {
            sent.extend(
                probe
                    .tick(&[*node], now_ms)
                    .map(|s| (probe.line.address, s)),
            );
        }
        for (from, (to, bytes)) in sent {
            self.trace.note(now_ms, || {
                let text = String::from_utf8_lossy(&bytes);
                let line = |name: &str| {
                    text.lines()
                        .find(|line| line.starts_with(name))
                        .unwrap_or("")
                        .to_owned()
                };
                format!(
                    "{from} asks {to}: {}, {}, {}{:?}",
                    line("CSeq"),
                    line("Call-ID"),
                    line("SIP-If"),
                    marks(&text)
                )
            });
            self.network.lock().send(from, to, bytes);
        }
    }

    /// Who performs, of each shard.
    fn follow_leaders(&mut self) {
        let mut changed = Vec::new();
        for host in self.hosts.values() {
            for (shard, group) in host.groups() {
                let since = group.runner.gauges().performing_since.load(Acquire);
                let top = self.judge.top.entry(shard).or_default();
                if since > *top {
                    *top = since;
                    changed.push((host.number, shard, since));
                }
            }
        }
        for (node, shard, since) in changed {
            self.note(|| format!("node {node} performs for shard {shard} since entry {since}"));
        }
    }

    /// No replica found that it is not what its leader attests, or that it cannot read what others wrote.
    fn nobody_stopped(&self) -> Result<(), String> {
        for host in self.hosts.values().filter(|host| host.is_up()) {
            for (shard, group) in host.groups() {
                if let Some(why) = group.runner.stopped() {
                    return Err(format!("shard {shard} on node {}: {why}", host.number));
                }
            }
        }
        Ok(())
    }

    fn look(&mut self) {
        for host in self.hosts.values().filter(|host| host.is_up()) {
            if let Some(parts) = host.parts() {
                let map = parts.pool.map();
                if map.epoch > self.map.epoch {
                    self.map = PoolMap::clone(&map);
                }
            }
            for (shard, group) in host.groups() {
                observe(
                    &self.seen,
                    host.number,
                    shard,
                    &group.runner,
                    self.habits.presentities,
                );
            }
        }
        let map = &self.map;
        let gone = |node: &NodeNumber| {
            map.node(*node)
                .is_some_and(|entry| entry.standing == Standing::Gone)
        };
        self.retired = self.hosts.keys().copied().filter(gone).collect();
    }

    fn judge_seen(&mut self) -> Result<(), String> {
        let seen = std::mem::take(&mut *self.seen.lock().map_err(|_| "poisoned")?);
        for observation in seen {
            let map = &self.map;
            let shard_of = |presentity: usize| map.shard_of(slot_of(presentity));
            self.judge
                .judge(&observation, &self.publishers, shard_of, self.now_ms)?;
            self.newest
                .insert((observation.node, observation.shard), observation);
        }
        Ok(())
    }

    // Faults.

    fn suffer(&mut self) -> Result<(), String> {
        let end_ms = self.now_ms + self.habits.chaos_ms;
        let mut next_ms = self.now_ms + 1_500;
        while self.now_ms < end_ms {
            self.step(true)?;
            self.undo()?;
            if self.now_ms >= next_ms {
                next_ms = self.now_ms + 20 + self.chance.below(self.habits.calm_ms);
                self.fault()?;
            }
        }
        Ok(())
    }

    /// What is over by now: pauses, cuts, nodes that are down.
    fn undo(&mut self) -> Result<(), String> {
        let now_ms = self.now_ms;
        let due: Vec<NodeNumber> = self
            .restart_ms
            .iter()
            .filter(|(_, at)| **at <= now_ms)
            .map(|(node, _)| *node)
            .collect();
        for node in due {
            self.start(node)?;
        }
        for host in self.hosts.values_mut() {
            if host.paused_until_ms.is_some_and(|until| until <= now_ms) {
                host.paused_until_ms = None;
                self.network.lock().paused.remove(&host.number);
                let node = host.number;
                self.trace.note(now_ms, || format!("node {node} goes on"));
            }
        }
        self.flap();
        let (over, lasting) = std::mem::take(&mut self.heal_ms)
            .into_iter()
            .partition(|(at, _)| *at <= now_ms);
        self.heal_ms = lasting;
        let over: Vec<(u64, Cut)> = over;
        for (_, cut) in over {
            self.note(|| format!("healed: {cut:?}"));
            let mut net = self.network.lock();
            match cut {
                Cut::Ways(ways) => ways.iter().for_each(|way| {
                    net.blocked.remove(way);
                }),
                Cut::Deaf(node) => {
                    net.deaf.remove(&node);
                }
            }
        }
        Ok(())
    }

    /// The next crash of a node that crashes again and again. What it had asked of others may still be on its way.
    fn flap(&mut self) {
        let Some(flapping) = self.flapping.filter(|it| it.next_ms <= self.now_ms) else {
            return;
        };
        let node = flapping.node;
        if self.hosts[&node].is_up() {
            let until_ms = self.now_ms + 10 + self.chance.below(150);
            self.crash(node, until_ms);
            if self.chance.percent(50) {
                for host in self.hosts.values_mut() {
                    host.disk.stuck_until_ms = self.now_ms + self.chance.below(1_500);
                }
            }
        }
        let left = flapping.left - 1;
        let next_ms = self.now_ms + 200 + self.chance.below(1_300);
        self.flapping = (left > 0).then_some(Flapping {
            node,
            left,
            next_ms,
        });
    }

    /// Nodes that something is wrong with.
    fn victims(&self) -> BTreeSet<NodeNumber> {
        let mut victims: BTreeSet<NodeNumber> = self
            .hosts
            .values()
            .filter(|host| host.is_known() && !host.is_up())
            .map(|host| host.number)
            .collect();
        for (_, cut) in &self.heal_ms {
            match cut {
                Cut::Ways(ways) => victims.extend(ways.first().map(|(from, _)| *from)),
                Cut::Deaf(_) => {}
            }
        }
        victims.extend(self.flapping.map(|flapping| flapping.node));
        victims
    }

    fn fault(&mut self) -> Result<(), String> {
        let mut draw = self.chance.below(self.habits.weights.iter().sum());
        let kind = self.habits.weights.iter().position(|weight| {
            let drawn = draw < *weight;
            draw = draw.saturating_sub(*weight);
            drawn
        });
        let up: Vec<NodeNumber> = self
            .hosts
            .values()
            .filter(|host| host.is_up() && host.parts().is_some())
            .map(|host| host.number)
            .collect();
        let victims = self.victims();
        let Some(&node) = self.chance.any(&up) else {
            return Ok(());
        };
        let harmless = victims.len() < self.habits.victims && !victims.contains(&node);
        let until_ms = self.now_ms + 50 + self.chance.below(6_000);
        match kind {
            Some(0) if harmless => {
                self.crash(node, until_ms);
                if !self.lost_a_disk && self.chance.percent(15) {
                    // Once: two of three could not be mended.
                    self.lost_a_disk = true;
                    self.note(|| format!("node {node} loses the snapshots of its shards"));
                    self.hosts[&node].lose_snapshots();
                }
            }
            Some(1) => {
                for node in up {
                    let until_ms = self.now_ms + 50 + self.chance.below(3_000);
                    self.crash(node, until_ms);
                }
            }
            Some(2) if harmless => {
                self.note(|| format!("node {node} stands still until {until_ms}"));
                self.network.lock().paused.insert(node);
                if let Some(host) = self.hosts.get_mut(&node) {
                    host.paused_until_ms = Some(until_ms);
                }
            }
            Some(3) if harmless => {
                let others = self.hosts.keys().filter(|other| **other != node);
                let ways = others.flat_map(|other| [(node, *other), (*other, node)]);
                self.cut(ways.collect(), until_ms);
            }
            Some(4) if harmless => {
                let others: Vec<NodeNumber> = self
                    .hosts
                    .keys()
                    .copied()
                    .filter(|other| *other != node)
                    .collect();
                let other = *self.chance.one(&others);
                let ways = match self.chance.below(3) {
                    0 => vec![(node, other)],
                    1 => vec![(other, node)],
                    _ => others.iter().map(|other| (node, *other)).collect(),
                };
                self.cut(ways, until_ms);
            }
            Some(5) => {
                self.note(|| format!("no telephone reaches node {node}"));
                self.network.lock().deaf.insert(node);
                self.heal_ms.push((until_ms, Cut::Deaf(node)));
            }
            Some(6) => {
                let until_ms = self.now_ms + self.chance.below(1_500);
                self.note(|| format!("the disk of node {node} is slow until {until_ms}"));
                if let Some(host) = self.hosts.get_mut(&node) {
                    host.disk.stuck_until_ms = until_ms;
                }
            }
            Some(7) if harmless => {
                // A sync that fails stops the node: what it wrote last may be there, or not.
                self.note(|| format!("the disk of node {node} fails"));
                self.crash(node, until_ms);
            }
            Some(8) if self.habits.skew_ms > 0 => {
                let ahead_ms = self.chance.below(self.habits.skew_ms) as i64;
                self.note(|| format!("the clock of node {node} is {ahead_ms} ms ahead"));
                if let Some(host) = self.hosts.get_mut(&node) {
                    host.ahead_ms = ahead_ms;
                }
            }
            Some(9) => {
                self.note(|| format!("node {node} takes snapshots"));
                if let Some(host) = self.hosts.get(&node) {
                    if self.mistake == Some(Mistake::DiskForgets) {
                        host.remember_disk();
                    }
                    host.task(|parts| async move {
                        parts.pool.core.snapshot(true).await;
                        for (_, group) in parts.hosting.hosted.all() {
                            group.core.snapshot(true).await;
                        }
                    });
                }
            }
            Some(10) => {
                let other = 1 + self.chance.below(self.habits.nodes);
                let standing =
                    *self
                        .chance
                        .one(&[Standing::Draining, Standing::Serving, Standing::Serving]);
                let now = self.map.node(other).map(|entry| entry.standing);
                if now.is_some_and(|now| now < Standing::Leaving) {
                    self.change(
                        node,
                        Change::Stand {
                            node: other,
                            standing,
                        },
                    );
                }
            }
            Some(11) => {
                let shards = self.map.shard_count() as u64;
                if shards > 0 {
                    let shard = self.chance.below(shards) as u16;
                    let replicas = self.map.shard(shard).map(|entry| entry.replicas.clone());
                    if let Some(mut replicas) = replicas
                        && replicas.len() > 1
                    {
                        let turn = 1 + self.chance.below(replicas.len() as u64 - 1) as usize;
                        replicas.rotate_left(turn);
                        self.change(node, Change::Place { shard, replicas });
                    }
                }
            }
            Some(12) => self.more_or_less(node),
            Some(13) if !self.watchers.is_empty() => {
                let which = self.chance.below(self.watchers.len() as u64) as usize;
                let until_ms = self.now_ms + self.chance.below(50_000);
                self.note(|| format!("watcher {which} goes until {until_ms}"));
                self.watchers[which].leave(until_ms);
            }
            Some(14) => {
                let shards = self.map.shard_count() as u64;
                if shards > 1 {
                    let presentity =
                        self.chance.below(self.habits.presentities as u64 + 1) as usize;
                    let slot = slot_of(presentity).number();
                    let to = self.chance.below(shards) as u16;
                    self.change(node, Change::BeginMove { slot, to });
                }
            }
            Some(15) => {
                let shards = self.map.shard_count() as u64;
                let replicas = self.map.shard(0).map(|entry| entry.replicas.clone());
                if let Some(replicas) = replicas
                    && shards < SHARDS_MAX
                {
                    let shard = shards as u16;
                    self.change(node, Change::AddShard { shard, replicas });
                }
            }
            Some(16) if harmless => {
                let (left, next_ms) = (2 + self.chance.below(4), self.now_ms);
                self.note(|| format!("node {node} crashes {left} times"));
                self.flapping = Some(Flapping {
                    node,
                    left,
                    next_ms,
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn cut(&mut self, ways: Vec<(NodeNumber, NodeNumber)>, until_ms: u64) {
        self.note(|| format!("nothing passes {ways:?} until {until_ms}"));
        self.network.lock().blocked.extend(ways.iter().copied());
        self.heal_ms.push((until_ms, Cut::Ways(ways)));
    }

    fn crash(&mut self, node: NodeNumber, until_ms: u64) {
        let (torn, cut) = (self.chance.percent(40), self.chance.bits());
        self.note(|| format!("node {node} crashes until {until_ms}, torn: {torn}"));
        if let Some(host) = self.hosts.get_mut(&node) {
            host.crash(&self.network, torn, cut);
        }
        self.newest.retain(|(of, _), _| *of != node);
        self.restart_ms.insert(node, until_ms);
    }

    /// An operator wants something.
    fn change(&mut self, at: NodeNumber, change: Change) {
        self.note(|| format!("node {at} is told {change:?}"));
        if let Some(host) = self.hosts.get(&at) {
            host.task(|parts| async move {
                let before = parts.pool.map().epoch;
                let _ = parts.pool.make(&change, |map| map.epoch > before).await;
            });
        }
    }

    /// A node joins, or one is taken out.
    fn more_or_less(&mut self, at: NodeNumber) {
        let unknown = self.hosts.values().find(|host| !host.is_known());
        if let Some(host) = unknown {
            let node = host.number;
            return self.admit(node);
        }
        let serving = self
            .map
            .nodes()
            .filter(|(_, entry)| entry.standing <= Standing::Draining)
            .count();
        if serving > 3 {
            let node = self.habits.nodes;
            self.change(
                at,
                Change::Stand {
                    node,
                    standing: Standing::Leaving,
                },
            );
        }
    }

    // After the faults everything must be well, within a bound.

    fn recover(&mut self) -> Result<(), String> {
        self.note(|| "the faults are over".to_owned());
        self.network.lock().heal();
        self.heal_ms.clear();
        self.flapping = None;
        for at in self.restart_ms.values_mut() {
            *at = (*at).min(self.now_ms);
        }
        for host in self.hosts.values_mut() {
            host.disk.stuck_until_ms = 0;
            host.paused_until_ms = host.paused_until_ms.map(|_| self.now_ms);
        }
        for watcher in &mut self.watchers {
            watcher.off_until_ms = watcher.off_until_ms.min(self.now_ms + 1_000);
        }
        self.undo()?;
        self.wait(RECOVERY_MS, "the pool does not recover", World::is_whole)?;
        self.note(|| "the pool is whole".to_owned());
        self.be_quiet()?;
        // Everybody says once more what is true.
        let since_ms = self.now_ms;
        for publisher in &mut self.publishers {
            publisher.conclude(since_ms);
        }
        for host in &mut self.hosts_of_circles {
            host.pace_ms = NEVER_MS;
            if !host.is_asking() {
                host.hurry(since_ms);
            }
        }
        for fetcher in &mut self.fetchers {
            fetcher.pace_ms = 3_000;
        }
        self.wait(RECOVERY_MS, "requests fail", |world| {
            let mute = world
                .publishers
                .iter()
                .find(|publisher| publisher.last_word != LastWord::Said);
            if let Some(publisher) = mute {
                return Err(format!("device {} is not answered", publisher.number));
            }
            let mute = world
                .hosts_of_circles
                .iter()
                .find(|host| host.answered_ms < since_ms);
            match mute {
                Some(host) => Err(format!("{} is not answered", user(host.presentity))),
                None => Ok(()),
            }
        })?;
        self.send_probes();
        self.wait(RECOVERY_MS, "a node does not serve", |world| {
            let mute = world.probes.iter().find(|(probe, _)| probe.seen == 0);
            match mute {
                Some((probe, node)) => Err(format!(
                    "{node} shows nothing of {}",
                    user(probe.presentity)
                )),
                None => Ok(()),
            }
        })?;
        self.wait(KNOWING_MS, "watchers do not know", World::is_known)?;
        self.roamers_go()?;
        self.wait(RECOVERY_MS, "replicas differ", World::is_level)?;
        if self.habits.lasts {
            self.judge.calm = true;
            self.wait(LASTING_MS, "what has ended is there", |world| {
                let shards = world.map.shards().map(|(shard, _)| shard);
                let held = shards
                    .filter_map(|shard| world.leading(shard))
                    .find(|seen| !seen.held.is_empty());
                match held {
                    Some(seen) => Err(format!("node {} holds {:?}", seen.node, seen.held)),
                    None => Ok(()),
                }
            })?;
        }
        Ok(())
    }

    /// Nobody says anything new, and nobody asks anew, for as long as can be: what was lost on its way is told
    /// again by the pool itself.
    fn be_quiet(&mut self) -> Result<(), String> {
        let until_ms = self.now_ms + QUIET_MS;
        for publisher in &mut self.publishers {
            publisher.rest();
        }
        for host in &mut self.hosts_of_circles {
            host.rest();
        }
        for watcher in &mut self.watchers {
            watcher.rest(self.now_ms, until_ms);
        }
        self.wait(QUIET_MS, "watchers are not told again", World::all_know)?;
        let now_ms = self.now_ms;
        self.note(|| "everybody knows".to_owned());
        for watcher in &mut self.watchers {
            watcher.wake(now_ms);
        }
        Ok(())
    }

    /// Who roams signs out for good, and leaves nothing behind.
    fn roamers_go(&mut self) -> Result<(), String> {
        let until_ms = self.now_ms + RECOVERY_MS;
        while !self.roamers.iter().all(Roamer::is_gone) {
            self.roamers.iter_mut().for_each(Roamer::conclude);
            self.step(true)?;
            if self.now_ms > until_ms {
                return Err("somebody cannot sign out".to_owned());
            }
        }
        self.wait(KNOWING_MS, "who signed out is there", |world| {
            for (shard, _) in world.map.shards() {
                let leading = world.leading(shard).ok_or("nobody leads")?;
                let over = world.roamers.iter().flat_map(|roamer| &roamer.over);
                for call_id in over {
                    if let Some(dialog) = leading.dialogs.get(call_id) {
                        return Err(format!("shard {shard} keeps {call_id}: {dialog:?}"));
                    }
                }
            }
            Ok(())
        })
    }

    /// Each node is asked about everybody.
    fn send_probes(&mut self) {
        let mut number = 1_000;
        for host in self.hosts.values().filter(|host| host.parts().is_some()) {
            // Who leaves is asked by nobody any more.
            let standing = self.map.node(host.number).map(|entry| entry.standing);
            if standing.is_none_or(|standing| standing > Standing::Draining) {
                continue;
            }
            for presentity in 0..self.habits.presentities {
                number += 1;
                let chance = Chance::new(self.chance.bits());
                let probe = Fetcher::of(number, presentity, chance, self.now_ms);
                self.probes.push((probe, host.address));
            }
        }
    }

    fn wait(
        &mut self,
        patience_ms: u64,
        what: &str,
        done: impl Fn(&World) -> Result<(), String>,
    ) -> Result<(), String> {
        let until_ms = self.now_ms + patience_ms;
        loop {
            for _ in 0..25 {
                self.step(true)?;
            }
            match done(self) {
                Ok(()) => return Ok(()),
                Err(why) if self.now_ms > until_ms => {
                    return Err(format!("{what} within {patience_ms} ms: {why}"));
                }
                Err(_) => {}
            }
        }
    }

    /// Whether everybody runs, each shard has one leader, and its members are whom the map wants.
    fn is_whole(&self) -> Result<(), String> {
        let map = &self.map;
        if let Some((node, _)) = self.admitting {
            return Err(format!("node {node} has not joined"));
        }
        for host in self.hosts.values() {
            let number = host.number;
            if host.is_known() && !self.retired.contains(&number) && host.parts().is_none() {
                return Err(format!("node {number} has not begun"));
            }
        }
        if !map.is_made() {
            return Err("there is no map".to_owned());
        }
        if let Some(change) = node::pool::placement::next(map) {
            return Err(format!("{change:?} is still to be made"));
        }
        if let Some(moving) = map.moves().next() {
            return Err(format!("{moving:?} is on its way"));
        }
        for (shard, entry) in map.shards() {
            let leaders: Vec<NodeNumber> = self
                .hosts
                .values()
                .filter(|host| {
                    host.groups()
                        .iter()
                        .any(|(of, group)| *of == shard && group.proposer.is_leading())
                })
                .map(|host| host.number)
                .collect();
            let [leader] = leaders[..] else {
                return Err(format!("shard {shard} is led by {leaders:?}"));
            };
            let wanted: BTreeSet<NodeNumber> = entry.replicas.iter().copied().collect();
            let group = self.hosts[&leader]
                .parts()
                .and_then(|parts| parts.hosting.hosted.get(shard));
            let (voters, listeners) = group.map(|group| group.core.members()).unwrap_or_default();
            if voters != wanted || !listeners.is_empty() {
                return Err(format!(
                    "shard {shard} has {voters:?} and {listeners:?}, not {wanted:?}"
                ));
            }
        }
        Ok(())
    }

    /// What the leader of a shard was last seen to hold.
    fn leading(&self, shard: u16) -> Option<&Observation> {
        let top = self.judge.top.get(&shard)?;
        self.newest
            .values()
            .find(|seen| seen.shard == shard && seen.performing_since == *top)
    }

    /// Whether every watcher was told last what there is, and those who are gone are forgotten.
    fn is_known(&self) -> Result<(), String> {
        self.all_know()?;
        for watcher in &self.watchers {
            // Who is gone is missed when it is told something.
            let told = self
                .publishers
                .iter()
                .any(|p| p.presentity == watcher.presentity);
            if !told || watcher.sees != Sees::Documents {
                continue;
            }
            let shard = self.map.shard_of(slot_of(watcher.presentity));
            let leading = self.leading(shard).ok_or("nobody leads")?;
            for left in &watcher.left {
                if let Some(dialog) = leading.dialogs.get(left) {
                    return Err(format!("{left} is gone, and kept: {dialog:?}"));
                }
            }
        }
        Ok(())
    }

    /// Whether every watcher was told last what there is.
    fn all_know(&self) -> Result<(), String> {
        for watcher in &self.watchers {
            if let Sees::Categories(container) = watcher.sees {
                self.knows_its_circle(watcher, container)?;
                continue;
            }
            let shard = self.map.shard_of(slot_of(watcher.presentity));
            let leading = self.leading(shard).ok_or("nobody leads")?;
            let mut there: Vec<String> = leading
                .held
                .iter()
                .filter(|held| held.presentity == watcher.presentity)
                .flat_map(|held| held.marks.clone())
                .collect();
            there.sort();
            let shown = watcher.told.as_ref().map(|told| marks(&told.document));
            if !watcher.accepted || shown.as_ref() != Some(&there) {
                return Err(format!(
                    "{} was told {shown:?} by {:?}, and there is {there:?} at entry {}",
                    watcher.call_id(),
                    watcher.told.as_ref().map(|told| told.cseq),
                    leading.applied,
                ));
            }
        }
        Ok(())
    }

    /// Whether a watcher of categories was told last what is in its container.
    fn knows_its_circle(&self, watcher: &Watcher, container: Option<u32>) -> Result<(), String> {
        for host in &self.hosts_of_circles {
            let there: Vec<String> = container
                .zip(host.shown)
                .map(|(container, count)| circles::mark(container, count))
                .into_iter()
                .collect();
            let shown = watcher.told.as_ref().map(|told| marks(&told.document));
            if !watcher.accepted || shown.as_ref() != Some(&there) {
                return Err(format!(
                    "{} of {container:?} was told {shown:?}, and there is {there:?}",
                    watcher.call_id()
                ));
            }
        }
        Ok(())
    }

    /// Whether all replicas of a shard have applied the same.
    fn is_level(&self) -> Result<(), String> {
        for (shard, entry) in self.map.shards() {
            let applied: Vec<(NodeNumber, u64)> = entry
                .replicas
                .iter()
                .filter_map(|node| Some((*node, self.newest.get(&(*node, shard))?.applied)))
                .collect();
            let most = applied
                .iter()
                .map(|(_, applied)| *applied)
                .max()
                .unwrap_or(0);
            if applied.len() != entry.replicas.len()
                || applied.iter().any(|(_, own)| own + 4 < most)
            {
                return Err(format!("shard {shard} was applied up to {applied:?}"));
            }
        }
        Ok(())
    }
}
