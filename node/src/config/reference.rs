//! docs/configuration.md is made of what the code takes: the keys that the parser knows, the flags that the command
//! line has, and the words that deploy/node.toml has for them. Each is held against the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use super::{Cli, Config, File, Flags, merge, parse};

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn example() -> String {
    std::fs::read_to_string(tree().join("deploy/node.toml")).expect("deploy/node.toml")
}

/// One setting of the example: whether it counts, its value, and what is said of it.
#[derive(Debug)]
struct Setting {
    name: String,
    value: String,
    counts: bool,
    words: String,
}

/// A section with what is said of it.
#[derive(Debug)]
struct Section {
    name: String,
    words: String,
    settings: Vec<Setting>,
}

/// `[name]`, `[[name]]`, or `name = value`, each perhaps behind a `#`.
enum Line<'l> {
    Head(&'l str),
    Setting(bool, &'l str, &'l str),
    Words(&'l str),
    Blank,
}

fn line(text: &str) -> Line<'_> {
    let (counts, bare) = match text.strip_prefix('#') {
        Some(rest) => (false, rest.strip_prefix(' ').unwrap_or(rest)),
        None => (true, text),
    };
    if bare.is_empty() {
        return Line::Blank;
    }
    let lower = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|one| one.is_ascii_lowercase() || b"_.".contains(&one))
    };
    if let Some(name) = bare
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let name = name.trim_start_matches('[').trim_end_matches(']');
        if lower(name) {
            return Line::Head(name);
        }
    }
    match bare.split_once(" = ") {
        Some((name, value)) if lower(name) => Line::Setting(counts, name, value),
        _ => Line::Words(bare),
    }
}

/// Reads the example as an operator does.
fn read(text: &str) -> Vec<Section> {
    let mut sections = vec![Section {
        name: String::new(),
        words: String::new(),
        settings: Vec::new(),
    }];
    let mut words: Vec<&str> = Vec::new();
    for text in text.lines() {
        let here = sections.last_mut().expect("the first is there");
        match line(text) {
            Line::Head(name) => sections.push(Section {
                name: name.to_owned(),
                words: std::mem::take(&mut words).join(" "),
                settings: Vec::new(),
            }),
            Line::Setting(counts, name, value) => {
                let (value, more) = value.split_once("  # ").unwrap_or((value, ""));
                if !more.is_empty() {
                    words.push(more);
                }
                here.settings.push(Setting {
                    name: name.to_owned(),
                    value: value.trim().to_owned(),
                    counts,
                    words: std::mem::take(&mut words).join(" "),
                });
            }
            Line::Words(more) => words.push(more.trim()),
            Line::Blank => {
                // Words that stand alone are of the section they follow.
                let alone = std::mem::take(&mut words).join(" ");
                if !alone.is_empty() {
                    let space = if here.words.is_empty() { "" } else { " " };
                    here.words = format!("{}{space}{alone}", here.words);
                }
            }
        }
    }
    sections
}

/// What the parser expects in a place where it was given something else.
fn expected(text: &str) -> Option<Vec<String>> {
    let error = match parse(Path::new("x"), text) {
        Ok(_) => return None,
        Err(error) => error.to_string(),
    };
    let (_, list) = error.split_once("unknown field `xyzzy`, expected ")?;
    Some(
        list.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect(),
    )
}

/// Every setting that the parser knows, by its whole name.
fn known() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut wanted = vec![String::new()];
    while let Some(path) = wanted.pop() {
        let inside = if path.is_empty() {
            expected("xyzzy = 1")
        } else {
            let table = expected(&format!("[{path}]\nxyzzy = 1"));
            table.or_else(|| expected(&format!("[[{path}]]\nxyzzy = 1")))
        };
        match inside {
            Some(names) => wanted.extend(names.into_iter().map(|name| match path.as_str() {
                "" => name,
                path => format!("{path}.{name}"),
            })),
            None => {
                found.insert(path);
            }
        }
    }
    found
}

#[test]
fn the_example_names_every_setting_and_no_other() {
    let known = known();
    assert!(known.len() > 90, "{known:?}");
    let sections = read(&example());
    let told: BTreeSet<String> = sections
        .iter()
        .flat_map(|section| {
            section.settings.iter().map(|setting| {
                let dot = if section.name.is_empty() { "" } else { "." };
                format!("{}{dot}{}", section.name, setting.name)
            })
        })
        .collect();
    let unknown: Vec<_> = told.difference(&known).collect();
    let untold: Vec<_> = known.difference(&told).collect();
    assert!(unknown.is_empty(), "the parser does not know {unknown:?}");
    assert!(
        untold.is_empty(),
        "deploy/node.toml does not tell of {untold:?}"
    );
}

#[test]
fn what_counts_in_the_example_is_the_default() {
    let file = parse(Path::new("node.toml"), &example()).expect("sound");
    let said = merge(file, &Flags::default()).expect("sound");
    let nothing: Config = merge(File::default(), &Flags::default()).expect("sound");
    assert_eq!(said.changed(&nothing), Vec::<&str>::new());
}

/// Text that stands in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('\n', " ")
        .replace('<', "&lt;")
}

fn page() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Made from the code by its tests (`LAMPLIGHT_NEW_REFERENCE=1 cargo test -p node --lib reference`); do not edit.\n\n\
         A node reads one TOML file, `lamplight serve --config node.toml`. Flags override it. An unknown key or a bad value \
         is refused with its line; `lamplight check --config node.toml` says so without starting anything, and reads the \
         files that it names.\n\n\
         ## What counts without a restart\n\n\
         SIGHUP (`systemctl reload lamplight`) reads again: `log.filter`; the files of `tls`, `auth.users`, \
         `publish.tokens`, `directory.path`, `contact_store.credentials`, `calendar.credentials`; and \
         `pool.certificate`, `key` and `authority`. What cannot be read stays as it was, and the log says why. Every \
         other setting that differs from those that the node was started with is named in the log, and counts from \
         its next start on: in a pool `lamplight pool drain N`, restart, `lamplight pool resume N`, one node after the \
         other.\n\n\
         ## Logs\n\n\
         On standard error, as text, or with `log.format = \"json\"` as one object in each line: `timestamp` (RFC 3339), \
         `level`, `target` (the module), `fields` with `message` and what belongs to it. `log.filter` is a list of \
         `target=level`: `info,node::raft=debug`. Passwords, tokens and what is published are in no log.\n",
    );
    let mut sections: BTreeMap<String, Section> = BTreeMap::new();
    let mut order = Vec::new();
    for section in read(&example()) {
        match sections.get_mut(&section.name) {
            None => {
                order.push(section.name.clone());
                sections.insert(section.name.clone(), section);
            }
            Some(known) => {
                for setting in section.settings {
                    if known.settings.iter().all(|one| one.name != setting.name) {
                        known.settings.push(setting);
                    }
                }
            }
        }
    }
    page.push_str("\n## node.toml\n\nA value in parentheses is an example: without the setting there is none.\n");
    for name in order {
        let section = &sections[&name];
        let title = if name.is_empty() {
            "The file itself"
        } else {
            &name
        };
        let _ = writeln!(page, "\n### {title}\n");
        if !name.is_empty() && !section.words.is_empty() {
            let _ = writeln!(page, "{}\n", section.words.replace('<', "&lt;"));
        }
        if section.settings.is_empty() {
            continue;
        }
        page.push_str("| setting | default | what it means |\n| --- | --- | --- |\n");
        for setting in &section.settings {
            let value = if setting.counts {
                format!("`{}`", cell(&setting.value))
            } else {
                format!("(`{}`)", cell(&setting.value))
            };
            let _ = writeln!(
                page,
                "| `{}` | {value} | {} |",
                setting.name,
                cell(&setting.words)
            );
        }
    }
    page.push_str("\n## Flags of `lamplight serve`\n\n| flag | what it means |\n| --- | --- |\n");
    let command = Cli::command();
    let serve = command.find_subcommand("serve").expect("it serves");
    for flag in serve.get_arguments() {
        let Some(long) = flag.get_long() else {
            continue;
        };
        let value = flag.get_value_names().map_or(String::new(), |names| {
            let names: Vec<&str> = names.iter().map(clap::builder::Str::as_str).collect();
            format!(" {}", names.join(" "))
        });
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(page, "| `--{long}{}` | {} |", cell(&value), cell(&help));
    }
    page.push_str("\n## Commands\n\n| command | what it does |\n| --- | --- |\n");
    for command in command.get_subcommands() {
        let about =
            |of: &clap::Command| of.get_about().map(ToString::to_string).unwrap_or_default();
        let inner: Vec<_> = command.get_subcommands().collect();
        if inner.is_empty() {
            let _ = writeln!(
                page,
                "| `lamplight {}` | {} |",
                command.get_name(),
                cell(&about(command))
            );
        }
        for one in inner {
            let _ = writeln!(
                page,
                "| `lamplight {} {}` | {} |",
                command.get_name(),
                one.get_name(),
                cell(&about(one))
            );
        }
    }
    page
}

#[test]
fn the_page_is_what_the_code_takes() {
    let path = tree().join("docs/configuration.md");
    let page = page();
    if std::env::var_os("LAMPLIGHT_NEW_REFERENCE").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/configuration.md is not what the code takes: LAMPLIGHT_NEW_REFERENCE=1 cargo test -p node --lib reference"
    );
}
