//! Everything comes and goes: endpoints, publications, subscriptions. The server's memory is sampled;
//! after the first half, in which its caches and remembered answers fill, it may not grow.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use transport::sip::Name;

use super::bar;
use crate::Target;
use crate::agent::Field;
use crate::message::{Agent, Ask};
use crate::procstat::pss_bytes;

/// Growth from the second quarter's median to the last quarter's that counts as none.
const GROWTH_ALLOWED: f64 = 0.03;

pub fn run(target: &Target, minutes: f64, users: u32) -> Result<(), String> {
    let say = |error: std::io::Error| error.to_string();
    let mut field = Field::open(target.server, &target.domain).map_err(say)?;
    let seconds = (minutes * 60.0) as u64;
    let bar = bar("churn", seconds);
    let begin = Instant::now();
    let mut samples: Vec<u64> = Vec::new();
    let mut rounds = 0;
    let mut tags: HashMap<Agent, String> = HashMap::new();
    let mut refused = 0u64;
    while begin.elapsed() < Duration::from_secs(seconds) {
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
        samples.extend(target.server_pid.and_then(pss_bytes));
        bar.set_position(begin.elapsed().as_secs().min(seconds));
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
    if samples.len() >= 8 {
        let median = |part: &[u64]| {
            let mut part = part.to_vec();
            part.sort_unstable();
            part[part.len() / 2] as f64
        };
        let quarter = samples.len() / 4;
        let early = median(&samples[quarter..2 * quarter]);
        let late = median(&samples[3 * quarter..]);
        let growth = late / early - 1.0;
        println!(
            "memory: {:.1} MiB in the second quarter, {:.1} MiB in the last ({:+.1} %)",
            early / 1_048_576.0,
            late / 1_048_576.0,
            growth * 100.0
        );
        if growth > GROWTH_ALLOWED {
            field
                .faults
                .add("memory that grows", format!("{:+.1} %", growth * 100.0));
        }
    }
    field.faults.verdict()
}
