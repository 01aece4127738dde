//! A server is killed under load, again and again; whatever it acknowledged must be there afterwards.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use transport::sip::Name;

use super::bar;
use crate::agent::Field;
use crate::message::{Agent, Ask};

/// How soon after readiness a watcher must have the newest state.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// What one publisher knows.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The tag of the last acknowledged version.
    tag: Option<String>,
    /// Its state number.
    state: u64,
    /// Whether a later one was sent and nobody knows whether it was logged.
    unknown: bool,
}

pub fn run(server: &Path, data: &Path, port: u16, kills: u32, users: u32) -> Result<(), String> {
    let say = |error: std::io::Error| error.to_string();
    let address = format!("127.0.0.1:{port}")
        .parse()
        .map_err(|_| "not a port".to_owned())?;
    let mut running = start(server, data, port)?;
    let mut field = Field::open(address, "localhost").map_err(say)?;
    let agents: Vec<Agent> = (0..users)
        .map(|number| Agent {
            number,
            run: std::process::id(),
        })
        .collect();
    let mut known: HashMap<Agent, Known> = agents
        .iter()
        .map(|agent| (*agent, Known::default()))
        .collect();
    let mut dialogs: HashMap<Agent, String> = HashMap::new();
    let subscribe = agents.iter().map(|agent| {
        (
            *agent,
            Ask::Subscribe {
                to_tag: None,
                expires: 3_600,
            },
        )
    });
    field
        .run(64, subscribe, |agent, answer| {
            if let Some(tag) = answer
                .filter(|answer| answer.status().is_success())
                .and_then(|answer| answer.to_tag())
            {
                dialogs.insert(agent, tag.to_owned());
            }
        })
        .map_err(say)?;
    if dialogs.len() != agents.len() {
        return Err(format!(
            "{} of {} subscriptions were accepted",
            dialogs.len(),
            agents.len()
        ));
    }
    let bar = bar("survive", u64::from(kills));
    for kill in 1..=kills {
        // Publish everything once in peace, then go on until the kill, somewhere in the middle.
        publish(&mut field, &agents, &mut known)?;
        let pid = running.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20 + 37 * u64::from(kill)));
            // SAFETY: the process is our own child and has not been waited for yet.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        });
        publish_until_silent(&mut field, &agents, &mut known)?;
        killer.join().map_err(|_| "the killer failed".to_owned())?;
        running.wait().map_err(say)?;
        let before = field.watchers.seen.clone();
        running = start(server, data, port)?;
        let ready = Instant::now();
        let told = |field: &Field| {
            agents
                .iter()
                .filter(|agent| {
                    let call_id = format!("s-{}-{}", agent.number, agent.run);
                    let (now, then) = (&field.watchers.seen[&call_id], &before[&call_id]);
                    let newest = known[*agent].state;
                    now.state >= Some(newest)
                        && (now.cseq > then.cseq || then.state >= Some(newest))
                })
                .count()
        };
        while told(&field) < agents.len() && ready.elapsed() < TOLD_WITHIN {
            field.listen(Duration::from_millis(20)).map_err(say)?;
        }
        let late = agents.len() - told(&field);
        if late > 0 {
            field.faults.add(
                "a watcher without the newest state two seconds after readiness",
                format!("{late} after kill {kill}"),
            );
        }
        settle(&mut field, &agents, &mut known)?;
        let refresh: Vec<(Agent, Ask)> = agents
            .iter()
            .map(|agent| {
                (
                    *agent,
                    Ask::Subscribe {
                        to_tag: dialogs.get(agent).cloned(),
                        expires: 3_600,
                    },
                )
            })
            .collect();
        let mut gone = Vec::new();
        field
            .run(64, refresh, |agent, answer| {
                if !answer.is_some_and(|answer| answer.status().is_success()) {
                    gone.push(agent);
                }
            })
            .map_err(say)?;
        for agent in gone {
            field.faults.add(
                "a dialog that is gone",
                format!("u{} after kill {kill}", agent.number),
            );
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    // SAFETY: as above.
    unsafe { libc::kill(running.id() as i32, libc::SIGTERM) };
    running.wait().map_err(say)?;
    println!(
        "{kills} kills survived by {users} publishers and as many watchers; {} notifications",
        field.watchers.notifies
    );
    field.faults.verdict()
}

fn start(server: &Path, data: &Path, port: u16) -> Result<Child, String> {
    let mut child = Command::new(server)
        .args(["serve", "--log", "warn", "--domain", "localhost", "--data"])
        .arg(data)
        .args([
            "--listen",
            &format!("udp:127.0.0.1:{port}"),
            "--admin",
            &format!("127.0.0.1:{}", port + 1),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} does not run: {error}", server.display()))?;
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().ok_or("no output")?);
    out.read_line(&mut line)
        .map_err(|error| error.to_string())?;
    if line.starts_with("lamplight ready") {
        Ok(child)
    } else {
        Err("the server did not get ready".to_owned())
    }
}

fn asks(agents: &[Agent], known: &HashMap<Agent, Known>) -> Vec<(Agent, Ask)> {
    let ask = |agent: &Agent| {
        let Known { tag, state, .. } = &known[agent];
        (
            *agent,
            Ask::Publish {
                tag: tag.clone(),
                state: Some(state + 1),
                expires: 3_600,
            },
        )
    };
    agents.iter().map(ask).collect()
}

/// Every publisher publishes its next state; all must succeed.
fn publish(
    field: &mut Field,
    agents: &[Agent],
    known: &mut HashMap<Agent, Known>,
) -> Result<(), String> {
    let mut failed = Vec::new();
    let asks = asks(agents, known);
    field
        .run(64, asks, |agent, answer| match answer {
            Some(answer) if answer.status().is_success() => note(known, agent, answer),
            other => failed.push((agent, other.map(|answer| answer.status().number()))),
        })
        .map_err(|error| error.to_string())?;
    for (agent, status) in failed {
        field.faults.add(
            "an acknowledged publication that is lost",
            format!("u{}: {status:?}", agent.number),
        );
    }
    Ok(())
}

fn note(known: &mut HashMap<Agent, Known>, agent: Agent, answer: &transport::sip::Response) {
    let publisher = known.entry(agent).or_default();
    publisher.state += 1;
    publisher.tag = answer.header(Name::SipETag).map(str::to_owned);
}

/// Publishes round after round until the server stops answering; what is not answered then is unknown.
fn publish_until_silent(
    field: &mut Field,
    agents: &[Agent],
    known: &mut HashMap<Agent, Known>,
) -> Result<(), String> {
    field.give_up = Duration::from_secs(1);
    loop {
        // Once one is not answered, no further one is sent.
        let silent = Cell::new(false);
        let asks = asks(agents, known)
            .into_iter()
            .take_while(|_| !silent.get());
        field
            .run(64, asks, |agent, answer| match answer {
                Some(answer) if answer.status().is_success() => note(known, agent, answer),
                Some(_) => {}
                None => {
                    silent.set(true);
                    known.entry(agent).or_default().unknown = true;
                }
            })
            .map_err(|error| error.to_string())?;
        if silent.get() {
            field.give_up = Duration::from_secs(8);
            return Ok(());
        }
    }
}

/// Finds out what became of the unknown ones: a refresh with the acknowledged tag succeeds, or is refused
/// because the unknown version was logged after all. For all others only success will do.
fn settle(
    field: &mut Field,
    agents: &[Agent],
    known: &mut HashMap<Agent, Known>,
) -> Result<(), String> {
    let refresh: Vec<(Agent, Ask)> = agents
        .iter()
        .map(|agent| {
            (
                *agent,
                Ask::Publish {
                    tag: known[agent].tag.clone(),
                    state: None,
                    expires: 3_600,
                },
            )
        })
        .collect();
    let mut lost = Vec::new();
    field
        .run(64, refresh, |agent, answer| {
            let publisher = known.entry(agent).or_default();
            match answer {
                Some(answer) if answer.status().is_success() => {
                    publisher.tag = answer.header(Name::SipETag).map(str::to_owned);
                }
                Some(answer) if publisher.unknown && answer.status().number() == 412 => {
                    // Logged and never heard of: begin a publication anew, beside it.
                    publisher.tag = None;
                    publisher.state += 1;
                }
                other => lost.push((agent, other.map(|answer| answer.status().number()))),
            }
            publisher.unknown = false;
        })
        .map_err(|error| error.to_string())?;
    for (agent, status) in lost {
        field.faults.add(
            "an acknowledged publication that is lost",
            format!("u{}: {status:?}", agent.number),
        );
    }
    Ok(())
}
