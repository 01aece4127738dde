//! `lamplight pool`: the operator's hand on a running pool, over the admin listener of one of its nodes.
//!
//! Every order says what is wanted, not what is to be done, so it may be given twice; whoever gives it may
//! go away meanwhile, and the pool goes on. What is printed as progress is read off the pool.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::config::{AtPool, PoolAction, PublishAction};
use crate::peer::credentials::Secret;

/// How long an order is watched; the pool goes on when we stop looking.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often the pool is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(250);

/// Does what is asked for; what to print.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn perform(action: &PoolAction) -> Result<String, String> {
    match action {
        PoolAction::Status { at, json } => {
            let pool = get(at.admin)?;
            Ok(if *json {
                serde_json::to_string_pretty(&pool).unwrap_or_default()
            } else {
                table(&pool)
            })
        }
        PoolAction::Drain { at, node } => {
            order(at.admin, &format!("/pool/nodes/{node}/drain"))?;
            follow(
                at,
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
            order(at.admin, &format!("/pool/nodes/{node}/resume"))?;
            Ok(format!(
                "node {node} serves; it leads its share in a moment"
            ))
        }
        PoolAction::RemoveNode { at, node } => {
            order(at.admin, &format!("/pool/nodes/{node}/remove"))?;
            follow(at, &format!("the replicas of node {node} move"), |pool| {
                let gone = standing(pool, *node) == Some("gone");
                (usize::from(gone), 1)
            })?;
            Ok(format!(
                "node {node} holds nothing any more and is no part of the pool; stop it, and do not start it again with its data"
            ))
        }
        PoolAction::TransferLeader { at, shard, to } => {
            order(at.admin, &format!("/pool/shards/{shard}/lead/{to}"))?;
            follow(at, &format!("node {to} is to lead shard {shard}"), |pool| {
                let leads = leader_of(pool, *shard) == Some(*to);
                (usize::from(leads), 1)
            })?;
            Ok(format!("node {to} leads shard {shard}"))
        }
        PoolAction::Snapshot { at } => {
            order(at.admin, "/pool/snapshot")?;
            Ok("every group of this node takes a snapshot".to_owned())
        }
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
    if let Some(path) = &action.token_file {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|why| format!("{}: {why}", path.display()))?;
        // A line of the node's own file is a token as well.
        let mut lines = text.lines().map(str::trim);
        let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        let line = line.ok_or_else(|| format!("{}: there is no token in it", path.display()))?;
        let token = line.split_once(':').map_or(line, |(_, token)| token);
        request = request.header("Authorization", format!("Bearer {token}"));
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

/// The pool as a node sees it.
fn get(admin: SocketAddr) -> Result<Value, String> {
    let mut answer = agent()
        .get(format!("http://{admin}/pool"))
        .call()
        .map_err(|error| unreachable(admin, &error))?;
    let text = answer
        .body_mut()
        .read_to_string()
        .map_err(|error| unreachable(admin, &error))?;
    serde_json::from_str(&text).map_err(|error| unreachable(admin, &error))
}

/// Gives an order.
fn order(admin: SocketAddr, path: &str) -> Result<(), String> {
    let mut answer = agent()
        .post(format!("http://{admin}{path}"))
        .send_empty()
        .map_err(|error| unreachable(admin, &error))?;
    if answer.status().is_success() {
        return Ok(());
    }
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    let said: Option<Value> = serde_json::from_str(&text).ok();
    let said = said.and_then(|said| Some(said.get("error")?.as_str()?.to_owned()));
    Err(said.unwrap_or_else(|| format!("the node answered {}", answer.status())))
}

/// Shows how far an order has come, until it is done: what `progress` counts, of how many.
fn follow(
    at: &AtPool,
    what: &str,
    progress: impl Fn(&Value) -> (usize, usize),
) -> Result<(), String> {
    let bar = ProgressBar::new(1).with_style(
        ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_message(what.to_owned());
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let pool = get(at.admin)?;
        let (done, all) = progress(&pool);
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
        "\n{:<6} {:<7} {:<6} {:<12} {:<10} {:<7} here",
        "shard", "leader", "term", "replicas", "applied", "slots"
    );
    for shard in pool["shards"].as_array().into_iter().flatten() {
        let role = if shard["caught_up"] == true {
            text(&shard["role"])
        } else {
            format!("{}, not caught up", text(&shard["role"]))
        };
        let _ = writeln!(
            out,
            "{:<6} {:<7} {:<6} {:<12} {:<10} {:<7} {role}",
            text(&shard["shard"]),
            text(&shard["leader"]),
            text(&shard["term"]),
            list(&shard["replicas"]),
            text(&shard["applied"]),
            text(&shard["slots"])
        );
    }
    let _ = write!(out, "\nas node {} sees it", text(&pool["node"]));
    out
}
