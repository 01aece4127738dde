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
        std::fs::write(path, message).expect("LAMPLIGHT_BODIES can be written to");
    }
}
