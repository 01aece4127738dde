//! Links of one class to all other nodes: opened, kept open, and given what is to be sent.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{
    AtomicBool, AtomicU16, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::NodeNumber;
use super::call::Answering;
use super::credentials::{Credentials, Proof};
use super::link::{self, Class, Hello, LinkError};

/// Frames that wait for one link. A frame is a batch of a turn, so this is seconds of traffic; what
/// does not fit is refused to the sender.
const QUEUE_MAX: usize = 8_192;

/// Frames written before the buffer is flushed.
const BATCH_MAX: usize = 256;

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// How soon a link that broke is opened again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A frame that was not sent: there is no link to this node now, or too much waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no link to node {0} now")]
pub struct NoLink(pub NodeNumber);

/// Takes what comes.
pub trait Receive: Send + Sync + 'static {
    /// A frame of a peer. Called on the mesh's runtime; must not block.
    fn frame(&self, from: NodeNumber, frame: Bytes);
    /// There is a link to a peer, from now on.
    fn linked(&self, _peer: NodeNumber) {}
    /// The link to a peer broke; frames may be lost.
    fn broken(&self, _peer: NodeNumber) {}
}

/// A link that is open: what is to be sent goes into it until it breaks.
pub trait Carry: Send {
    /// Takes frames and carries them; returns why the link broke.
    fn carry<'c>(
        &'c mut self,
        frames: &'c mut mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = LinkError> + Send + 'c>>;

    /// The version of the frames that both ends speak.
    fn version(&self) -> u16 {
        link::NEWEST
    }
}

/// A link in the making.
pub type Opening<'r> = Pin<Box<dyn Future<Output = Result<Box<dyn Carry>, LinkError>> + Send + 'r>>;

/// What links are made of: TLS over TCP in a node, something less real in a simulation.
pub trait Road: Send + Sync + 'static {
    /// Opens a link of this class to a node.
    fn open<'r>(&'r self, class: Class, to: NodeNumber, address: &'r str) -> Opening<'r>;
}

/// Links of one class to all other nodes.
#[derive(Clone)]
pub struct Mesh(Arc<Inner>);

struct Inner {
    class: Class,
    me: RwLock<Me>,
    runtime: Handle,
    peers: RwLock<HashMap<NodeNumber, Peer>>,
    receiver: Mutex<Option<Arc<dyn Receive>>>,
    counters: Counters,
    /// `None` for TLS over TCP.
    road: Option<Arc<dyn Road>>,
    begun: Instant,
}

#[derive(Clone)]
struct Me {
    hello: Hello,
    credentials: Credentials,
}

struct Peer {
    address: String,
    queue: mpsc::Sender<Bytes>,
    up: Arc<AtomicBool>,
    /// When the link came up, in milliseconds since the mesh was made.
    since_ms: Arc<AtomicU64>,
    /// The version that its other end and we speak.
    version: Arc<AtomicU16>,
    task: AbortHandle,
}

/// What a mesh has done so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames sent.
    pub frames_out: AtomicU64,
    /// Bytes in them.
    pub bytes_out: AtomicU64,
    /// Frames received.
    pub frames_in: AtomicU64,
    /// Links that broke.
    pub broken: AtomicU64,
    /// Frames that found no link.
    pub unsent: AtomicU64,
}

fn held<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

impl Mesh {
    /// A mesh without links yet, whose tasks run on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle, hello: Hello, credentials: Credentials) -> Mesh {
        Mesh::over(None, runtime, hello, credentials)
    }

    /// A mesh as [`Mesh::new`] makes it, over another road than TLS over TCP.
    #[must_use]
    pub fn over(
        road: Option<Arc<dyn Road>>,
        runtime: Handle,
        hello: Hello,
        credentials: Credentials,
    ) -> Mesh {
        Mesh(Arc::new(Inner {
            road,
            class: hello.class,
            me: RwLock::new(Me { hello, credentials }),
            runtime,
            peers: RwLock::default(),
            receiver: Mutex::default(),
            counters: Counters::default(),
            begun: Instant::now(),
        }))
    }

    /// Says who takes what comes; frames that come earlier are dropped.
    pub fn receive_with(&self, receiver: Arc<dyn Receive>) {
        *self.receiver() = Some(receiver);
    }

    fn receiver(&self) -> std::sync::MutexGuard<'_, Option<Arc<dyn Receive>>> {
        self.0
            .receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    fn me(&self) -> Me {
        held(&self.0.me).clone()
    }

    /// Proves itself with these from now on: links that are there stay.
    pub fn renew(&self, credentials: &Credentials) {
        let mut me = self.0.me.write().unwrap_or_else(PoisonError::into_inner);
        me.credentials = credentials.clone();
    }

    /// Keeps links to exactly these nodes.
    pub fn link_to(&self, wanted: &BTreeMap<NodeNumber, String>) {
        let own = self.me().hello.node;
        let mut peers = self.0.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|number, peer| {
            let stays = wanted.get(number) == Some(&peer.address);
            if !stays {
                peer.task.abort();
            }
            stays
        });
        for (number, address) in wanted {
            if *number == own || peers.contains_key(number) {
                continue;
            }
            let (queue, frames) = mpsc::channel(QUEUE_MAX);
            let up = Arc::new(AtomicBool::new(false));
            let since_ms = Arc::<AtomicU64>::default();
            let version = Arc::<AtomicU16>::default();
            let state = (Arc::clone(&up), Arc::clone(&since_ms), Arc::clone(&version));
            let keeping = self.clone().keep(*number, address.clone(), frames, state);
            let peer = Peer {
                address: address.clone(),
                queue,
                up,
                since_ms,
                version,
                task: self.0.runtime.spawn(keeping).abort_handle(),
            };
            peers.insert(*number, peer);
        }
    }

    /// Whether there is no node to keep a link to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        held(&self.0.peers).is_empty()
    }

    /// Whether there is a link to a node now.
    #[must_use]
    pub fn is_up(&self, to: NodeNumber) -> bool {
        held(&self.0.peers)
            .get(&to)
            .is_some_and(|peer| peer.up.load(Acquire))
    }

    /// The version that a node speaks with us; 0 where there is no link to it.
    #[must_use]
    pub fn speaks(&self, to: NodeNumber) -> u16 {
        let peers = held(&self.0.peers);
        let peer = peers.get(&to).filter(|peer| peer.up.load(Acquire));
        peer.map_or(0, |peer| peer.version.load(Relaxed))
    }

    /// For how long there has been a link to a node.
    #[must_use]
    pub fn up_for(&self, to: NodeNumber) -> Option<Duration> {
        let peers = held(&self.0.peers);
        let peer = peers.get(&to).filter(|peer| peer.up.load(Acquire))?;
        let since = Duration::from_millis(peer.since_ms.load(Relaxed));
        Some(self.0.begun.elapsed().saturating_sub(since))
    }

    /// Sends a frame, in the order of the calls. That it was taken does not say that it will arrive.
    ///
    /// # Errors
    /// [`NoLink`]; the frame is dropped.
    pub fn send(&self, to: NodeNumber, frame: Bytes) -> Result<(), NoLink> {
        let peers = held(&self.0.peers);
        let sent = peers
            .get(&to)
            .filter(|peer| peer.up.load(Acquire))
            .is_some_and(|peer| peer.queue.try_send(frame).is_ok());
        if sent {
            Ok(())
        } else {
            self.0.counters.unsent.fetch_add(1, Relaxed);
            Err(NoLink(to))
        }
    }

    /// Opens the link to a node, again and again, and writes what is to be sent.
    async fn keep(
        self,
        number: NodeNumber,
        address: String,
        mut frames: mpsc::Receiver<Bytes>,
        (up, since_ms, version): (Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU16>),
    ) {
        let mut wait = AGAIN.0;
        let mut told = String::new();
        loop {
            match self.open(number, &address).await {
                Ok(mut link) => {
                    tracing::info!(node = number, %address, class = ?self.0.class, "linked");
                    (wait, told) = (AGAIN.0, String::new());
                    // What was meant for the link before is stale.
                    while frames.try_recv().is_ok() {}
                    since_ms.store(self.0.begun.elapsed().as_millis() as u64, Relaxed);
                    version.store(link.version(), Relaxed);
                    up.store(true, Release);
                    let receiver = self.receiver().clone();
                    if let Some(receiver) = receiver {
                        receiver.linked(number);
                    }
                    let error = link.carry(&mut frames).await;
                    up.store(false, Release);
                    self.0.counters.broken.fetch_add(1, Relaxed);
                    tracing::warn!(node = number, class = ?self.0.class, %error, "the link broke");
                    let receiver = self.receiver().clone();
                    if let Some(receiver) = receiver {
                        receiver.broken(number);
                    }
                }
                Err(error) => {
                    // A node that is down is told of once.
                    let text = error.to_string();
                    if text != told {
                        tracing::warn!(node = number, %address, class = ?self.0.class, %error, "no link");
                        told = text;
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(AGAIN.1);
        }
    }

    async fn open(&self, number: NodeNumber, address: &str) -> Result<Box<dyn Carry>, LinkError> {
        if let Some(road) = &self.0.road {
            return road.open(self.0.class, number, address).await;
        }
        let me = self.me();
        let (stream, _, version) = link::open(address, number, &me.hello, &me.credentials).await?;
        let mesh = self.clone();
        Ok(Box::new(Encrypted {
            mesh,
            version,
            stream: Some(stream),
        }))
    }

    /// A frame came from a node that has proved who it is.
    pub fn arrived(&self, from: NodeNumber, frame: Bytes) {
        self.0.counters.frames_in.fetch_add(1, Relaxed);
        let receiver = self.receiver().clone();
        if let Some(receiver) = receiver {
            receiver.frame(from, frame);
        }
    }

    /// Writes until the link breaks.
    async fn write(&self, stream: link::Outgoing, frames: &mut mpsc::Receiver<Bytes>) -> LinkError {
        let (mut read, write) = tokio::io::split(stream);
        let mut write = BufWriter::with_capacity(BUFFER_BYTES, write);
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                // The other end never sends: whatever is read is the end.
                ended = read.read_u8() => {
                    return match ended {
                        Ok(_) => LinkError::Stranger("it speaks out of turn".to_owned()),
                        Err(error) => error.into(),
                    };
                }
                taken = frames.recv_many(&mut batch, BATCH_MAX) => {
                    if taken == 0 {
                        return LinkError::Io(std::io::ErrorKind::ConnectionAborted.into());
                    }
                }
            }
            for frame in batch.drain(..) {
                self.0.counters.frames_out.fetch_add(1, Relaxed);
                self.0
                    .counters
                    .bytes_out
                    .fetch_add(frame.len() as u64, Relaxed);
                if let Err(error) = link::write_frame(&mut write, &frame).await {
                    return error.into();
                }
            }
            if let Err(error) = write.flush().await {
                return error.into();
            }
        }
    }

    /// Takes a link that somebody opened; call on the mesh's runtime.
    async fn take(self, stream: TcpStream) {
        let me = self.me();
        let from = stream.peer_addr();
        let address_of = |node: NodeNumber| {
            let peers = held(&self.0.peers);
            peers.get(&node).map(|peer| peer.address.clone())
        };
        let accepted = link::accept(stream, &me.hello, &me.credentials, address_of).await;
        let (stream, theirs) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(?from, %error, "a link was refused");
                return;
            }
        };
        let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
        while let Ok(frame) = link::read_frame(&mut stream).await {
            self.arrived(theirs.node, frame);
        }
    }

    /// Hands a connection over to the runtime of this mesh.
    fn adopt(&self, stream: std::net::TcpStream) {
        let mesh = self.clone();
        self.0.runtime.spawn(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => mesh.take(stream).await,
                Err(error) => tracing::warn!(%error, "a link cannot be taken"),
            }
        });
    }
}

/// A link over TLS and TCP.
struct Encrypted {
    mesh: Mesh,
    /// Gone once it was written to the end.
    stream: Option<link::Outgoing>,
    version: u16,
}

impl Carry for Encrypted {
    fn version(&self) -> u16 {
        self.version
    }

    fn carry<'c>(
        &'c mut self,
        frames: &'c mut mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = LinkError> + Send + 'c>> {
        Box::pin(async move {
            match self.stream.take() {
                Some(stream) => self.mesh.write(stream, frames).await,
                None => LinkError::Io(std::io::ErrorKind::NotConnected.into()),
            }
        })
    }
}

/// Admits nodes that join.
pub trait Admit: Send + Sync + 'static {
    /// The answer to a question of one that proved itself so.
    fn admit(&self, question: Bytes, proof: Proof) -> Answering;
}

/// Answers one question of a node that joins.
async fn admit(mesh: Mesh, admits: Arc<dyn Admit>, stream: TcpStream) -> Result<(), LinkError> {
    let Me {
        mut hello,
        credentials,
    } = mesh.me();
    hello.class = Class::Join;
    let accepted = link::accept(stream, &hello, &credentials, |_| None).await?;
    let (mut stream, _) = accepted;
    let proof = Proof::of(stream.get_ref().1);
    let question = link::read_frame(&mut stream).await?;
    link::say(&mut stream, &admits.admit(question, proof).await).await?;
    Ok(stream.shutdown().await?)
}

/// Accepts links of every class, for as long as the runtime lives.
pub async fn listen(listener: TcpListener, meshes: Vec<Mesh>, admits: Arc<dyn Admit>) {
    loop {
        let mut stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the peer listener could not accept");
                tokio::time::sleep(AGAIN.0).await;
                continue;
            }
        };
        let (meshes, admits) = (meshes.clone(), Arc::clone(&admits));
        tokio::spawn(async move {
            let Ok(class) = link::class_of(&mut stream).await else {
                return;
            };
            if class == Class::Join {
                if let Err(error) = admit(meshes[0].clone(), admits, stream).await {
                    tracing::warn!(%error, "a node that wants to join was turned away");
                }
                return;
            }
            let mesh = meshes.iter().find(|mesh| mesh.0.class == class);
            if let (Some(mesh), Ok(stream)) = (mesh, stream.into_std()) {
                mesh.adopt(stream);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::call::{Answer, Answering, CallError, Calls};
    use super::super::credentials::Secret;
    use super::*;

    /// Answers with the question, backwards.
    struct Backwards;

    impl Answer for Backwards {
        fn answer(&self, _from: NodeNumber, question: Bytes) -> Answering {
            Box::pin(async move { question.iter().rev().copied().collect() })
        }
    }

    struct Nobody;

    impl Admit for Nobody {
        fn admit(&self, _question: Bytes, _proof: Proof) -> Answering {
            Box::pin(async { Bytes::new() })
        }
    }

    fn hello(node: NodeNumber, pool: &str) -> Hello {
        Hello {
            class: Class::Raft,
            node,
            life: 1,
            pool: pool.to_owned(),
            lineage: 7,
        }
    }

    /// A node that answers, and where it listens.
    async fn node(number: NodeNumber, pool: &str, secret: &Secret) -> (Calls, String) {
        let credentials = Credentials::of(secret, number).expect("credentials");
        let mesh = Mesh::new(Handle::current(), hello(number, pool), credentials);
        let calls = Calls::over(mesh.clone(), Handle::current());
        calls.answer_with(Arc::new(Backwards));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(listen(listener, vec![mesh], Arc::new(Nobody)));
        (calls, address)
    }

    async fn ask(calls: &Calls, to: NodeNumber, text: &[u8]) -> Result<Bytes, CallError> {
        let write = |frame: &mut BytesMut| frame.extend_from_slice(text);
        calls.ask(to, Duration::from_secs(2), write).await
    }

    async fn linked(calls: &Calls, to: NodeNumber) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(2) {
            if calls.mesh().is_up(to) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    #[tokio::test]
    async fn nodes_of_a_pool_ask_each_other_and_notice_when_one_goes() {
        let secret = Secret::draw().expect("a secret");
        let (one, at_one) = node(1, "pool", &secret).await;
        let (two, at_two) = node(2, "pool", &secret).await;
        assert!(matches!(
            ask(&one, 2, b"early").await,
            Err(CallError::NoLink(NoLink(2)))
        ));
        let both = BTreeMap::from([(1, at_one), (2, at_two)]);
        one.mesh().link_to(&both);
        two.mesh().link_to(&both);
        assert!(linked(&one, 2).await && linked(&two, 1).await);
        assert!(!one.mesh().is_up(1), "nobody is linked to itself");
        let long = vec![7; 300_000];
        for text in [&b"abc"[..], b"", &long] {
            let answer = ask(&one, 2, text).await.expect("an answer");
            assert!(answer.iter().rev().eq(text.iter()));
        }
        let all = futures_of(&one, 100).await;
        assert_eq!(all, 100, "answers find their questions");

        // The other end forgets this one: its answers have no way back any more.
        two.mesh().link_to(&BTreeMap::new());
        assert!(matches!(
            ask(&one, 2, b"lost").await,
            Err(CallError::Late(2))
        ));
    }

    /// Asks so many questions at once; how many were answered rightly.
    async fn futures_of(calls: &Calls, count: u32) -> usize {
        let asking: Vec<_> = (0..count)
            .map(|number| {
                let calls = calls.clone();
                tokio::spawn(async move {
                    let text = number.to_be_bytes();
                    let answer = ask(&calls, 2, &text).await;
                    answer.is_ok_and(|answer| answer.iter().rev().eq(text.iter()))
                })
            })
            .collect();
        let mut right = 0;
        for answer in asking {
            right += usize::from(answer.await.unwrap_or(false));
        }
        right
    }

    #[tokio::test]
    async fn whoever_is_not_who_it_says_is_refused() {
        let secret = Secret::draw().expect("a secret");
        let (_two, at_two) = node(2, "pool", &secret).await;
        let other = Secret::draw().expect("a secret");
        let of = |secret: &Secret, number| Credentials::of(secret, number).expect("credentials");
        for (name, credentials, says, asks_for) in [
            ("the right one", of(&secret, 1), hello(1, "pool"), 2),
            ("another secret", of(&other, 1), hello(1, "pool"), 2),
            ("another number", of(&secret, 3), hello(1, "pool"), 2),
            ("another pool", of(&secret, 1), hello(1, "other"), 2),
            (
                "somebody else is there",
                of(&secret, 1),
                hello(1, "pool"),
                4,
            ),
        ] {
            let opened = link::open(&at_two, asks_for, &says, &credentials).await;
            assert_eq!(
                opened.is_ok(),
                name == "the right one",
                "{name}: {opened:?}"
            );
        }
    }
}
