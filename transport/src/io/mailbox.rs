//! What other threads post to a worker: a bounded ring and one wake-up per drained batch.
//!
//! Waking a sleeping runtime costs some 15 µs of processor time, far more than a post, so nobody wakes
//! a worker that is awake: it looks into its mail again before it sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use tokio::sync::Notify;

/// Mail that waits for one worker. Beyond it the sender is told, and decides what to do.
pub const MAIL_MAX: usize = 16_384;

/// Posts to one worker from any thread.
#[derive(Debug)]
pub struct Mailbox<M> {
    ring: Arc<Ring<M>>,
}

#[derive(Debug)]
struct Ring<M> {
    queue: ArrayQueue<M>,
    /// Whether the worker is going to look, so that nobody needs to wake it.
    awake: AtomicBool,
    closed: AtomicBool,
    /// How often the worker was woken and came to look.
    looks: AtomicU64,
    bell: Notify,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox {
            ring: Arc::clone(&self.ring),
        }
    }
}

impl<M> Mailbox<M> {
    pub(super) fn new() -> Mailbox<M> {
        Mailbox {
            ring: Arc::new(Ring {
                queue: ArrayQueue::new(MAIL_MAX),
                awake: AtomicBool::new(false),
                closed: AtomicBool::new(false),
                looks: AtomicU64::new(0),
                bell: Notify::new(),
            }),
        }
    }

    /// Queues mail without waking the worker. Call [`Mailbox::wake`] after the last of a batch.
    ///
    /// # Errors
    /// The mail itself when [`MAIL_MAX`] are waiting or the worker has ended.
    pub fn post(&self, mail: M) -> Result<(), M> {
        if self.is_closed() {
            return Err(mail);
        }
        self.ring.queue.push(mail)
    }

    /// Wakes the worker if it sleeps.
    pub fn wake(&self) {
        if !self.ring.awake.swap(true, Ordering::SeqCst) {
            self.ring.bell.notify_one();
        }
    }

    /// How often the worker was woken and came to look: one that is woken and does not is stuck.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.ring.looks.load(Ordering::Relaxed)
    }

    /// Whether the worker has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ring.closed.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.ring.closed.store(true, Ordering::Release);
    }

    /// Waits until somebody wakes. Whatever is posted after this returns is seen by [`Mailbox::take`]
    /// or wakes again: the flag is lowered before the ring is looked at.
    pub(super) async fn woken(&self) {
        self.ring.bell.notified().await;
        self.ring.looks.fetch_add(1, Ordering::Relaxed);
        self.ring.awake.store(false, Ordering::SeqCst);
    }

    pub(super) fn take(&self) -> Option<M> {
        self.ring.queue.pop()
    }
}
