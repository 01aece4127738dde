//! What Prometheus reads is strictly OpenMetrics, and dashboards and alerts ask for nothing that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::phone::{Phone, Publisher, Watch, document};
use super::server::Server;

/// A family of metrics, as a scrape has it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    /// Values by the sample's name and its labels, `le` apart.
    points: BTreeMap<(String, String), f64>,
    /// The buckets of each set of labels, in their order.
    buckets: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Family {
    /// The names that its samples may have.
    fn names(&self, name: &str) -> Vec<String> {
        let suffixes: &[&str] = match self.kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "gauge" => &[""],
            other => panic!("{name}: {other:?} is nothing that this server has"),
        };
        suffixes.iter().map(|end| format!("{name}{end}")).collect()
    }
}

/// Letters, digits and `_`, not beginning with a digit.
fn is_name(text: &str) -> bool {
    let mut letters = text.bytes();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|one| one.is_ascii_alphanumeric() || one == b'_')
}

/// Labels in braces, as pairs, and what follows them.
#[allow(clippy::type_complexity)] // what was read, and the rest
fn labels(text: &str) -> Result<(Vec<(String, String)>, &str), String> {
    let mut pairs = Vec::new();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((pairs, after));
        }
        if !pairs.is_empty() {
            rest = rest.strip_prefix(',').ok_or("no comma between labels")?;
        }
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name) {
            return Err(format!("{name:?} is no label"));
        }
        let mut value = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next().ok_or("a value without its end")? {
                (end, '"') => break end,
                (_, '\\') => match letters.next() {
                    Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                    Some((_, 'n')) => value.push('\n'),
                    other => return Err(format!("{other:?} is not to be escaped")),
                },
                (_, letter) => value.push(letter),
            }
        };
        if pairs.iter().any(|(known, _)| known == name) {
            return Err(format!("{name} stands twice"));
        }
        pairs.push((name.to_owned(), value));
        rest = &after[end + 1..];
    }
}

/// Reads a scrape as strictly as the specification allows: OpenMetrics 1.0, text format.
fn read(text: &str) -> Result<BTreeMap<String, Family>, String> {
    let body = text
        .strip_suffix("# EOF\n")
        .ok_or("it does not end with # EOF")?;
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let mut helped = BTreeSet::new();
    for line in body.lines() {
        let wrong = |why: &str| Err(format!("{why}: {line}"));
        if let Some(said) = line.strip_prefix("# ") {
            let mut words = said.splitn(3, ' ');
            let (what, name, rest) = (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            );
            if !is_name(name) || rest.is_empty() {
                return wrong("a description of nothing");
            }
            match what {
                "HELP" if helped.insert(name.to_owned()) => {}
                "HELP" => return wrong("helped twice"),
                "TYPE" => {
                    if families.contains_key(name) {
                        return wrong("a family twice");
                    }
                    let family = Family {
                        kind: rest.to_owned(),
                        ..Family::default()
                    };
                    families.insert(name.to_owned(), family);
                }
                _ => return wrong("neither HELP nor TYPE"),
            }
            current = name.to_owned();
            continue;
        }
        let Some(family) = families.get_mut(&current) else {
            return wrong("a sample before its family");
        };
        let end = line.find(['{', ' ']).ok_or("a sample without a value")?;
        let name = &line[..end];
        if !family.names(&current).iter().any(|known| known == name) {
            return wrong("a sample outside its family");
        }
        let (mut pairs, rest) = match line[end..].strip_prefix('{') {
            Some(rest) => labels(rest).map_err(|why| format!("{why}: {line}"))?,
            None => (Vec::new(), &line[end..]),
        };
        let Some(Ok(value)) = rest.strip_prefix(' ').map(str::parse::<f64>) else {
            return wrong("no value");
        };
        if family.kind != "gauge" && (value.is_nan() || value < 0.0) {
            return wrong("a count below nothing");
        }
        pairs.sort();
        let le = pairs.iter().position(|(label, _)| label == "le");
        let le = le.map(|place| pairs.remove(place).1);
        let key = format!("{pairs:?}");
        match le {
            Some(le) if name.ends_with("_bucket") => {
                let bound = match le.as_str() {
                    "+Inf" => f64::INFINITY,
                    le => le.parse().map_err(|_| format!("no bound: {line}"))?,
                };
                let buckets = family.buckets.entry(key).or_default();
                let (bound_before, count_before) =
                    buckets.last().copied().unwrap_or((f64::MIN, 0.0));
                if bound <= bound_before || value < count_before {
                    return wrong("buckets do not rise");
                }
                buckets.push((bound, value));
            }
            None if !name.ends_with("_bucket") => {
                let known = family.points.insert((name.to_owned(), key), value);
                if known.is_some() {
                    return wrong("a point twice");
                }
            }
            _ => return wrong("le belongs to buckets, and buckets to le"),
        }
    }
    let mut taken = BTreeSet::new();
    for (name, family) in &families {
        if !helped.contains(name) {
            return Err(format!("{name} has no HELP"));
        }
        for sample in family.names(name) {
            if !taken.insert(sample.clone()) {
                return Err(format!("{sample} is of two families"));
            }
        }
        for (key, buckets) in &family.buckets {
            let count = family.points.get(&(format!("{name}_count"), key.clone()));
            let last = buckets.last().filter(|(bound, _)| bound.is_infinite());
            if last.map(|(_, all)| all) != count || count.is_none() {
                return Err(format!("{name} {key}: the last bucket is not all of them"));
            }
        }
    }
    Ok(families)
}

#[test]
fn a_scrape_is_strictly_openmetrics() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start_with(data.path(), &["--shards", "2"]);
    let mut phone = Phone::udp(server.udp);
    let mut alice = Publisher::new("alice");
    alice.publish(&mut phone, Some(600), &document("alice", "open", "here"));
    let mut watch = Watch::new("alice");
    watch.subscribe(&mut phone, 600);
    phone.notify(Some(&watch.call_id));
    let patience = std::time::Instant::now() + super::server::PATIENCE;
    let families = loop {
        let (_, text) = server.get("/metrics");
        let families = read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
        // The 200 to the NOTIFY is on its way.
        let taken = "lamplight_notified_total".to_owned();
        let label = r#"[("result", "taken")]"#.to_owned();
        if families["lamplight_notified"].points[&(taken, label)] == 1.0 {
            break families;
        }
        assert!(std::time::Instant::now() < patience, "{text}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    let sum = |family: &str, sample: &str| -> f64 {
        let points = families[family].points.iter();
        points
            .filter(|((name, _), _)| name == sample)
            .map(|(_, value)| value)
            .sum()
    };
    for (family, sample, least) in [
        (
            "lamplight_commit_seconds",
            "lamplight_commit_seconds_count",
            2.0,
        ),
        (
            "lamplight_propose_wait_seconds",
            "lamplight_propose_wait_seconds_count",
            2.0,
        ),
        (
            "lamplight_log_sync_seconds",
            "lamplight_log_sync_seconds_count",
            2.0,
        ),
        (
            "lamplight_log_sync_seconds",
            "lamplight_log_sync_seconds_sum",
            1e-6,
        ),
        (
            "lamplight_fan_out_watchers",
            "lamplight_fan_out_watchers_count",
            1.0,
        ),
        ("lamplight_shard_led", "lamplight_shard_led", 2.0),
        ("lamplight_resident_bytes", "lamplight_resident_bytes", 1e6),
    ] {
        let found = sum(family, sample);
        assert!(found >= least, "{sample} is {found}");
    }
    assert_eq!(
        families["lamplight_commit_seconds"].buckets.len(),
        2,
        "a histogram for each shard"
    );
    assert_eq!(
        sum(
            "lamplight_zombie_subscriptions",
            "lamplight_zombie_subscriptions"
        ),
        0.0
    );
}

#[test]
fn the_reader_of_scrapes_is_strict() {
    let good = "# HELP a A.\n# TYPE a counter\na_total{b=\"c\\\"\"} 1\n# EOF\n";
    assert!(read(good).is_ok());
    for (why, bad) in [
        ("no end", "# HELP a A.\n# TYPE a gauge\na 1\n"),
        ("no help", "# TYPE a gauge\na 1\n# EOF\n"),
        ("no type", "# HELP a A.\na 1\n# EOF\n"),
        (
            "a family twice",
            "# HELP a A.\n# TYPE a gauge\na 1\n# TYPE a gauge\n# EOF\n",
        ),
        (
            "a point twice",
            "# HELP a A.\n# TYPE a gauge\na{b=\"1\"} 1\na{b=\"1\"} 2\n# EOF\n",
        ),
        (
            "a counter by its bare name",
            "# HELP a A.\n# TYPE a counter\na 1\n# EOF\n",
        ),
        (
            "families that mix",
            "# HELP a A.\n# TYPE a gauge\n# HELP b B.\n# TYPE b gauge\na 1\n# EOF\n",
        ),
        (
            "a name of two families",
            "# HELP a A.\n# TYPE a counter\n# HELP a_total B.\n# TYPE a_total gauge\n# EOF\n",
        ),
        (
            "buckets that fall",
            "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_bucket{le=\"+Inf\"} 1\n\
             a_sum 1\na_count 1\n# EOF\n",
        ),
        (
            "a last bucket that is not all",
            "# HELP a A.\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n# EOF\n",
        ),
        (
            "no value",
            "# HELP a A.\n# TYPE a gauge\na{b=\"c\"} x\n# EOF\n",
        ),
    ] {
        assert!(read(bad).is_err(), "{why}");
    }
}

/// A watcher whose connection is gone is seen as one, until it has ended.
#[test]
fn a_watcher_that_nobody_reaches_is_counted() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut phone = Phone::udp(server.udp);
    let mut lost = Phone::tcp(server.tcp);
    let mut watch = Watch::new("alice");
    watch.subscribe(&mut lost, 600);
    lost.notify(Some(&watch.call_id));
    drop(lost);
    let mut alice = Publisher::new("alice");
    let until = std::time::Instant::now() + super::server::PATIENCE;
    loop {
        alice.publish(
            &mut phone,
            Some(600),
            &document("alice", "open", "who hears?"),
        );
        let (_, metrics) = server.get("/metrics");
        if metrics.contains("lamplight_zombie_subscriptions 1\n") {
            assert!(metrics.contains("lamplight_notified_total{result=\"unreachable\"}"));
            return;
        }
        assert!(std::time::Instant::now() < until, "{metrics}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn dashboards_and_alerts_ask_for_what_there_is() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let (_, text) = server.get("/metrics");
    let families = read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let known: BTreeSet<String> = families
        .iter()
        .flat_map(|(name, family)| family.names(name))
        .collect();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    for file in ["grafana/lamplight.json", "prometheus/alerts.yaml"] {
        let text = std::fs::read_to_string(deploy.join(file)).expect(file);
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut asked = 0;
        for word in text.split(|c| !letter(c)) {
            if word.starts_with("lamplight_") {
                assert!(known.contains(word), "{file} asks for {word}");
                asked += 1;
            }
        }
        assert!(asked >= 10, "{file} asks for {asked} metrics");
    }
    let dashboard = std::fs::read_to_string(deploy.join("grafana/lamplight.json")).expect("read");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        let place = &panel["gridPos"];
        assert!(place["w"].as_u64() > Some(0) && place["h"].as_u64() > Some(0));
        let targets = panel["targets"].as_array();
        if panel["type"] != "row" {
            let asks = targets.is_some_and(|all| all.iter().all(|one| one["expr"].is_string()));
            assert!(asks, "{panel}");
        }
    }
}
