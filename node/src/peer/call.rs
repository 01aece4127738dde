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
            next: AtomicU64::new(1),
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
                if let Some((_, waits)) = self.waiting().remove(&id) {
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
