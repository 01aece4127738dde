//! The cases and bodies of the project's shared folder, where it is there: the document's own examples.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use roxmltree::Document;
use shard::presence::endpoint_id::EndpointId;

use super::reading::{canonical_of, held};
use super::stage::{Item, Stage, at, endpoint};

/// The vectors; `None`, and why, where the folder is not there.
fn vectors() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("LAMPLIGHT_SHARED").map_or(beside, PathBuf::from);
    let folder = shared.join("spec/vectors");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!(
        "skipped: there is no {}; LAMPLIGHT_SHARED says where",
        folder.display()
    );
    None
}

fn files(folder: &Path, begin: &str, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(begin) && name.ends_with(end)
        })
        .collect();
    found.sort();
    found
}

/// A name that lives as long as the test.
fn leaked(name: &str) -> &'static str {
    String::leak(name.to_owned())
}

/// Milliseconds of a publishTime.
fn instant(text: &str) -> u64 {
    let (date, time) = text.split_once('T').expect("a time");
    let numbers = |text: &str, by: char| -> Vec<u64> {
        text.split(by)
            .map(|part| part.parse().expect("a number"))
            .collect()
    };
    let date = numbers(date, '-');
    let (time, ms) = time.split_once('.').unwrap_or((time, "0"));
    let time = numbers(time, ':');
    // Days since 1970: years begin in March.
    let (year, month) = (date[0] - u64::from(date[1] < 3), (date[1] + 9) % 12);
    let days =
        year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + date[2] - 719_469;
    let seconds = ((days * 24 + time[0]) * 60 + time[1]) * 60 + time[2];
    seconds * 1_000 + ms.parse::<u64>().expect("milliseconds")
}

/// What a document's `category` elements publish, and who does so when, in the order of time.
fn publications(text: &str) -> Vec<(u64, Option<EndpointId>, Item)> {
    let document = Document::parse(text).expect("well-formed");
    let categories = document
        .descendants()
        .filter(|node| node.tag_name().name() == "category");
    let mut found: Vec<(u64, Option<EndpointId>, Item)> = categories
        .map(|node| {
            let attribute = |name: &str| node.attribute(name).unwrap_or_default();
            let expires = node
                .attribute("expires")
                .map_or_else(String::new, |expires| format!(" expires=\"{expires}\""));
            let content = node.children().find(|child| child.is_element());
            let item = Item {
                category: leaked(attribute("name")),
                container: attribute("container").parse().expect("a container"),
                instance: attribute("instance").parse().expect("an instance"),
                life: format!("expireType=\"{}\"{expires}", attribute("expireType")),
                content: content
                    .map_or_else(String::new, |content| text[content.range()].to_owned()),
            };
            let endpoint = node.attribute("endpointId").and_then(EndpointId::parse);
            (instant(attribute("publishTime")), endpoint, item)
        })
        .collect();
    found.sort_by_key(|(at, ..)| *at);
    found
}

//= MS-PRES 3.8.5.1.1
//= type=test
//# the examples of section 4: what is published there gives what stands there
// proves: PRES-3.8.5.1.1-02 PRES-3.8.5.2.1-02 PRES-3.8.5.3-02 PRES-3.8.5.4-02 PRES-2.2.2.7.10-01
#[test]
fn the_documents_examples_come_out_as_they_are_printed() {
    let Some(folder) = vectors() else { return };
    let cases = files(&folder.join("aggregation"), "", ".input.xml");
    assert!(cases.len() >= 7, "{cases:?}");
    for case in cases {
        let name = case.display().to_string();
        let input = std::fs::read_to_string(&case).expect("a file");
        let expected = name.replace(".input.", ".expected.");
        let expected = std::fs::read_to_string(&expected).expect("a file");
        let publications = publications(&input);
        let begin = publications[0].0 - 60_000;
        let mut stage = Stage::start(begin);
        let anybody = endpoint(1);
        stage.sign_in(begin, anybody);
        let endpoints: BTreeSet<EndpointId> = publications
            .iter()
            .filter_map(|(_, endpoint, _)| *endpoint)
            .collect();
        for endpoint in &endpoints {
            stage.sign_in(begin, *endpoint);
        }
        let end = publications[publications.len() - 1].0;
        for (at, endpoint, mut item) in publications {
            // What the example shows are the seconds that are left at its end (contradiction C-24).
            if let Some((expire, left)) = item.life.split_once(" expires=") {
                let left: u64 = left.trim_matches('"').parse().expect("seconds");
                item.life = format!("{expire} expires=\"{}\"", left + (end - at).div_ceil(1_000));
            }
            stage.publish(at, endpoint.unwrap_or(anybody), std::slice::from_ref(&item));
        }
        let ours = stage.held();
        let theirs = held(&expected);
        assert!(!theirs.is_empty(), "{name}");
        for (key, wanted) in theirs {
            let found = ours
                .get(&key)
                .unwrap_or_else(|| panic!("{name}: {key:?} is missing: {ours:#?}"));
            assert_eq!(found.life, wanted.life, "{name}: {key:?}");
            assert_eq!(found.content, wanted.content, "{name}: {key:?}");
        }
    }
}

/// The category that a body's file name speaks of.
fn category_of(file: &str) -> Option<&'static str> {
    let name = file
        .strip_prefix("2.2.2.7.")?
        .split_once('-')
        .map_or(file, |(_, name)| name);
    let name = name.trim_end_matches(".xml");
    let name = name.split('-').next().unwrap_or(name);
    // acpInformation is a part of userProperties, without a root.
    (name != "acpInformation").then(|| leaked(name))
}

//= MS-PRES 2.2.2.7
//= type=test
//# the examples of every category are accepted and stay what they are
// proves: PRES-2.2.2.7-02 PRES-2.2.2.7.5-06 PRES-2.2.2.7.8-01 PRES-2.2.2.7.13.1-01 PRES-2.2.2.7.13.2-01
// proves: PRES-2.2.2.7.13.3-01 PRES-2.2.2.7.13.4-01
#[test]
fn the_documents_bodies_are_kept_as_they_are() {
    let Some(folder) = vectors() else { return };
    let mut stage = Stage::start(at(1, 0, 0));
    stage.sign_in(at(1, 0, 0), endpoint(1));
    let mut seen = BTreeSet::new();
    for (number, path) in (500..).zip(files(&folder.join("bodies"), "2.2.2.7.", ".xml")) {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some(category) = category_of(&file) else {
            continue;
        };
        let text = std::fs::read_to_string(&path).expect("a file");
        // Some show the category element around the content.
        let document = Document::parse(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let content = document
            .descendants()
            .filter(|node| node.is_element())
            .find(|node| !["categories", "category"].contains(&node.tag_name().name()))
            .unwrap_or_else(|| panic!("{file}: no content"));
        // A root without a namespace of its own stands in that of the document around it.
        let mut content = text[content.range()].to_owned();
        if !content
            .split('>')
            .next()
            .unwrap_or_default()
            .contains("xmlns=")
        {
            let end = content.find([' ', '>', '/']).expect("an element");
            content.insert_str(
                end,
                " xmlns=\"http://schemas.microsoft.com/2006/09/sip/categories\"",
            );
        }
        // What is the server's in container 1 may stand elsewhere.
        let container = if category == "userProperties" { 200 } else { 1 };
        let item = Item {
            category,
            container,
            instance: number,
            life: "expireType=\"static\"".to_owned(),
            content: content.clone(),
        };
        stage.publish(at(1, 1, 0), endpoint(1), &[item]);
        let kept = stage.content(container, category, number);
        assert_eq!(kept, Some(canonical_of(&content)), "{file}");
        seen.insert(category);
    }
    for category in [
        "state",
        "device",
        "services",
        "userProperties",
        "contactCard",
        "legacyInterop",
        "calendarData",
        "workingHours",
        "dndState",
        "mwi",
        "linkedPICContacts",
        "roomSetting",
        "roomUpdate",
        "roomInvitation",
        "gcFilterSetting",
    ] {
        assert!(
            seen.contains(category),
            "{category} has no example: {seen:?}"
        );
    }
}
