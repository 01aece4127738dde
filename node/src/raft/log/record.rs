//! The bytes of the log: batches of records.
//!
//! A batch is a head (magic, segment, number, length, checksum) and records; a record is a length, a
//! checksum, a kind, a group, and what the kind holds. Checksums begin with the segment's number, so
//! that what an earlier use of the file left behind is never taken for data.

use bytes::{Buf, Bytes};
use openraft::{CommittedLeaderId, EntryPayload, LogId, Membership, Vote};

use crate::raft::types::{GroupId, NodeNumber, Payload, TypeConfig};

/// An entry as openraft has it.
pub(super) type Entry = openraft::Entry<TypeConfig>;

/// Where a batch begins.
pub(super) const BATCH_MAGIC: u32 = 0x4c4c_4257;

/// Bytes of a batch's head.
pub(super) const BATCH_HEAD: usize = 28;

/// Bytes of a record before what its kind holds: length, checksum, kind, group.
const RECORD_HEAD: usize = 4 + 4 + 1 + 4;

/// Bytes of one record at the most: an entry of 256 KiB and its requests' heads, with room.
pub(super) const RECORD_BYTES_MAX: usize = 4 << 20;

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHead {
    pub(super) segment: u64,
    pub(super) number: u64,
    pub(super) length: u32,
}

impl BatchHead {
    pub(super) fn write(self, out: &mut [u8]) {
        out[0..4].copy_from_slice(&BATCH_MAGIC.to_le_bytes());
        out[4..12].copy_from_slice(&self.segment.to_le_bytes());
        out[12..20].copy_from_slice(&self.number.to_le_bytes());
        out[20..24].copy_from_slice(&self.length.to_le_bytes());
        let sum = crc32c::crc32c(&out[..24]);
        out[24..28].copy_from_slice(&sum.to_le_bytes());
    }

    /// The head at the front of `bytes`; `None` for anything else.
    pub(super) fn read(bytes: &[u8]) -> Option<BatchHead> {
        let mut head = bytes.get(..BATCH_HEAD)?;
        let sum = crc32c::crc32c(&head[..24]);
        if head.get_u32_le() != BATCH_MAGIC {
            return None;
        }
        let read = BatchHead {
            segment: head.get_u64_le(),
            number: head.get_u64_le(),
            length: head.get_u32_le(),
        };
        (head.get_u32_le() == sum).then_some(read)
    }
}

/// What a record says of its group. The numbers are on disks, for ever.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    /// 1: an entry is appended.
    Entry(Entry),
    /// 2: a vote is cast.
    Vote(Vote<NodeNumber>),
    /// 3: entries from this index on are not there any more.
    Truncate(u64),
    /// 4: entries up to this one are not needed any more.
    Purge(LogId<NodeNumber>),
    /// 5: nothing that came before counts: the replica begins anew.
    Forget,
}

/// Appends a record.
pub(super) fn write(segment: u64, group: GroupId, record: &Record, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 8]);
    out.push(match record {
        Record::Entry(_) => 1,
        Record::Vote(_) => 2,
        Record::Truncate(_) => 3,
        Record::Purge(_) => 4,
        Record::Forget => 5,
    });
    out.extend_from_slice(&group.0.to_le_bytes());
    match record {
        Record::Entry(entry) => write_entry(entry, out),
        Record::Vote(vote) => {
            out.extend_from_slice(&vote.leader_id.term.to_le_bytes());
            let node = vote.leader_id.node_id;
            out.extend_from_slice(&node.to_le_bytes());
            out.push(u8::from(vote.committed));
        }
        Record::Truncate(index) => out.extend_from_slice(&index.to_le_bytes()),
        Record::Purge(log_id) => write_log_id(log_id, out),
        Record::Forget => {}
    }
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(segment, &out[at + 8..]);
    out[at + 4..at + 8].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(segment: u64, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&segment.to_le_bytes()), rest)
}

fn write_log_id(log_id: &LogId<NodeNumber>, out: &mut Vec<u8>) {
    out.extend_from_slice(&log_id.leader_id.term.to_le_bytes());
    out.extend_from_slice(&log_id.leader_id.node_id.to_le_bytes());
    out.extend_from_slice(&log_id.index.to_le_bytes());
}

fn write_entry(entry: &Entry, out: &mut Vec<u8>) {
    write_log_id(&entry.log_id, out);
    match &entry.payload {
        EntryPayload::Blank => out.push(0),
        EntryPayload::Normal(Payload(bytes)) => {
            out.push(1);
            out.extend_from_slice(bytes);
        }
        EntryPayload::Membership(membership) => {
            out.push(2);
            // Membership changes are rare and openraft's own; JSON is what its types offer.
            serde_json::to_writer(out, membership).expect("a membership is plain data");
        }
    }
}

/// Reads the record at the front of `bytes`, and how long it is; `None` when there is no sound one.
pub(super) fn read(segment: u64, bytes: &Bytes) -> Option<(GroupId, Record, usize)> {
    let length = bytes.get(..4)?.get_u32_le() as usize;
    if !(RECORD_HEAD..=RECORD_BYTES_MAX).contains(&length) || length > bytes.len() {
        return None;
    }
    let sum = (&bytes[4..8]).get_u32_le();
    if checksum(segment, &bytes[8..length]) != sum {
        return None;
    }
    let kind = bytes[8];
    let group = GroupId((&bytes[9..13]).get_u32_le());
    let mut body = bytes.slice(RECORD_HEAD..length);
    let record = match kind {
        1 => Record::Entry(read_entry(body)?),
        2 if body.len() == 17 => {
            let (term, node, committed) =
                (body.get_u64_le(), body.get_u64_le(), body.get_u8() != 0);
            let mut vote = Vote::new(term, node);
            vote.committed = committed;
            Record::Vote(vote)
        }
        3 if body.len() == 8 => Record::Truncate(body.get_u64_le()),
        4 if body.len() == 24 => Record::Purge(read_log_id(&mut body)),
        5 if body.is_empty() => Record::Forget,
        _ => return None,
    };
    Some((group, record, length))
}

fn read_log_id(body: &mut Bytes) -> LogId<NodeNumber> {
    let leader = CommittedLeaderId::new(body.get_u64_le(), body.get_u64_le());
    LogId::new(leader, body.get_u64_le())
}

fn read_entry(mut body: Bytes) -> Option<Entry> {
    if body.len() < 25 {
        return None;
    }
    let log_id = read_log_id(&mut body);
    let payload = match body.get_u8() {
        0 => EntryPayload::Blank,
        1 => EntryPayload::Normal(Payload(body)),
        2 => {
            let membership: Membership<NodeNumber, openraft::BasicNode> =
                serde_json::from_slice(&body).ok()?;
            EntryPayload::Membership(membership)
        }
        _ => return None,
    };
    Some(Entry { log_id, payload })
}

/// Bytes that an entry costs in memory, near enough.
pub(super) fn weight(entry: &Entry) -> u64 {
    let payload = match &entry.payload {
        EntryPayload::Normal(Payload(bytes)) => bytes.len(),
        EntryPayload::Blank => 0,
        EntryPayload::Membership(_) => 256,
    };
    (payload + 96) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::BasicNode;

    use super::*;

    #[test]
    fn a_record_of_each_kind_is_read_for_ever() {
        let log_id = LogId::new(CommittedLeaderId::new(3, 2), 77);
        let entry = |payload| Record::Entry(Entry { log_id, payload });
        let voters = BTreeSet::from([1, 2, 3]);
        let nodes: BTreeMap<NodeNumber, BasicNode> =
            (1..=4).map(|node| (node, BasicNode::default())).collect();
        let mut vote = Vote::new(9, 4);
        vote.committed = true;
        for (name, record) in [
            ("blank", entry(EntryPayload::Blank)),
            (
                "normal",
                entry(EntryPayload::Normal(Payload(Bytes::from_static(
                    b"an entry",
                )))),
            ),
            (
                "membership",
                entry(EntryPayload::Membership(Membership::new(
                    vec![voters],
                    nodes,
                ))),
            ),
            ("vote", Record::Vote(vote)),
            ("truncate", Record::Truncate(5)),
            ("purge", Record::Purge(log_id)),
            ("forget", Record::Forget),
        ] {
            let mut written = Vec::new();
            write(12, GroupId(3), &record, &mut written);
            let kept = crate::fixture::held(&format!("v1-record-{name}"), &written);
            let read_back = read(12, &kept);
            assert_eq!(read_back, Some((GroupId(3), record, kept.len())), "{name}");
            assert_eq!(read(13, &kept), None, "{name}: of another use of the file");
        }
        let mut head = [0; BATCH_HEAD];
        let batch = BatchHead {
            segment: 12,
            number: 5,
            length: 300,
        };
        batch.write(&mut head);
        let kept = crate::fixture::held("v1-batch-head", &head);
        assert_eq!(BatchHead::read(&kept), Some(batch));
    }
}
