//! A pool under load while somebody else breaks things: publishers at a steady rate, watchers whose
//! dialogs stay, fetches beside them, each after the rules that clients have for a server that does not
//! answer. What is checked, when the load has stopped and everything had time to settle:
//!
//! * every acknowledged publication is there: its tag lives, a fetch shows it, its watchers were told;
//! * none was made twice, no entity-tag was given twice, no dialog's CSeq went back or stood for two;
//! * what was published and fetched of each user is linearizable;
//! * no dialog ended.

mod lines;
mod load;
mod message;
mod phases;
mod witness;

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;

use clap::Args;
use serde::Deserialize;

/// What the load is.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The UDP and TCP addresses of the nodes
    #[arg(
        long,
        value_name = "IP:PORT,...",
        value_delimiter = ',',
        required = true
    )]
    pub nodes: Vec<SocketAddr>,
    /// A domain they serve
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    pub domain: String,
    /// Users who publish
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub publishers: usize,
    /// Subscriptions, spread over the users
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub watchers: usize,
    /// Publishers over TCP, each on a connection of its own with five of the watchers
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub streams: usize,
    /// Publications per second, of all users together
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub rate: u32,
    /// Fetches per second
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub fetches: u32,
    /// How long one node may be silent until another one is asked, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    pub silence_ms: u64,
    /// How long a request is tried in all, in milliseconds (RFC 3261: 64·T1)
    #[arg(long, value_name = "MS", default_value_t = 32_000)]
    pub give_up_ms: u64,
    /// Write every publication and fetch here, a line of JSON each
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Write the report here, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What is said on the standard input.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Order {
    /// A phase begins.
    Mark {
        mark: String,
        /// When, on the monotonic clock of the machine.
        at_us: u64,
        #[serde(default)]
        shards: Vec<u16>,
    },
    /// The shard of each user, in their order.
    Shards { shard_of: Vec<u16> },
    /// The load ends; what is on its way is waited for and everything checked.
    Stop { stop: bool },
}

pub fn run(options: &Options) -> Result<(), String> {
    let (give, orders) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order = match line {
                Ok(line) => serde_json::from_str(&line).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if give.send(order).is_err() {
                return;
            }
        }
        // Whoever gave the orders is gone: that is the end as well.
        let _ = give.send(Ok(Order::Stop { stop: true }));
    });
    load::Load::begin(options)?.run(&orders)
}

/// The monotonic clock of the machine, which the one who gives the marks reads too.
fn now_us() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the place that is written to is our own.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}
