//! The example configuration is sound, and what `lamplight check` says.

use std::path::Path;
use std::process::Command;

#[test]
fn the_example_configuration_is_sound() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .join("deploy/node.toml");
    let check = |file: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_lamplight"))
            .arg("check")
            .arg("--config")
            .arg(file)
            .output();
        let output = output.expect("the binary runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    let (sound, said) = check(&example);
    assert!(
        sound && said.starts_with("sound: 1 domains, 2 listeners"),
        "{said}"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("node.toml");
    std::fs::write(&wrong, "shards = 2\ncolour = 'red'\n").expect("written");
    let (sound, said) = check(&wrong);
    assert!(
        !sound && said.contains("line 2") && said.contains("unknown field `colour`"),
        "{said}"
    );
    let version = Command::new(env!("CARGO_BIN_EXE_lamplight"))
        .arg("version")
        .output()
        .expect("the binary runs");
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("lamplight 0."));
}
