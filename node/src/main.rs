//! Arguments, configuration, run, exit code.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::RecvTimeoutError;

use clap::Parser as _;
use node::config::{Cli, Config, DevPool, LogFormat, Wish};
use node::service::Manager;
use node::{Node, Stop, accounts, backup, dev_pool, import, operator};
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
        Ok(Wish::Backup(action)) => match backup::backup(&action) {
            Ok(done) => {
                say(&done);
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
        Ok(Wish::Restore(action)) => match backup::restore(&action) {
            Ok(done) => {
                say(&done);
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error),
        },
        Ok(Wish::Import(action)) => match import::import(&action) {
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
    let set_filter: SetFilter = match config.log_format {
        LogFormat::Text => {
            let log = log.with_target(false).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |filter| handle.reload(filter))
        }
        LogFormat::Json => {
            let log = log.json().with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |filter| handle.reload(filter))
        }
    };
    let manager = match Manager::of_environment() {
        Ok(manager) => manager,
        Err(error) => return fail(&format!("the service manager cannot be told: {error}")),
    };
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
    manager.ready();
    std::thread::scope(|scope| {
        let (end, ended) = std::sync::mpsc::sync_channel::<()>(0);
        if let Some(beat) = manager.beat() {
            let (node, manager) = (&node, &manager);
            scope.spawn(move || {
                while ended.recv_timeout(beat) == Err(RecvTimeoutError::Timeout) {
                    if node.is_alive(beat / 2) {
                        manager.alive();
                    } else {
                        tracing::error!("a thread of this node does not answer");
                    }
                }
            });
        }
        loop {
            match signals.wait() {
                libc::SIGHUP => {
                    manager.reloading();
                    reload(node.config(), &set_filter);
                    node.reload();
                    manager.ready();
                }
                signal => {
                    tracing::info!(signal, "stopping; a second signal stops at once");
                    break;
                }
            }
        }
        drop(end);
    });
    manager.stopping();
    std::thread::spawn(move || {
        while signals.wait() == libc::SIGHUP {}
        std::process::exit(130);
    });
    node.stop(Stop::Graceful);
    ExitCode::SUCCESS
}

/// Puts another log filter in force.
type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error>>;

/// Reads the settings again: the log filter counts at once, and what else differs from those that the node was
/// started with is named, because it waits for the next start. Settings that are not sound change nothing.
fn reload(started_with: &Config, set_filter: &SetFilter) {
    let wish = Cli::try_parse().map(Cli::wish);
    let now = match wish {
        Ok(Ok(Wish::Serve(now))) => now,
        Ok(Err(error)) => {
            tracing::error!(%error, "the settings stay as they were");
            return;
        }
        // The command line was read once already.
        Ok(Ok(_)) | Err(_) => return,
    };
    match EnvFilter::try_new(&now.log_filter) {
        Ok(filter) => {
            if set_filter(filter).is_ok() {
                tracing::info!(filter = now.log_filter, "the log filter");
            }
        }
        Err(error) => tracing::error!(%error, "the log filter stays as it was"),
    }
    let mut waiting = started_with.changed(&now);
    waiting.retain(|name| *name != "log.filter");
    if !waiting.is_empty() {
        tracing::warn!(
            settings = waiting.join(", "),
            "these settings have changed and count from the next start on"
        );
    }
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
