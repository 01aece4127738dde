//! A node joins: it says where it is to be found, and is given a number and the map.
//!
//! One question and one answer over a link of its own, both as the log and the snapshots have them: a
//! [`Change::Admit`], and the whole map. Whoever can open the link has the pool's secret.

use std::sync::Arc;
use std::time::Duration;

use super::PoolGroup;
use super::map::{Change, PoolMap, Record};
use crate::peer::NodeNumber;
use crate::peer::credentials::Credentials;
use crate::peer::link::{self, Class, Hello, LinkError};

/// How long the pool may take to admit a node.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a node could not join. One line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// None of the seeds answered.
    #[error(
        "no node of the pool could be reached: {0}; is the secret the pool's, and is one of the seeds running?"
    )]
    Unreachable(String),
    /// The pool answered with something else than its map.
    #[error("the node at {0} has no leader for the pool map now; try again")]
    NotAdmitted(String),
}

/// Asks the seeds, one after the other, to be admitted; returns the number and the pool's map.
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
) -> Result<(NodeNumber, PoolMap), JoinError> {
    let hello = Hello {
        class: Class::Join,
        node: 0,
        life,
        pool: pool.to_owned(),
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
            let (mut stream, _) = link::open(seed, 0, &hello, credentials).await?;
            link::say(&mut stream, &question).await?;
            let answer = link::read_frame(&mut stream).await?;
            Ok::<_, LinkError>(answer)
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(answer)) => {
                let map = PoolMap::decode(&answer).ok();
                if let Some((number, map)) = map.and_then(|map| Some((map.admitted(key)?, map))) {
                    return Ok((number, map));
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

/// Admits nodes; the answer to each is the map.
pub struct Doorkeeper(pub Arc<PoolGroup>);

impl crate::peer::mesh::Admit for Doorkeeper {
    fn admit(&self, question: bytes::Bytes) -> crate::peer::call::Answering {
        let pool = Arc::clone(&self.0);
        Box::pin(async move {
            let Ok(change) = Change::decode(&question) else {
                return bytes::Bytes::new();
            };
            let Change::Admit { key, record } = &change else {
                return bytes::Bytes::new();
            };
            tracing::info!(peer = %record.peer, "a node asks to join");
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
