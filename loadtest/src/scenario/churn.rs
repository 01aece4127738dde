//! Everything comes and goes: endpoints, publications, subscriptions; then nothing, for a while; four
//! times. What the server holds at rest may not grow from one rest to the next.
//!
//! Under load it holds the answers of the last 32 seconds, and entries for slow readers, in an amount that
//! follows the rate of the moment; only at rest does memory say something about what was forgotten.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use transport::sip::Name;

use super::bar;
use crate::Target;
use crate::agent::Field;
use crate::message::{Agent, Ask};
use crate::procstat::pss_bytes;

/// Growth from the second rest to the last that counts as none: before the second, caches fill.
const GROWTH_ALLOWED: f64 = 0.03;

/// Quarters of load, each followed by a rest.
const QUARTERS: u64 = 4;

/// How long the server is left alone before its memory is read: answers are forgotten after 32 s, and a
/// transaction's after as many again.
const REST: Duration = Duration::from_secs(70);

pub fn run(target: &Target, minutes: f64, users: u32) -> Result<(), String> {
    let say = |error: std::io::Error| error.to_string();
    let mut field = Field::open(target.server, &target.domain).map_err(say)?;
    let seconds = (minutes * 60.0) as u64;
    let bar = bar("churn", seconds);
    let begin = Instant::now();
    let mut loaded = Duration::ZERO;
    let mut at_rest: Vec<u64> = Vec::new();
    let mut rounds = 0;
    let mut tags: HashMap<Agent, String> = HashMap::new();
    let mut refused = 0u64;
    while loaded < Duration::from_secs(seconds) {
        let round = Instant::now();
        rounds += 1;
        let agents: Vec<Agent> = (0..users)
            .map(|number| Agent {
                number,
                run: rounds,
            })
            .collect();
        let mut step = |field: &mut Field,
                        ask: &dyn Fn(Agent, &HashMap<Agent, String>) -> Ask,
                        header: Option<Name>| {
            let asks: Vec<(Agent, Ask)> = agents
                .iter()
                .map(|agent| (*agent, ask(*agent, &tags)))
                .collect();
            let mut found = Vec::new();
            let done = field.run(target.window, asks, |agent, answer| match answer {
                Some(response) if response.status().is_success() => match header {
                    Some(Name::To) => {
                        found.extend(response.to_tag().map(|tag| (agent, tag.to_owned())))
                    }
                    Some(header) => {
                        found.extend(response.header(header).map(|tag| (agent, tag.to_owned())))
                    }
                    None => {}
                },
                _ => refused += 1,
            });
            tags.extend(found);
            done
        };
        let etag = Some(Name::SipETag);
        step(&mut field, &|_, _| Ask::Register { expires: 600 }, None).map_err(say)?;
        step(
            &mut field,
            &|_, _| Ask::Publish {
                tag: None,
                state: Some(1),
                expires: 600,
            },
            etag,
        )
        .map_err(say)?;
        let tagged = |state: Option<u64>, expires: u32| {
            move |agent: Agent, tags: &HashMap<Agent, String>| Ask::Publish {
                tag: tags.get(&agent).cloned(),
                state,
                expires,
            }
        };
        step(&mut field, &tagged(Some(2), 600), etag).map_err(say)?;
        step(&mut field, &tagged(None, 600), etag).map_err(say)?;
        step(&mut field, &tagged(None, 0), None).map_err(say)?;
        step(
            &mut field,
            &|_, _| Ask::Subscribe {
                to_tag: None,
                expires: 600,
            },
            Some(Name::To),
        )
        .map_err(say)?;
        let inside = |expires: u32| {
            move |agent: Agent, tags: &HashMap<Agent, String>| Ask::Subscribe {
                to_tag: tags.get(&agent).cloned(),
                expires,
            }
        };
        step(&mut field, &inside(900), None).map_err(say)?;
        step(&mut field, &inside(0), None).map_err(say)?;
        step(&mut field, &|_, _| Ask::Register { expires: 0 }, None).map_err(say)?;
        tags.clear();
        // Ended dialogs of rounds long ago can send nothing any more.
        let old = format!("-{}", rounds.saturating_sub(50));
        field
            .watchers
            .seen
            .retain(|call_id, seen| !(seen.ended && call_id.ends_with(&old)));
        loaded += round.elapsed();
        bar.set_position(loaded.as_secs().min(seconds));
        let quarters = at_rest.len() as u64;
        if let Some(pid) = target.server_pid
            && loaded.as_secs_f64() >= (quarters + 1) as f64 * seconds as f64 / QUARTERS as f64
        {
            let busy = pss_bytes(pid);
            bar.set_message(format!("rest {} of {QUARTERS}", quarters + 1));
            std::thread::sleep(REST);
            bar.set_message("");
            let (Some(busy), Some(rested)) = (busy, pss_bytes(pid)) else {
                return Err(format!(
                    "the memory of process {pid} cannot be read; is it the server's?"
                ));
            };
            at_rest.push(rested);
            bar.println(format!(
                "after {} s of load: {:.1} MiB, at rest {:.1} MiB",
                loaded.as_secs(),
                busy as f64 / 1_048_576.0,
                rested as f64 / 1_048_576.0
            ));
        }
    }
    bar.finish_and_clear();
    if refused > 0 {
        field.faults.add(
            "a request that was not accepted",
            format!("{refused} of them"),
        );
    }
    let operations = u64::from(rounds) * u64::from(users) * 9;
    println!(
        "{operations} requests in {rounds} rounds, {} notifications, {refused} refused",
        field.watchers.notifies
    );
    if let (Some(early), Some(late)) = (at_rest.get(1), at_rest.last()) {
        let growth = *late as f64 / *early as f64 - 1.0;
        println!(
            "memory at rest: {:.1} MiB after half of the load, {:.1} MiB after all of it ({:+.1} %); {} s in all",
            *early as f64 / 1_048_576.0,
            *late as f64 / 1_048_576.0,
            growth * 100.0,
            begin.elapsed().as_secs()
        );
        if growth > GROWTH_ALLOWED {
            field
                .faults
                .add("memory that grows", format!("{:+.1} %", growth * 100.0));
        }
    }
    field.faults.verdict()
}
