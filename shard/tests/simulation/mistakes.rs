//! Mistakes made on purpose, to prove that they would be found.

use std::sync::Arc;

use shard::machine::Machine;
use shard::machine::command::{Act, Bindings, Command, Entry};
use shard::machine::effect::Effect;
use shard::machine::outcome::{Outcome, RequestKey};
use shard::presence::container::Network;
use shard::subscription::dialog::Package;
use shard::subscription::view::{Seen, View};
use shard::time::Timestamp;

/// Something that a machine could get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// No request is remembered.
    NoMemory,
    /// A repeat is answered but performed as well, with another tag.
    TagTwice,
    /// Now and then a CSeq is used again.
    CseqTwice,
    /// Time does not pass, so nothing ends.
    NoExpiry,
    /// Time follows a clock that is set back.
    TimeRunsBack,
    /// The last watcher is not told.
    OneWatcherLost,
    /// Watchers are told what was before.
    OldView,
    /// A new leader is silent.
    NoRepeatAfterTermStart,
    /// A REGISTER does only its first contact.
    HalfRegister,
    /// A dialog that ended is kept.
    ZombieDialog,
    /// One replica loses a request.
    LostOnOneReplica,
    /// One replica counts from an older snapshot.
    OldSnapshot,
    /// Of each change of members the last one is not made.
    MemberLost,
    /// A watcher's network is forgotten.
    NetworkForgotten,
    /// Who may see a change of a publisher is not told when its members change in the same entry.
    MoveUntold,
    /// One category that a watcher sees is what another one sees.
    OthersView,
}

impl Mistake {
    pub const ALL: [Mistake; 12] = [
        Mistake::NoMemory,
        Mistake::TagTwice,
        Mistake::CseqTwice,
        Mistake::NoExpiry,
        Mistake::TimeRunsBack,
        Mistake::OneWatcherLost,
        Mistake::OldView,
        Mistake::NoRepeatAfterTermStart,
        Mistake::HalfRegister,
        Mistake::ZombieDialog,
        Mistake::LostOnOneReplica,
        Mistake::OldSnapshot,
    ];

    /// Those of enhanced presence, and those that it could make as well.
    pub const ENHANCED: [Mistake; 10] = [
        Mistake::MemberLost,
        Mistake::NetworkForgotten,
        Mistake::MoveUntold,
        Mistake::OthersView,
        Mistake::NoMemory,
        Mistake::CseqTwice,
        Mistake::NoExpiry,
        Mistake::OneWatcherLost,
        Mistake::LostOnOneReplica,
        Mistake::OldSnapshot,
    ];

    /// Whether a client could tell, from what it is answered and told.
    pub fn is_noticed_by_clients(self) -> bool {
        use Mistake::*;
        match self {
            NoMemory
            | TagTwice
            | CseqTwice
            | NoExpiry
            | OneWatcherLost
            | OldView
            | NoRepeatAfterTermStart
            | MemberLost
            | NetworkForgotten
            | MoveUntold
            | OthersView => true,
            TimeRunsBack | HalfRegister | ZombieDialog | LostOnOneReplica | OldSnapshot => false,
        }
    }

    /// Whether all replicas make it alike, so that only the model and the rules can find it.
    pub fn is_shared(self) -> bool {
        !matches!(self, Mistake::LostOnOneReplica | Mistake::OldSnapshot)
    }
}

/// A machine that may make one mistake.
#[derive(Default)]
pub struct Erring {
    pub machine: Machine,
    pub mistake: Option<Mistake>,
    last_view: Option<Arc<View>>,
}

impl Erring {
    pub fn new(machine: Machine, mistake: Option<Mistake>) -> Erring {
        Erring {
            machine,
            mistake,
            last_view: None,
        }
    }

    pub fn apply(&mut self, index: u64, entry: &Entry<'_>, effects: &mut Vec<Effect>) {
        let mut entry = entry.clone();
        self.misread(index, &mut entry);
        self.machine.apply(index, &entry, effects);
        self.misperform(index, &entry, effects);
    }

    fn misread(&self, index: u64, entry: &mut Entry<'_>) {
        match (self.mistake, &mut entry.act) {
            (Some(Mistake::NoExpiry), _) => entry.at = Timestamp(entry.at.0.min(1_700_000_000_000)),
            (Some(Mistake::TimeRunsBack), _) if index.is_multiple_of(8) => entry.at.0 += 500,
            (Some(Mistake::NoMemory), Act::Requests(requests)) => {
                for request in requests {
                    request.key = RequestKey(request.key.0 ^ (u128::from(index) << 64));
                }
            }
            (Some(Mistake::HalfRegister), Act::Requests(requests)) => {
                for request in requests {
                    if let Command::Register(register) = &mut request.command
                        && let Bindings::Each(bindings) = &mut register.bindings
                    {
                        bindings.truncate(1);
                    }
                }
            }
            (Some(Mistake::ZombieDialog), Act::Requests(requests)) => {
                for request in requests {
                    if let Command::Resubscribe(resubscribe) = &mut request.command {
                        resubscribe.expires_s = resubscribe.expires_s.max(1);
                    }
                }
            }
            (Some(Mistake::MemberLost), Act::Requests(requests)) => {
                for request in requests {
                    if let Command::SetMembers { changes, .. } = &mut request.command
                        && let Some(change) = changes.last_mut()
                    {
                        change.members.pop();
                    }
                }
            }
            (Some(Mistake::NetworkForgotten), Act::Requests(requests)) => {
                for request in requests {
                    if let Command::Subscribe(subscribe) = &mut request.command
                        && let Some(extras) = &mut subscribe.extras
                    {
                        extras.network = Network::SameEnterprise;
                    }
                }
            }
            (Some(Mistake::LostOnOneReplica), Act::Requests(requests))
                if index.is_multiple_of(16) =>
            {
                requests.pop();
            }
            _ => {}
        }
    }

    fn misperform(&mut self, index: u64, entry: &Entry<'_>, effects: &mut Vec<Effect>) {
        let term_start = matches!(entry.act, Act::TermStart { .. });
        if self.mistake == Some(Mistake::NoRepeatAfterTermStart) && term_start {
            effects.clear();
        }
        let moves = matches!(&entry.act, Act::Requests(requests)
            if requests.iter().any(|request| matches!(request.command, Command::SetMembers { .. })));
        if self.mistake == Some(Mistake::MoveUntold) && moves {
            effects.retain(|effect| {
                !matches!(effect, Effect::Notify { view, .. } if view.package == Package::Categories)
            });
        }
        for effect in effects {
            match (self.mistake, effect) {
                (
                    Some(Mistake::TagTwice),
                    Effect::Reply {
                        outcome: Outcome::Published { tag, .. },
                        ..
                    },
                ) => {
                    tag.index = tag.index / 2 * 2;
                }
                (Some(Mistake::CseqTwice), Effect::Notify { notices, .. })
                    if index.is_multiple_of(4) =>
                {
                    notices
                        .iter_mut()
                        .for_each(|notice| notice.cseq = (notice.cseq - 1).max(1));
                }
                (Some(Mistake::OneWatcherLost), Effect::Notify { notices, .. })
                    if notices.len() > 1 =>
                {
                    notices.pop();
                }
                (Some(Mistake::OthersView), Effect::Notify { view, .. })
                    if matches!(view.seen, Seen::Categories(_)) =>
                {
                    let new = Arc::clone(view);
                    if let Some(other) = self.last_view.replace(new)
                        && other.presentity == view.presentity
                    {
                        *view = other;
                    }
                }
                (Some(Mistake::OldView), Effect::Notify { view, .. }) => {
                    let new = Arc::clone(view);
                    if let Some(old) = self.last_view.replace(new)
                        && old.presentity == view.presentity
                    {
                        *view = old;
                    }
                }
                _ => {}
            }
        }
    }
}
