//! `lamplight-load`: SIP user agents by the thousand, which check what they receive.

mod agent;
mod check;
mod linear;
mod message;
mod procstat;
mod scenario;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A load generator for SIP presence servers that is a correctness tool too.
#[derive(Debug, Parser)]
#[command(
    name = "lamplight-load",
    version,
    after_help = "Examples:\n  \
        lamplight-load fill --server 127.0.0.1:5060 --server-pid $(pgrep lamplight)\n  \
        lamplight-load churn --minutes 10 --server-pid $(pgrep lamplight)\n  \
        lamplight-load survive --server target/release/lamplight --data /tmp/survive --kills 3"
)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

/// Where the server is.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// The server's UDP address
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:5060")]
    server: SocketAddr,
    /// A domain it serves
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    domain: String,
    /// The server's process, to read its memory and processor time
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Requests in flight
    #[arg(long, value_name = "N", default_value_t = 64)]
    window: usize,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Register, publish and subscribe, and say what each costs in memory and processor time
    Fill {
        #[command(flatten)]
        target: Target,
        /// Endpoints to register
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        register: u32,
        /// Publications
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        publish: u32,
        /// Subscriptions
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        subscribe: u32,
    },
    /// Everything comes and goes for a while; fails when the server's memory grows or state is left over
    Churn {
        #[command(flatten)]
        target: Target,
        /// How long
        #[arg(long, value_name = "M", default_value_t = 10.0)]
        minutes: f64,
        /// Users at a time
        #[arg(long, value_name = "N", default_value_t = 2_000)]
        users: u32,
    },
    /// Starts a server, kills it under load, and checks that nothing acknowledged is lost
    Survive {
        /// The server's binary
        #[arg(long, value_name = "FILE")]
        server: PathBuf,
        /// Its data folder
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// Its SIP port; the admin port is the next one
        #[arg(long, value_name = "PORT", default_value_t = 25_080)]
        port: u16,
        /// How often to kill it
        #[arg(long, value_name = "N", default_value_t = 3)]
        kills: u32,
        /// Publishers, each with one watcher
        #[arg(long, value_name = "N", default_value_t = 500)]
        users: u32,
    },
    /// Publishers, watchers and fetchers of a pool, who follow the client's rules through its faults;
    /// checks that nothing acknowledged is lost, made twice or read stale. Marks and the end come as
    /// lines of JSON on the standard input: `{"shard_of":[N]}`, `{"mark":NAME,"at_us":T,"shards":[N]}`, `{"stop":true}`
    Faults(scenario::faults::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().scenario {
        Scenario::Fill {
            target,
            register,
            publish,
            subscribe,
        } => scenario::fill::run(&target, register, publish, subscribe),
        Scenario::Churn {
            target,
            minutes,
            users,
        } => scenario::churn::run(&target, minutes, users),
        Scenario::Survive {
            server,
            data,
            port,
            kills,
            users,
        } => scenario::survive::run(&server, &data, port, kills, users),
        Scenario::Faults(options) => scenario::faults::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lamplight-load: {error}");
            ExitCode::FAILURE
        }
    }
}
