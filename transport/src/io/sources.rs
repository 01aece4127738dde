//! What one source may have of a worker: connections, and datagrams before it has proved where it is.
//!
//! Anybody can write another's address on a datagram. So whoever has never answered a request of ours is a stranger, and
//! is sent little more than what came from there: a small datagram with a victim's address brings the victim nothing
//! that is worth the trouble. The first answer proves it, because it bears a branch that only who was sent the request
//! has seen. What is withheld counts as lost: it is sent again when its time comes, and leaves then if the stranger has
//! answered something meanwhile. This very machine is believed.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::transaction::Millis;

/// Connections from one address to one worker: half of what it may have, so that nobody has all.
const STREAMS_MAX: usize = 32_768;

/// Bytes that a stranger is sent in a minute beyond its share: a wave of notifications after a change of leader, or one
/// datagram of the largest size.
const GRANT_BYTES: u64 = 65_536;

/// Bytes that a stranger is sent for each byte that came from there.
const SHARE: u64 = 3;

/// How long a grant lasts, and a stranger is remembered.
const MINUTE_MS: u64 = 60_000;

/// How long an answer counts as proof: an address may belong to somebody else later.
const PROOF_MS: u64 = 3_600_000;

/// Strangers remembered: 64 bytes each with the table's slack, 8 MiB. Those beyond get answers and nothing else.
const STRANGERS_MAX: usize = 131_072;

/// Sources remembered that have answered: 48 bytes each with the slack, 12 MiB. Those beyond stay strangers.
const PROVEN_MAX: usize = 262_144;

/// How often a full table is searched for what may be forgotten.
const PRUNE_MS: u64 = 1_000;

#[derive(Debug, Default)]
struct Stranger {
    since: Millis,
    received: u64,
    sent: u64,
}

/// The sources of one worker.
#[derive(Debug, Default)]
pub(super) struct Sources {
    streams: HashMap<IpAddr, usize>,
    strangers: HashMap<IpAddr, Stranger>,
    proven: HashMap<IpAddr, Millis>,
    pruned: Millis,
}

fn is_here(source: IpAddr) -> bool {
    source.to_canonical().is_loopback()
}

impl Sources {
    /// Whether a source may have one more connection.
    pub(super) fn may_connect(&self, source: IpAddr) -> bool {
        is_here(source)
            || self
                .streams
                .get(&source)
                .is_none_or(|many| *many < STREAMS_MAX)
    }

    /// There is one more connection with it.
    pub(super) fn connected(&mut self, source: IpAddr) {
        *self.streams.entry(source).or_default() += 1;
    }

    /// There is one less.
    pub(super) fn disconnected(&mut self, source: IpAddr) {
        if let Some(many) = self.streams.get_mut(&source) {
            *many -= 1;
            if *many == 0 {
                self.streams.remove(&source);
            }
        }
    }

    fn is_proven(&self, source: IpAddr, now: Millis) -> bool {
        let proven = self.proven.get(&source);
        proven.is_some_and(|at| now.0 < at.0 + PROOF_MS)
    }

    /// A datagram bears its address.
    pub(super) fn heard(&mut self, source: IpAddr, bytes: usize, now: Millis) {
        if is_here(source) || self.is_proven(source, now) {
            return;
        }
        if let Some(stranger) = self.stranger(source, now) {
            stranger.received += bytes as u64;
        }
    }

    /// It has answered a request of ours: it is where it says.
    pub(super) fn answered(&mut self, source: IpAddr, now: Millis) {
        if is_here(source) {
            return;
        }
        if self.proven.len() >= PROVEN_MAX && !self.proven.contains_key(&source) {
            self.prune(now);
            if self.proven.len() >= PROVEN_MAX {
                return;
            }
        }
        self.proven.insert(source, now);
        self.strangers.remove(&source);
    }

    /// Whether a datagram may be sent there; if so, it is counted.
    pub(super) fn may_send(&mut self, source: IpAddr, message: &[u8], now: Millis) -> bool {
        if is_here(source) || self.is_proven(source, now) {
            return true;
        }
        match self.stranger(source, now) {
            Some(stranger) => {
                let sent = stranger.sent + message.len() as u64;
                let fits = sent <= GRANT_BYTES + SHARE * stranger.received;
                if fits {
                    stranger.sent = sent;
                }
                fits
            }
            // An answer is about as long as what it answers.
            None => message.starts_with(b"SIP/2.0"),
        }
    }

    fn stranger(&mut self, source: IpAddr, now: Millis) -> Option<&mut Stranger> {
        if self.strangers.len() >= STRANGERS_MAX && !self.strangers.contains_key(&source) {
            self.prune(now);
            if self.strangers.len() >= STRANGERS_MAX {
                return None;
            }
        }
        let stranger = self.strangers.entry(source).or_insert_with(|| Stranger {
            since: now,
            ..Stranger::default()
        });
        if now.0 >= stranger.since.0 + MINUTE_MS {
            *stranger = Stranger {
                since: now,
                ..Stranger::default()
            };
        }
        Some(stranger)
    }

    /// Forgets what is over, at most once a second: a flood of forged addresses must not buy a search each.
    fn prune(&mut self, now: Millis) {
        if now.0 < self.pruned.0 + PRUNE_MS {
            return;
        }
        self.pruned = now;
        self.strangers
            .retain(|_, stranger| now.0 < stranger.since.0 + MINUTE_MS);
        self.proven.retain(|_, at| now.0 < at.0 + PROOF_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VICTIM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn forged(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number))
    }

    #[test]
    fn a_stranger_is_sent_little_until_it_answers() {
        let mut sources = Sources::default();
        let (mut got, notify) = (0, [0; 1_200]);
        // One forged SUBSCRIBE of 400 bytes, and notifications without end.
        sources.heard(VICTIM, 400, Millis(1));
        for at in 0..1_000 {
            got += usize::from(sources.may_send(VICTIM, &notify, Millis(1 + at))) * notify.len();
        }
        assert!(got <= 65_536 + 3 * 400, "{got}");
        assert!(got > 60_000, "{got}");
        // What comes from there buys its share, and a minute another grant.
        sources.heard(VICTIM, 400, Millis(1_500));
        assert!(sources.may_send(VICTIM, &[0; 1_000], Millis(1_500)));
        assert!(!sources.may_send(VICTIM, &notify, Millis(1_500)));
        assert!(sources.may_send(VICTIM, &notify, Millis(60_001)));
        // An answer proves it, for an hour.
        sources.answered(VICTIM, Millis(60_002));
        for _ in 0..1_000 {
            assert!(sources.may_send(VICTIM, &notify, Millis(60_003)));
        }
        let later = Millis(60_002 + PROOF_MS);
        let many = (0..1_000).filter(|_| sources.may_send(VICTIM, &notify, later));
        assert!(many.count() < 60);
    }

    #[test]
    fn forged_addresses_cost_what_they_may_cost_and_bystanders_are_served() {
        let mut sources = Sources::default();
        sources.answered(VICTIM, Millis(0));
        for number in 0..2 * STRANGERS_MAX as u32 {
            sources.heard(forged(number), 400, Millis(1_000));
        }
        assert_eq!(sources.strangers.len(), STRANGERS_MAX);
        // A phone that is known, one that is new, this machine.
        assert!(sources.may_send(VICTIM, &[0; 60_000], Millis(1_001)));
        let new = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
        sources.heard(new, 400, Millis(1_001));
        assert!(sources.may_send(new, b"SIP/2.0 200 OK", Millis(1_001)));
        assert!(!sources.may_send(new, b"NOTIFY sip:", Millis(1_001)));
        let here = "::ffff:127.0.0.1".parse().expect("an address");
        assert!(sources.may_send(here, b"NOTIFY sip:", Millis(1_001)));
        // A minute later they are forgotten.
        assert!(sources.may_send(new, b"NOTIFY sip:", Millis(61_001)));
        assert_eq!(sources.strangers.len(), 1);
        for number in 0..2 * PROVEN_MAX as u32 {
            sources.answered(forged(number), Millis(61_002));
        }
        assert_eq!(sources.proven.len(), PROVEN_MAX);
    }

    #[test]
    fn nobody_has_all_connections() {
        let mut sources = Sources::default();
        for _ in 0..STREAMS_MAX {
            assert!(sources.may_connect(VICTIM));
            sources.connected(VICTIM);
        }
        assert!(!sources.may_connect(VICTIM));
        assert!(sources.may_connect(forged(1)));
        sources.disconnected(VICTIM);
        assert!(sources.may_connect(VICTIM));
        for _ in 1..STREAMS_MAX {
            sources.disconnected(VICTIM);
        }
        assert!(sources.streams.is_empty());
    }
}
