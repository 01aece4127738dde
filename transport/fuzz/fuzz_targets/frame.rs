//! Framing: no stream panics, and where the segments fall changes nothing.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use transport::sip::frame::{Frame, Framer};

fn frames(pieces: &[&[u8]]) -> Vec<Frame> {
    let (mut buffer, mut framer, mut found) = (BytesMut::new(), Framer::default(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Ok(Some(frame)) = framer.next(&mut buffer) {
            if matches!(frame, Frame::Message(_)) {
                found.push(frame);
            }
        }
    }
    found
}

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.first().map_or(0, |first| usize::from(*first).min(bytes.len()));
    assert_eq!(frames(&[bytes]), frames(&[&bytes[..cut], &bytes[cut..]]));
});
