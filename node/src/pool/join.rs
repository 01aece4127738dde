//! A node joins: it says where it is to be found, and is given a number and the map.
//!
//! One question and one answer over a link of its own, both as the log and the snapshots have them: a
//! [`Change::Admit`], and the whole map. Whoever can open the link has the pool's secret.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::PoolGroup;
use super::map::{Change, PoolMap, Record};
use crate::peer::NodeNumber;
use crate::peer::credentials::{Credentials, Proof};
use crate::peer::link::{self, Class, Hello, LinkError};

/// How long the pool may take to admit a node.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a node could not join. One line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// None of the seeds answered.
    #[error(
        "no node of the pool could be reached: {0}; is the secret (or the certificate) the pool's, and is one of \
         the seeds running?"
    )]
    Unreachable(String),
    /// The pool says no.
    #[error("the node at {0} refuses: {1}")]
    Refused(String, String),
    /// The pool answered with something else than its map.
    #[error("the node at {0} has no leader for the pool map now; try again")]
    NotAdmitted(String),
}

/// What a node is given when it joins.
pub struct Joined {
    /// Its number.
    pub node: NodeNumber,
    /// The pool's map.
    pub map: PoolMap,
    /// Which founding of the pool it is.
    pub lineage: u64,
}

/// Asks the seeds, one after the other, to be admitted.
///
/// # Errors
/// [`JoinError`].
pub async fn join(
    seeds: &[String],
    pool: &str,
    life: u64,
    key: u128,
    record: &Record,
    credentials: &Credentials,
) -> Result<Joined, JoinError> {
    let hello = Hello {
        class: Class::Join,
        node: 0,
        life,
        pool: pool.to_owned(),
        lineage: 0,
    };
    let question = Change::Admit {
        key,
        record: record.clone(),
    }
    .encode();
    let mut reasons = Vec::new();
    let mut refused = None;
    for seed in seeds {
        let asking = async {
            let (mut stream, theirs, _) = link::open(seed, 0, &hello, credentials).await?;
            link::say(&mut stream, &question).await?;
            let answer = link::read_frame(&mut stream).await?;
            Ok::<_, LinkError>((answer, theirs.lineage))
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok((answer, lineage))) => {
                if let Some(why) = answer.strip_prefix(REFUSED) {
                    let why = String::from_utf8_lossy(why).into_owned();
                    return Err(JoinError::Refused(seed.clone(), why));
                }
                let map = PoolMap::decode(&answer).ok();
                if let Some((node, map)) = map.and_then(|map| Some((map.admitted(key)?, map))) {
                    return Ok(Joined { node, map, lineage });
                }
                refused = Some(seed.clone());
            }
            Ok(Err(error)) => reasons.push(format!("{seed}: {error}")),
            Err(_) => reasons.push(format!("{seed}: no answer in time")),
        }
    }
    Err(match refused {
        Some(seed) => JoinError::NotAdmitted(seed),
        None => JoinError::Unreachable(reasons.join("; ")),
    })
}

/// Admits nodes; the answer to each is the map. Nobody is admitted before this node follows the map itself.
#[derive(Default)]
pub struct Doorkeeper {
    /// The group that decides.
    pub pool: OnceLock<Arc<PoolGroup>>,
    /// Whether a certificate is of a host: then a node joins only as what its certificate says.
    pub by_host: bool,
}

/// What an answer begins with that is a refusal; the reason follows.
const REFUSED: &[u8] = b"refused: ";

impl crate::peer::mesh::Admit for Doorkeeper {
    fn admit(&self, question: bytes::Bytes, proof: Proof) -> crate::peer::call::Answering {
        let (pool, by_host) = (self.pool.get().cloned(), self.by_host);
        Box::pin(async move {
            let Some(pool) = pool else {
                return bytes::Bytes::new();
            };
            let Ok(change) = Change::decode(&question) else {
                return bytes::Bytes::new();
            };
            let Change::Admit { key, record } = &change else {
                return bytes::Bytes::new();
            };
            tracing::info!(peer = %record.peer, "a node asks to join");
            if by_host && !proof.is_of_host(&record.peer) {
                let why = format!(
                    "its certificate is not of {}, where it says that it is reached; put that host into the subject \
                     alternative names, or say another one in pool.advertise",
                    record.peer
                );
                tracing::warn!(peer = %record.peer, why, "a node was not admitted");
                return [REFUSED, why.as_bytes()].concat().into();
            }
            match pool.make(&change, |map| map.admitted(*key).is_some()).await {
                Ok(map) => map.encode(),
                Err(error) => {
                    tracing::warn!(peer = %record.peer, %error, "a node was not admitted");
                    bytes::Bytes::new()
                }
            }
        })
    }
}
