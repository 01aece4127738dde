//! What each registered endpoint, publication and subscription costs: so many of each, and the growth
//! of the server's memory and processor time over them.

use std::time::Duration;

use serde_json::json;

use super::bar;
use crate::Target;
use crate::agent::Field;
use crate::message::{Agent, Ask};
use crate::procstat::{cpu_ns, pss_bytes};

/// How long the server is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

pub fn run(target: &Target, register: u32, publish: u32, subscribe: u32) -> Result<(), String> {
    let say = |error: std::io::Error| error.to_string();
    let mut field = Field::open(target.server, &target.domain).map_err(say)?;
    let mut report = Vec::new();
    let kinds: [(&str, u32, Ask); 3] = [
        ("register", register, Ask::Register { expires: 3_600 }),
        (
            "publish",
            publish,
            Ask::Publish {
                tag: None,
                state: Some(1),
                expires: 3_600,
            },
        ),
        (
            "subscribe",
            subscribe,
            Ask::Subscribe {
                to_tag: None,
                expires: 3_600,
            },
        ),
    ];
    for (name, count, ask) in kinds {
        let before = target
            .server_pid
            .and_then(|pid| Some((pss_bytes(pid)?, cpu_ns(pid)?)));
        let bar = bar(name, u64::from(count));
        let (mut accepted, mut refused) = (0u64, 0u64);
        // Separate addresses for each kind, so that each pays for its own.
        let offset = match name {
            "register" => 0,
            "publish" => 10_000_000,
            _ => 20_000_000,
        };
        let asks = (0..count).map(|number| {
            (
                Agent {
                    number: offset + number,
                    run: std::process::id(),
                },
                ask.clone(),
            )
        });
        field
            .run(target.window, asks, |_, answer| {
                bar.inc(1);
                match answer {
                    Some(response) if response.status().is_success() => accepted += 1,
                    _ => refused += 1,
                }
            })
            .map_err(say)?;
        bar.finish_and_clear();
        field.listen(SETTLE).map_err(say)?;
        let after = target
            .server_pid
            .and_then(|pid| Some((pss_bytes(pid)?, cpu_ns(pid)?)));
        let cost = before
            .zip(after)
            .map(|((pss, cpu), (pss_after, cpu_after))| {
                let per = |growth: i64| growth / i64::from(count.max(1));
                (
                    per(pss_after as i64 - pss as i64),
                    (cpu_after - cpu) as f64 / f64::from(count.max(1)) / 1_000.0,
                )
            });
        let p99_ms = field.latency_us.value_at_quantile(0.99) as f64 / 1_000.0;
        field.latency_us.reset();
        report.push(json!({
            "what": name, "count": count, "accepted": accepted, "refused_or_lost": refused, "p99_ms": p99_ms,
            "bytes_each": cost.map(|(bytes, _)| bytes), "cpu_us_each": cost.map(|(_, us)| us),
        }));
        if refused > 0 {
            field
                .faults
                .add("a request that was not accepted", name.to_owned());
        }
    }
    for row in &report {
        if target.json {
            println!("{row}");
        } else {
            println!(
                "{:<10} {:>8} accepted {:>8}   {:>6} bytes each   {:>7.1} µs of CPU each   p99 {:>7.2} ms",
                row["what"].as_str().unwrap_or_default(),
                row["count"],
                row["accepted"],
                row["bytes_each"],
                row["cpu_us_each"].as_f64().unwrap_or_default(),
                row["p99_ms"].as_f64().unwrap_or_default(),
            );
        }
    }
    field.faults.verdict()
}
