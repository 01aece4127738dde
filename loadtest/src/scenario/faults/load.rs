//! The agents and their loop: one thread, so that what was seen first is noted first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::io::Write as _;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use serde_json::{Value, json};
use transport::sip::write::Reply;
use transport::sip::{Message, Name, Request as Incoming, Response, StatusCode};

use super::lines::{Came, Event, Lines};
use super::message::{self, Ask, Common, Request, Who};
use super::phases::{Kind, Phases};
use super::witness::{News, Published, Witness};
use super::{Options, Order, now_us};
use crate::linear::{self, Deed, Operation};

/// T1 and T2 of RFC 3261, in microseconds.
const T1_US: u64 = 500_000;
const T2_US: u64 = 4_000_000;

/// Open lines of watchers and fetchers.
const OPEN_LINES: usize = 4;

/// Requests in flight while nobody measures.
const WINDOW: usize = 64;

/// Watchers on each stream.
const WATCHERS_PER_STREAM: usize = 5;

/// How long a node is not asked first that refused, that was silent, or that said so without a number.
const SHUN_REFUSED_US: u64 = 2_000_000;
const SHUN_SILENT_US: u64 = 10_000_000;
const SHUN_BUSY_US: u64 = 1_000_000;

/// How soon a stream is opened again when nobody takes it.
const RECONNECT_US: u64 = 100_000;

/// How long everything may take to settle: longer than a notification is repeated.
const SETTLE_US: u64 = 45_000_000;

/// A request on its way.
#[derive(Clone, Debug)]
struct Pending {
    request: Request,
    line: usize,
    node: usize,
    attempt: u32,
    first_us: u64,
    /// When this node was first asked.
    asked_us: u64,
    interval_us: u64,
    /// When to look at it again; an older date in the queue is void.
    due_us: u64,
    /// Whether it waits for a node that may be asked.
    parked: bool,
    /// Whether a fetch has its 200.
    accepted: bool,
}

/// Who sends requests: one at a time.
#[derive(Clone, Debug, Default)]
struct Agent {
    line: usize,
    home: usize,
    cseq: u32,
    pending: Option<Pending>,
    /// Until when each node is not asked first.
    shun_us: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
struct Publisher {
    agent: Agent,
    tag: Option<String>,
    /// The newest acknowledged state, and the newest that was sent.
    state: u64,
    sent: u64,
    /// When each of the newest was first sent.
    sent_us: VecDeque<(u64, u64)>,
    /// Publications of which nobody knows whether they live.
    doubts: usize,
    history: Vec<Operation>,
}

#[derive(Clone, Debug, Default)]
struct Watcher {
    agent: Agent,
    user: usize,
    to_tag: Option<String>,
    /// Its stream broke: the dialog needs a new one.
    homeless: bool,
}

#[derive(Default)]
struct Counts {
    published: u64,
    acknowledged: u64,
    fetched: u64,
    notified: u64,
    known: u64,
    again: u64,
    late: u64,
    /// Publications that were due while every publisher waited for an answer.
    held_back: u64,
    retried: BTreeMap<&'static str, u64>,
    failed: BTreeMap<String, u64>,
    reconnected: u64,
    /// The longest time between two looks at the sockets.
    own_stall_us: u64,
}

pub struct Load {
    options: Options,
    common: Common,
    lines: Lines,
    publishers: Vec<Publisher>,
    watchers: Vec<Watcher>,
    watchers_of: Vec<Vec<usize>>,
    fetches: HashMap<usize, Agent>,
    next_fetch: usize,
    next_publisher: usize,
    shards: Vec<u16>,
    due: BinaryHeap<Reverse<(u64, u8, usize)>>,
    /// What is to be asked when there is room, while nobody measures.
    todo: VecDeque<(Who, Ask)>,
    in_flight: usize,
    reconnect: BTreeMap<usize, u64>,
    witness: Witness,
    /// Watchers who were not told of the last publication.
    behind: Vec<usize>,
    phases: Phases,
    counts: Counts,
    begin_us: u64,
    seen_us: u64,
}

fn key(who: Who) -> (u8, usize) {
    match who {
        Who::Publisher(number) => (0, number),
        Who::Watcher(number) => (1, number),
        Who::Fetch(number) => (2, number),
    }
}

fn who((kind, number): (u8, usize)) -> Who {
    match kind {
        0 => Who::Publisher(number),
        1 => Who::Watcher(number),
        _ => Who::Fetch(number),
    }
}

impl Load {
    /// Opens the lines; nothing is sent yet.
    pub fn begin(options: &Options) -> Result<Load, String> {
        let say = |error: std::io::Error| format!("no socket: {error}");
        let nodes = options.nodes.len();
        let users = options.publishers.max(1);
        let streams = options.streams.min(users);
        let mut lines = Lines::open(&options.nodes, OPEN_LINES, streams).map_err(say)?;
        for stream in 0..streams {
            let line = lines.stream_line(stream);
            lines.connect(line, stream % nodes).map_err(say)?;
        }
        let shun_us = vec![0; nodes];
        let agent = |number: usize, stream: Option<usize>, datagrams: usize| Agent {
            line: stream.map_or(datagrams, |stream| lines.stream_line(stream)),
            home: stream.unwrap_or(number) % nodes,
            shun_us: shun_us.clone(),
            ..Agent::default()
        };
        let publishers = (0..users)
            .map(|user| Publisher {
                agent: agent(user, (user < streams).then_some(user), user % nodes),
                ..Publisher::default()
            })
            .collect();
        let watchers: Vec<Watcher> = (0..options.watchers)
            .map(|number| {
                let stream = (number < streams * WATCHERS_PER_STREAM).then(|| number % streams);
                // The watchers of one user are at all nodes.
                let home = number + number / users;
                Watcher {
                    agent: agent(home, stream, lines.open_line(number)),
                    user: number % users,
                    ..Watcher::default()
                }
            })
            .collect();
        let mut watchers_of = vec![Vec::new(); users];
        for (number, watcher) in watchers.iter().enumerate() {
            watchers_of[watcher.user].push(number);
        }
        let now = now_us();
        Ok(Load {
            options: options.clone(),
            common: Common {
                domain: options.domain.clone(),
                run: std::process::id(),
            },
            lines,
            publishers,
            witness: Witness::of(watchers.len()),
            watchers,
            watchers_of,
            fetches: HashMap::new(),
            next_fetch: 0,
            next_publisher: 0,
            shards: Vec::new(),
            due: BinaryHeap::new(),
            todo: VecDeque::new(),
            in_flight: 0,
            reconnect: BTreeMap::new(),
            behind: Vec::new(),
            phases: Phases::begin("set up", now),
            counts: Counts::default(),
            begin_us: now,
            seen_us: now,
        })
    }

    /// Sets up, loads until told to stop, settles, checks, reports.
    pub fn run(mut self, orders: &Receiver<Result<Order, String>>) -> Result<(), String> {
        for user in 0..self.publishers.len() {
            let publish = Ask::Publish {
                tag: None,
                state: 1,
            };
            self.todo.push_back((Who::Publisher(user), publish));
        }
        for watcher in 0..self.watchers.len() {
            let subscribe = Ask::Subscribe {
                to_tag: None,
                expires: 3_600,
            };
            self.todo.push_back((Who::Watcher(watcher), subscribe));
        }
        self.work_off();
        let unwatched = self.watchers.iter().filter(|one| one.to_tag.is_none());
        let unwatched = unwatched.count();
        if unwatched > 0 || self.counts.acknowledged < self.publishers.len() as u64 {
            return Err(format!(
                "the pool was not ready: {} of {} publications and {} of {} subscriptions were accepted",
                self.counts.acknowledged,
                self.publishers.len(),
                self.watchers.len() - unwatched,
                self.watchers.len()
            ));
        }
        println!("ready");
        self.phases.mark("calm", now_us(), Vec::new());
        self.load(orders)?;
        self.phases.mark("settle", now_us(), Vec::new());
        self.settle();
        self.report()
    }

    /// The load itself, until told to stop.
    fn load(&mut self, orders: &Receiver<Result<Order, String>>) -> Result<(), String> {
        let every = |rate: u32| 1_000_000 / u64::from(rate.max(1));
        let begin = now_us();
        let (mut next_publish, mut next_fetch) = (begin, begin);
        loop {
            let now = now_us();
            while next_publish <= now && self.options.rate > 0 {
                next_publish += every(self.options.rate);
                self.publish_next(now);
            }
            while next_fetch <= now && self.options.fetches > 0 {
                next_fetch += every(self.options.fetches);
                let fetch = Ask::Subscribe {
                    to_tag: None,
                    expires: 0,
                };
                let number = self.next_fetch;
                self.next_fetch += 1;
                self.ask(Who::Fetch(number), fetch, now);
            }
            self.turn();
            loop {
                match orders.try_recv() {
                    Ok(Ok(Order::Mark {
                        mark,
                        at_us,
                        shards,
                    })) => self.phases.mark(&mark, at_us, shards),
                    Ok(Ok(Order::Shards { shard_of })) => self.shards = shard_of,
                    Ok(Ok(Order::Stop { stop: true })) | Err(TryRecvError::Disconnected) => {
                        return Ok(());
                    }
                    Ok(Ok(Order::Stop { stop: false })) => {}
                    Ok(Err(error)) => return Err(format!("an order that is none: {error}")),
                    Err(TryRecvError::Empty) => break,
                }
            }
        }
    }

    /// The next publisher who waits for nothing publishes its next state.
    fn publish_next(&mut self, now: u64) {
        let users = self.publishers.len();
        for _ in 0..users {
            let user = self.next_publisher;
            self.next_publisher = (user + 1) % users;
            let publisher = &self.publishers[user];
            if publisher.agent.pending.is_none() {
                let publish = Ask::Publish {
                    tag: publisher.tag.clone(),
                    state: publisher.sent + 1,
                };
                self.ask(Who::Publisher(user), publish, now);
                return;
            }
        }
        self.counts.held_back += 1;
    }

    fn agent(&mut self, who: Who) -> Option<&mut Agent> {
        match who {
            Who::Publisher(number) => Some(&mut self.publishers.get_mut(number)?.agent),
            Who::Watcher(number) => Some(&mut self.watchers.get_mut(number)?.agent),
            Who::Fetch(number) => self.fetches.get_mut(&number),
        }
    }

    /// Somebody asks something new.
    fn ask(&mut self, who: Who, ask: Ask, now: u64) {
        let users = self.publishers.len();
        let user = match who {
            Who::Publisher(user) => {
                let publisher = &mut self.publishers[user];
                if let Ask::Publish { state, .. } = ask {
                    publisher.sent = state;
                    publisher.sent_us.push_back((state, now));
                    if publisher.sent_us.len() > 8 {
                        publisher.sent_us.pop_front();
                    }
                    self.counts.published += 1;
                }
                user
            }
            Who::Watcher(watcher) => self.watchers[watcher].user,
            Who::Fetch(number) => {
                let nodes = self.options.nodes.len();
                let fetcher = Agent {
                    line: self.lines.open_line(number),
                    home: number % nodes,
                    shun_us: vec![0; nodes],
                    ..Agent::default()
                };
                self.fetches.insert(number, fetcher);
                // A step that meets every user, and not those of one node only.
                (number * 7_919) % users
            }
        };
        let Some(agent) = self.agent(who) else { return };
        agent.cseq += 1;
        let pending = Pending {
            request: Request {
                who,
                user,
                cseq: agent.cseq,
                ask,
            },
            line: agent.line,
            node: agent.home,
            attempt: 0,
            first_us: now,
            asked_us: now,
            interval_us: T1_US,
            due_us: 0,
            parked: true,
            accepted: false,
        };
        agent.pending = Some(pending);
        self.in_flight += 1;
        self.try_node(who, now);
    }

    /// Sends what somebody waits with to the node that is to be asked now, or waits until one may be.
    fn try_node(&mut self, who: Who, now: u64) {
        let Some(agent) = self.agent(who) else { return };
        let nodes = agent.shun_us.len();
        let order = (0..nodes).map(|step| (agent.home + step) % nodes);
        let Some(best) = order.min_by_key(|node| agent.shun_us[*node].max(now)) else {
            return;
        };
        let (line, until) = (agent.line, agent.shun_us[best]);
        let stream_node = self.lines.stream_node(line);
        let is_stream = self.lines.is_stream(line);
        let silence_us = self.options.silence_ms * 1_000;
        let Some(pending) = self.agent(who).and_then(|agent| agent.pending.as_mut()) else {
            return;
        };
        pending.attempt += 1;
        pending.asked_us = now;
        pending.interval_us = T1_US;
        pending.parked = until > now;
        if pending.parked {
            pending.due_us = until;
        } else if is_stream {
            // A stream goes where it goes; when it breaks this is called again.
            pending.node = stream_node.unwrap_or(best);
            pending.due_us = now + silence_us;
        } else {
            pending.node = best;
            pending.due_us = now + T1_US;
            if line < nodes {
                // Publishers have a line to each node.
                pending.line = best;
            }
        }
        let (due_us, parked) = (pending.due_us, pending.parked);
        let (kind, number) = key(who);
        self.due.push(Reverse((due_us, kind, number)));
        if !parked {
            self.transmit(who);
        }
    }

    fn transmit(&mut self, who: Who) {
        let common = self.common.clone();
        let Some(pending) = self.agent(who).and_then(|agent| agent.pending.clone()) else {
            return;
        };
        let via = self.lines.via(pending.line);
        let text = message::write(&common, &pending.request, via, pending.attempt);
        self.lines.send(pending.line, pending.node, text.as_bytes());
    }

    /// One look at everything.
    fn turn(&mut self) {
        let mut events = Vec::new();
        self.lines.wait(Duration::from_millis(2), &mut events);
        let now = now_us();
        self.counts.own_stall_us = self.counts.own_stall_us.max(now - self.seen_us);
        self.seen_us = now;
        let mut refused = BTreeSet::new();
        for event in events {
            match event {
                Event::Came(came) => self.take(came, now),
                Event::Refused(line) => {
                    refused.insert(line);
                }
                Event::Broken(line) => {
                    self.reconnect.insert(line, now);
                }
            }
        }
        for node in refused {
            self.refused(node, now);
        }
        self.open_again(now);
        while let Some(Reverse((due_us, kind, number))) = self.due.peek().copied() {
            if due_us > now {
                break;
            }
            self.due.pop();
            self.overdue(who((kind, number)), due_us, now);
        }
    }

    /// A date has come: repeat, ask another node, or give up.
    fn overdue(&mut self, who: Who, due_us: u64, now: u64) {
        let (silence, give_up) = (
            self.options.silence_ms * 1_000,
            self.options.give_up_ms * 1_000,
        );
        let Some(agent) = self.agent(who) else { return };
        let Some(pending) = agent.pending.as_mut().filter(|it| it.due_us == due_us) else {
            return;
        };
        if now - pending.first_us >= give_up {
            let reason = if pending.accepted {
                "accepted, but no document"
            } else if pending.parked {
                "refused by every node"
            } else {
                "no answer"
            };
            self.failed(who, reason, true);
            return;
        }
        if pending.parked {
            self.try_node(who, now);
            return;
        }
        if now - pending.asked_us >= silence {
            let (node, line) = (pending.node, pending.line);
            agent.shun_us[node] = now + SHUN_SILENT_US;
            *self.counts.retried.entry("silence").or_default() += 1;
            if self.lines.is_stream(line) {
                self.lines.close(line);
                self.reconnect.insert(line, now);
            } else {
                self.try_node(who, now);
            }
            return;
        }
        pending.interval_us = (pending.interval_us * 2).min(T2_US);
        pending.due_us = (now + pending.interval_us).min(pending.asked_us + silence);
        let due_us = pending.due_us;
        let (kind, number) = key(who);
        self.due.push(Reverse((due_us, kind, number)));
        *self.counts.retried.entry("repeated").or_default() += 1;
        self.transmit(who);
    }

    /// The system says that a node does not listen: whoever waits for it there asks the next.
    fn refused(&mut self, node: usize, now: u64) {
        for user in 0..self.publishers.len() {
            let agent = &mut self.publishers[user].agent;
            let waits = agent
                .pending
                .as_ref()
                .is_some_and(|pending| pending.line == node && !pending.parked);
            if waits {
                agent.shun_us[node] = now + SHUN_REFUSED_US;
                *self.counts.retried.entry("refused").or_default() += 1;
                self.try_node(Who::Publisher(user), now);
            }
        }
    }

    /// Streams that broke are opened again, to the next node; who used them goes on there.
    fn open_again(&mut self, now: u64) {
        let due: Vec<usize> = self
            .reconnect
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(line, _)| *line)
            .collect();
        for line in due {
            self.reconnect.remove(&line);
            self.counts.reconnected += 1;
            let stream = line - self.lines.stream_line(0);
            let nodes = self.options.nodes.len();
            let agent = &mut self.publishers[stream].agent;
            agent.home = (agent.home + 1) % nodes;
            let node = agent.home;
            agent.shun_us = vec![0; nodes];
            // A refusal comes back as a broken stream, so a pause is needed somewhere.
            if self.lines.connect(line, node).is_err() {
                self.reconnect.insert(line, now + RECONNECT_US);
                continue;
            }
            for watcher in 0..self
                .watchers
                .len()
                .min(self.streams() * WATCHERS_PER_STREAM)
            {
                if self.watchers[watcher].agent.line == line {
                    self.watchers[watcher].agent.home = node;
                    self.watchers[watcher].homeless = true;
                }
            }
            if self.publishers[stream].agent.pending.is_some() {
                *self.counts.retried.entry("stream").or_default() += 1;
                self.try_node(Who::Publisher(stream), now);
            }
            self.come_home(line, now);
        }
    }

    fn streams(&self) -> usize {
        self.options.streams.min(self.publishers.len())
    }

    /// Watchers whose stream is new refresh their dialogs on it.
    fn come_home(&mut self, line: usize, now: u64) {
        for watcher in 0..self
            .watchers
            .len()
            .min(self.streams() * WATCHERS_PER_STREAM)
        {
            let one = &mut self.watchers[watcher];
            if one.agent.line != line || !one.homeless {
                continue;
            }
            // What waits on the old stream is over, as after a 503 (RFC 3261 8.1.3.1); the Contact is another
            // one now, so this is a new request.
            if one.agent.pending.take().is_some() {
                self.in_flight -= 1;
            }
            let one = &mut self.watchers[watcher];
            if one.to_tag.is_some() {
                one.homeless = false;
                let refresh = Ask::Subscribe {
                    to_tag: one.to_tag.clone(),
                    expires: 3_600,
                };
                self.ask(Who::Watcher(watcher), refresh, now);
            }
        }
    }

    fn take(&mut self, came: Came, now: u64) {
        match Message::parse(came.bytes.clone()) {
            Ok(Message::Request(request)) => {
                let reply = Reply::new(&request, StatusCode::OK, Some("agent")).finish();
                self.lines.send_to(came.line, came.from, &reply);
                self.notified(&request, now);
            }
            Ok(Message::Response(response)) => {
                if response.status().is_final() {
                    self.answered(&response, now);
                }
            }
            Err(refused) => self
                .witness
                .faults
                .add("a message that cannot be read", refused.error.to_string()),
        }
    }

    fn published(&self, user: usize) -> Published {
        let publisher = &self.publishers[user];
        Published {
            newest: publisher.sent,
            at_most: 1 + publisher.doubts,
        }
    }

    fn notified(&mut self, notify: &Incoming, now: u64) {
        self.counts.notified += 1;
        let states = message::states_of(notify.body());
        match Who::of(notify.call_id(), self.common.run) {
            Some(Who::Watcher(watcher)) if watcher < self.watchers.len() => {
                let user = self.watchers[watcher].user;
                let published = self.published(user);
                let news = self
                    .witness
                    .notified(watcher, notify.cseq(), &states, published);
                match news {
                    News::State(state) => self.told(watcher, user, state, now),
                    News::Known => self.counts.known += 1,
                    News::Again => self.counts.again += 1,
                    News::Late => self.counts.late += 1,
                }
                let over = notify
                    .header(Name::SubscriptionState)
                    .is_some_and(|state| state.starts_with("terminated"));
                let dialog = &mut self.witness.dialogs[watcher];
                if over && !dialog.ended {
                    dialog.ended = true;
                    let example = format!("watcher {watcher} of u{user}");
                    self.witness.faults.add("a dialog that ended", example);
                }
            }
            Some(Who::Fetch(number)) => {
                // One that was asked of two nodes is told twice; the first counts.
                let Some(fetcher) = self.fetches.remove(&number) else {
                    return;
                };
                let Some(pending) = fetcher.pending else {
                    return;
                };
                self.in_flight -= 1;
                let user = pending.request.user;
                let published = self.published(user);
                let value = self.witness.judge("a fetch", &states, published);
                self.counts.fetched += 1;
                self.phases.add(Kind::Fetch, pending.first_us, now);
                self.publishers[user].history.push(Operation {
                    deed: Deed::Read(value),
                    begin_us: pending.first_us,
                    end_us: Some(now),
                });
            }
            _ => self.witness.faults.add(
                "a NOTIFY for no dialog of ours",
                notify.call_id().to_owned(),
            ),
        }
    }

    fn told(&mut self, watcher: usize, user: usize, state: u64, now: u64) {
        let sent_us = &self.publishers[user].sent_us;
        if let Some((_, begin)) = sent_us.iter().find(|(sent, _)| *sent == state) {
            self.phases.add(Kind::Notify, *begin, now);
        }
        self.phases.told(watcher, user, state, now);
    }

    fn answered(&mut self, response: &Response, now: u64) {
        let Some(who) = Who::of(response.call_id(), self.common.run) else {
            return;
        };
        let (cseq, _) = response.cseq();
        let tag = response.header(Name::SipETag);
        let success = response.status().is_success();
        let waits = self
            .agent(who)
            .and_then(|agent| agent.pending.as_ref())
            .is_some_and(|pending| pending.request.cseq == cseq);
        if !waits {
            if let (Who::Publisher(user), true, Some(tag)) = (who, success, tag) {
                self.witness.answered_again(user, cseq, tag);
            }
            return;
        }
        if success {
            self.accepted(who, response, now);
            return;
        }
        match (response.status().number(), who) {
            // RFC 3261 21.5.4: a server that has no time is left alone for as long as it says, and another is asked.
            (503, _) => {
                let pause = response
                    .header(Name::RetryAfter)
                    .and_then(|value| value.split([' ', ';', '(']).next()?.parse::<u64>().ok())
                    .map_or(SHUN_BUSY_US, |seconds| seconds * 1_000_000);
                *self.counts.retried.entry("503").or_default() += 1;
                let Some(agent) = self.agent(who) else { return };
                let Some(node) = agent.pending.as_ref().map(|pending| pending.node) else {
                    return;
                };
                agent.shun_us[node] = now + pause;
                self.try_node(who, now);
            }
            // RFC 3903 4.1: who hears 412 publishes anew.
            (412, Who::Publisher(user)) => {
                if self.publishers[user].doubts == 0 {
                    let example = format!("u{user}: 412 for the tag of its last 200");
                    self.witness
                        .faults
                        .add("an acknowledged publication that is lost", example);
                }
                self.publishers[user].tag = None;
                self.publishers[user].doubts += 1;
                self.failed(who, "412", false);
            }
            (number, _) => self.failed(who, &number.to_string(), true),
        }
    }

    fn accepted(&mut self, who: Who, response: &Response, now: u64) {
        match who {
            Who::Fetch(number) => {
                // The document is what is asked for; the repetition of the request ends here.
                let give_up = self.options.give_up_ms * 1_000;
                if let Some(pending) = self
                    .fetches
                    .get_mut(&number)
                    .and_then(|agent| agent.pending.as_mut())
                    .filter(|pending| !pending.accepted)
                {
                    pending.accepted = true;
                    pending.due_us = pending.first_us + give_up;
                    let due_us = pending.due_us;
                    self.due.push(Reverse((due_us, 2, number)));
                }
            }
            Who::Watcher(watcher) => {
                let one = &mut self.watchers[watcher];
                one.agent.pending = None;
                self.in_flight -= 1;
                if let Some(tag) = response.to_tag() {
                    one.to_tag = Some(tag.to_owned());
                }
                let line = one.agent.line;
                if one.homeless && self.lines.stream_node(line).is_some() {
                    one.homeless = false;
                }
            }
            Who::Publisher(user) => {
                let publisher = &mut self.publishers[user];
                let Some(pending) = publisher.agent.pending.take() else {
                    return;
                };
                self.in_flight -= 1;
                let Some(tag) = response.header(Name::SipETag) else {
                    let example = format!("u{user}, CSeq {}", pending.request.cseq);
                    self.witness.faults.add("a 200 without a tag", example);
                    return;
                };
                self.witness.tagged(user, pending.request.cseq, tag);
                let publisher = &mut self.publishers[user];
                publisher.tag = Some(tag.to_owned());
                let Ask::Publish { state, .. } = pending.request.ask else {
                    return;
                };
                publisher.state = state;
                publisher.history.push(Operation {
                    deed: Deed::Write(state),
                    begin_us: pending.first_us,
                    end_us: Some(now),
                });
                self.counts.acknowledged += 1;
                self.phases.add(Kind::Publish, pending.first_us, now);
                let Some(shard) = self.shards.get(user) else {
                    return;
                };
                let (watchers, dialogs) = (&self.watchers_of[user], &self.witness.dialogs);
                self.phases
                    .published(*shard, (pending.first_us, now), (user, state), || {
                        let untold = |watcher: &&usize| dialogs[**watcher].state < state;
                        watchers.iter().filter(untold).copied().collect()
                    });
            }
        }
    }

    /// A request has failed for good. `unknown`: it may have had its effect, or may have it yet.
    fn failed(&mut self, who: Who, reason: &str, unknown: bool) {
        let Some(pending) = self.agent(who).and_then(|agent| agent.pending.take()) else {
            return;
        };
        self.in_flight -= 1;
        let what = match (who, &pending.request.ask) {
            (Who::Publisher(_), Ask::Refresh { .. }) => "refresh",
            (Who::Publisher(_), _) => "publish",
            (Who::Watcher(_), _) => "subscribe",
            (Who::Fetch(_), _) => "fetch",
        };
        let name = format!("{what}: {reason}");
        *self.counts.failed.entry(name).or_default() += 1;
        match (who, pending.request.ask) {
            (Who::Publisher(user), Ask::Publish { state, .. }) if unknown => {
                let publisher = &mut self.publishers[user];
                publisher.history.push(Operation {
                    deed: Deed::Write(state),
                    begin_us: pending.first_us,
                    end_us: None,
                });
                // Its tag may be a new one that nobody was told: begin beside it.
                publisher.tag = None;
                publisher.doubts += 1;
            }
            (Who::Publisher(user), Ask::Refresh { .. }) => {
                let example = format!("u{user}: {reason}");
                self.witness
                    .faults
                    .add("an acknowledged publication that is lost", example);
            }
            (Who::Watcher(watcher), Ask::Subscribe { to_tag, .. }) => {
                if to_tag.is_some() {
                    let example = format!("watcher {watcher}: {reason}");
                    self.witness.faults.add("a dialog that is gone", example);
                }
            }
            (Who::Fetch(number), _) => {
                self.fetches.remove(&number);
            }
            (Who::Publisher(_), _)
            | (Who::Watcher(_), Ask::Publish { .. } | Ask::Refresh { .. }) => {}
        }
    }

    /// Asks everything that is to be asked, so many at a time.
    fn work_off(&mut self) {
        while !self.todo.is_empty() || self.in_flight > 0 {
            while self.in_flight < WINDOW {
                let Some((who, ask)) = self.todo.pop_front() else {
                    break;
                };
                self.ask(who, ask, now_us());
            }
            self.turn();
        }
    }

    /// Waits until what was begun has ended and everybody was told, and looks whether all is there.
    fn settle(&mut self) {
        self.work_off();
        let until = now_us() + SETTLE_US;
        let behind = |load: &Load| {
            let untold = |watcher: &usize| {
                let state = load.publishers[load.watchers[*watcher].user].state;
                load.witness.dialogs[*watcher].state < state
            };
            (0..load.watchers.len()).filter(untold).collect::<Vec<_>>()
        };
        while now_us() < until && !behind(self).is_empty() {
            for _ in 0..20 {
                self.turn();
            }
        }
        for watcher in behind(self) {
            self.behind.push(watcher);
            let user = self.watchers[watcher].user;
            let example = format!(
                "watcher {watcher} of u{user} (line {}): told of {}, published {}",
                self.watchers[watcher].agent.line,
                self.witness.dialogs[watcher].state,
                self.publishers[user].state
            );
            self.witness
                .faults
                .add("a watcher without the last publication", example);
        }
        // As many fetches as users meet every user.
        for _ in 0..self.publishers.len() {
            let fetch = Ask::Subscribe {
                to_tag: None,
                expires: 0,
            };
            let number = self.next_fetch;
            self.next_fetch += 1;
            self.todo.push_back((Who::Fetch(number), fetch));
        }
        for user in 0..self.publishers.len() {
            if let Some(tag) = self.publishers[user].tag.clone() {
                self.todo
                    .push_back((Who::Publisher(user), Ask::Refresh { tag }));
            }
        }
        for watcher in 0..self.watchers.len() {
            let refresh = Ask::Subscribe {
                to_tag: self.watchers[watcher].to_tag.clone(),
                expires: 3_600,
            };
            self.todo.push_back((Who::Watcher(watcher), refresh));
        }
        self.work_off();
    }

    /// Checks the histories, writes what is wanted, and says whether all is well.
    fn report(mut self) -> Result<(), String> {
        let (mut judged, mut operations, mut unjudged) = (0, 0, 0);
        for (user, publisher) in self.publishers.iter().enumerate() {
            // Two publications side by side are no register any more.
            if publisher.doubts > 0 {
                unjudged += 1;
                continue;
            }
            judged += 1;
            operations += publisher.history.len();
            if let Err(why) = linear::check(&publisher.history) {
                self.witness.faults.add(
                    "a history that is not linearizable",
                    format!("u{user}: {why}"),
                );
            }
        }
        let faults: Vec<Value> = self
            .witness
            .faults
            .each()
            .map(
                |(name, count, example)| json!({"fault": name, "count": count, "example": example}),
            )
            .collect();
        let counts = &self.counts;
        let behind: Vec<Value> = self
            .behind
            .iter()
            .map(|number| {
                let watcher = &self.watchers[*number];
                json!({"watcher": number, "user": watcher.user, "line": watcher.agent.line, "home": watcher.agent.home})
            })
            .collect();
        let report = json!({
            "publications": {"sent": counts.published, "acknowledged": counts.acknowledged, "held_back": counts.held_back},
            "fetches": counts.fetched,
            "notifications": {"received": counts.notified, "told_again": counts.known, "repeated": counts.again, "overtaken": counts.late},
            "failed": counts.failed,
            "retried": counts.retried,
            "reconnected": counts.reconnected,
            "linearizability": {"users": judged, "operations": operations, "not_judged": unjudged},
            "phases": self.phases.show(self.begin_us),
            "faults": faults,
            "behind": behind,
            "own_stall_ms": counts.own_stall_us as f64 / 1_000.0,
        });
        let failed = |path: &std::path::Path, error: std::io::Error| {
            format!("{} cannot be written: {error}", path.display())
        };
        if let Some(path) = &self.options.history {
            self.write_history(path)
                .map_err(|error| failed(path, error))?;
        }
        if let Some(path) = &self.options.json {
            std::fs::write(path, format!("{report:#}\n")).map_err(|error| failed(path, error))?;
        } else {
            println!("{report:#}");
        }
        self.witness.faults.verdict()
    }

    fn write_history(&self, path: &std::path::Path) -> std::io::Result<()> {
        let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
        for (user, publisher) in self.publishers.iter().enumerate() {
            for operation in &publisher.history {
                let (what, value) = match operation.deed {
                    Deed::Write(value) => ("publish", value),
                    Deed::Read(value) => ("fetch", value),
                };
                let (begin, end) = (operation.begin_us, operation.end_us);
                let line = json!({"user": user, "what": what, "state": value, "begin_us": begin, "end_us": end});
                writeln!(out, "{line}")?;
            }
        }
        out.flush()
    }
}
