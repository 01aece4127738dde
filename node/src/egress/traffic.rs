//! Between nodes: requests to the node that leads, and back what becomes of them; notifications to the
//! node that has the watcher's flow.
//!
//! ```text
//! frame := 1 requests shard:u16 count:u16 ticket:u64* encoded requests
//!        | 2 refused  leader:u64 ticket:u64*
//!        | 3 replies  reply*
//!        | 7 tell     digest:option u64, and then as notify
//!        | 4 notify   taken_at:u64 count:u8 (format:u8 length:u32 document)* notice*
//!        | 5 ask      shard:u16 ticket:u64 question
//!        | 6 found    ticket:u64 answer
//! ```
//!
//! Nothing here is acknowledged. A request that gets no answer is sent again under the same key by the
//! node it came in on; a notification that is lost with its link is told again (house §5).

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use shard::machine::command::Ticket;
use shard::machine::crossing::{self, Answer, Reply};
use shard::machine::effect::{Notice, Shown};
use shard::machine::outcome::Outcome;
use shard::subscription::dialog::Format;
use shard::time::Timestamp;

use super::render::Rendering;
use crate::peer::NodeNumber;
use crate::peer::mesh::{Mesh, NoLink};
use crate::raft::proposer::Batch;

const REQUESTS: u8 = 1;
const REFUSED: u8 = 2;
const REPLIES: u8 = 3;
const NOTIFY: u8 = 4;
const ASK: u8 = 5;
const FOUND: u8 = 6;
/// A notify with the digest of what is seen, whose notices may say what was agreed to save traffic: for nodes that
/// speak [`TELLS`].
const TELL: u8 = 7;

/// The version of the links from which on nodes know that.
const TELLS: u16 = 3;

/// Bytes of notices and documents in one frame, roughly: a fan-out of thousands is cut.
const FRAME_BYTES: usize = 1 << 20;

/// The way to the other nodes.
#[derive(Clone)]
pub struct Traffic {
    me: NodeNumber,
    mesh: Mesh,
}

impl std::fmt::Debug for Traffic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Traffic(of node {})", self.me)
    }
}

/// What came from another node.
#[derive(Debug)]
pub enum Frame {
    /// Requests for a shard that this node is thought to lead.
    Requests {
        /// Which shard.
        shard: u16,
        /// They.
        batch: Batch,
    },
    /// Requests that came back.
    Refused {
        /// Who leads, if the other node knows.
        leader: Option<NodeNumber>,
        /// They.
        tickets: Vec<Ticket>,
    },
    /// What became of requests.
    Replies(Vec<Reply>),
    /// Watchers whose flows are here.
    Notify(Arc<Rendering>, Vec<Notice>),
    /// A question to a shard that this node is thought to lead.
    Ask {
        /// Which shard.
        shard: u16,
        /// Who asks.
        ticket: Ticket,
        /// What ([`crossing::decode_question`]).
        question: Bytes,
    },
    /// What was found.
    Found(Ticket, Answer),
}

impl Traffic {
    /// Of this node, over these links.
    #[must_use]
    pub fn new(me: NodeNumber, mesh: Mesh) -> Traffic {
        Traffic { me, mesh }
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> NodeNumber {
        self.me
    }

    /// Whether there is no other node to speak to.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.mesh.is_empty()
    }

    /// Whether a node can be reached now.
    #[must_use]
    pub fn reaches(&self, node: NodeNumber) -> bool {
        self.mesh.is_up(node)
    }

    /// Hands requests to the node that leads their shard.
    ///
    /// # Errors
    /// [`NoLink`]: they were not sent.
    pub fn requests(&self, to: NodeNumber, shard: u16, batch: &Batch) -> Result<(), NoLink> {
        let tickets = &batch.tickets;
        let mut out = BytesMut::with_capacity(5 + 8 * tickets.len() + batch.requests.len());
        out.put_u8(REQUESTS);
        out.put_u16_le(shard);
        out.put_u16_le(u16::try_from(tickets.len()).expect("a batch is bounded"));
        for ticket in tickets {
            out.put_u64_le(ticket.0);
        }
        out.put_slice(&batch.requests);
        self.mesh.send(to, out.freeze())
    }

    /// Gives requests back that this node cannot log.
    pub fn refuse(&self, to: NodeNumber, leader: Option<NodeNumber>, tickets: &[Ticket]) {
        let mut out = BytesMut::with_capacity(9 + 8 * tickets.len());
        out.put_u8(REFUSED);
        out.put_u64_le(leader.unwrap_or(0));
        for ticket in tickets {
            out.put_u64_le(ticket.0);
        }
        // Whoever waits asks again by itself.
        let _ = self.mesh.send(to, out.freeze());
    }

    /// Asks the node that leads a shard.
    ///
    /// # Errors
    /// [`NoLink`]: it was not sent.
    pub fn ask(
        &self,
        to: NodeNumber,
        shard: u16,
        ticket: Ticket,
        question: &[u8],
    ) -> Result<(), NoLink> {
        let mut out = BytesMut::with_capacity(11 + question.len());
        out.put_u8(ASK);
        out.put_u16_le(shard);
        out.put_u64_le(ticket.0);
        out.put_slice(question);
        self.mesh.send(to, out.freeze())
    }

    /// Tells what was found.
    pub fn found(&self, to: NodeNumber, ticket: Ticket, answer: &Answer) {
        let mut out = vec![FOUND];
        out.put_u64_le(ticket.0);
        crossing::encode_answer(answer, &mut out);
        let _ = self.mesh.send(to, out.into());
    }

    /// Hands watchers of one view to the node that has their flows.
    ///
    /// # Errors
    /// [`NoLink`]: some of them were not told.
    pub fn notify(
        &self,
        to: NodeNumber,
        rendering: &Rendering,
        notices: &[Notice],
    ) -> Result<(), NoLink> {
        let tells = self.mesh.speaks(to) >= TELLS;
        let mut notices = notices.iter().peekable();
        while notices.peek().is_some() {
            let mut told = Vec::new();
            let mut formats: Vec<Format> = Vec::new();
            while told.len() < FRAME_BYTES
                && let Some(notice) = notices.next()
            {
                if tells {
                    crossing::encode_notice(notice, &mut told);
                } else {
                    crossing::encode_plain_notice(notice, &mut told);
                }
                if !formats.contains(&notice.format) {
                    formats.push(notice.format);
                }
            }
            let mut out = BytesMut::with_capacity(64 + told.len());
            if tells {
                let digest = rendering.digest();
                out.put_u8(TELL);
                out.put_u8(u8::from(digest.is_some()));
                out.put_u64_le(digest.unwrap_or(0));
            } else {
                out.put_u8(NOTIFY);
            }
            out.put_u64_le(rendering.taken_at().0);
            out.put_u8(formats.len() as u8);
            for format in formats {
                let document = rendering.document(format);
                out.put_u8(format as u8);
                out.put_u32_le(document.len() as u32);
                out.put_slice(document);
            }
            out.put_slice(&told);
            self.mesh.send(to, out.freeze())?;
        }
        Ok(())
    }
}

/// Replies on their way to one node.
#[derive(Debug)]
pub struct Replies(Vec<u8>);

impl Default for Replies {
    fn default() -> Replies {
        Replies(vec![REPLIES])
    }
}

impl Replies {
    /// One more.
    pub fn add(&mut self, ticket: Ticket, outcome: &Outcome, shown: Option<&Shown>) {
        crossing::encode_reply(ticket, outcome, shown, &mut self.0);
    }

    /// Sends them. Whoever is not told asks again.
    pub fn send(self, traffic: &Traffic, to: NodeNumber) {
        let _ = traffic.mesh.send(to, self.0.into());
    }
}

/// Reads a frame; `None` for what this release does not know.
#[must_use]
pub fn decode(mut frame: Bytes) -> Option<Frame> {
    let kind = frame.try_get_u8().ok()?;
    Some(match kind {
        REQUESTS => {
            let shard = frame.try_get_u16_le().ok()?;
            let count = usize::from(frame.try_get_u16_le().ok()?);
            let mut tickets = Vec::with_capacity(count);
            for _ in 0..count {
                tickets.push(Ticket(frame.try_get_u64_le().ok()?));
            }
            Frame::Requests {
                shard,
                batch: Batch {
                    requests: frame,
                    tickets,
                },
            }
        }
        REFUSED => {
            let leader = frame.try_get_u64_le().ok()?;
            let mut tickets = Vec::with_capacity(frame.len() / 8);
            while frame.has_remaining() {
                tickets.push(Ticket(frame.try_get_u64_le().ok()?));
            }
            Frame::Refused {
                leader: (leader != 0).then_some(leader),
                tickets,
            }
        }
        REPLIES => Frame::Replies(crossing::decode_replies(&frame)?),
        NOTIFY | TELL => {
            let digest = if kind == TELL {
                let is = frame.try_get_u8().ok()? == 1;
                Some(frame.try_get_u64_le().ok()?).filter(|_| is)
            } else {
                None
            };
            let taken_at = Timestamp(frame.try_get_u64_le().ok()?);
            let count = frame.try_get_u8().ok()?;
            let mut documents = Vec::new();
            for _ in 0..count {
                let format = Format::from_number(frame.try_get_u8().ok()?)?;
                let length = frame.try_get_u32_le().ok()? as usize;
                if length > frame.len() {
                    return None;
                }
                documents.push((format, frame.split_to(length)));
            }
            let rendering = Rendering::rendered(taken_at, digest, documents);
            Frame::Notify(Arc::new(rendering), crossing::decode_notices(&frame)?)
        }
        ASK => Frame::Ask {
            shard: frame.try_get_u16_le().ok()?,
            ticket: Ticket(frame.try_get_u64_le().ok()?),
            question: frame,
        },
        FOUND => {
            let ticket = Ticket(frame.try_get_u64_le().ok()?);
            Frame::Found(ticket, crossing::decode_answer(&frame)?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use shard::machine::effect::SubscriptionState;
    use shard::slot::Slot;
    use shard::subscription::dialog::{Delivery, DialogKey, EndReason};
    use shard::subscription::filter::Filter;
    use shard::subscription::savers::{Cause, Terms};

    use super::*;

    fn notice(cseq: u32, format: Format, state: SubscriptionState) -> Notice {
        Notice {
            dialog: DialogKey(u128::from(cseq) << 70),
            slot: Slot::new(1_023).expect("a slot"),
            delivery: Delivery::Benotify,
            cseq,
            format,
            state,
            route: Arc::from(&b"route"[..]),
            target: Arc::from(&b"target"[..]),
            terms: None,
            cause: Cause::Asked,
        }
    }

    /// Every frame that is cut short, or goes on, is refused or is another one; none panics.
    fn survives(frame: &[u8]) {
        for cut in 0..frame.len() {
            let _ = decode(Bytes::copy_from_slice(&frame[..cut]));
        }
        for at in 0..frame.len().min(200) {
            let mut spoiled = frame.to_vec();
            spoiled[at] ^= 0xff;
            let _ = decode(spoiled.into());
        }
    }

    #[test]
    fn what_crosses_is_read_as_it_was_written() {
        let mut requests = vec![REQUESTS];
        requests.put_u16_le(7);
        requests.put_u16_le(2);
        requests.put_u64_le(11);
        requests.put_u64_le(12);
        requests.put_slice(b"encoded");
        match decode(Bytes::from(requests.clone())) {
            Some(Frame::Requests { shard: 7, batch }) => {
                assert_eq!(batch.tickets, [Ticket(11), Ticket(12)]);
                assert_eq!(&batch.requests[..], b"encoded");
            }
            other => panic!("{other:?}"),
        }
        crate::fixture::held("traffic-requests", &requests);
        survives(&requests);

        let mut refused = vec![REFUSED];
        refused.put_u64_le(3);
        refused.put_u64_le(11);
        assert!(matches!(
            decode(Bytes::from(refused.clone())),
            Some(Frame::Refused { leader: Some(3), tickets }) if tickets == [Ticket(11)]
        ));
        crate::fixture::held("traffic-refused", &refused);
        survives(&refused);

        let mut replies = Replies::default();
        replies.add(Ticket(5), &Outcome::Done, None);
        replies.add(Ticket(6), &Outcome::Ended, Some(&Shown::default()));
        match decode(Bytes::from(replies.0.clone())) {
            Some(Frame::Replies(told)) => {
                assert_eq!(told.len(), 2);
                assert_eq!((told[0].0, &told[0].1), (Ticket(5), &Outcome::Done));
                assert!(told[0].2.is_none() && told[1].2.is_some());
            }
            other => panic!("{other:?}"),
        }
        crate::fixture::held("traffic-replies", &replies.0);
        survives(&replies.0);

        let mut notify = vec![NOTIFY];
        notify.put_u64_le(99);
        notify.put_u8(1);
        notify.put_u8(Format::Msrtc as u8);
        notify.put_u32_le(8);
        notify.put_slice(b"document");
        let ends = SubscriptionState::Terminated(EndReason::Deactivated);
        for told in [
            notice(
                4,
                Format::Msrtc,
                SubscriptionState::Active { expires_s: 60 },
            ),
            notice(5, Format::Msrtc, ends),
        ] {
            crossing::encode_notice(&told, &mut notify);
        }
        match decode(Bytes::from(notify.clone())) {
            Some(Frame::Notify(rendering, notices)) => {
                assert_eq!(rendering.taken_at(), Timestamp(99));
                assert_eq!(&rendering.document(Format::Msrtc)[..], b"document");
                assert!(rendering.document(Format::Pidf).is_empty());
                assert_eq!((notices[0].cseq, notices[1].state), (4, ends));
                assert_eq!(&*notices[1].target, b"target");
            }
            other => panic!("{other:?}"),
        }
        crate::fixture::held("traffic-notify", &notify);
        survives(&notify);

        let mut pending = vec![NOTIFY];
        pending.put_u64_le(99);
        pending.put_u8(1);
        pending.put_u8(Format::Watcherinfo as u8);
        pending.put_u32_le(0);
        let waits = SubscriptionState::Pending { expires_s: 60 };
        crossing::encode_notice(&notice(6, Format::Pidf, waits), &mut pending);
        match decode(Bytes::from(pending.clone())) {
            Some(Frame::Notify(_, notices)) => assert_eq!(notices[0].state, waits),
            other => panic!("{other:?}"),
        }
        crate::fixture::held("traffic-notify-pending", &pending);
        survives(&pending);
        let mut tell = vec![TELL, 1];
        tell.put_u64_le(0x1234);
        tell.put_slice(&notify[1..23]);
        let terms = Terms {
            min_interval_s: 5,
            gzip: true,
            filter: Some(Filter::default()),
            ..Terms::default()
        };
        let saving = Notice {
            terms: Some(Arc::new(terms)),
            cause: Cause::Changed,
            ..notice(6, Format::Msrtc, ends)
        };
        let suppressed = Notice {
            cause: Cause::Suppressed,
            ..notice(7, Format::Msrtc, ends)
        };
        for told in [&saving, &suppressed, &notice(8, Format::Msrtc, ends)] {
            crossing::encode_notice(told, &mut tell);
        }
        match decode(Bytes::from(tell.clone())) {
            Some(Frame::Notify(rendering, notices)) => {
                assert_eq!(rendering.digest(), Some(0x1234));
                assert_eq!(&rendering.document(Format::Msrtc)[..], b"document");
                assert_eq!(notices[0].terms, saving.terms);
                let causes = notices.iter().map(|notice| notice.cause);
                assert!(causes.eq([Cause::Changed, Cause::Suppressed, Cause::Asked]));
                assert!(notices[2].terms.is_none());
            }
            other => panic!("{other:?}"),
        }
        crate::fixture::held("traffic-tell", &tell);
        survives(&tell);
        // An older node is told without what it does not know.
        let (mut plain, mut other) = (Vec::new(), Vec::new());
        crossing::encode_plain_notice(&saving, &mut plain);
        crossing::encode_notice(&notice(6, Format::Msrtc, ends), &mut other);
        assert_eq!(plain, other);

        for unknown in [&b""[..], b"\x09", b"\x05\x01"] {
            assert!(decode(Bytes::copy_from_slice(unknown)).is_none());
        }
    }
}
