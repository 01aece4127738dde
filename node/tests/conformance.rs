//! Which requirement is proven where: the listing `docs/conformance.md` is what the sources say.
//!
//! A test names the requirements it proves in a line `// proves: ID ID …` above it; a scenario of
//! `deploy/interop` in a line `# proves: ID …`. What does not bind the server, or cannot, stands in a line
//! `// excepts: ID reason`. Ids, sections and levels are those of `docs/requirements.tsv`; the texts are kept
//! beside the project. `LAMPLIGHT_BLESS=1` writes the listing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The listing.
const LISTING: &str = "docs/conformance.md";

/// Ids, sections and levels.
const TABLE: &str = "docs/requirements.tsv";

/// One requirement.
struct Row {
    id: String,
    section: String,
    level: String,
}

impl Row {
    /// What is summed up: sections of two numbers, of four among the message formats.
    fn group(&self) -> String {
        let Some(number) = self.section.strip_prefix("MS-PRES ") else {
            // A number for the order stands before the name.
            let name = self.section.split(' ').nth(1);
            return name.unwrap_or(&self.section).to_owned();
        };
        let depth = if number.starts_with("2.2.2") { 4 } else { 2 };
        let parts: Vec<&str> = number.split('.').take(depth).collect();
        format!("MS-PRES {}", parts.join("."))
    }
}

/// Where a claim stands.
struct Claim {
    /// `file::function`, or the file of a scenario.
    place: String,
    ids: Vec<String>,
}

/// What the sources say.
#[derive(Default)]
struct Found {
    proves: Vec<Claim>,
    /// Id, reason.
    excepts: Vec<(String, String)>,
    /// Claims that stand nowhere, or say nothing.
    wrong: Vec<String>,
}

fn root() -> PathBuf {
    let node = Path::new(env!("CARGO_MANIFEST_DIR"));
    node.parent().expect("node stands in the workspace").into()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rows(table: &str) -> Vec<Row> {
    let lines = table.lines().skip(1);
    let row = |line: &str| {
        let mut columns = line.split('\t').map(str::to_owned);
        Row {
            id: columns.next().unwrap_or_default(),
            section: columns.next().unwrap_or_default(),
            level: columns.next().unwrap_or_default(),
        }
    };
    lines.map(row).collect()
}

/// Every file below a folder, in order, as its name in the workspace and its text.
fn files(folder: &Path, found: &mut Vec<(String, String)>) {
    let read_dir = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut entries: Vec<PathBuf> = read_dir.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let skipped = path.ends_with("target") || path.ends_with("fixtures");
        if path.is_dir() && !skipped {
            files(&path, found);
        } else if let (true, Ok(text)) = (path.is_file(), fs::read_to_string(&path)) {
            let name = path.strip_prefix(root()).expect("inside the workspace");
            found.push((name.to_string_lossy().into_owned(), text));
        }
    }
}

/// The function that a test attribute below line `at` stands above, if nothing else comes between.
fn test_below(lines: &[&str], at: usize) -> Option<String> {
    let mut is_test = false;
    for line in lines[at + 1..].iter().map(|line| line.trim()) {
        if line == "#[test]" || line.starts_with("#[test_case") {
            is_test = true;
        } else if let Some(function) = line.strip_prefix("fn ").filter(|_| is_test) {
            let name = function.split(['(', '<']).next()?;
            return Some(name.to_owned());
        } else if !line.starts_with("//") && !line.starts_with("#[") {
            return None;
        }
    }
    None
}

/// Reads a file's claims; `sign` begins a comment.
fn claims(name: &str, text: &str, sign: &str, found: &mut Found) {
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(comment) = line.trim().strip_prefix(sign).map(str::trim_start) else {
            continue;
        };
        let here = format!("{name}:{}", at + 1);
        if let Some(ids) = comment.strip_prefix("proves:") {
            let ids: Vec<String> = ids.split_whitespace().map(str::to_owned).collect();
            let place = match sign {
                "//" => test_below(&lines, at).map(|test| format!("{name}::{test}")),
                _ => Some(name.to_owned()),
            };
            match place {
                Some(place) if !ids.is_empty() => found.proves.push(Claim { place, ids }),
                Some(_) => found.wrong.push(format!("{here} proves nothing")),
                None => found.wrong.push(format!("{here} stands above no test")),
            }
        } else if let Some(exception) = comment.strip_prefix("excepts:") {
            match exception.trim().split_once(' ') {
                Some((id, reason)) => found
                    .excepts
                    .push((id.to_owned(), reason.trim().to_owned())),
                None => found.wrong.push(format!("{here} excepts without a reason")),
            }
        }
    }
}

fn found() -> Found {
    let mut found = Found::default();
    let mut sources = Vec::new();
    for part in ["transport", "shard", "node", "loadtest", "benches"] {
        files(&root().join(part), &mut sources);
    }
    sources.retain(|(name, _)| name.ends_with(".rs") && !name.ends_with("tests/conformance.rs"));
    assert!(sources.len() > 100, "the tree was found");
    for (name, text) in &sources {
        claims(name, text, "//", &mut found);
    }
    let mut scenarios = Vec::new();
    files(&root().join("deploy/interop"), &mut scenarios);
    for (name, text) in &scenarios {
        claims(name, text, "#", &mut found);
    }
    found
}

/// Requirements covered and there, of one group and kind.
#[derive(Clone, Copy, Default)]
struct Sum {
    covered: usize,
    all: usize,
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.all {
            0 => write!(f, "–"),
            all => write!(f, "{}/{all}", self.covered),
        }
    }
}

/// The column of a level: what must be, what should be, what may be or follows.
fn column(level: &str) -> usize {
    match level {
        "MUST" | "MUST NOT" => 0,
        "SHOULD" | "SHOULD NOT" => 1,
        _ => 2,
    }
}

fn compose(rows: &[Row], found: &Found) -> String {
    let mut tests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for claim in &found.proves {
        for id in &claim.ids {
            tests.entry(id).or_default().insert(&claim.place);
        }
    }
    let excepts: BTreeMap<&str, &str> = found
        .excepts
        .iter()
        .map(|(id, reason)| (&**id, &**reason))
        .collect();
    let mut order: Vec<String> = Vec::new();
    let mut sums: BTreeMap<String, [Sum; 3]> = BTreeMap::new();
    for row in rows {
        let group = row.group();
        if !order.contains(&group) {
            order.push(group.clone());
        }
        let sum = &mut sums.entry(group).or_default()[column(&row.level)];
        sum.all += 1;
        let id = row.id.as_str();
        sum.covered += usize::from(tests.contains_key(id) || excepts.contains_key(id));
    }
    let mut out = String::from(
        "# Conformance\n\n\
         Which requirement of the presence specifications is proven by which test. `node/tests/conformance.rs` makes this\n\
         page from the `proves:` and `excepts:` lines of the sources; `LAMPLIGHT_BLESS=1 cargo test -p node --test conformance`\n\
         writes it. A requirement that does not bind the server, or is departed from, is an exception with its reason; it\n\
         counts as covered.\n\n\
         | sections | rows | MUST | SHOULD | IMPLIED and MAY |\n| --- | ---: | ---: | ---: | ---: |\n",
    );
    let mut total = [Sum::default(); 3];
    for group in &order {
        let sum = &sums[group];
        let rows: usize = sum.iter().map(|sum| sum.all).sum();
        let [must, should, may] = sum;
        let _ = writeln!(out, "| {group} | {rows} | {must} | {should} | {may} |");
        for (total, sum) in total.iter_mut().zip(sum) {
            total.all += sum.all;
            total.covered += sum.covered;
        }
    }
    let [must, should, may] = total;
    let count = rows.len();
    let _ = writeln!(out, "| all | {count} | {must} | {should} | {may} |");
    let mut group = String::new();
    for row in rows {
        if row.group() != group {
            group = row.group();
            let _ = write!(
                out,
                "\n## {group}\n\n| requirement | level | proven by |\n| --- | --- | --- |\n"
            );
        }
        let proven = match (tests.get(&*row.id), excepts.get(&*row.id)) {
            (Some(tests), _) => {
                let each: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
                each.join("<br>")
            }
            (None, Some(reason)) => format!("exception: {reason}"),
            (None, None) => "none".to_owned(),
        };
        let _ = writeln!(out, "| {} | {} | {proven} |", row.id, row.level);
    }
    out
}

#[test]
fn the_listing_is_what_the_sources_say() {
    let rows = rows(&read(&root().join(TABLE)));
    let composed = compose(&rows, &found());
    let path = root().join(LISTING);
    if std::env::var_os("LAMPLIGHT_BLESS").is_some() {
        fs::write(&path, composed).expect("docs can be written");
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let different = || {
        let mut pairs = kept.lines().zip(composed.lines());
        let first = pairs.find(|(kept, composed)| kept != composed);
        first.map(|(kept, composed)| format!("it says  {kept}\nshould be {composed}"))
    };
    assert!(
        kept == composed,
        "{LISTING} is out of date; LAMPLIGHT_BLESS=1 cargo test -p node --test conformance writes it\n{}",
        different().unwrap_or_else(|| "one is longer than the other".to_owned())
    );
}

#[test]
fn claims_stand_above_tests_and_name_what_there_is() {
    let rows = rows(&read(&root().join(TABLE)));
    let known: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(known.len(), rows.len(), "ids are given once");
    let mut found = found();
    let mut wrong = std::mem::take(&mut found.wrong);
    let proven = found.proves.iter().flat_map(|claim| {
        let place = &claim.place;
        claim.ids.iter().map(move |id| (id, place))
    });
    for (id, place) in proven {
        if !known.contains(&**id) {
            wrong.push(format!("{place} proves {id}, which does not exist"));
        }
    }
    for (id, _) in &found.excepts {
        if !known.contains(&**id) {
            wrong.push(format!("{id} is excepted and does not exist"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!found.proves.is_empty(), "claims were found");
}

#[test]
fn what_must_be_is_covered() {
    let rows = rows(&read(&root().join(TABLE)));
    let found = found();
    let covered: BTreeSet<&str> = found
        .proves
        .iter()
        .flat_map(|claim| claim.ids.iter().map(String::as_str))
        .chain(found.excepts.iter().map(|(id, _)| id.as_str()))
        .collect();
    let uncovered: Vec<&str> = rows
        .iter()
        .filter(|row| row.id.starts_with("PRES-") && column(&row.level) <= 1)
        .map(|row| row.id.as_str())
        .filter(|id| !covered.contains(id))
        .collect();
    assert!(
        uncovered.is_empty(),
        "what MS-PRES demands (MUST) or advises (SHOULD) without a test: {uncovered:?}"
    );
}

/// The table of this repository holds facts of one that is kept beside it, with the texts.
#[test]
fn the_table_is_that_of_the_texts() {
    let workspace = root();
    let beside = workspace.parent().map(|parent| parent.join("shared"));
    let shared = std::env::var_os("LAMPLIGHT_SHARED")
        .map(PathBuf::from)
        .or(beside);
    let path = shared.unwrap_or_default().join("spec/requirements.tsv");
    let Ok(text) = fs::read_to_string(&path) else {
        eprintln!(
            "skipped: no {}; LAMPLIGHT_SHARED names another place",
            path.display()
        );
        return;
    };
    let facts = |line: &str| line.split('\t').take(3).collect::<Vec<_>>().join("\t");
    let texts: Vec<String> = text.lines().map(facts).collect();
    let table = read(&workspace.join(TABLE));
    let kept: Vec<&str> = table.lines().collect();
    assert!(kept == texts, "{TABLE} is not that of {}", path.display());
}

#[test]
fn a_claim_belongs_to_the_test_below_it() {
    for (name, text, expected) in [
        (
            "a test",
            "// proves: A B\n//= x\n#[test]\nfn one() {}",
            Ok("f.rs::one A B"),
        ),
        (
            "two lines",
            "// proves: A\n// proves: B\n#[test]\nfn one() {}",
            Ok("f.rs::one A; f.rs::one B"),
        ),
        (
            "in a module",
            "    // proves: A\n    #[test]\n    #[ignore]\n    fn one() {}",
            Ok("f.rs::one A"),
        ),
        (
            "no test",
            "// proves: A\nfn one() {}",
            Err("f.rs:1 stands above no test"),
        ),
        (
            "something between",
            "// proves: A\n\n#[test]\nfn one() {}",
            Err("f.rs:1 stands above no test"),
        ),
        (
            "nothing",
            "// proves:\n#[test]\nfn one() {}",
            Err("f.rs:1 proves nothing"),
        ),
        (
            "no reason",
            "// excepts: A",
            Err("f.rs:1 excepts without a reason"),
        ),
    ] {
        let mut found = Found::default();
        claims("f.rs", text, "//", &mut found);
        let said = |claim: &Claim| format!("{} {}", claim.place, claim.ids.join(" "));
        let proves: Vec<String> = found.proves.iter().map(said).collect();
        match expected {
            Ok(expected) => assert_eq!(proves.join("; "), expected, "{name}"),
            Err(expected) => assert_eq!(found.wrong, [expected], "{name}"),
        }
    }
    let mut found = Found::default();
    claims(
        "run",
        "# proves: A\n# excepts: B it is of clients",
        "#",
        &mut found,
    );
    assert_eq!(found.proves[0].place, "run");
    assert_eq!(
        found.excepts,
        [("B".to_owned(), "it is of clients".to_owned())]
    );
}
