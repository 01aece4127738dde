//! Who stands for election, and when.
//!
//! openraft 0.9 lets every follower that misses its leader stand at once, and whoever stands raises the
//! term. A node that was cut off did so twice a second, and when it came back its term made the leader of
//! the others resign: seconds without a leader, for nothing. So openraft's own timer is off, and a replica
//! first asks the others whether they would vote for it: they do when they miss the leader too, and lack
//! nothing that it has not. Only with a majority of such answers does it stand.
//!
//! That is advice, not safety: votes are still openraft's. A question nobody answers leaves everything as
//! it is, and is asked again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use openraft::{LogId, ServerState};

use super::group::Raft;
use super::network;
use super::types::{GroupId, NodeNumber};
use crate::peer::call::Calls;

/// How much later than the others a replica may ask, by chance, so that two seldom stand at once.
const SPREAD: Duration = Duration::from_millis(200);

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);

/// When a group's leader was last heard here.
#[derive(Debug)]
pub struct Pulse {
    epoch: Instant,
    lease: Duration,
    heard_ms: AtomicU64,
    /// Since when this node leads; `u64::MAX` when it does not.
    leading_since_ms: AtomicU64,
}

impl Pulse {
    /// Nothing was heard yet, and it counts from now. A leader that is not heard for `lease` is missed.
    #[must_use]
    pub fn new(lease: Duration) -> Pulse {
        Pulse {
            epoch: Instant::now(),
            lease,
            heard_ms: AtomicU64::new(0),
            leading_since_ms: AtomicU64::new(u64::MAX),
        }
    }

    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// The leader was heard, or somebody who may become it.
    pub fn heard(&self) {
        self.heard_ms.fetch_max(self.now_ms(), Relaxed);
    }

    /// How long ago the leader was heard.
    fn silence(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.heard_ms.load(Relaxed)))
    }

    /// This node leads from now on, or does not any more.
    fn leads(&self, leads: bool) {
        if !leads {
            self.leading_since_ms.store(u64::MAX, Relaxed);
        } else if self.leading_since_ms.load(Relaxed) == u64::MAX {
            self.leading_since_ms.store(self.now_ms(), Relaxed);
        }
    }

    /// How long until this node's own vote can go to somebody else: openraft gives none within a lease of
    /// the last one, and an heir that does not get it would raise the term in vain.
    #[must_use]
    pub fn until_free(&self) -> Duration {
        let since = self.leading_since_ms.load(Relaxed);
        if since == u64::MAX {
            return Duration::ZERO;
        }
        let led = Duration::from_millis(self.now_ms().saturating_sub(since));
        self.lease.saturating_sub(led)
    }
}

/// Whether a replica that leads or not, has heard its leader so long ago, and has a log that ends there
/// would vote for one whose log ends at `theirs`.
fn would_vote(
    leads: bool,
    misses_leader: bool,
    own: Option<LogId<NodeNumber>>,
    theirs: Option<LogId<NodeNumber>>,
) -> bool {
    !leads && misses_leader && theirs >= own
}

/// The answer of this node's replica to one who would stand.
pub fn answer(raft: &Raft, pulse: &Pulse, theirs: Option<LogId<NodeNumber>>) -> bool {
    let leads = raft.server_metrics().borrow().state == ServerState::Leader;
    let own = raft.data_metrics().borrow().last_log;
    would_vote(leads, pulse.silence() >= pulse.lease, own, theirs)
}

/// Somewhere in the spread, another one each time.
fn by_chance() -> Duration {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    SPREAD * (u32::from_le_bytes(bytes) % 1_000) / 1_000
}

/// Stands for election when the leader is missed and a majority would vote for this replica; for as long
/// as the group lives.
pub async fn run(raft: Raft, pulse: Arc<Pulse>, calls: Calls, group: GroupId, me: NodeNumber) {
    let mut standing = raft.server_metrics();
    let mut chance = by_chance();
    // Whoever has stood, or was told no, leaves the others some time.
    let mut not_before = Instant::now();
    loop {
        let (leads, configs) = {
            let metrics = standing.borrow_and_update();
            let configs: Vec<Vec<NodeNumber>> = metrics
                .membership_config
                .membership()
                .get_joint_config()
                .iter()
                .map(|config| config.iter().copied().collect())
                .collect();
            (metrics.state == ServerState::Leader, configs)
        };
        pulse.leads(leads);
        let votes = configs.iter().any(|config| config.contains(&me));
        let alone = configs.iter().all(|config| config[..] == [me]);
        let patience = if alone {
            Duration::ZERO
        } else {
            (pulse.lease + chance).saturating_sub(pulse.silence())
        };
        let wait = if leads || !votes {
            pulse.lease
        } else {
            patience.max(not_before.saturating_duration_since(Instant::now()))
        };
        if wait.is_zero() {
            if alone || majority_would(&raft, &calls, group, me, &configs).await {
                stand(&raft, group).await;
            }
            chance = by_chance();
            not_before = Instant::now() + SPREAD / 2 + by_chance();
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = standing.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

async fn stand(raft: &Raft, group: GroupId) {
    tracing::info!(%group, "stands for election");
    if let Err(error) = raft.trigger().elect().await {
        tracing::warn!(%group, %error, "cannot stand for election");
    }
}

/// Whether a majority of each configuration would vote for this replica, itself included.
async fn majority_would(
    raft: &Raft,
    calls: &Calls,
    group: GroupId,
    me: NodeNumber,
    configs: &[Vec<NodeNumber>],
) -> bool {
    let last = raft.data_metrics().borrow().last_log;
    let mut asked: Vec<NodeNumber> = configs.iter().flatten().copied().collect();
    asked.sort_unstable();
    asked.dedup();
    let mut answers = tokio::task::JoinSet::new();
    for node in asked.into_iter().filter(|node| *node != me) {
        let calls = calls.clone();
        answers.spawn(async move {
            network::would_vote_at(&calls, node, group, last)
                .await
                .then_some(node)
        });
    }
    let mut willing = vec![me];
    let enough = |willing: &[NodeNumber]| {
        configs.iter().all(|config| {
            let yes = config.iter().filter(|node| willing.contains(node)).count();
            yes * 2 > config.len()
        })
    };
    while !enough(&willing) {
        match answers.join_next().await {
            Some(Ok(Some(node))) => willing.push(node),
            Some(_) => {}
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;

    use super::*;

    #[test]
    fn nobody_votes_against_a_leader_that_is_heard_or_for_a_shorter_log() {
        let at = |term, index| Some(LogId::new(CommittedLeaderId::new(term, 1), index));
        for (name, leads, misses, own, theirs, expected) in [
            ("equal logs", false, true, at(1, 5), at(1, 5), true),
            ("a longer one", false, true, at(1, 5), at(1, 6), true),
            ("a newer one", false, true, at(1, 5), at(2, 3), true),
            ("a shorter one", false, true, at(1, 5), at(1, 4), false),
            ("an older one", false, true, at(2, 3), at(1, 9), false),
            ("none at all", false, true, at(1, 1), None, false),
            ("both without one", false, true, None, None, true),
            (
                "the leader is heard",
                false,
                false,
                at(1, 5),
                at(1, 9),
                false,
            ),
            ("it leads itself", true, true, at(1, 5), at(1, 9), false),
        ] {
            assert_eq!(would_vote(leads, misses, own, theirs), expected, "{name}");
        }
    }

    #[test]
    fn a_vote_is_free_again_a_lease_after_it_was_won() {
        let pulse = Pulse::new(Duration::from_millis(60));
        assert_eq!(pulse.until_free(), Duration::ZERO);
        pulse.leads(true);
        assert!(pulse.until_free() > Duration::ZERO);
        std::thread::sleep(Duration::from_millis(70));
        pulse.leads(true);
        assert_eq!(pulse.until_free(), Duration::ZERO);
        pulse.leads(false);
        pulse.leads(true);
        assert!(pulse.until_free() > Duration::ZERO);
    }
}
