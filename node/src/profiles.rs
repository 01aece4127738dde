//! The server's own publications (MS-PRES 3.2.6.2): brought to what the directory says.
//!
//! Only for those who were here: what has no state yet is published when it registers. What is published
//! already as the directory has it is not published again.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::BytesMut;
use shard::machine::codec::encode_request;
use shard::machine::command::{Command, Request};
use shard::machine::outcome::RequestKey;
use shard::presence::enhanced::Profile;
use shard::runner::Job;
use shard::slot::Slot;

use crate::directory::Snapshot;
use crate::directory::keeper::Published;
use crate::egress::outbox::NOBODY;
use crate::ingress::chance::Chance;
use crate::ingress::endpoint::Shared;
use crate::ingress::route::{Leader, Replica};
use crate::raft::proposer::Batch;

/// Users that a shard thread looks at in one go: 256 look-ups are some 50 µs.
const LOOK: usize = 256;

/// How long a shard thread is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Publishes what the directory says otherwise than it is published.
pub(crate) struct Profiles {
    shared: Arc<Shared>,
    chance: Chance,
}

impl Profiles {
    pub(crate) fn new(shared: Arc<Shared>) -> Profiles {
        Profiles {
            shared,
            chance: Chance::new(),
        }
    }

    /// Goes through all users, shard by shard.
    //= MS-PRES 3.2.6.2
    //# nothing is published that is there already
    pub(crate) fn publish(&mut self, directory: &Snapshot) -> Published {
        let shared = Arc::clone(&self.shared);
        let mut of_shard: Vec<Vec<&str>> = Vec::new();
        let routes = shared.routes.current();
        of_shard.resize_with(routes.count(), Vec::new);
        for address in directory.addresses() {
            of_shard[routes.shard_of(Slot::of(address))].push(address);
        }
        let mut published = 0;
        let mut later = false;
        for (shard, addresses) in of_shard.iter().enumerate() {
            // Each node looks after the shards that it leads.
            let Leader::Here(link) = routes.leader(shard) else {
                continue;
            };
            for some in addresses.chunks(LOOK) {
                match self.look_over(link, some, directory) {
                    Some(number) => published += number,
                    None => {
                        later = true;
                        break;
                    }
                }
            }
        }
        if published > 0 {
            tracing::info!(published, "profiles are published anew");
        }
        if later {
            Published::Later
        } else {
            Published::All(published)
        }
    }

    /// Looks at some users of one shard and proposes what differs; `None` when the shard takes nothing.
    fn look_over(
        &mut self,
        link: &Replica,
        addresses: &[&str],
        directory: &Snapshot,
    ) -> Option<u64> {
        if !link.proposer.can_read() {
            return None;
        }
        let asked: Vec<(String, Profile)> = addresses
            .iter()
            .filter_map(|address| Some(((*address).to_owned(), directory.profile(address)?)))
            .collect();
        let (give, take) = mpsc::sync_channel(1);
        let job = Job::Read(Box::new(move |machine| {
            let differs = |(address, profile): &(String, Profile)| {
                machine
                    .profile(address)
                    .is_some_and(|published| published != profile)
            };
            let _ = give.send(asked.into_iter().filter(differs).collect::<Vec<_>>());
        }));
        link.runner.submit(job).ok()?;
        let differing = take.recv_timeout(PATIENCE).ok()?;
        if differing.is_empty() {
            return Some(0);
        }
        let number = differing.len() as u64;
        let mut requests = BytesMut::new();
        for (presentity, profile) in &differing {
            let key = u128::from(self.chance.draw()) << 64 | u128::from(self.chance.draw());
            let command = Command::SetProfile {
                presentity,
                profile: profile.clone(),
            };
            let request = Request {
                key: RequestKey(key),
                ticket: NOBODY,
                command,
            };
            encode_request(&request, &mut requests);
        }
        let batch = Batch {
            requests: requests.freeze(),
            tickets: vec![NOBODY; differing.len()],
        };
        link.proposer.submit(batch).ok().map(|()| number)
    }
}
