//! `lamplight pool`: the operator's hand on a running pool, over the admin listener of one of its nodes.
//!
//! Every order says what is wanted, not what is to be done, so it may be given twice; whoever gives it may
//! go away meanwhile, and the pool goes on. What is printed as progress is read off the pool.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::config::{AtPool, PoolAction, PublishAction, Watching};
use crate::peer::credentials::Secret;
use crate::recover::recover;

/// How long an order is watched; the pool goes on when we stop looking.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often in a row a node may not answer while an order is watched: for ten seconds.
const SILENT_MAX: usize = 40;

/// Slots on their way that `status` names.
const MOVES_SHOWN: usize = 8;

/// How often the pool is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(250);

/// Does what is asked for; what to print.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn perform(action: &PoolAction) -> Result<String, String> {
    match action {
        PoolAction::Status { at, json } => {
            let pool = get(at)?;
            Ok(if *json {
                serde_json::to_string_pretty(&pool).unwrap_or_default()
            } else {
                table(&pool)
            })
        }
        PoolAction::Drain { at, node } => {
            order(at, &format!("/pool/nodes/{node}/drain"))?;
            follow(
                at,
                Watching::default(),
                &format!("node {node} hands over what it leads"),
                |pool| {
                    let led = leaders(pool).filter(|leader| leader == node).count();
                    (leaders(pool).count() - led, leaders(pool).count())
                },
            )?;
            Ok(format!(
                "node {node} leads nothing; it holds its replicas, and may be stopped. `lamplight pool resume {node}` takes it back"
            ))
        }
        PoolAction::Resume { at, node } => {
            order(at, &format!("/pool/nodes/{node}/resume"))?;
            Ok(format!(
                "node {node} serves; it leads its share in a moment"
            ))
        }
        PoolAction::RemoveNode { at, node } => {
            order(at, &format!("/pool/nodes/{node}/remove"))?;
            let what = format!("the replicas of node {node} move");
            follow(at, Watching::default(), &what, |pool| {
                let gone = standing(pool, *node) == Some("gone");
                (usize::from(gone), 1)
            })?;
            Ok(format!(
                "node {node} holds nothing any more and is no part of the pool; stop it, and do not start it again with its data"
            ))
        }
        PoolAction::TransferLeader { at, shard, to } => {
            order(at, &format!("/pool/shards/{shard}/lead/{to}"))?;
            let what = format!("node {to} is to lead shard {shard}");
            follow(at, Watching::default(), &what, |pool| {
                let leads = leader_of(pool, *shard) == Some(*to);
                (usize::from(leads), 1)
            })?;
            Ok(format!("node {to} leads shard {shard}"))
        }
        PoolAction::Snapshot { at } => {
            order(at, "/pool/snapshot")?;
            Ok("every group of this node takes a snapshot".to_owned())
        }
        PoolAction::AddNode { at, data, watch } => add_node(at, data, *watch),
        PoolAction::AddShards {
            at,
            more,
            total,
            watch,
        } => add_shards(at, *more, *total, *watch),
        PoolAction::MoveSlots {
            at,
            from,
            to,
            count,
            slots,
            watch,
        } => {
            let path = match (from, count) {
                (Some(from), Some(count)) => format!("/pool/slots/of/{from}/{count}/to/{to}"),
                _ => format!("/pool/slots/{}/to/{to}", joined(slots)),
            };
            order(at, &path)?;
            follow_moves(at, *watch)
        }
        PoolAction::StopMoves { at } => {
            order(at, "/pool/moves/stop")?;
            Ok("what has not moved stays where it is".to_owned())
        }
        PoolAction::MoveShard {
            at,
            shard,
            to,
            watch,
        } => {
            order(at, &format!("/pool/shards/{shard}/place/{}", joined(to)))?;
            let what = format!("shard {shard} moves to nodes {}", joined(to));
            let leader = to.first().copied();
            follow(at, *watch, &what, |pool| {
                (usize::from(leader_of(pool, *shard) == leader), 1)
            })?;
            Ok(format!("shard {shard} is on nodes {}", joined(to)))
        }
        PoolAction::Balance { at, watch } => {
            order(at, "/pool/balance")?;
            follow_moves(at, *watch)
        }
        PoolAction::Recover {
            data,
            i_accept_losing_what_only_the_others_had: accepted,
        } => recover(data, *accepted),
        PoolAction::Token { data } => Secret::of_file(&data.join("pool-secret"), false)
            .map(|secret| secret.text())
            .map_err(|error| error.to_string()),
    }
}

/// Says what a user does; what to print.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn publish(action: &PublishAction) -> Result<String, String> {
    let admin = action.at.admin;
    let url = format!("http://{admin}/publish/{}/{}", action.user, action.source);
    let mut request = ureq::http::Request::builder()
        .method(if action.remove { "DELETE" } else { "PUT" })
        .uri(url)
        .header("Content-Type", "application/json");
    if let Some(shown) = bearer(&action.at)? {
        request = request.header("Authorization", shown);
    }
    let mut said = serde_json::json!({ "status": action.status, "note": action.note });
    if let Some(expires) = action.expires {
        said["expires"] = expires.into();
    }
    let body = if action.remove {
        String::new()
    } else {
        said.to_string()
    };
    let no_call = |why: ureq::http::Error| format!("{:?} is no address: {why}", action.user);
    let request = request.body(body).map_err(no_call)?;
    let answer = agent().run(request);
    let mut answer = answer.map_err(|error| unreachable(admin, &error))?;
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    if answer.status().is_success() {
        return Ok(text);
    }
    let said: Value = serde_json::from_str(&text).unwrap_or_default();
    let words = |name: &str| Some(said.get(name)?.as_str()?.to_owned());
    let words: Vec<String> = [words("error"), words("detail")]
        .into_iter()
        .flatten()
        .collect();
    match words.is_empty() {
        true => Err(format!("the node answered {}", answer.status())),
        false => Err(words.join(": ")),
    }
}

fn unreachable(admin: SocketAddr, why: &dyn std::fmt::Display) -> String {
    format!(
        "the admin listener at {admin} does not answer: {why}; name that of a running node with --admin IP:PORT"
    )
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)));
    ureq::Agent::new_with_config(config.build())
}

/// What is shown to a node that asks for a token: the first of the operator's file.
fn bearer(at: &AtPool) -> Result<Option<String>, String> {
    let Some(path) = &at.token_file else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|why| format!("{}: {why}", path.display()))?;
    // A line of the node's own file is a token as well.
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    let line = line.ok_or_else(|| format!("{}: there is no token in it", path.display()))?;
    let token = line.split_once(':').map_or(line, |(_, token)| token);
    Ok(Some(format!("Bearer {token}")))
}

/// What a node answered, when it is not what was asked for.
fn refusal(answer: &mut ureq::http::Response<ureq::Body>) -> String {
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    let said: Option<Value> = serde_json::from_str(&text).ok();
    let said = said.and_then(|said| Some(said.get("error")?.as_str()?.to_owned()));
    said.unwrap_or_else(|| format!("the node answered {}", answer.status()))
}

/// The pool as a node sees it.
fn get(at: &AtPool) -> Result<Value, String> {
    let admin = at.admin;
    let mut request = agent().get(format!("http://{admin}/pool"));
    if let Some(shown) = bearer(at)? {
        request = request.header("Authorization", shown);
    }
    let mut answer = request.call().map_err(|error| unreachable(admin, &error))?;
    if !answer.status().is_success() {
        return Err(refusal(&mut answer));
    }
    let text = answer
        .body_mut()
        .read_to_string()
        .map_err(|error| unreachable(admin, &error))?;
    serde_json::from_str(&text).map_err(|error| unreachable(admin, &error))
}

/// Gives an order.
fn order(at: &AtPool, path: &str) -> Result<(), String> {
    let admin = at.admin;
    let mut request = agent().post(format!("http://{admin}{path}"));
    if let Some(shown) = bearer(at)? {
        request = request.header("Authorization", shown);
    }
    let mut answer = request
        .send_empty()
        .map_err(|error| unreachable(admin, &error))?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(refusal(&mut answer))
}

/// Shows how far an order has come, until it is done: what `progress` counts, of how many. A bar on a
/// terminal; lines otherwise, of text or of JSON.
fn follow(
    at: &AtPool,
    watch: Watching,
    what: &str,
    progress: impl Fn(&Value) -> (usize, usize),
) -> Result<(), String> {
    if watch.no_wait {
        return Ok(());
    }
    let bar = ProgressBar::new(1).with_style(
        ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_message(what.to_owned());
    let lines = watch.json || !std::io::stderr().is_terminal();
    let begin = Instant::now();
    let (mut shown, mut silent) = (None, 0);
    while begin.elapsed() < PATIENCE {
        // The node that is asked may be restarted meanwhile; the pool goes on.
        let pool = match get(at) {
            Ok(pool) => pool,
            Err(error) if silent >= SILENT_MAX => return Err(error),
            Err(_) => {
                silent += 1;
                std::thread::sleep(LOOK);
                continue;
            }
        };
        silent = 0;
        let (done, all) = progress(&pool);
        if lines && shown != Some((done, all)) {
            shown = Some((done, all));
            if watch.json {
                println!("{}", json!({ "what": what, "done": done, "of": all }));
            } else {
                println!("{what}: {done} of {all}");
            }
        }
        if watch.json || lines {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
    Err(format!(
        "{what}: not done after {} minutes; the pool goes on, `lamplight pool status` shows where it is",
        PATIENCE.as_secs() / 60
    ))
}

/// Shows how slots move, until none is on its way.
fn follow_moves(at: &AtPool, watch: Watching) -> Result<String, String> {
    let count = |pool: &Value| pool["moves"].as_array().map_or(0, Vec::len);
    let most = std::cell::Cell::new(count(&get(at)?));
    if watch.no_wait {
        return Ok(format!(
            "{} slots are on their way; `lamplight pool status` shows them",
            most.get()
        ));
    }
    follow(at, watch, "slots move", |pool| {
        let left = count(pool);
        most.set(most.get().max(left));
        (most.get() - left, most.get())
    })?;
    let pool = get(at)?;
    Ok(format!("no slot is on its way; {}", held(&pool)))
}

/// How many slots each shard has.
fn held(pool: &Value) -> String {
    let slots = pool["slots"].as_array().into_iter().flatten();
    let each: Vec<String> = slots.map(Value::to_string).collect();
    format!("{} shards hold {} slots", each.len(), each.join(" "))
}

fn joined<T: ToString>(numbers: &[T]) -> String {
    let each: Vec<String> = numbers.iter().map(T::to_string).collect();
    each.join(",")
}

/// Adds shards; an order that is still being carried out is watched, not given again.
fn add_shards(
    at: &AtPool,
    more: Option<u16>,
    total: Option<u16>,
    watch: Watching,
) -> Result<String, String> {
    let pool = get(at)?;
    let slots: Vec<u64> = pool["slots"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    let moving = pool["moves"]
        .as_array()
        .is_some_and(|moves| !moves.is_empty());
    let unfinished = moving || slots.contains(&0);
    let there = u16::try_from(slots.len()).unwrap_or(u16::MAX);
    let wanted = match (total, more) {
        (Some(total), _) => total,
        (None, Some(_)) if unfinished => {
            eprintln!("an earlier order is still being carried out: nothing is added to it");
            there
        }
        (None, more) => there.saturating_add(more.unwrap_or(0)),
    };
    order(at, &format!("/pool/shards/{wanted}"))?;
    follow_moves(at, watch)
}

/// Says how a node joins, and waits for it.
fn add_node(at: &AtPool, data: &std::path::Path, watch: Watching) -> Result<String, String> {
    let secret = Secret::of_file(&data.join("pool-secret"), false).map_err(|error| {
        format!("{error}; name the data folder of a node of the pool with --data")
    })?;
    let pool = get(at)?;
    let nodes = |pool: &Value| pool["nodes"].as_array().cloned().unwrap_or_default();
    let known: Vec<Value> = nodes(&pool)
        .iter()
        .map(|node| node["node"].clone())
        .collect();
    let serving = nodes(&pool);
    let mut seeds = serving
        .iter()
        .filter(|node| node["standing"] == "serving")
        .filter_map(|node| node["peer"].as_str().filter(|peer| !peer.is_empty()));
    let Some(seed) = seeds.next() else {
        return Err(
            "this pool has no peer listener: start its node with --peers IP:PORT first".to_owned(),
        );
    };
    let domains = pool["domains"].as_array().into_iter().flatten();
    let domains: Vec<String> = domains
        .filter_map(|domain| Some(format!(" --domain {}", domain.as_str()?)))
        .collect();
    println!(
        "On the new node, with this secret in the file `secret`:\n\n  {}\n\nstart it, with its own address for \
         IP:\n\n  lamplight serve --peers IP:7060 --join {seed} --secret secret{}\n",
        secret.text(),
        domains.concat()
    );
    if watch.no_wait {
        return Ok("it is part of the pool as soon as it runs".to_owned());
    }
    // A node that has joined is given replicas, and is linked.
    follow(at, watch, "a new node serves", |pool| {
        let new = nodes(pool)
            .into_iter()
            .find(|node| !known.contains(&node["node"]));
        let serves = new.is_some_and(|node| {
            let shards = pool["shards"].as_array().into_iter().flatten();
            let mut holders = shards.filter_map(|shard| shard["replicas"].as_array());
            node["linked"] == true && holders.any(|of| of.contains(&node["node"]))
        });
        (usize::from(serves), 1)
    })?;
    let pool = get(at)?;
    let new = nodes(&pool)
        .into_iter()
        .find(|node| !known.contains(&node["node"]));
    let number = new.map(|node| node["node"].to_string()).unwrap_or_default();
    Ok(format!("node {number} has joined and holds replicas"))
}

fn leaders(pool: &Value) -> impl Iterator<Item = u64> {
    let shards = pool["shards"].as_array().into_iter().flatten();
    shards.map(|shard| shard["leader"].as_u64().unwrap_or(0))
}

fn leader_of(pool: &Value, shard: u16) -> Option<u64> {
    let mut shards = pool["shards"].as_array()?.iter();
    shards.find(|entry| entry["shard"] == shard)?["leader"].as_u64()
}

fn standing(pool: &Value, node: u64) -> Option<&str> {
    let mut nodes = pool["nodes"].as_array()?.iter();
    nodes.find(|entry| entry["node"] == node)?["standing"].as_str()
}

/// The pool, for people.
fn table(pool: &Value) -> String {
    let mut out = String::new();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let list = |value: &Value| {
        let items = value.as_array().into_iter().flatten().map(text);
        items.collect::<Vec<_>>().join(" ")
    };
    let _ = writeln!(
        out,
        "{:<5} {:<9} {:<7} {:<22} {:<22} sip",
        "node", "standing", "linked", "peers", "admin"
    );
    for node in pool["nodes"].as_array().into_iter().flatten() {
        let linked = if node["linked"] == true { "yes" } else { "no" };
        let _ = writeln!(
            out,
            "{:<5} {:<9} {:<7} {:<22} {:<22} {}",
            text(&node["node"]),
            text(&node["standing"]),
            linked,
            text(&node["peer"]),
            text(&node["admin"]),
            list(&node["sip"])
        );
    }
    let _ = writeln!(
        out,
        "\n{:<6} {:<7} {:<6} {:<12} {:<10} {:<7} {:<10} here",
        "shard", "leader", "term", "replicas", "applied", "slots", "behind"
    );
    for shard in pool["shards"].as_array().into_iter().flatten() {
        // A leader says how far the others are behind it, a follower how far it is itself.
        let seen = shard["replicas_seen"].as_array().into_iter().flatten();
        let lags: Vec<String> = seen
            .filter(|replica| replica["node"] != shard["leader"])
            .map(|replica| {
                format!(
                    "{}:{}",
                    text(&replica["node"]),
                    text(&replica["lag_entries"])
                )
            })
            .collect();
        let behind = if lags.is_empty() {
            text(&shard["lag_entries"])
        } else {
            lags.join(" ")
        };
        let role = if shard["caught_up"] == true {
            text(&shard["role"])
        } else {
            format!("{}, not caught up", text(&shard["role"]))
        };
        let _ = writeln!(
            out,
            "{:<6} {:<7} {:<6} {:<12} {:<10} {:<7} {behind:<10} {role}",
            text(&shard["shard"]),
            text(&shard["leader"]),
            text(&shard["term"]),
            list(&shard["replicas"]),
            text(&shard["applied"]),
            text(&shard["slots"])
        );
    }
    let moves = pool["moves"].as_array().into_iter().flatten();
    let shown: Vec<String> = moves
        .clone()
        .take(MOVES_SHOWN)
        .map(|moving| {
            let (slot, from, to) = (&moving["slot"], &moving["from"], &moving["to"]);
            format!("{} ({} to {})", text(slot), text(from), text(to))
        })
        .collect();
    if !shown.is_empty() {
        let more = moves.count() - shown.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let _ = writeln!(out, "\nslots on their way: {}{more}", shown.join(", "));
    }
    let freezes = &pool["freezes"];
    if let (Some(median), Some(worst)) =
        (freezes["median_ms"].as_f64(), freezes["worst_ms"].as_f64())
    {
        let _ = writeln!(
            out,
            "\nslots that this node moved: {}, each frozen for {median:.1} ms (median), {worst:.1} ms at most",
            text(&freezes["moved"])
        );
    }
    for aside in pool["set_aside"].as_array().into_iter().flatten() {
        let _ = writeln!(
            out,
            "\n{}: set aside: {}",
            text(&aside["group"]),
            text(&aside["why"])
        );
    }
    for reason in pool["waiting_for"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "not ready: {}", text(reason));
    }
    let _ = write!(out, "\nas node {} sees it", text(&pool["node"]));
    out
}
