//! Digests by which replicas check each other (house D16).

use bytes::BytesMut;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::codec;
use super::effect::Effect;
use super::slots::SlotTable;

/// The history after these effects: what was answered, who was notified, with which number. Tickets do
/// not count: they are the ingress's own.
pub(super) fn of_effects(history: u64, effects: &[Effect]) -> u64 {
    if effects.is_empty() {
        return history;
    }
    let mut text = BytesMut::with_capacity(64 * effects.len());
    for effect in effects {
        match effect {
            Effect::Reply { outcome, .. } => codec::encode_outcome(outcome, &mut text),
            Effect::Notify { view, notices } => {
                text.extend_from_slice(&view.revision.to_le_bytes());
                for notice in notices {
                    text.extend_from_slice(&notice.dialog.0.to_le_bytes());
                    text.extend_from_slice(&notice.cseq.to_le_bytes());
                }
            }
        }
    }
    xxh3_64_with_seed(&text, history)
}

/// The state of one slot, as a snapshot would hold it.
pub(super) fn of_slot(table: &SlotTable) -> u64 {
    let mut text = BytesMut::new();
    codec::encode_slot(table, &mut text);
    xxh3_64_with_seed(&text, 0)
}
