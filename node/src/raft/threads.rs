//! Who runs what works through a queue of its own: the writer of the log, the machine of a shard. Threads in
//! a node; a simulation gives turns instead, in an order that it can repeat.

use shard::runner::{Desk, Sink};

/// Works through a queue.
pub trait Work: Send {
    /// Works until nobody can bring anything any more.
    fn run(self: Box<Self>);
    /// Does a batch of what waits, without waiting; `false` when nothing waited.
    fn turn(&mut self) -> bool;
}

impl<S: Sink> Work for Desk<S> {
    fn run(self: Box<Self>) {
        Desk::run(*self);
    }

    fn turn(&mut self) -> bool {
        Desk::turn(self)
    }
}

/// Sees to it that work is done.
pub trait Workforce: Send + Sync + 'static {
    /// Takes on work for as long as it lasts.
    ///
    /// # Errors
    /// When the system gives no further thread.
    fn employ(&self, name: String, work: Box<dyn Work>) -> std::io::Result<()>;
}

/// A thread for each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Threads;

impl Workforce for Threads {
    fn employ(&self, name: String, work: Box<dyn Work>) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name(name);
        thread.spawn(move || work.run()).map(drop)
    }
}
