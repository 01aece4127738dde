//! Questions to a peer and their answers, over a mesh that only sends.
//!
//! ```text
//! frame := 1 id:u64 question | 2 id:u64 answer
//! ```

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::NodeNumber;
use super::mesh::{Mesh, NoLink, Receive};

const QUESTION: u8 = 1;
const ANSWER: u8 = 2;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The question was not sent.
    #[error(transparent)]
    NoLink(#[from] NoLink),
    /// Sent, but the link broke before the answer came.
    #[error("the link to node {0} broke")]
    Broken(NodeNumber),
    /// No answer in time.
    #[error("node {0} did not answer in time")]
    Late(NodeNumber),
}

/// An answer in the making.
pub type Answering = Pin<Box<dyn Future<Output = Bytes> + Send>>;

/// Answers questions.
pub trait Answer: Send + Sync + 'static {
    /// The answer; runs as a task of its own.
    fn answer(&self, from: NodeNumber, question: Bytes) -> Answering;
}

/// Asks and answers over one mesh.
#[derive(Clone)]
pub struct Calls(Arc<Inner>);

struct Inner {
    mesh: Mesh,
    runtime: Handle,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, (NodeNumber, oneshot::Sender<Bytes>)>>,
    /// How long the newest small question to each node took.
    round_trips: Mutex<HashMap<NodeNumber, Duration>>,
    answers: RwLock<Option<Arc<dyn Answer>>>,
}

impl Calls {
    /// Takes over what comes over `mesh`; questions are answered on `runtime`.
    #[must_use]
    pub fn over(mesh: Mesh, runtime: Handle) -> Calls {
        let calls = Calls(Arc::new(Inner {
            mesh: mesh.clone(),
            runtime,
            next: AtomicU64::new(first_number()),
            waiting: Mutex::default(),
            round_trips: Mutex::default(),
            answers: RwLock::default(),
        }));
        mesh.receive_with(Arc::new(calls.clone()));
        calls
    }

    /// Says who answers; until then questions stay unanswered.
    pub fn answer_with(&self, answers: Arc<dyn Answer>) {
        *self
            .0
            .answers
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(answers);
    }

    /// The mesh beneath.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.0.mesh
    }

    /// A question that nothing but the way took time for was answered so soon.
    pub fn took(&self, node: NodeNumber, time: Duration) {
        let trips = self.0.round_trips.lock();
        trips
            .unwrap_or_else(PoisonError::into_inner)
            .insert(node, time);
    }

    /// How long the newest such question to a node took.
    #[must_use]
    pub fn round_trip(&self, node: NodeNumber) -> Option<Duration> {
        let trips = self.0.round_trips.lock();
        trips
            .unwrap_or_else(PoisonError::into_inner)
            .get(&node)
            .copied()
    }

    fn waiting(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<u64, (NodeNumber, oneshot::Sender<Bytes>)>> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a node; `write` appends the question.
    ///
    /// # Errors
    /// [`CallError`]; after `Broken` and `Late` nobody knows whether the question was acted on.
    pub async fn ask(
        &self,
        node: NodeNumber,
        patience: Duration,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<Bytes, CallError> {
        let id = self.0.next.fetch_add(1, Relaxed);
        let mut frame = BytesMut::new();
        frame.put_u8(QUESTION);
        frame.put_u64_le(id);
        write(&mut frame);
        let (give, take) = oneshot::channel();
        self.waiting().insert(id, (node, give));
        if let Err(error) = self.0.mesh.send(node, frame.freeze()) {
            self.waiting().remove(&id);
            return Err(error.into());
        }
        let answered = tokio::time::timeout(patience, take).await;
        self.waiting().remove(&id);
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(CallError::Broken(node)),
            Err(_) => Err(CallError::Late(node)),
        }
    }
}

/// The number of a life's first question, by chance: what was asked by the life before may be answered late, over
/// a link to this one, and must find nobody. A follower's word that it has an entry would else be taken for
/// another entry.
fn first_number() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    u64::from_le_bytes(bytes)
}

impl Receive for Calls {
    fn frame(&self, from: NodeNumber, mut frame: Bytes) {
        if frame.len() < 9 {
            return;
        }
        let (kind, id) = (frame.get_u8(), frame.get_u64_le());
        match kind {
            QUESTION => {
                let answers = self
                    .0
                    .answers
                    .read()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                let Some(answers) = answers else { return };
                let calls = self.clone();
                self.0.runtime.spawn(async move {
                    let answer = answers.answer(from, frame).await;
                    let mut frame = BytesMut::with_capacity(9 + answer.len());
                    frame.put_u8(ANSWER);
                    frame.put_u64_le(id);
                    frame.put_slice(&answer);
                    // Whoever asked gives up by itself when this does not arrive.
                    let _ = calls.0.mesh.send(from, frame.freeze());
                });
            }
            ANSWER => {
                let mut waiting = self.waiting();
                if waiting.get(&id).is_some_and(|(asked, _)| *asked == from)
                    && let Some((_, waits)) = waiting.remove(&id)
                {
                    let _ = waits.send(frame);
                }
            }
            _ => {}
        }
    }

    fn broken(&self, peer: NodeNumber) {
        self.waiting().retain(|_, (node, _)| *node != peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::credentials::{Credentials, Secret};
    use crate::peer::link::{Class, Hello};

    fn life(life: u64) -> Calls {
        let credentials = Secret::draw().and_then(|secret| Credentials::of(&secret, 1));
        let hello = Hello {
            class: Class::Raft,
            node: 1,
            life,
            pool: "test".to_owned(),
            lineage: 1,
        };
        let runtime = Handle::current();
        let mesh = Mesh::new(
            runtime.clone(),
            hello,
            credentials.expect("drawn by chance"),
        );
        Calls::over(mesh, runtime)
    }

    fn answer(id: u64) -> Bytes {
        let mut frame = BytesMut::new();
        frame.put_u8(ANSWER);
        frame.put_u64_le(id);
        frame.put_slice(b"yes");
        frame.freeze()
    }

    #[tokio::test]
    async fn an_answer_finds_who_asked_that_node_in_this_life_and_nobody_else() {
        let (before, now) = (life(1), life(2));
        let asked = before.0.next.load(Relaxed);
        let first = now.0.next.load(Relaxed);
        let apart = first.wrapping_sub(asked).min(asked.wrapping_sub(first));
        assert!(apart > 1 << 20, "{asked} and {first}");
        let (give, mut take) = oneshot::channel();
        now.waiting().insert(first, (2, give));
        now.frame(2, answer(asked));
        now.frame(3, answer(first));
        assert!(take.try_recv().is_err(), "neither is an answer to this");
        now.frame(2, answer(first));
        assert_eq!(take.try_recv().as_deref(), Ok(&b"yes"[..]));
        now.frame(2, answer(first));
    }
}
