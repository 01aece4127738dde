//! What a release wrote to others or to the disk, in `tests/fixtures/wire`, to be read for ever.
//!
//! Each format's tests hold a file of each kind against what is written today. When a format gets a new version,
//! its old files stay, and are still read; `LAMPLIGHT_KEEP_FIXTURES=1` writes those that are missing, and never
//! one that is there.

use std::path::Path;

/// The bytes of a fixture, which are what this release writes.
pub(crate) fn held(name: &str, written: &[u8]) -> bytes::Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire");
    let path = folder.join(format!("{name}.bin"));
    if !path.exists() && std::env::var_os("LAMPLIGHT_KEEP_FIXTURES").is_some() {
        std::fs::create_dir_all(&folder).expect("made");
        std::fs::write(&path, written).expect("written");
    }
    let kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        kept == written,
        "{name} is written differently than the release before wrote it: give the format a new version, go on to \
         read the old one, and keep its file\nbefore {kept:02x?}\nnow    {written:02x?}"
    );
    kept.into()
}
