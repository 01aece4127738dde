//! node.toml and flags into checked types.
//!
//! The file is read once into values that cannot be invalid later; flags override it. An unknown key or
//! a bad value is refused with its line and what was expected.

mod enhanced;
mod standard;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

pub use enhanced::{Enhanced, Number};
pub use standard::{LinkedUser, PidfPublish, Standard};

/// Where a node keeps its data unless told otherwise.
const DATA: &str = "./lamplight-data";

/// Shards of a new pool. A shard thread carries far more than one core can bring it; two leave room for
/// a second node to lead one without moving slots.
const SHARDS: u16 = 2;

/// A clustered, high-throughput SIP presence server.
#[derive(Debug, Parser)]
#[command(
    name = "lamplight",
    version,
    about = "Lamplight: a clustered, high-throughput SIP presence server",
    long_about = "Lamplight keeps who is reachable, doing what, on which device, and tells every watcher.\n\n\
        Without a subcommand it serves: one durable node on loopback, open to everybody there.",
    after_help = "Examples:\n  \
        lamplight                                     one node on 127.0.0.1:5060, data in ./lamplight-data\n  \
        lamplight serve --domain example.com --listen udp:192.0.2.1:5060 --auth digest --users users.txt\n  \
        lamplight check --config /etc/lamplight/node.toml\n\n\
        Then: curl http://127.0.0.1:8060/pool"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Action>,
    #[command(flatten)]
    serve: Flags,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Run a node (the default)
    Serve(Box<Flags>),
    /// Read a configuration and say whether it is sound
    Check {
        /// The file to read
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print the version
    Version,
}

/// Flags of `serve`; each overrides the file.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Read settings from this file (deploy/node.toml shows them all)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the log and the snapshots here [default: ./lamplight-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve addresses of this domain; may be repeated [default: localhost]
    #[arg(long, value_name = "NAME")]
    domain: Vec<String>,
    /// Listen for SIP here; may be repeated [default: udp and tcp on 127.0.0.1:5060]
    #[arg(long, value_name = "udp:IP:PORT|tcp:IP:PORT|tls:IP:PORT")]
    listen: Vec<String>,
    /// The certificate chain that TLS listeners show, PEM; read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Listen for the operator (HTTP) here [default: 127.0.0.1:8060]
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// Who may speak: everybody, or users with a password [default: open on loopback only]
    #[arg(long, value_enum)]
    auth: Option<AuthMode>,
    /// The users of --auth digest: a line `user:realm:algorithm:ha1` each
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Shards of a new pool; fixed once the pool is made [default: 2]
    #[arg(long, value_name = "N")]
    shards: Option<u16>,
    /// Listen for the other nodes of the pool here; without it the node stays alone
    #[arg(long, value_name = "IP:PORT")]
    peers: Option<SocketAddr>,
    /// Join the pool that this node belongs to; may be repeated. Needs --peers and --secret
    #[arg(long, value_name = "HOST:PORT")]
    join: Vec<String>,
    /// The pool's secret, which a new node joins with [default: pool-secret in the data folder]
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
    /// What to log, as tracing filters have it [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How to write the log
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

/// Who may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Everybody: every address of the domains is a user, every subscription is authorised
    Open,
    /// Users with a password (RFC 7616, RFC 8760)
    Digest,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// Lines for machines
    Json,
}

/// What addresses of other domains get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Foreign {
    /// 404: as if they did not exist.
    #[default]
    NotFound,
    /// 403: they do, elsewhere.
    Forbidden,
}

/// Whether contacts move to a mail server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreMode {
    /// No.
    #[default]
    Disabled,
    /// Those of users whose client says that it is ready, or whom the operator names.
    Allowed,
    /// Everybody's.
    Migrate,
}

/// A mail server that keeps contacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactStore {
    /// Whose contacts move there.
    pub mode: StoreMode,
    /// The address book of a user, with `{user}` and `{mail}`.
    pub url: String,
    /// The logins.
    pub credentials: PathBuf,
    /// The authorities that vouch for it, where they are not those of browsers.
    pub authorities: Option<PathBuf>,
    /// Seconds between two looks at an address book that somebody is shown.
    pub refresh_s: u32,
}

/// A transport to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
    /// Streams under TLS.
    Tls,
}

/// A SIP listener: `udp:127.0.0.1:5060`, `tcp:[::1]:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Which transport.
    pub protocol: Protocol,
    /// Which address.
    pub address: SocketAddr,
}

impl FromStr for Listener {
    type Err = String;

    fn from_str(text: &str) -> Result<Listener, String> {
        let expected = || {
            format!(
                "{text:?} is no listener; expected udp:IP:PORT, tcp:IP:PORT or tls:IP:PORT, such as udp:127.0.0.1:5060"
            )
        };
        let (protocol, address) = text.split_once(':').ok_or_else(expected)?;
        let protocol = match protocol {
            "udp" => Protocol::Udp,
            "tcp" => Protocol::Tcp,
            "tls" => Protocol::Tls,
            _ => return Err(expected()),
        };
        Ok(Listener {
            protocol,
            address: address.parse().map_err(|_| expected())?,
        })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
            Protocol::Tls => "tls",
        };
        write!(f, "{protocol}:{}", self.address)
    }
}

/// The intervals of one kind of soft state, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Interval {
    /// Shorter ones are refused.
    pub min: u32,
    /// Longer ones are shortened.
    pub max: u32,
    /// Taken when the client names none.
    pub default: u32,
}

/// An hour as RFC 3856 and RFC 3903 have it, a minute as the shortest, a day as the longest.
impl Default for Interval {
    fn default() -> Interval {
        Interval {
            min: 60,
            max: 86_400,
            default: 3_600,
        }
    }
}

/// The file, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    data: Option<PathBuf>,
    domains: Option<Vec<String>>,
    shards: Option<u16>,
    foreign: Foreign,
    listen: ListenSection,
    tls: TlsSection,
    auth: AuthSection,
    limits: LimitSection,
    pool: PoolSection,
    standard: Standard,
    enhanced: Enhanced,
    federation: FederationSection,
    log: LogSection,
    contact_store: ContactStoreSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListenSection {
    sip: Option<Vec<String>>,
    admin: Option<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsSection {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AuthSection {
    mode: Option<AuthMode>,
    users: Option<PathBuf>,
    realm: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitSection {
    publication: Interval,
    subscription: Interval,
    registration: Interval,
    in_flight: Option<usize>,
    log_segment_bytes: Option<u64>,
    snapshot_bytes: Option<u64>,
    categories: Option<usize>,
    watchers: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FederationSection {
    users: Option<Vec<String>>,
    public_users: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PoolSection {
    name: Option<String>,
    listen: Option<SocketAddr>,
    advertise: Option<String>,
    seeds: Vec<String>,
    secret: Option<PathBuf>,
}

/// The pool, as one node needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// The pool's name: nodes of another name are turned away.
    pub name: String,
    /// Where the other nodes are listened for; `None` for a pool of one.
    pub listen: Option<SocketAddr>,
    /// Where they find this one, if not at `listen`.
    pub advertise: Option<String>,
    /// Nodes that a new one asks to be admitted; none for the node that founds the pool.
    pub seeds: Vec<String>,
    /// The file with the pool's secret; `pool-secret` in the data folder unless told otherwise.
    pub secret: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ContactStoreSection {
    mode: StoreMode,
    url: Option<String>,
    credentials: Option<PathBuf>,
    authorities: Option<PathBuf>,
    refresh: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogSection {
    filter: Option<String>,
    format: Option<LogFormat>,
}

/// Everything a node needs to know, sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The folder of the log and the snapshots.
    pub data: PathBuf,
    /// The domains, lower case; at least one.
    pub domains: Vec<String>,
    /// Shards of a new pool.
    pub shards: u16,
    /// What addresses of other domains get.
    pub foreign: Foreign,
    /// The SIP listeners; at least one.
    pub listen: Vec<Listener>,
    /// The certificate chain and the key of TLS listeners.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The admin listener.
    pub admin: SocketAddr,
    /// Who may speak.
    pub auth: AuthMode,
    /// The users of digest.
    pub users: Option<PathBuf>,
    /// The realm of digest: the first domain unless told otherwise.
    pub realm: String,
    /// Publications.
    pub publication: Interval,
    /// Subscriptions.
    pub subscription: Interval,
    /// Registrations.
    pub registration: Interval,
    /// Requests in flight per shard.
    pub in_flight: usize,
    /// Bytes of a log segment.
    pub log_segment_bytes: u64,
    /// Bytes of entries between snapshots.
    pub snapshot_bytes: u64,
    /// The pool.
    pub pool: PoolSettings,
    /// Standard formats.
    pub standard: Standard,
    /// Enhanced presence.
    pub enhanced: Enhanced,
    /// Categories of a subscription.
    pub categories: usize,
    /// Watchers of a user.
    pub watchers: u32,
    /// Users who may deal with federated domains; `None` for all.
    pub federated_users: Option<Vec<String>>,
    /// Users who may deal with public clouds; `None` for all.
    pub public_users: Option<Vec<String>>,
    /// The mail server that keeps contacts.
    pub contact_store: Option<ContactStore>,
    /// What is logged.
    pub log_filter: String,
    /// How.
    pub log_format: LogFormat,
}

/// Why a configuration is refused, in one line or with the lines of the file it is about.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{} cannot be read: {why}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The file is not as it should be.
    #[error("{}: {why}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// A value makes no sense.
    #[error("{0}")]
    Unsound(String),
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Wish {
    /// Run a node.
    Serve(Box<Config>),
    /// The configuration of this file is sound.
    Checked(Box<Config>),
    /// Print the version.
    Version,
}

impl Cli {
    /// What the command line asks for, its configuration read and checked.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn wish(self) -> Result<Wish, ConfigError> {
        match self.command {
            None => Config::load(&self.serve).map(|config| Wish::Serve(Box::new(config))),
            Some(Action::Serve(flags)) => {
                Config::load(&flags).map(|config| Wish::Serve(Box::new(config)))
            }
            Some(Action::Check { config }) => {
                let flags = Flags {
                    config: Some(config),
                    ..Flags::default()
                };
                Config::load(&flags).map(|config| Wish::Checked(Box::new(config)))
            }
            Some(Action::Version) => Ok(Wish::Version),
        }
    }
}

impl Config {
    /// Reads the file, if one is named, and lays the flags over it.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(flags: &Flags) -> Result<Config, ConfigError> {
        let file = match &flags.config {
            None => File::default(),
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|why| ConfigError::Unreadable {
                        path: path.clone(),
                        why,
                    })?;
                parse(path, &text)?
            }
        };
        merge(file, flags)
    }
}

fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Malformed {
        path: path.to_owned(),
        why: error.to_string(),
    })
}

fn merge(file: File, flags: &Flags) -> Result<Config, ConfigError> {
    let unsound = |why: String| Err(ConfigError::Unsound(why));
    let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    let domains = some(&flags.domain)
        .or(file.domains)
        .unwrap_or_else(|| vec!["localhost".to_owned()]);
    let domains: Vec<String> = domains.iter().map(|domain| domain.to_lowercase()).collect();
    if domains.is_empty() {
        return unsound(
            "no domain; name at least one with --domain or domains = [\"example.com\"]".to_owned(),
        );
    }
    for domain in &domains {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        if domain.is_empty() || !domain.bytes().all(legal) {
            return unsound(format!(
                "{domain:?} is no domain; expected a name such as example.com, or an address"
            ));
        }
    }
    let default_listen = || {
        vec![
            "udp:127.0.0.1:5060".to_owned(),
            "tcp:127.0.0.1:5060".to_owned(),
        ]
    };
    let listen = some(&flags.listen)
        .or(file.listen.sip)
        .unwrap_or_else(default_listen);
    let listen: Vec<Listener> = listen
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()
        .map_err(ConfigError::Unsound)?;
    if listen.is_empty() {
        return unsound("no SIP listener; name at least one with --listen udp:IP:PORT".to_owned());
    }
    for (place, listener) in listen.iter().enumerate() {
        if listener.address.port() != 0 && listen[..place].contains(listener) {
            return unsound(format!("{listener} is named twice"));
        }
    }
    let certificate = flags.tls_cert.clone().or(file.tls.certificate);
    let key = flags.tls_key.clone().or(file.tls.key);
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            return unsound(
                "a certificate needs its key: give --tls-cert FILE and --tls-key FILE".to_owned(),
            );
        }
    };
    if let Some(wanting) = listen
        .iter()
        .find(|one| one.protocol == Protocol::Tls && tls.is_none())
    {
        return unsound(format!(
            "{wanting} needs a certificate; give --tls-cert FILE and --tls-key FILE, or certificate and key in [tls]"
        ));
    }
    let users = flags.users.clone().or(file.auth.users);
    let auth = match flags.auth.or(file.auth.mode) {
        Some(mode) => mode,
        None if users.is_some() => AuthMode::Digest,
        None => {
            // Whoever opens a node to others says so.
            if let Some(open) = listen
                .iter()
                .find(|listener| !listener.address.ip().is_loopback())
            {
                return unsound(format!(
                    "{open} is not a loopback address and nobody is asked who they are; give --auth digest --users FILE, \
                     or --auth open if everybody who reaches it may speak for everybody"
                ));
            }
            AuthMode::Open
        }
    };
    if auth == AuthMode::Digest && users.is_none() {
        return unsound("--auth digest needs --users FILE (or users in [auth]): a line user:realm:algorithm:ha1 each".to_owned());
    }
    let shards = flags.shards.or(file.shards).unwrap_or(SHARDS);
    if !(1..=256).contains(&shards) {
        return unsound(format!("{shards} shards; expected 1 to 256"));
    }
    let limits = &file.limits;
    for (name, interval) in [
        ("publication", limits.publication),
        ("subscription", limits.subscription),
        ("registration", limits.registration),
    ] {
        if interval.min > interval.default || interval.default > interval.max || interval.max == 0 {
            return unsound(format!(
                "limits.{name}: expected min ≤ default ≤ max, found {} ≤ {} ≤ {}",
                interval.min, interval.default, interval.max
            ));
        }
    }
    let in_flight = limits.in_flight.unwrap_or(4_096);
    if !(64..=1_000_000).contains(&in_flight) {
        return unsound(format!(
            "limits.in_flight = {in_flight}; expected 64 to 1000000"
        ));
    }
    let log_segment_bytes = limits.log_segment_bytes.unwrap_or(64 << 20);
    if !((8 << 20)..=(1 << 30)).contains(&log_segment_bytes) {
        return unsound(format!(
            "limits.log_segment_bytes = {log_segment_bytes}; expected 8388608 to 1073741824"
        ));
    }
    let pool = pool_settings(file.pool, flags)?;
    if let Some(fault) = file.standard.fault() {
        return unsound(fault);
    }
    let enhanced = &file.enhanced;
    if enhanced.publication_bytes.0 > enhanced.category_bytes.0 {
        return unsound(format!(
            "enhanced.publication_bytes = {}; expected at most category_bytes, {}",
            enhanced.publication_bytes.0, enhanced.category_bytes.0
        ));
    }
    let categories = limits.categories.unwrap_or(32);
    if !(1..=32).contains(&categories) {
        return unsound(format!(
            "limits.categories = {categories}; expected 1 to 32"
        ));
    }
    let watchers = limits.watchers.unwrap_or(100_000);
    if !(1..=100_000).contains(&watchers) {
        return unsound(format!(
            "limits.watchers = {watchers}; expected 1 to 100000"
        ));
    }
    let lower = |names: Vec<String>| names.iter().map(|name| name.to_lowercase()).collect();
    let contact_store = contact_store(file.contact_store).map_err(ConfigError::Unsound)?;
    Ok(Config {
        contact_store,
        pool,
        categories,
        watchers,
        federated_users: file.federation.users.map(lower),
        public_users: file.federation.public_users.map(lower),
        data: flags
            .data
            .clone()
            .or(file.data)
            .unwrap_or_else(|| PathBuf::from(DATA)),
        shards,
        foreign: file.foreign,
        tls,
        admin: flags
            .admin
            .or(file.listen.admin)
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8060))),
        auth,
        users,
        realm: file.auth.realm.unwrap_or_else(|| domains[0].clone()),
        publication: limits.publication,
        subscription: limits.subscription,
        registration: limits.registration,
        in_flight,
        log_segment_bytes,
        snapshot_bytes: limits.snapshot_bytes.unwrap_or(64 << 20),
        standard: file.standard,
        enhanced: file.enhanced,
        log_filter: flags
            .log
            .clone()
            .or(file.log.filter)
            .unwrap_or_else(|| "info,openraft=off".to_owned()),
        log_format: flags.log_format.or(file.log.format).unwrap_or_default(),
        domains,
        listen,
    })
}

fn pool_settings(section: PoolSection, flags: &Flags) -> Result<PoolSettings, ConfigError> {
    let unsound = |why: &str| Err(ConfigError::Unsound(why.to_owned()));
    let settings = PoolSettings {
        name: section.name.unwrap_or_else(|| "lamplight".to_owned()),
        listen: flags.peers.or(section.listen),
        advertise: section.advertise,
        seeds: if flags.join.is_empty() {
            section.seeds
        } else {
            flags.join.clone()
        },
        secret: flags.secret.clone().or(section.secret),
    };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if settings.name.is_empty() || settings.name.len() > 64 || !settings.name.bytes().all(legal) {
        return unsound("pool.name: expected up to 64 letters, digits, dots, dashes");
    }
    if settings.listen.is_none() && !settings.seeds.is_empty() {
        return unsound(
            "a node that joins is reached by the others: give --peers IP:PORT (or listen in [pool])",
        );
    }
    if settings
        .listen
        .is_some_and(|listen| listen.ip().is_unspecified())
        && settings.advertise.is_none()
    {
        return unsound(
            "pool.listen is every address of this machine; say in pool.advertise = \"HOST:PORT\" where the others find it",
        );
    }
    for address in settings.seeds.iter().chain(&settings.advertise) {
        let sound = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !sound {
            return Err(ConfigError::Unsound(format!(
                "{address:?} is no address of a peer; expected HOST:PORT"
            )));
        }
    }
    Ok(settings)
}

fn contact_store(section: ContactStoreSection) -> Result<Option<ContactStore>, String> {
    if section.mode == StoreMode::Disabled {
        return Ok(None);
    }
    let (Some(url), Some(credentials)) = (section.url, section.credentials) else {
        return Err("contact_store needs url and credentials, or mode = \"disabled\"".to_owned());
    };
    let known = url.starts_with("http://") || url.starts_with("https://");
    if !known || !(url.contains("{user}") || url.contains("{mail}")) {
        return Err(format!(
            "contact_store.url = {url:?}; expected such as https://mail.example.com/dav/{{user}}/contacts/"
        ));
    }
    let refresh_s = section.refresh.unwrap_or(300);
    if refresh_s == 0 {
        return Err("contact_store.refresh = 0; expected a second at least".to_owned());
    }
    Ok(Some(ContactStore {
        mode: section.mode,
        url,
        credentials,
        authorities: section.authorities,
        refresh_s,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, flags: &[&str]) -> Result<Config, String> {
        let file = parse(Path::new("node.toml"), text).map_err(|error| error.to_string())?;
        let cli = Cli::try_parse_from(["lamplight"].iter().chain(flags))
            .map_err(|error| error.to_string())?;
        merge(file, &cli.serve).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_is_one_open_node_on_loopback() {
        let config = load("", &[]).expect("sound");
        assert_eq!(config.domains, ["localhost"]);
        assert_eq!(
            config
                .listen
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]
        );
        assert_eq!(
            (config.auth, config.admin.port(), config.shards),
            (AuthMode::Open, 8060, SHARDS)
        );
    }

    #[test]
    fn flags_override_the_file() {
        let file = "domains = ['a.example']\nshards = 4\n[listen]\nsip = ['tcp:[::1]:5070']\n";
        let config =
            load(file, &["--domain", "B.example", "--domain", "c.example"]).expect("sound");
        assert_eq!(config.domains, ["b.example", "c.example"]);
        assert_eq!(
            (config.shards, config.listen[0].to_string()),
            (4, "tcp:[::1]:5070".to_owned())
        );
        assert_eq!(config.realm, "b.example");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (file, flags, expected) in [
            ("\n\ncolour = 'red'", &[][..], "line 3"),
            (
                "\n\ncolour = 'red'",
                &[],
                "unknown field `colour`, expected one of `data`",
            ),
            ("shards = 'two'", &[], "line 1"),
            ("[limits.publication]\nmin = -1", &[], "line 2"),
            (
                "[limits.publication]\nmin = 100\nmax = 10",
                &[],
                "min ≤ default ≤ max",
            ),
            ("shards = 0", &[], "expected 1 to 256"),
            ("domains = []", &[], "no domain"),
            (
                "[contact_store]\nmode = 'allowed'",
                &[],
                "needs url and credentials",
            ),
            ("[contact_store]\nmode = 'yes'", &[], "line 2"),
            (
                "[contact_store]\nmode = 'migrate'\nurl = 'https://x/c/'\ncredentials = 'c'",
                &[],
                "expected such as https",
            ),
            (
                "[contact_store]\nmode = 'allowed'\nurl = 'https://x/{user}/'\ncredentials = 'c'\nrefresh = 0",
                &[],
                "a second at least",
            ),
            ("domains = ['a b']", &[], "is no domain"),
            (
                "[listen]\nsip = ['sctp:127.0.0.1:1']",
                &[],
                "expected udp:IP:PORT, tcp:IP:PORT or tls:IP:PORT",
            ),
            ("[listen]\nsip = []", &[], "no SIP listener"),
            (
                "",
                &["--listen", "tls:127.0.0.1:5061"],
                "needs a certificate",
            ),
            ("[tls]\ncertificate = 'a.pem'", &[], "needs its key"),
            ("[limits]\nin_flight = 1", &[], "expected 64 to 1000000"),
            ("[limits]\nlog_segment_bytes = 1", &[], "expected 8388608"),
            ("[standard]\npidf_publish = 'never'", &[], "line 2"),
            (
                "[[standard.linked]]\nuser = 'bob'",
                &[],
                "\"bob\" is no address",
            ),
            (
                "[[standard.linked]]\nuser = 'b@c'\n[[standard.linked]]\nuser = 'b@c'",
                &[],
                "named twice",
            ),
            (
                "[[standard.linked]]\nuser = 'b@c'\nprimary = 'b@d'",
                &[],
                "both primary and secondary",
            ),
            ("[enhanced]\nresources = 0", &[], "line 2"),
            (
                "[enhanced]\ncategory_bytes = 2048",
                &[],
                "enhanced.publication_bytes = 32768; expected at most category_bytes, 2048",
            ),
            ("[limits]\ncategories = 0", &[], "expected 1 to 32"),
            ("[limits]\nwatchers = 100001", &[], "expected 1 to 100000"),
            ("[federation]\nuser = []", &[], "unknown field `user`"),
            (
                "",
                &["--listen", "udp:127.0.0.1:1", "--listen", "udp:127.0.0.1:1"],
                "named twice",
            ),
            (
                "",
                &["--listen", "udp:0.0.0.0:5060"],
                "--auth open if everybody",
            ),
            ("", &["--auth", "digest"], "--users FILE"),
            ("", &["--auth", "none"], "possible values: open, digest"),
            ("", &["--admin", "x"], "invalid value 'x'"),
        ] {
            let error = load(file, flags).expect_err(file);
            assert!(error.contains(expected), "{file} {flags:?}: {error}");
        }
    }

    #[test]
    fn an_open_node_for_others_says_so() {
        let config = load("", &["--listen", "udp:0.0.0.0:5060", "--auth", "open"]).expect("sound");
        assert_eq!(config.auth, AuthMode::Open);
        assert_eq!(
            load("[auth]\nusers = 'u'", &[]).expect("sound").auth,
            AuthMode::Digest
        );
    }
}
