//! The Lamplight server: wires transport and shard together.
//!
//! # The order of the modules
//!
//! `config`, `observe` ← `raft`, `pool` ← `dialect` ← `egress` ← `ingress` ← this file; a module
//! imports only from its left (`node/tests/tidy.rs` holds it).
//!
//! # What runs
//!
//! | thread | count | blocks on |
//! | --- | --- | --- |
//! | `sip-N` | cores / 2 | its sockets and its mail |
//! | `raft` | 1 | openraft's tasks, the proposers, the admin listener |
//! | `log` | 1 | fsync |
//! | `shard-sNN` | one per hosted shard | its queue |

pub mod config;
pub mod dialect;
pub mod egress;
pub mod ingress;
pub mod observe;
pub mod pool;
pub mod raft;

mod identity_file;
mod inspect;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use transport::io::worker::{Listen, Worker};

use config::Config;
use egress::outbox::{Mail, Outbox, Workers};
use identity_file::IdentityFile;
use ingress::admission::Permits;
use ingress::endpoint::{Endpoint, Shared};
use ingress::identity::Identity;
use ingress::route::{Routes, ShardLink};
use observe::metrics::Metrics;
use pool::PoolGroup;
use raft::group::{GroupOptions, ShardGroup, Tuning};
use raft::log::{Log, LogOptions};
use raft::types::GroupId;

/// How long a stopping node waits for what was begun.
const DRAIN: Duration = Duration::from_secs(3);

/// How long a starting node waits until every shard has a leader and has caught up.
const START: Duration = Duration::from_secs(60);

/// Why a node could not start. One line each, which says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error("the data folder {} cannot be used: {why}", path.display())]
    Data {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// Another process has the data folder.
    #[error("the data folder {} is in use by another lamplight; stop it, or give --data another folder", .0.display())]
    InUse(PathBuf),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] raft::log::LogError),
    /// A Raft group cannot start.
    #[error(transparent)]
    Group(#[from] raft::group::StartError),
    /// A listener cannot be opened.
    #[error("cannot listen on {what}: {why}; is another server there, or is the address not of this machine?")]
    Listen {
        /// Which one.
        what: String,
        /// What the system said.
        why: io::Error,
    },
    /// The users file cannot be read.
    #[error("{0}")]
    Users(String),
    /// A thread or runtime cannot be made.
    #[error("the system refuses a thread: {0}")]
    Thread(#[source] io::Error),
    /// No leader in time.
    #[error("after {} s not every shard has a leader: {0}", START.as_secs())]
    NotReady(String),
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Finish what was begun, write snapshots, close flows.
    Graceful,
    /// At once; the log has everything.
    Now,
}

/// A running node.
pub struct Node {
    config: Config,
    identity: IdentityFile,
    raft: RaftRuntime,
    pool: PoolGroup,
    shards: Vec<Arc<ShardGroup>>,
    routes: Arc<Shared>,
    workers: Vec<Worker>,
    mailboxes: Workers,
    admin: SocketAddr,
    log: Log,
}

/// The thread that openraft, the proposers and the admin listener run on.
struct RaftRuntime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}
