//! node.toml and flags into checked types.
//!
//! The file is read once into values that cannot be invalid later; flags override it. An unknown key or
//! a bad value is refused with its line and what was expected.

pub mod directory;
mod enhanced;
mod feeds;
mod profile;
mod standard;
mod websocket;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use serde::de::{self, Deserializer};
use transport::io::websocket::WebSockets;

pub use enhanced::{Enhanced, Number};
pub use feeds::{Calendar, CalendarReport, Loopback, PublishApi};
pub use profile::{Blustar, BlustarAuth, Dialect, ProfileSettings, version};
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
        lamplight user add --users users.txt --realm example.com alice\n  \
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
    /// Change or list the users who may sign in
    #[command(subcommand, after_help = USER_HELP)]
    User(UserAction),
    /// Look after a running pool
    #[command(subcommand, after_help = POOL_HELP)]
    Pool(PoolAction),
    /// Say what a user does, over the admin listener of a running node
    Publish(PublishAction),
    /// Run a pool of several nodes on this machine, to try things out; ends with Ctrl-C
    DevPool(DevPool),
    /// Print the version
    Version,
}

const POOL_HELP: &str = "Each order may be given twice, and goes on when you stop watching it.\n\nExamples:\n  \
    lamplight pool status\n  \
    lamplight pool drain 2            before node 2 is upgraded; then: lamplight pool resume 2\n  \
    lamplight pool remove-node 3      node 3 is broken, or not needed any more\n  \
    lamplight pool add-node           says how a node joins, and waits until it serves\n  \
    lamplight pool add-shards 4       four more shards, with their share of the slots\n  \
    lamplight pool balance            as many slots for each shard\n\n\
    A new node joins with the secret of the pool:\n  \
    lamplight pool token --data /var/lib/lamplight > secret\n  \
    lamplight serve --peers 192.0.2.4:7060 --join 192.0.2.1:7060 --secret secret …";

const RECOVER_HELP: &str = "First on each node whose data are left, to see which has the most:\n  \
    lamplight pool recover --data /var/lib/lamplight\n\n\
    Then on that one:\n  \
    lamplight pool recover --data /var/lib/lamplight --i-accept-losing-what-only-the-others-had\n\n\
    Nodes of before are refused if they come back: empty their data folders and let them join.";
/// What to say of a user.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    lamplight publish sip:alice@example.com --status busy --note \"at the gate\" --token-file token\n  \
    lamplight publish sip:alice@example.com --remove --token-file token")]
pub struct PublishAction {
    /// Where the pool is spoken to
    #[command(flatten)]
    pub at: AtPool,
    /// Of whom: sip:alice@example.com
    #[arg(value_name = "USER")]
    pub user: String,
    /// available, busy, on-the-phone, in-a-meeting, presenting, do-not-disturb, away or offline
    #[arg(long, required_unless_present = "remove")]
    pub status: Option<String>,
    /// A few words beside it
    #[arg(long, default_value = "")]
    pub note: String,
    /// Seconds that it is to live
    #[arg(long, value_name = "SECONDS")]
    pub expires: Option<u32>,
    /// Which source says so; each has one publication
    #[arg(long, default_value = "cli")]
    pub source: String,
    /// Remove what the source said
    #[arg(long, conflicts_with_all = ["status", "note", "expires"])]
    pub remove: bool,
}

/// What to do with a pool.
#[derive(Clone, Debug, Subcommand)]
pub enum PoolAction {
    /// Show nodes, shards and who leads them
    Status {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let other nodes lead what this one leads: before it is stopped for an upgrade
    Drain {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
        /// The node's number
        node: u64,
    },
    /// Let a drained node lead again
    Resume {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
        /// The node's number
        node: u64,
    },
    /// Move everything off a node and take it out of the pool, for good
    RemoveNode {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
        /// The node's number
        node: u64,
    },
    /// Let a replica lead its shard
    TransferLeader {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
        /// The shard's number
        shard: u16,
        /// The number of a node that has a replica of it
        to: u64,
    },
    /// Write a snapshot of everything that the node behind --admin holds
    Snapshot {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
    },
    /// Say how a new node joins, and wait until it serves
    #[command(
        long_about = "Prints the command and the secret with which a new node joins the pool, then waits until \
        one has joined and holds its replicas. Run it where a node of the pool has its data."
    )]
    AddNode {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
        /// The data folder of a node of the pool, for the secret
        #[arg(long, value_name = "DIR", default_value = DATA)]
        data: PathBuf,
        /// How it is watched
        #[command(flatten)]
        watch: Watching,
    },
    /// Add shards, and move slots to them until all have as many
    #[command(
        long_about = "Adds shards to the pool and moves slots to them one by one, while phones go on: who asks for \
        somebody whose slot is on its way waits for some milliseconds.\n\nWhile an earlier order is still being \
        carried out this one only watches it, so it may be given again after an interruption. With --total it \
        says how many there are to be, and may be given again at any time."
    )]
    AddShards {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
        /// How many more
        #[arg(value_name = "N", required_unless_present = "total")]
        more: Option<u16>,
        /// How many there are to be
        #[arg(long, value_name = "N", conflicts_with = "more")]
        total: Option<u16>,
        /// How it is watched
        #[command(flatten)]
        watch: Watching,
    },
    /// Move slots from one shard to another
    #[command(
        long_about = "Moves slots to a shard: --count of those that the shard --from has, or those that are named.\n\n\
        While slots are on their way from the one to the other, an order with --count only watches them.",
        after_help = "Examples:\n  lamplight pool move-slots --from 0 --to 3 --count 64\n  \
        lamplight pool move-slots --slots 12,140,700 --to 3"
    )]
    MoveSlots {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
        /// The shard that has them
        #[arg(
            long,
            value_name = "SHARD",
            requires = "count",
            required_unless_present = "slots"
        )]
        from: Option<u16>,
        /// The shard that gets them
        #[arg(long, value_name = "SHARD")]
        to: u16,
        /// How many
        #[arg(long, value_name = "N", requires = "from")]
        count: Option<u16>,
        /// Which ones, of 0 to 1023
        #[arg(
            long,
            value_name = "SLOT,…",
            value_delimiter = ',',
            conflicts_with = "from"
        )]
        slots: Vec<u16>,
        /// How it is watched
        #[command(flatten)]
        watch: Watching,
    },
    /// Leave slots that have not moved yet where they are
    StopMoves {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
    },
    /// Put the replicas of a shard on other nodes
    #[command(
        long_about = "Puts a shard's replicas on the nodes that are named, the first of which leads; where fewer are \
        named than a shard has replicas, those that have one now fill up. The pool keeps nodes and leaders even, \
        and refuses what it would undo."
    )]
    MoveShard {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
        /// The shard's number
        shard: u16,
        /// The nodes, the one that is to lead first
        #[arg(long, value_name = "NODE,…", value_delimiter = ',', required = true)]
        to: Vec<u64>,
        /// How it is watched
        #[command(flatten)]
        watch: Watching,
    },
    /// Give every shard as many slots, with as few moves as that takes; replicas and leaders are kept even always
    Balance {
        /// Where the pool is spoken to
        #[command(flatten)]
        at: AtPool,
        /// How it is watched
        #[command(flatten)]
        watch: Watching,
    },
    /// Make a pool of one out of what one stopped node has, when a majority of the others is gone for ever
    #[command(after_help = RECOVER_HELP)]
    Recover {
        /// The data folder of the node; it must not run
        #[arg(long, value_name = "DIR", default_value = DATA)]
        data: PathBuf,
        /// Do it. Without this, what the node has is shown and nothing is changed
        #[arg(long)]
        i_accept_losing_what_only_the_others_had: bool,
    },
    /// Print the secret that a new node joins with
    Token {
        /// The data folder of a node of the pool
        #[arg(long, value_name = "DIR", default_value = DATA)]
        data: PathBuf,
    },
}

/// Where a pool is spoken to.
#[derive(Clone, Debug, Args)]
pub struct AtPool {
    /// The admin listener of one of its nodes
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8060")]
    pub admin: SocketAddr,
    /// A file with a token in its first line, for a node that asks for one: from another machine it does so, and to
    /// publish (its own file, as admin-token in its data folder, will do)
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// How an order is watched while the pool carries it out.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Watching {
    /// Give the order and do not watch it; `lamplight pool status` shows how far it is
    #[arg(long)]
    pub no_wait: bool,
    /// Show progress as a line of JSON each, not as a bar
    #[arg(long)]
    pub json: bool,
}

/// A pool on this machine.
#[derive(Clone, Debug, Args)]
pub struct DevPool {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub nodes: u16,
    /// Shards of a new pool
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub shards: u16,
    /// Data, logs and pool.json of the nodes go here
    #[arg(long, value_name = "DIR", default_value = "./lamplight-dev-pool")]
    pub dir: PathBuf,
    /// Serve addresses of this domain; may be repeated
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    pub domain: Vec<String>,
    /// Settings of every node (deploy/node.toml shows them all)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Node i listens for SIP at this port + 10·i, for the operator one above, for its peers two above
    #[arg(long, value_name = "PORT", default_value_t = 5060)]
    pub base_port: u16,
}

const USER_HELP: &str = "The file holds a line for each secret: user:realm:scheme:secret. \
    A running server reads it again on SIGHUP.\n\nExamples:\n  \
    lamplight user add --users users.txt --realm example.com alice\n  \
    echo \"$PASSWORD\" | lamplight user passwd --users users.txt --realm example.com --password-stdin alice\n  \
    lamplight user list --users users.txt";

/// What to do with the users file.
#[derive(Clone, Debug, Subcommand)]
pub enum UserAction {
    /// Add a user with a password: for MD5, SHA-256, SHA-512-256 and NTLM at once
    Add(NewPassword),
    /// Give a user another password
    Passwd(NewPassword),
    /// Show the users, their realms and what they can sign in by
    List {
        /// The users file
        #[arg(long, value_name = "FILE")]
        users: PathBuf,
    },
    /// Take a user out
    Remove(Account),
}

/// A user of a file.
#[derive(Clone, Debug, Args)]
pub struct Account {
    /// The users file; `add` makes it if there is none
    #[arg(long, value_name = "FILE")]
    pub users: PathBuf,
    /// The realm: the server's first domain, unless its section auth has a realm
    #[arg(long, value_name = "REALM")]
    pub realm: String,
    /// The part of the user's address before the @, such as alice
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// A user and where its new password comes from.
#[derive(Clone, Debug, Args)]
pub struct NewPassword {
    /// Whose
    #[command(flatten)]
    pub account: Account,
    /// Read the password from standard input, one line, instead of asking for it
    #[arg(long)]
    pub password_stdin: bool,
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
    #[arg(
        long,
        value_name = "udp:IP:PORT|tcp:IP:PORT|tls:IP:PORT|ws:IP:PORT|wss:IP:PORT"
    )]
    listen: Vec<String>,
    /// Pages of this origin may connect to ws and wss, such as `https://phone.example.com`, or `*` for all; may be
    /// repeated [default: pages of the domains]
    #[arg(long, value_name = "ORIGIN")]
    ws_origin: Vec<String>,
    /// The certificate chain that TLS listeners show, PEM; read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Listen for the operator (HTTP) here [default: 127.0.0.1:8060]
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    /// The tokens of operators on other machines, a line name:token each [default: admin-token in the data folder,
    /// drawn when the admin listener is for others than this machine]
    #[arg(long, value_name = "FILE")]
    admin_tokens: Option<PathBuf>,
    /// Who may speak: everybody, or users with a password, by schemes as they are preferred, such as
    /// ntlm,digest [default: open on loopback only]
    #[arg(long, value_name = "open|digest|ntlm[,...]")]
    auth: Option<Auth>,
    /// The users with their secrets; `lamplight user add` writes it, SIGHUP reads it again
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// An edge whose word on the source network is believed: IP or IP/BITS; may be repeated
    #[arg(long, value_name = "IP[/BITS]")]
    trusted_edge: Vec<Subnet>,
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
    /// Prove this node to the others with this certificate, in PEM, instead of the secret
    #[arg(long, value_name = "FILE")]
    peer_certificate: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE")]
    peer_key: Option<PathBuf>,
    /// The authority that the certificates of all nodes are of, in PEM
    #[arg(long, value_name = "FILE")]
    peer_authority: Option<PathBuf>,
    /// What to log, as tracing filters have it [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How to write the log
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

/// A way to prove who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 7616, RFC 8760
    Digest,
    /// As office clients speak it, with every message signed
    Ntlm,
}

/// Who may speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Everybody: every address of the domains is a user, every subscription is authorised.
    Open,
    /// Users with a password, by these schemes, most preferred first; at least one, none twice.
    Schemes(Vec<Scheme>),
}

impl Auth {
    /// The schemes; none when everybody may speak.
    #[must_use]
    pub fn schemes(&self) -> &[Scheme] {
        match self {
            Auth::Open => &[],
            Auth::Schemes(schemes) => schemes,
        }
    }

    fn of<'n>(names: impl Iterator<Item = &'n str>) -> Result<Auth, String> {
        let names: Vec<&str> = names.map(str::trim).collect();
        if names == ["open"] {
            return Ok(Auth::Open);
        }
        let mut schemes = Vec::new();
        for name in names {
            let scheme = match name {
                "digest" => Scheme::Digest,
                "ntlm" => Scheme::Ntlm,
                "open" => {
                    return Err("open goes alone: who need not sign in is not asked to".to_owned());
                }
                _ => {
                    return Err(format!(
                        "{name:?} is no scheme; expected open, or digest and ntlm in the order of preference"
                    ));
                }
            };
            if schemes.contains(&scheme) {
                return Err(format!("{name} is named twice"));
            }
            schemes.push(scheme);
        }
        if schemes.is_empty() {
            return Err("no scheme; expected open, digest or ntlm".to_owned());
        }
        Ok(Auth::Schemes(schemes))
    }
}

impl FromStr for Auth {
    type Err = String;

    fn from_str(text: &str) -> Result<Auth, String> {
        Auth::of(text.split(','))
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Auth::Schemes(schemes) = self else {
            return f.write_str("open");
        };
        for (place, scheme) in schemes.iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let name = match scheme {
                Scheme::Digest => "digest",
                Scheme::Ntlm => "ntlm",
            };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

/// One name, or a list of them.
impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Auth, D::Error> {
        struct Names;
        impl<'de> de::Visitor<'de> for Names {
            type Value = Auth;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"open\", \"digest\", or a list such as [\"ntlm\", \"digest\"]")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Auth, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Auth, A::Error> {
                let mut names: Vec<String> = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Auth::of(names.iter().map(String::as_str)).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Names)
    }
}

/// Addresses that begin alike: `192.0.2.0/24`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    bits: u8,
}

impl Subnet {
    /// Whether an address is one of them.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let begin =
            |of: u128, width: u32| of.checked_shr(width - u32::from(self.bits)).unwrap_or(0);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                begin(own.to_bits().into(), 32) == begin(other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                begin(own.to_bits(), 128) == begin(other.to_bits(), 128)
            }
            _ => false,
        }
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Subnet, String> {
        let expected = || {
            format!(
                "{text:?} is no address; expected one such as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"
            )
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let address = address.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().map_err(|_| expected())?,
        };
        if bits > most {
            return Err(expected());
        }
        Ok(Subnet { address, bits })
    }
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
    /// WebSockets, for browsers.
    Ws,
    /// WebSockets under TLS.
    Wss,
}

impl Protocol {
    /// All, as they are written.
    const NAMES: [(&str, Protocol); 5] = [
        ("udp", Protocol::Udp),
        ("tcp", Protocol::Tcp),
        ("tls", Protocol::Tls),
        ("ws", Protocol::Ws),
        ("wss", Protocol::Wss),
    ];

    fn needs_certificate(self) -> bool {
        matches!(self, Protocol::Tls | Protocol::Wss)
    }
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
                "{text:?} is no listener; expected udp:IP:PORT, tcp:IP:PORT, tls:IP:PORT, ws:IP:PORT or wss:IP:PORT, such as udp:127.0.0.1:5060"
            )
        };
        let (protocol, address) = text.split_once(':').ok_or_else(expected)?;
        let known = Protocol::NAMES.iter().find(|(name, _)| *name == protocol);
        Ok(Listener {
            protocol: known.ok_or_else(expected)?.1,
            address: address.parse().map_err(|_| expected())?,
        })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |of: &&(&str, Protocol)| of.1 == self.protocol;
        let protocol = Protocol::NAMES.iter().find(named).map_or("", |of| of.0);
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
    sip: SipSection,
    tls: TlsSection,
    auth: AuthSection,
    limits: LimitSection,
    pool: PoolSection,
    standard: Standard,
    enhanced: Enhanced,
    federation: FederationSection,
    log: LogSection,
    directory: directory::Section,
    contact_store: ContactStoreSection,
    profile: Vec<profile::ProfileSection>,
    blustar: profile::BlustarSection,
    websocket: websocket::Section,
    publish: PublishApi,
    calendar: feeds::CalendarSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListenSection {
    sip: Option<Vec<String>>,
    admin: Option<SocketAddr>,
    admin_tokens: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SipSection {
    trusted_edges: Vec<String>,
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
    mode: Option<Auth>,
    users: Option<PathBuf>,
    realm: Option<String>,
    server_name: Option<String>,
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
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    authority: Option<PathBuf>,
    hints: Hints,
}

/// What a batch of categories says of resources that another shard holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hints {
    /// Where to ask for them: the client keeps a dialog for each shard, and every change reaches it without
    /// a detour.
    #[default]
    Shard,
    /// Nothing: the pool looks like one server, and shards relay to each other what changes.
    None,
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
    /// What clients are told of resources in other shards.
    pub hints: Hints,
    /// Certificates of the operator's own, instead of the secret.
    pub own: Option<OwnCertificate>,
}

/// The files that a node proves itself to the others with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The node's certificate, with what is between it and the authority, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// The authority that the certificates of all nodes are of, in PEM.
    pub authority: PathBuf,
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
    /// Whose pages may connect to WebSocket listeners, and how soon a silent browser is missed.
    pub websockets: WebSockets,
    /// The admin listener.
    pub admin: SocketAddr,
    /// The tokens of operators on other machines.
    pub admin_tokens: Option<PathBuf>,
    /// Who is a user, and where that is written.
    pub directory: directory::Directory,
    /// Who may speak.
    pub auth: Auth,
    /// The users with their secrets; there, when there are schemes.
    pub users: Option<PathBuf>,
    /// The realm of the users: the first domain unless told otherwise.
    pub realm: String,
    /// What NTLM calls this server: the first domain unless told otherwise.
    pub server_name: String,
    /// Who is believed when it says from which network a request came.
    pub trusted_edges: Vec<Subnet>,
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
    /// Who is spoken to in which way.
    pub profiles: Vec<ProfileSettings>,
    /// BluStar.
    pub blustar: Blustar,
    /// Who may publish over HTTP.
    pub publish: PublishApi,
    /// The server whose calendars are read.
    pub calendar: Option<Calendar>,
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
    /// Change or list users.
    User(UserAction),
    /// Look after a pool.
    Pool(PoolAction),
    /// Say what a user does.
    Publish(PublishAction),
    /// Run a pool on this machine.
    DevPool(DevPool),
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
            Some(Action::User(action)) => Ok(Wish::User(action)),
            Some(Action::Pool(action)) => Ok(Wish::Pool(action)),
            Some(Action::Publish(action)) => Ok(Wish::Publish(action)),
            Some(Action::DevPool(wanted)) => Ok(Wish::DevPool(wanted)),
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
        // The kernel would deal out connections to both of them.
        let clash = |other: &&Listener| {
            other.address == listener.address
                && other.protocol != Protocol::Udp
                && listener.protocol != Protocol::Udp
        };
        if let (Some(other), true) = (
            listen[..place].iter().find(clash),
            listener.address.port() != 0,
        ) {
            return unsound(format!(
                "{other} and {listener} cannot share a port; give one of them another"
            ));
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
        .find(|one| one.protocol.needs_certificate() && tls.is_none())
    {
        return unsound(format!(
            "{wanting} needs a certificate; give --tls-cert FILE and --tls-key FILE, or certificate and key in [tls]"
        ));
    }
    let users = flags.users.clone().or(file.auth.users);
    let auth = match flags.auth.clone().or(file.auth.mode) {
        Some(auth) => auth,
        None if users.is_some() => Auth::Schemes(vec![Scheme::Digest]),
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
            Auth::Open
        }
    };
    if auth != Auth::Open && users.is_none() {
        return unsound(format!(
            "--auth {auth} needs --users FILE (or users in [auth]); lamplight user add --help says how to make it"
        ));
    }
    let streams = |listener: &Listener| matches!(listener.protocol, Protocol::Tcp | Protocol::Tls);
    if auth.schemes() == [Scheme::Ntlm] && !listen.iter().any(streams) {
        return unsound(
            "ntlm signs what streams carry, and there is no tcp or tls listener; add one, or digest to --auth".to_owned(),
        );
    }
    let realm = file.auth.realm.unwrap_or_else(|| domains[0].clone());
    if realm.is_empty() || realm.contains(|c: char| c.is_control() || "\"\\".contains(c)) {
        return unsound(format!(
            "auth.realm = {realm:?}; expected text without quotes, such as example.com"
        ));
    }
    let trusted_edges = match flags.trusted_edge.as_slice() {
        [] => {
            let edges = file.sip.trusted_edges.iter().map(|text| text.parse());
            let edges: Result<Vec<Subnet>, String> = edges.collect();
            edges.map_err(|why| ConfigError::Unsound(format!("sip.trusted_edges: {why}")))?
        }
        edges => edges.to_vec(),
    };
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
    let directory = directory::check(file.directory).map_err(ConfigError::Unsound)?;
    let ldap = matches!(directory.source, Some(directory::Source::Ldap(_)));
    Ok(Config {
        profiles: profile::check(file.profile, &listen).map_err(ConfigError::Unsound)?,
        blustar: file.blustar.check(ldap).map_err(ConfigError::Unsound)?,
        calendar: file.calendar.check().map_err(ConfigError::Unsound)?,
        publish: file.publish,
        contact_store,
        pool,
        categories,
        watchers,
        federated_users: file.federation.users.map(lower),
        public_users: file.federation.public_users.map(lower),
        directory,
        data: flags
            .data
            .clone()
            .or(file.data)
            .unwrap_or_else(|| PathBuf::from(DATA)),
        shards,
        foreign: file.foreign,
        tls,
        websockets: websocket::check(file.websocket, &flags.ws_origin, &domains)
            .map_err(ConfigError::Unsound)?,
        admin: flags
            .admin
            .or(file.listen.admin)
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8060))),
        admin_tokens: flags.admin_tokens.clone().or(file.listen.admin_tokens),
        auth,
        users,
        realm,
        server_name: file.auth.server_name.unwrap_or_else(|| domains[0].clone()),
        trusted_edges,
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
        own: match (
            flags.peer_certificate.clone().or(section.certificate),
            flags.peer_key.clone().or(section.key),
            flags.peer_authority.clone().or(section.authority),
        ) {
            (None, None, None) => None,
            (Some(certificate), Some(key), Some(authority)) => Some(OwnCertificate {
                certificate,
                key,
                authority,
            }),
            _ => {
                return unsound(
                    "pool.certificate, pool.key and pool.authority belong together: all three, or none and the secret",
                );
            }
        },
        hints: section.hints,
    };
    if settings.own.is_some() && settings.secret.is_some() {
        return unsound(
            "a pool has a secret or certificates: take pool.secret out, or the certificates",
        );
    }
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
            (config.auth.clone(), config.admin.port(), config.shards),
            (Auth::Open, 8060, SHARDS)
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
                "expected udp:IP:PORT, tcp:IP:PORT, tls:IP:PORT, ws:IP:PORT or wss:IP:PORT",
            ),
            ("[listen]\nsip = []", &[], "no SIP listener"),
            (
                "",
                &["--listen", "tls:127.0.0.1:5061"],
                "needs a certificate",
            ),
            (
                "",
                &["--listen", "wss:127.0.0.1:5443"],
                "wss:127.0.0.1:5443 needs a certificate",
            ),
            (
                "[listen]\nsip = ['udp:[::1]:5060', 'tcp:[::1]:5060', 'ws:[::1]:5060']",
                &[],
                "tcp:[::1]:5060 and ws:[::1]:5060 cannot share a port",
            ),
            ("", &["--ws-origin", "phone"], "\"phone\" is no origin"),
            ("\n[websocket]\norigin = ['*']", &[], "line 3"),
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
            ("", &["--auth", "none"], "expected open, or digest and ntlm"),
            ("", &["--auth", "open,ntlm"], "open goes alone"),
            ("", &["--auth", "ntlm,ntlm"], "named twice"),
            ("", &["--auth", ""], "is no scheme"),
            ("\n[auth]\nmode = []", &[], "line 3"),
            ("\n[auth]\nmode = ['sip']", &[], "\"sip\" is no scheme"),
            (
                "\n[auth]\nmode = 1",
                &[],
                "expected \"open\", \"digest\", or a list",
            ),
            (
                "",
                &[
                    "--auth",
                    "ntlm",
                    "--users",
                    "u",
                    "--listen",
                    "udp:127.0.0.1:1",
                ],
                "no tcp or tls listener",
            ),
            ("[auth]\nrealm = 'a\"b'", &[], "without quotes"),
            (
                "[sip]\ntrusted_edges = ['edge']",
                &[],
                "expected one such as 192.0.2.1",
            ),
            (
                "[sip]\ntrusted_edges = ['192.0.2.1/33']",
                &[],
                "sip.trusted_edges",
            ),
            ("", &["--trusted-edge", "::/129"], "2001:db8::/32"),
            ("", &["--admin", "x"], "invalid value 'x'"),
        ] {
            let error = load(file, flags).expect_err(file);
            assert!(error.contains(expected), "{file} {flags:?}: {error}");
        }
    }

    #[test]
    fn an_open_node_for_others_says_so() {
        let config = load("", &["--listen", "udp:0.0.0.0:5060", "--auth", "open"]).expect("sound");
        assert_eq!(config.auth, Auth::Open);
        assert_eq!(
            load("[auth]\nusers = 'u'", &[]).expect("sound").auth,
            Auth::Schemes(vec![Scheme::Digest])
        );
    }

    #[test]
    fn schemes_come_in_the_order_of_preference() {
        let both = Auth::Schemes(vec![Scheme::Ntlm, Scheme::Digest]);
        for (file, flags, expected) in [
            ("[auth]\nmode = 'open'", &[][..], Auth::Open),
            ("[auth]\nmode = ['open']", &[], Auth::Open),
            (
                "[auth]\nmode = ['ntlm', 'digest']",
                &["--users", "u"],
                both.clone(),
            ),
            (
                "[auth]\nmode = 'ntlm, digest'",
                &["--users", "u"],
                both.clone(),
            ),
            (
                "[auth]\nmode = 'digest'",
                &["--auth", "ntlm,digest", "--users", "u"],
                both,
            ),
            (
                "",
                &["--auth", "ntlm", "--users", "u"],
                Auth::Schemes(vec![Scheme::Ntlm]),
            ),
        ] {
            let auth = load(file, flags).expect(file).auth;
            assert_eq!(auth, expected, "{file} {flags:?}");
            assert_eq!(auth.to_string().parse(), Ok(auth));
        }
    }

    #[test]
    fn an_edge_is_an_address_or_a_subnet() {
        let edges = |file: &str, flags: &[&str]| load(file, flags).expect(file).trusted_edges;
        let file = "[sip]\ntrusted_edges = ['192.0.2.1', '2001:db8::/32']";
        assert_eq!(edges(file, &[]).len(), 2);
        assert_eq!(edges(file, &["--trusted-edge", "10.0.0.0/8"]).len(), 1);
        for (subnet, address, holds) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.77/24", "192.0.2.1", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/31", "192.0.2.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "203.0.113.9", false),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
        ] {
            let subnet: Subnet = subnet.parse().expect(subnet);
            let address = address.parse().expect(address);
            assert_eq!(subnet.holds(address), holds, "{subnet:?} {address}");
        }
    }
}
