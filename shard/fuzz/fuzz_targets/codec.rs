//! The log's codec and the snapshot reader: no input panics, what is read is written alike, and any
//! entry that can be read can be applied.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use shard::machine::Machine;
use shard::machine::codec::{decode_entry, encode_entry};
use shard::machine::command::Act;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = decode_entry(bytes) {
        let mut again = BytesMut::new();
        encode_entry(entry.at, &entry.act, &mut again);
        assert_eq!(decode_entry(&again).as_ref(), Ok(&entry), "what was read is written alike");
        if !matches!(entry.act, Act::Attest { .. }) {
            let (mut machine, mut effects) = (Machine::default(), Vec::new());
            machine.apply(1, &entry, &mut effects);
            assert!(machine.next_deadline().is_none_or(|deadline| deadline >= machine.now()));
        }
    }
    if let Ok(machine) = Machine::restore(&mut &bytes[..]) {
        let mut again = Vec::new();
        machine.snapshot().write(&mut again).expect("memory takes all");
        assert!(bytes.starts_with(&again), "a snapshot is read as it was written");
    }
});
