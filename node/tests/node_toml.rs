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
    // The example of a directory is sound as well, and a mistake in one is told with its line.
    let users = folder.path().join("users.toml");
    std::fs::copy(example.with_file_name("users.toml"), &users).expect("copied");
    let with_directory = folder.path().join("directory.toml");
    std::fs::write(&with_directory, format!("[directory]\npath = {users:?}\n")).expect("written");
    let (sound, said) = check(&with_directory);
    assert!(sound, "{said}");
    std::fs::write(&users, "[[user]]\naddress = 'x@y'\n").expect("written");
    let (sound, said) = check(&with_directory);
    assert!(
        !sound && said.contains("users.toml: line 1: address"),
        "{said}"
    );
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
