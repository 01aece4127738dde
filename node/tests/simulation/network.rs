//! The network: links between nodes, and datagrams between telephones and nodes.
//!
//! A link is what TCP makes of it: in order, once, delayed while the way is blocked, broken when it is blocked
//! for long or an end is gone; then what was on its way is lost, all of it or its end. A datagram may be lost,
//! come twice, late, or before an earlier one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use node::peer::NodeNumber;
use node::peer::link::{Class, LinkError};
use node::peer::mesh::{Carry, Opening, Road};
use tokio::sync::{mpsc, oneshot};

use crate::chance::Chance;
use crate::mistakes::{Mistake, Tampering};

/// How long a way may be blocked before its links break, in milliseconds: as `peer::link` has it.
const SILENCE_MS: u64 = 3_000;

/// What the network does of itself.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Longest delay of a frame.
    pub link_ms: u64,
    /// Longest delay of a datagram.
    pub datagram_ms: u64,
    /// Percentage of datagrams that are lost.
    pub lost: u64,
    /// Percentage of datagrams that come twice.
    pub twice: u64,
}

/// The lives of a node, counted; what belongs to an earlier one finds nobody.
pub type Life = u64;

struct Link {
    class: Class,
    from: (NodeNumber, Life),
    to: (NodeNumber, Life),
    queue: VecDeque<(u64, Bytes)>,
    /// Dropped when the link breaks.
    open: Option<oneshot::Sender<()>>,
    blocked_since: Option<u64>,
}

/// A frame that arrives.
pub struct Arrival {
    pub class: Class,
    pub from: NodeNumber,
    pub to: NodeNumber,
    pub frame: Bytes,
}

/// A datagram that arrives.
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Bytes,
}

/// All links and ways.
pub struct Net {
    pub now_ms: u64,
    pub weather: Weather,
    chance: Chance,
    /// Which life each node is in; nothing for one that is down.
    pub lives: BTreeMap<NodeNumber, Life>,
    /// Nodes that stand still: what is sent to them waits.
    pub paused: BTreeSet<NodeNumber>,
    /// Ways that nothing passes, from and to.
    pub blocked: BTreeSet<(NodeNumber, NodeNumber)>,
    /// Nodes that no telephone reaches.
    pub deaf: BTreeSet<NodeNumber>,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    air: BTreeMap<(u64, u64), Datagram>,
    next_datagram: u64,
    pub tampering: Tampering,
}

impl Net {
    pub fn new(chance: Chance, weather: Weather, mistake: Option<Mistake>) -> Net {
        Net {
            now_ms: 0,
            weather,
            chance,
            lives: BTreeMap::new(),
            paused: BTreeSet::new(),
            blocked: BTreeSet::new(),
            deaf: BTreeSet::new(),
            links: BTreeMap::new(),
            next_link: 0,
            air: BTreeMap::new(),
            next_datagram: 0,
            tampering: Tampering::new(mistake),
        }
    }

    fn passes(&self, from: NodeNumber, to: NodeNumber) -> bool {
        !self.blocked.contains(&(from, to))
    }

    /// Opens a link, if both ends are there and hear each other.
    fn dial(
        &mut self,
        class: Class,
        from: (NodeNumber, Life),
        to: NodeNumber,
    ) -> Result<(u64, oneshot::Receiver<()>), LinkError> {
        let there = self.lives.get(&to).copied();
        let there = there.filter(|_| !self.paused.contains(&to));
        let Some(life) = there else {
            return Err(LinkError::Io(std::io::ErrorKind::ConnectionRefused.into()));
        };
        if self.lives.get(&from.0) != Some(&from.1)
            || !self.passes(from.0, to)
            || !self.passes(to, from.0)
        {
            return Err(LinkError::Late);
        }
        self.next_link += 1;
        let (open, closed) = oneshot::channel();
        let link = Link {
            class,
            from,
            to: (to, life),
            queue: VecDeque::new(),
            open: Some(open),
            blocked_since: None,
        };
        self.links.insert(self.next_link, link);
        Ok((self.next_link, closed))
    }

    fn push(&mut self, number: u64, frame: Bytes) {
        let delay_ms = self.chance.below(self.weather.link_ms + 1);
        let Some(link) = self.links.get_mut(&number) else {
            return;
        };
        let last = link.queue.back().map_or(0, |(at, _)| *at);
        link.queue
            .push_back((last.max(self.now_ms + delay_ms), frame));
    }

    /// Links of a node that is gone: what it had sent may arrive in part.
    pub fn gone(&mut self, node: NodeNumber) {
        for link in self.links.values_mut() {
            if link.from.0 == node {
                let keep = self.chance.below(link.queue.len() as u64 + 1) as usize;
                link.queue.truncate(keep);
            }
        }
    }

    /// What arrives now over links, in the order in which it does.
    pub fn frames(&mut self) -> Vec<Arrival> {
        let mut arrived = Vec::new();
        let mut over = Vec::new();
        for (number, link) in &mut self.links {
            let sender = self.lives.get(&link.from.0) == Some(&link.from.1);
            let receiver = self.lives.get(&link.to.0) == Some(&link.to.1);
            let blocked = self.blocked.contains(&(link.from.0, link.to.0))
                || self.blocked.contains(&(link.to.0, link.from.0));
            // What is sent one way is acknowledged the other way.
            link.blocked_since = blocked.then(|| link.blocked_since.unwrap_or(self.now_ms));
            let silent = link
                .blocked_since
                .is_some_and(|since| self.now_ms - since > SILENCE_MS);
            if !receiver || silent || (!sender && link.queue.is_empty()) {
                over.push(*number);
                continue;
            }
            if self.blocked.contains(&(link.from.0, link.to.0)) || self.paused.contains(&link.to.0)
            {
                continue;
            }
            while let Some((at, _)) = link.queue.front()
                && *at <= self.now_ms
                && let Some((_, frame)) = link.queue.pop_front()
            {
                arrived.push(Arrival {
                    class: link.class,
                    from: link.from.0,
                    to: link.to.0,
                    frame,
                });
            }
        }
        for number in over {
            self.links.remove(&number);
        }
        arrived
    }

    /// Somebody sends a datagram.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        if self.chance.percent(self.weather.lost) {
            return;
        }
        let copies = 1 + u64::from(self.chance.percent(self.weather.twice));
        for _ in 0..copies {
            let at = self.now_ms + 1 + self.chance.below(self.weather.datagram_ms);
            self.next_datagram += 1;
            let bytes = bytes.clone();
            self.air
                .insert((at, self.next_datagram), Datagram { from, to, bytes });
        }
    }

    /// A datagram waits in the socket of a node that stands still.
    pub fn later(&mut self, datagram: Datagram) {
        self.next_datagram += 1;
        self.air
            .insert((self.now_ms + 20, self.next_datagram), datagram);
    }

    /// What arrives now of datagrams.
    pub fn datagrams(&mut self) -> Vec<Datagram> {
        let later = self.air.split_off(&(self.now_ms + 1, 0));
        std::mem::replace(&mut self.air, later)
            .into_values()
            .collect()
    }

    /// Nothing is blocked any more.
    pub fn heal(&mut self) {
        self.blocked.clear();
        self.deaf.clear();
    }
}

/// The network, for those who use it from within a node.
#[derive(Clone)]
pub struct Network(Arc<Mutex<Net>>);

impl Network {
    pub fn new(net: Net) -> Network {
        Network(Arc::new(Mutex::new(net)))
    }

    pub fn lock(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way of one life of a node to the others.
pub struct Way {
    pub network: Network,
    pub node: NodeNumber,
    pub life: Life,
}

struct OpenLink {
    network: Network,
    number: u64,
    closed: oneshot::Receiver<()>,
}

impl Road for Way {
    fn open<'r>(&'r self, class: Class, to: NodeNumber, _address: &'r str) -> Opening<'r> {
        Box::pin(async move {
            // The handshakes of TCP and TLS.
            let delay_ms = {
                let mut net = self.network.lock();
                let longest_ms = net.weather.link_ms;
                2 + net.chance.below(3 * longest_ms + 1)
            };
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            let dialled = self.network.lock().dial(class, (self.node, self.life), to);
            if matches!(dialled, Err(LinkError::Late)) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let (number, closed) = dialled?;
            let network = self.network.clone();
            Ok(Box::new(OpenLink {
                network,
                number,
                closed,
            }) as Box<dyn Carry>)
        })
    }
}

impl Carry for OpenLink {
    fn carry<'c>(
        &'c mut self,
        frames: &'c mut mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = LinkError> + Send + 'c>> {
        Box::pin(async move {
            loop {
                tokio::select! {
                    biased;
                    _ = &mut self.closed => break,
                    frame = frames.recv() => match frame {
                        Some(frame) => self.network.lock().push(self.number, frame),
                        None => break,
                    }
                }
            }
            LinkError::Io(std::io::ErrorKind::ConnectionReset.into())
        })
    }
}

impl Drop for OpenLink {
    fn drop(&mut self) {
        if let Some(link) = self.network.lock().links.get_mut(&self.number) {
            link.open = None;
        }
    }
}
