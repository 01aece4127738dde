//! The architecture holds: who imports whom, who may ask the clock, what a file must have.
//!
//! Reads the tree as text. The rules are house §2 and §3, and `docs/architecture.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A crate's modules, each with those it may import.
type Modules = &'static [(&'static str, &'static [&'static str])];

/// Modules of each crate with what they may import from their own crate, beside themselves.
const ORDER: [(&str, Modules); 3] = [
    (
        "transport",
        &[
            ("sip", &[]),
            ("flow", &["sip"]),
            ("transaction", &["sip", "flow"]),
            ("dialog", &["sip", "flow"]),
            ("io", &["sip", "flow", "transaction", "dialog"]),
        ],
    ),
    (
        "shard",
        &[
            ("time", &[]),
            ("slot", &[]),
            ("xml", &[]),
            ("category", &["time", "slot", "xml"]),
            ("presence", &["time", "slot", "xml", "category"]),
            (
                "subscription",
                &["time", "slot", "xml", "category", "presence"],
            ),
            (
                "document",
                &[
                    "time",
                    "slot",
                    "xml",
                    "category",
                    "presence",
                    "subscription",
                ],
            ),
            (
                "machine",
                &[
                    "time",
                    "slot",
                    "xml",
                    "category",
                    "presence",
                    "subscription",
                ],
            ),
            (
                "runner",
                &["time", "slot", "presence", "subscription", "machine"],
            ),
        ],
    ),
    (
        "node",
        &[
            ("config", &[]),
            ("observe", &["config"]),
            ("peer", &["config", "observe"]),
            ("directory", &["config", "observe"]),
            ("raft", &["config", "observe", "peer"]),
            ("pool", &["config", "observe", "peer", "raft"]),
            (
                "dialect",
                &["config", "observe", "peer", "directory", "raft", "pool"],
            ),
            (
                "egress",
                &[
                    "config",
                    "observe",
                    "peer",
                    "directory",
                    "raft",
                    "pool",
                    "dialect",
                ],
            ),
            (
                "contact_store",
                &[
                    "config",
                    "observe",
                    "peer",
                    "directory",
                    "raft",
                    "pool",
                    "dialect",
                    "egress",
                ],
            ),
            (
                "ingress",
                &[
                    "config",
                    "observe",
                    "peer",
                    "directory",
                    "raft",
                    "pool",
                    "dialect",
                    "egress",
                    "contact_store",
                ],
            ),
            (
                "connector",
                &[
                    "config",
                    "observe",
                    "peer",
                    "directory",
                    "raft",
                    "pool",
                    "dialect",
                    "egress",
                    "contact_store",
                    "ingress",
                ],
            ),
        ],
    ),
];

/// Texts that may stand only in some places: text, the crate it is about, where it may stand.
const HOMES: [(&str, &str, &[&str]); 14] = [
    (
        "ureq::",
        "node",
        &["node/src/contact_store/dav.rs", "node/src/operator.rs"],
    ),
    ("ureq::", "shard", &[]),
    ("tokio", "transport", &["transport/src/io/"]),
    ("tokio", "shard", &[]),
    ("openraft::", "node", &["node/src/raft/", "node/src/pool/"]),
    ("openraft::", "shard", &[]),
    ("quick_xml", "shard", &["shard/src/xml.rs"]),
    ("crossbeam", "shard", &["shard/src/runner.rs"]),
    ("tracing::", "shard", &["shard/src/runner.rs"]),
    ("SystemTime", "shard", &[]),
    ("Instant::now", "shard", &[]),
    ("getrandom", "shard", &[]),
    ("HashMap", "shard", &["shard/src/machine/replies.rs"]),
    ("rsip", "transport", &["transport/src/sip/"]),
];

/// Names that say nothing.
const EMPTY_NAMES: [&str; 5] = ["util", "utils", "helpers", "common", "misc"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("node stands in the workspace")
        .to_owned()
}

fn sources(dir: &Path, found: &mut Vec<(String, String)>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)
        .map(|read| read.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if !path.ends_with("target") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source is text");
            let name = path
                .strip_prefix(root())
                .expect("inside the workspace")
                .to_string_lossy()
                .into_owned();
            found.push((name, text));
        }
    }
}

fn all() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in ["transport", "shard", "node", "loadtest", "benches"] {
        sources(&root().join(part), &mut found);
    }
    assert!(found.len() > 60, "the tree was found");
    found
}

/// The lines before a file's tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn a_module_imports_only_from_its_left() {
    let mut wrong = Vec::new();
    for (krate, modules) in ORDER {
        let prefix = format!("{krate}/src/");
        for (file, text) in all().iter().filter(|(file, _)| file.starts_with(&prefix)) {
            let module = file[prefix.len()..]
                .split(['/', '.'])
                .next()
                .expect("a name");
            let Some((_, left)) = modules.iter().find(|(name, _)| *name == module) else {
                continue;
            };
            for (number, line) in code(text) {
                for part in line.split("crate::").skip(1) {
                    let used: String = part
                        .chars()
                        .take_while(|c| c.is_alphanumeric() || *c == '_')
                        .collect();
                    let known = modules.iter().any(|(name, _)| *name == used);
                    if known && used != module && !left.contains(&&*used) {
                        wrong.push(format!("{file}:{}: {module} imports {used}", number + 1));
                    }
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports against the order of the house:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn packages_stay_at_home() {
    let mut wrong = Vec::new();
    for (file, text) in all() {
        for (what, krate, homes) in HOMES {
            let inside = file.starts_with(&format!("{krate}/src/"))
                && !homes.iter().any(|home| file.starts_with(home));
            if !inside {
                continue;
            }
            for (number, line) in code(&text).filter(|(_, line)| line.contains(what)) {
                wrong.push(format!("{file}:{}: {what}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "away from home:\n{}", wrong.join("\n"));
}

#[test]
fn transport_and_shard_do_not_know_each_other() {
    for (file, text) in all() {
        for (inside, other) in [("transport/src/", "shard::"), ("shard/src/", "transport::")] {
            if file.starts_with(inside) {
                assert!(
                    !code(&text).any(|(_, line)| line.contains(other)),
                    "{file} knows {other}"
                );
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_nothing_is_left_undone() {
    let mut wrong = Vec::new();
    for (file, text) in all() {
        if !text.starts_with("//!") && !text.starts_with("#![") {
            wrong.push(format!("{file}: no module comment"));
        }
        let stem = Path::new(&file)
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if EMPTY_NAMES.contains(&&*stem)
            || file.split('/').any(|folder| EMPTY_NAMES.contains(&folder))
        {
            wrong.push(format!("{file}: a name that says nothing"));
        }
        if file.ends_with("tests/tidy.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for left in ["todo!(", "unimplemented!(", "dbg!(", "FIXME"] {
                if line.contains(left) {
                    wrong.push(format!("{file}:{}: {left}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Sections that code cites and no test does yet. The number may only fall.
const UNTESTED_MAX: usize = 23;

#[test]
fn what_is_cited_is_tested() {
    let mut cited: BTreeMap<String, bool> = BTreeMap::new();
    for (_, text) in all() {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let Some(citation) = line
                .strip_prefix("//= ")
                .filter(|rest| !rest.starts_with("type=") && !rest.starts_with("reason="))
            else {
                continue;
            };
            let tested = lines[number + 1..]
                .iter()
                .take(3)
                .any(|next| *next == "//= type=test");
            *cited.entry(citation.to_owned()).or_default() |= tested;
            let known = [
                "RFC ",
                "MS-PRES ",
                "MS-SIPAE ",
                "MS-NLMP ",
                "MS-SIP ",
                "MS-SIPRE ",
                "MS-SIPREGE ",
                "MS-CONMGMT ",
                "BLUSTAR",
                "AUDIOCODES",
            ]
            .iter()
            .any(|name| citation.starts_with(name));
            assert!(known, "{citation:?} names no specification of ours");
        }
    }
    let untested: Vec<&String> = cited
        .iter()
        .filter(|(_, tested)| !**tested)
        .map(|(citation, _)| citation)
        .collect();
    println!(
        "{} sections cited, {} without a test: {untested:?}",
        cited.len(),
        untested.len()
    );
    assert!(cited.len() >= 30, "citations were found");
    assert!(
        untested.len() <= UNTESTED_MAX,
        "{} sections without a test, at most {UNTESTED_MAX} were there",
        untested.len()
    );
}
