//! What the server writes, kept for a validator: with `LAMPLIGHT_BODIES=FOLDER` every message with a body
//! that a test receives is written there, once.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;

/// Keeps a message, if somebody asked for it.
pub fn collect(message: &[u8]) {
    let Some(folder) = std::env::var_os("LAMPLIGHT_BODIES").map(PathBuf::from) else {
        return;
    };
    let Some(end) = message.windows(4).position(|four| four == b"\r\n\r\n") else {
        return;
    };
    if message.len() == end + 4 {
        return;
    }
    let mut hash = DefaultHasher::new();
    message[end..].hash(&mut hash);
    let path = folder.join(format!("{:016x}.sip", hash.finish()));
    if !path.exists() {
        std::fs::create_dir_all(&folder).expect("LAMPLIGHT_BODIES can be a folder");
        // Two tests may receive one body at once; each writes a file of its own, and the last one stays.
        let own = path.with_extension(format!("{:?}", std::thread::current().id()));
        std::fs::write(&own, message).expect("LAMPLIGHT_BODIES can be written to");
        std::fs::rename(own, path).expect("LAMPLIGHT_BODIES can be written to");
    }
}
