//! Mistakes made on purpose, to prove that they would be found. Nothing of the product knows of them: each is
//! made where the world and the product meet, in what a node is told, asked, or finds on its disk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use node::egress::outbox::ERRAND;
use node::egress::traffic::{self, Frame};
use node::ingress::door::Door;
use node::peer::NodeNumber;
use node::peer::call::{Answer, Answering};
use node::peer::mesh::Receive;
use node::raft::types::{NodeNumber as RaftNode, Payload, TypeConfig};
use openraft::EntryPayload;
use openraft::error::{Infallible, RaftError};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use shard::machine::codec::{command_of, decode_entry, encode_entry};
use shard::machine::command::{Act, Command, Leader, Ticket};
use shard::machine::crossing;
use shard::machine::moves::Step;
use shard::time::Timestamp;

/// Something that a pool could get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A follower says that it has an entry before it has.
    AckBeforeStored,
    /// A voter does not remember what it has, and votes for whoever asks.
    VoterForgets,
    /// A follower takes the time from its own clock.
    FollowersTime,
    /// A follower loses a request.
    LosesARequest,
    /// A follower takes every new leader for itself, and performs.
    SecondPerformer,
    /// A node draws no new life when it starts.
    SameLife,
    /// Tickets are counted from nothing in each life.
    TicketsBeginAnew,
    /// A reply goes to the one who asked next.
    TicketOffByOne,
    /// What a broken link lost is not told again.
    NoTellAgain,
    /// What an old leader told is sent long after.
    LateFromOld,
    /// What a node itself wants done is lost on its way, each time.
    ErrandsLost,
    /// A retry through another node is a new request.
    KeyPerNode,
    /// The lease of a leader lasts seconds longer than its followers wait.
    LongLease,
    /// The log says that it is synced before it is.
    DiskForgets,
    /// A worker never looks at the map again.
    StaleRoutes,
    /// The shard that gets a slot says that it has all of it before it has anything.
    PartsPromised,
}

impl Mistake {
    pub const ALL: [Mistake; 16] = [
        Mistake::AckBeforeStored,
        Mistake::VoterForgets,
        Mistake::FollowersTime,
        Mistake::LosesARequest,
        Mistake::SecondPerformer,
        Mistake::SameLife,
        Mistake::TicketsBeginAnew,
        Mistake::TicketOffByOne,
        Mistake::NoTellAgain,
        Mistake::LateFromOld,
        Mistake::ErrandsLost,
        Mistake::KeyPerNode,
        Mistake::LongLease,
        Mistake::DiskForgets,
        Mistake::StaleRoutes,
        Mistake::PartsPromised,
    ];

    /// The mistake of this name.
    pub fn of(name: &str) -> Option<Mistake> {
        Mistake::ALL
            .into_iter()
            .find(|mistake| format!("{mistake:?}") == name)
    }
}

/// What is done to datagrams.
pub struct Tampering(Option<Mistake>);

impl Tampering {
    pub fn new(mistake: Option<Mistake>) -> Tampering {
        Tampering(mistake)
    }

    /// A datagram as this node reads it.
    pub fn datagram(&self, node: NodeNumber, bytes: Bytes) -> Bytes {
        if self.0 != Some(Mistake::KeyPerNode) || !bytes.starts_with(b"PUBLISH") {
            return bytes;
        }
        let text = String::from_utf8_lossy(&bytes);
        text.replacen(";tag=f", &format!(";tag=f{node}"), 1).into()
    }
}

const APPEND: u8 = 1;
const VOTE: u8 = 3;

/// Where the groups of a node are asked.
pub struct AtGroups {
    node: NodeNumber,
    life: u64,
    served: Arc<dyn Answer>,
    mistake: Option<Mistake>,
    counted: AtomicU64,
}

type Appended = Result<AppendEntriesResponse<RaftNode>, RaftError<RaftNode, Infallible>>;
type Voted = Result<VoteResponse<RaftNode>, RaftError<RaftNode, Infallible>>;

impl AtGroups {
    pub fn new(
        node: NodeNumber,
        life: u64,
        served: Arc<dyn Answer>,
        mistake: Option<Mistake>,
    ) -> AtGroups {
        AtGroups {
            node,
            life,
            served,
            mistake,
            counted: AtomicU64::new(0),
        }
    }

    /// An entry as this follower reads it.
    fn misread(&self, payload: &Bytes) -> Option<Bytes> {
        let mut entry = decode_entry(payload).ok()?;
        match (self.mistake?, &mut entry.act) {
            (Mistake::FollowersTime, _) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
                entry.at = Timestamp(now.as_millis() as u64);
            }
            (Mistake::LosesARequest, Act::Requests(requests)) if !requests.is_empty() => {
                if !self.counted.fetch_add(1, Relaxed).is_multiple_of(8) {
                    return None;
                }
                requests.pop();
            }
            (Mistake::SecondPerformer, Act::TermStart { leader, .. }) => {
                *leader = Leader {
                    node: self.node,
                    life: self.life,
                };
            }
            _ => return None,
        }
        let mut altered = BytesMut::new();
        encode_entry(entry.at, &entry.act, &mut altered);
        Some(altered.freeze())
    }

    fn alter(&self, question: &Bytes) -> Option<Bytes> {
        let mut head = question.clone();
        let group = head.get_u32_le();
        if group == 0 || head.get_u8() != APPEND {
            return None;
        }
        let mut rpc: AppendEntriesRequest<TypeConfig> = postcard::from_bytes(&head).ok()?;
        let mut altered = false;
        for entry in &mut rpc.entries {
            if let EntryPayload::Normal(Payload(payload)) = &mut entry.payload
                && let Some(misread) = self.misread(payload)
            {
                *payload = misread;
                altered = true;
            }
        }
        let mut out = BytesMut::new();
        out.put_u32_le(group);
        out.put_u8(APPEND);
        out.put_slice(&postcard::to_stdvec(&rpc).ok()?);
        altered.then(|| out.freeze())
    }
}

/// How the mover says that everything of a slot has arrived.
const WHOLE: u8 = 3;

/// The move of which a question brings a part.
fn import_of(question: &Bytes) -> Option<u64> {
    // Behind the mark of a question about moves, the shard and the slot.
    let request = question.strip_prefix(&[0xff; 4])?.get(4..)?;
    match command_of(request)? {
        Command::MoveSlot {
            number,
            step: Step::Import { .. },
            ..
        } => Some(number),
        _ => None,
    }
}

impl Answer for AtGroups {
    fn answer(&self, from: NodeNumber, question: Bytes) -> Answering {
        if self.mistake == Some(Mistake::PartsPromised)
            && let Some(number) = import_of(&question)
        {
            let mut whole = BytesMut::with_capacity(9);
            whole.put_u8(WHOLE);
            whole.put_u64_le(number);
            return Box::pin(async move { whole.freeze() });
        }
        // Questions about moves have no group.
        let what = question
            .get(4)
            .filter(|_| !question.starts_with(&[0xff; 4]));
        let what = what.copied();
        match (self.mistake, what) {
            (
                Some(Mistake::FollowersTime | Mistake::LosesARequest | Mistake::SecondPerformer),
                Some(APPEND),
            ) => {
                let question = self.alter(&question).unwrap_or(question);
                self.served.answer(from, question)
            }
            (Some(Mistake::AckBeforeStored), Some(APPEND)) if question[..4] != [0; 4] => {
                let served = Arc::clone(&self.served);
                let early: Appended = Ok(AppendEntriesResponse::Success);
                let counted = self.counted.fetch_add(1, Relaxed);
                Box::pin(async move {
                    if counted < 200 {
                        return served.answer(from, question).await;
                    }
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(400)).await;
                        served.answer(from, question).await
                    });
                    postcard::to_stdvec(&early).unwrap_or_default().into()
                })
            }
            (Some(Mistake::VoterForgets), Some(VOTE)) => {
                let asked: Option<VoteRequest<RaftNode>> =
                    postcard::from_bytes(&question[5..]).ok();
                let answering = self.served.answer(from, question);
                Box::pin(async move {
                    let answer = answering.await;
                    let voted: Option<Voted> = postcard::from_bytes(&answer).ok();
                    let (Some(asked), Some(Ok(voted))) = (asked, voted) else {
                        return answer;
                    };
                    if voted.vote_granted || voted.vote > asked.vote {
                        return answer;
                    }
                    let granted: Voted = Ok(VoteResponse {
                        vote: asked.vote,
                        vote_granted: true,
                        last_log_id: None,
                    });
                    postcard::to_stdvec(&granted).unwrap_or_default().into()
                })
            }
            _ => self.served.answer(from, question),
        }
    }
}

/// What was held back, and since when.
type Held = VecDeque<(tokio::time::Instant, NodeNumber, Bytes)>;

/// Where frames of other nodes come in.
pub struct AtDoor {
    door: Arc<Door>,
    mistake: Option<Mistake>,
    counted: AtomicU64,
    held: Mutex<Held>,
}

/// How long a notification is held back: longer than those who overtook it are remembered.
const HELD: Duration = Duration::from_secs(11);

impl AtDoor {
    pub fn new(door: Door, mistake: Option<Mistake>) -> AtDoor {
        AtDoor {
            door: Arc::new(door),
            mistake,
            counted: AtomicU64::new(0),
            held: Mutex::default(),
        }
    }

    /// Holds some notifications back; gives those whose time has come.
    fn hold(&self, from: NodeNumber, frame: &Bytes) -> (bool, Vec<(NodeNumber, Bytes)>) {
        let Ok(mut held) = self.held.lock() else {
            return (false, Vec::new());
        };
        let now = tokio::time::Instant::now();
        let mut due = Vec::new();
        while let Some((since, ..)) = held.front()
            && now >= *since + HELD
            && let Some((_, from, frame)) = held.pop_front()
        {
            due.push((from, frame));
        }
        let notifies = matches!(traffic::decode(frame.clone()), Some(Frame::Notify(..)));
        let holds = notifies && self.counted.fetch_add(1, Relaxed).is_multiple_of(3);
        if holds {
            held.push_back((now, from, frame.clone()));
        }
        (holds, due)
    }
}

impl Receive for AtDoor {
    fn frame(&self, from: NodeNumber, frame: Bytes) {
        match self.mistake {
            Some(Mistake::ErrandsLost) => {
                if let Some(Frame::Requests { batch, .. }) = traffic::decode(frame.clone())
                    && batch.tickets.iter().any(|ticket| ticket.0 & ERRAND != 0)
                {
                    return;
                }
            }
            Some(Mistake::TicketOffByOne) => {
                if let Some(Frame::Replies(replies)) = traffic::decode(frame.clone())
                    && self.counted.fetch_add(1, Relaxed).is_multiple_of(4)
                {
                    let mut out = vec![frame[0]];
                    for (ticket, outcome, shown) in replies {
                        let ticket = Ticket(ticket.0 + 1);
                        crossing::encode_reply(ticket, &outcome, shown.as_deref(), &mut out);
                    }
                    return self.door.frame(from, out.into());
                }
            }
            Some(Mistake::LateFromOld) => {
                let (holds, due) = self.hold(from, &frame);
                for (from, frame) in due {
                    self.door.frame(from, frame);
                }
                if holds {
                    return;
                }
            }
            _ => {}
        }
        self.door.frame(from, frame);
    }

    fn linked(&self, peer: NodeNumber) {
        if self.mistake != Some(Mistake::NoTellAgain) {
            self.door.linked(peer);
        }
    }

    fn broken(&self, peer: NodeNumber) {
        if self.mistake != Some(Mistake::NoTellAgain) {
            self.door.broken(peer);
        }
    }
}
