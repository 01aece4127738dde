//! Documents against the schemas of the specification, where those are at hand.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the specification: `LAMPLIGHT_SHARED`, or `shared` beside the workspace. `None` where
/// there is none, which is said once for each test.
pub fn shared_folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("LAMPLIGHT_SHARED").map_or(beside, PathBuf::from);
    if folder.join("spec/vectors/index.tsv").is_file() {
        return Some(folder);
    }
    eprintln!("skipped: no specification in {}", folder.display());
    None
}

/// Whether `python3` and the schemas find every document valid; those of no schema they know are left out.
pub fn assert_valid(documents: &[String]) {
    let Some(shared) = shared_folder() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("python3");
    command.arg(shared.join("spec/validate.py")).arg("--quiet");
    for (number, document) in documents.iter().enumerate() {
        let file = folder.path().join(format!("{number}.xml"));
        std::fs::write(&file, document).expect("written");
        command.arg(file);
    }
    match command.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}\n{documents:#?}");
        }
        Err(error) => eprintln!("skipped: python3 does not run: {error}"),
    }
}
