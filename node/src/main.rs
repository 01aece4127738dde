//! Arguments, configuration, run, exit code.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use node::config::{Cli, Config, DevPool, LogFormat, Wish};
use node::{Node, Stop, accounts, dev_pool, operator};
use tracing_subscriber::EnvFilter;
use transport::io::tls::Certificates;

/// Snapshots and fan-out allocate in bursts; mimalloc gives memory back without huge pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().wish() {
        Ok(Wish::Serve(config)) => serve(*config),
        Ok(Wish::Checked(config)) => {
            if let Some((certificate, key)) = &config.tls
                && let Err(error) = Certificates::load(certificate, key)
            {
                return fail(&error);
            }
            if let Err(error) = accounts::check(&config) {
                return fail(&error);
            }
            if let Err(error) = node::directory::check(&config.directory, &config.domains) {
                return fail(&error);
            }
            say(&format!(
                "sound: {} domains, {} listeners, auth {}",
                config.domains.len(),
                config.listen.len(),
                config.auth
            ));
            ExitCode::SUCCESS
        }
        Ok(Wish::User(action)) => match accounts::perform(&action) {
            Ok(done) => {
                say(&done);
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
        Ok(Wish::Pool(action)) => match operator::perform(&action) {
            Ok(done) => {
                say(&done);
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
        Ok(Wish::Publish(action)) => match operator::publish(&action) {
            Ok(done) => {
                say(&done);
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
        Ok(Wish::DevPool(wanted)) => run_pool(&wanted),
        Ok(Wish::Version) => {
            say(concat!("lamplight ", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

/// Runs a pool until a signal ends it.
fn run_pool(wanted: &DevPool) -> ExitCode {
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    let pool = match dev_pool::start(wanted) {
        Ok(pool) => pool,
        Err(error) => return fail(&error),
    };
    say(&pool.table());
    while signals.wait() == libc::SIGHUP {}
    pool.stop();
    ExitCode::SUCCESS
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("lamplight: {error}");
    ExitCode::FAILURE
}

/// Prints a line; a reader that has gone away is not worth dying for.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn serve(config: Config) -> ExitCode {
    let filter = match EnvFilter::try_new(&config.log_filter) {
        Ok(filter) => filter,
        Err(error) => {
            return fail(&format!(
                "{:?} is no log filter: {error}",
                config.log_filter
            ));
        }
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
    // Before the first thread starts, so that every thread leaves the signals to this one.
    let signals = match Signals::block() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    let node = match Node::start(config) {
        Ok(node) => node,
        Err(error) => return fail(&error),
    };
    say(&node.welcome());
    loop {
        match signals.wait() {
            libc::SIGHUP => node.reload(),
            signal => {
                tracing::info!(signal, "stopping; a second signal stops at once");
                break;
            }
        }
    }
    std::thread::spawn(move || {
        while signals.wait() == libc::SIGHUP {}
        std::process::exit(130);
    });
    node.stop(Stop::Graceful);
    ExitCode::SUCCESS
}

/// SIGTERM, SIGINT and SIGHUP, taken one by one by whoever waits.
#[derive(Clone, Copy)]
struct Signals(libc::sigset_t);

impl Signals {
    fn block() -> std::io::Result<Signals> {
        // SAFETY: the set is initialised by sigemptyset before it is used, and all pointers are to it.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                libc::sigaddset(&raw mut set, signal);
            }
            match libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) {
                0 => Ok(Signals(set)),
                error => Err(std::io::Error::from_raw_os_error(error)),
            }
        }
    }

    fn wait(&self) -> libc::c_int {
        let mut signal = 0;
        loop {
            // SAFETY: the set was initialised by `block`, and the pointers are to live values.
            if unsafe { libc::sigwait(&raw const self.0, &raw mut signal) } == 0 {
                return signal;
            }
        }
    }
}
