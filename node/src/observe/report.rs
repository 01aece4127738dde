//! What the admin listener shows and is told, as JSON. Times are RFC 3339 in UTC.

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::refusals::Refusal;

/// A group as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct GroupStatus {
    /// Its name.
    pub group: String,
    /// `leader`, `follower`, `candidate`, `learner`.
    pub role: &'static str,
    /// Who leads.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// The last entry in the log.
    pub last_log_index: u64,
    /// The last entry applied.
    pub applied: u64,
    /// The entry that the last snapshot ends with.
    pub snapshot: u64,
    /// Whether everything that the leader said is committed is applied here, and the leader is heard.
    pub caught_up: bool,
    /// Entries that the leader said are committed and that are not applied here.
    pub lag_entries: u64,
    /// For how long this replica has been behind, in milliseconds; 0 while it follows.
    pub behind_ms: u64,
    /// How long ago the leader was heard, in milliseconds; nothing while it has not been heard in this life.
    pub heard_ms: Option<u64>,
    /// The nodes whose replicas vote, as this one knows.
    pub voters: Vec<u64>,
    /// The replicas, as their leader knows them; nothing elsewhere.
    pub replicas_seen: Vec<ReplicaStatus>,
    /// Why this replica has stopped, when it has.
    pub stopped: Option<String>,
}

/// Another replica, as the leader knows it.
#[derive(Clone, Debug, Serialize)]
pub struct ReplicaStatus {
    /// Its node.
    pub node: u64,
    /// The last entry that it surely has.
    pub matched: u64,
    /// Entries that it lacks.
    pub lag_entries: u64,
    /// How long ago a message was sent that it took, in milliseconds.
    pub heard_ms: Option<u64>,
}

/// The pool as one node sees it.
#[derive(Clone, Debug, Serialize)]
pub struct PoolReport {
    /// This node's number.
    pub node: u64,
    /// The domains it serves.
    pub domains: Vec<String>,
    /// Where it listens.
    pub listen: Vec<String>,
    /// Counts the changes of the map.
    pub epoch: u64,
    /// The nodes of the pool.
    pub nodes: Vec<NodeReport>,
    /// The group of the pool map.
    pub map: GroupStatus,
    /// The shards this node holds.
    pub shards: Vec<ShardReport>,
    /// How many slots each shard of the pool holds, in the order of their numbers.
    pub slots: Vec<usize>,
    /// Slots on their way to another shard.
    pub moves: Vec<MoveReport>,
    /// For how long slots were served by nobody, as far as this node moved them.
    pub freezes: FreezeReport,
    /// Why the log waits, when it does.
    pub log_stalled: Option<String>,
    /// Replicas of this node that were set aside, and why.
    pub set_aside: Vec<SetAside>,
    /// The disk under the data folder.
    pub disk: DiskReport,
    /// What keeps the node from being ready.
    pub waiting_for: Vec<String>,
    /// Who is spoken to in which way, the first that fits being the one that counts.
    pub profiles: Vec<ProfileReport>,
}

/// A replica that begins anew once its group has let it go.
#[derive(Clone, Debug, Serialize)]
pub struct SetAside {
    /// The group's name.
    pub group: String,
    /// What is wrong with it.
    pub why: String,
}

/// The disk under the data folder.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct DiskReport {
    /// Bytes that the node may still use.
    pub free_bytes: u64,
    /// Bytes that it has.
    pub total_bytes: u64,
    /// What a write to the log took on average, in microseconds, since the node started.
    pub mean_sync_us: u64,
}

/// A slot on its way.
#[derive(Clone, Debug, Serialize)]
pub struct MoveReport {
    /// Which one.
    pub slot: u16,
    /// The shard that has it.
    pub from: u16,
    /// The shard that gets it.
    pub to: u16,
    /// Which move of the pool it is.
    pub number: u64,
}

/// How long slots were frozen.
#[derive(Clone, Debug, Serialize)]
pub struct FreezeReport {
    /// Slots that this node moved since it started.
    pub moved: u64,
    /// Of the last of them.
    pub median_ms: Option<f64>,
    /// Of the last of them.
    pub worst_ms: Option<f64>,
}

/// A way of speaking to peers, and who is spoken to so.
#[derive(Clone, Debug, Serialize)]
pub struct ProfileReport {
    /// What the operator calls it.
    pub profile: String,
    /// Which dialect it is.
    pub dialect: &'static str,
    /// Which habits are honoured.
    pub habits: Vec<String>,
    /// Who has spoken so far: address and User-Agent.
    pub peers: Vec<String>,
}

/// One node of the pool.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    /// Its number.
    pub node: u64,
    /// `serving`, `draining`, `leaving`, `gone`.
    pub standing: &'static str,
    /// Where its peers find it.
    pub peer: String,
    /// Where an operator finds it.
    pub admin: String,
    /// Where phones find it.
    pub sip: Vec<String>,
    /// Whether the node that reports has a link to it.
    pub linked: bool,
    /// For how long, in milliseconds.
    pub linked_ms: Option<u64>,
    /// What a heartbeat and its answer took lately, in microseconds; known to who leads something there.
    pub round_trip_us: Option<u64>,
}

/// One shard.
#[derive(Clone, Debug, Serialize)]
pub struct ShardReport {
    /// Its number.
    pub shard: u16,
    /// Its group.
    #[serde(flatten)]
    pub status: GroupStatus,
    /// How many of the 1,024 slots it holds.
    pub slots: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// What it has yet to tell other shards; more than a few for long means that one of those is away.
    pub parcels: u64,
    /// What it will not tell them, because too much waited.
    pub parcels_lost: u64,
    /// The nodes that are to hold it; the first is to lead.
    pub replicas: Vec<u64>,
}

/// Whether the node can do its work.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// Whether it can.
    pub ready: bool,
    /// What is missing.
    pub waiting_for: Vec<String>,
}

/// What an operator wants of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolOrder {
    /// This node is to lead nothing that another one can lead.
    Drain(u64),
    /// This node is to lead its share again.
    Resume(u64),
    /// Everything is to move off this node.
    Remove(u64),
    /// This node is to lead this shard.
    Lead(u16, u64),
    /// Every group of the node that is asked takes a snapshot.
    Snapshot,
    /// There are to be so many shards, with as many slots each.
    Shards(u16),
    /// Every shard is to have as many slots.
    Balance,
    /// So many slots of this shard are to move to that one.
    MoveSlots(u16, u16, u16),
    /// These slots are to move to that shard.
    MoveThese(Vec<u16>, u16),
    /// Slots that have not moved yet are to stay where they are.
    StayAll,
    /// The replicas of this shard are to be on these nodes, the first of which leads.
    Place(u16, Vec<u64>),
}

/// What is kept for one address.
#[derive(Clone, Debug, Serialize)]
pub struct PresentityReport {
    /// The address as a URI.
    pub presentity: String,
    /// Its shard.
    pub shard: u16,
    /// Live publications, oldest first.
    pub publications: Vec<PublicationReport>,
    /// Registered endpoints.
    pub endpoints: Vec<EndpointReport>,
    /// Who watches.
    pub watchers: Vec<WatcherReport>,
    /// The document that a watcher is shown.
    pub view: String,
}

/// One publication.
#[derive(Clone, Debug, Serialize)]
pub struct PublicationReport {
    /// Its entity-tag.
    pub etag: String,
    /// Its event package.
    pub event: &'static str,
    /// When its content was published.
    pub published_at: String,
    /// When it ends.
    pub expires_at: String,
}

/// One endpoint.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointReport {
    /// Its contact.
    pub contact: String,
    /// Its `+sip.instance`.
    pub instance: String,
    /// Its preference, 0 to 1.
    pub q: f32,
    /// When it ends.
    pub expires_at: String,
}

/// One watcher.
#[derive(Clone, Debug, Serialize)]
pub struct WatcherReport {
    /// Who.
    pub watcher: String,
    /// The dialog's name in this pool.
    pub dialog: String,
    /// The event package.
    pub event: &'static str,
    /// When the subscription ends.
    pub expires_at: String,
    /// The CSeq of the last NOTIFY.
    pub cseq: u32,
    /// When it was last notified.
    pub notified_at: String,
}

/// Who is found in the directory.
#[derive(Clone, Debug, Serialize)]
pub struct DirectoryReport {
    /// By name, as far as the operator's maximum goes.
    pub users: Vec<UserReport>,
    /// Whether there are more.
    pub more_available: bool,
}

/// One user.
#[derive(Clone, Debug, Serialize)]
pub struct UserReport {
    /// The address as a URI.
    pub presentity: String,
    /// The name that is shown.
    pub display_name: String,
    /// The mail address.
    pub mail: String,
    /// One telephone number.
    pub phone: String,
}

/// What a voice mail server knows of a user's messages.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoiceMail {
    /// Whether there is something new.
    pub waiting: bool,
    /// Messages not heard yet.
    pub unread: Option<u32>,
    /// Messages heard and kept.
    pub read: Option<u32>,
}

/// Why a presentity cannot be shown, or told of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Not an address.
    #[error("{0:?} is not an address; write /presentity/sip:alice@example.com")]
    BadAddress(String),
    /// An address of somebody else's.
    #[error("{0} is in none of this pool's domains")]
    Foreign(String),
    /// Nothing is kept for it.
    #[error("nothing is kept for {0}: nobody published, registered or subscribed")]
    Unknown(String),
    /// There is no replica of its shard here.
    #[error("shard {0} has no replica on this node; ask a node that has one (/pool says which)")]
    Elsewhere(u16),
    /// There is nothing to search.
    #[error(
        "every address of the domains is a user; [directory] in node.toml names a file or a server"
    )]
    NoDirectory,
    /// The shard does not answer.
    #[error("there is too much to do now; try again")]
    Busy,
    /// Contacts move nowhere.
    #[error("contacts are kept here; [contact_store] names no mail server")]
    NoStore,
    /// What is wanted of the pool makes no sense.
    #[error("{0}")]
    Unsound(String),
    /// It cannot be done now.
    #[error("{0}")]
    NotNow(String),
}

/// What an operator wants with a user's contact list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactsWish {
    /// To know how it stands.
    Look,
    /// To the mail server with it.
    Migrate,
    /// Home again, as it is at the mail server.
    Return,
    /// Home again as we last saw it: the mail server cannot be asked.
    ReturnCopy,
}

/// A user's contact list.
#[derive(Clone, Debug, Serialize)]
pub struct ContactsReport {
    /// Whose.
    pub presentity: String,
    /// `here`, `queued`, `migrating`, `migrated`, `returning`, `kept`.
    pub custody: &'static str,
    /// Its number.
    pub delta_num: u32,
    /// How many it has.
    pub contacts: usize,
    /// In how many groups.
    pub groups: usize,
    /// Why it does not move now.
    pub trouble: Option<String>,
}

/// What a call of the publish API does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedAct {
    /// It sets what a source says.
    Put,
    /// It removes it.
    Delete,
}

/// A call of the publish API, as it came.
#[derive(Clone, Debug)]
pub struct FeedCall {
    /// Of whom.
    pub uri: String,
    /// Which source speaks.
    pub source: String,
    /// What it does.
    pub act: FeedAct,
    /// Content-Type; empty for none.
    pub media: String,
    /// If-Match.
    pub if_match: Option<String>,
    /// If-None-Match.
    pub if_none_match: Option<String>,
    /// How long it is to live, from the query.
    pub expires: Option<String>,
    /// Authorization.
    pub authorization: Option<String>,
    /// Whether the call comes from this machine.
    pub loopback: bool,
    /// The body.
    pub body: Vec<u8>,
}

/// What a call is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedAnswer {
    /// HTTP status.
    pub status: u16,
    /// Header lines.
    pub headers: Vec<(&'static str, String)>,
    /// JSON; null for none.
    pub body: serde_json::Value,
}

/// A question that takes a moment.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the admin listener asks of a node.
pub trait Inspect: Send + Sync + 'static {
    /// The pool as this node sees it.
    fn pool(&self) -> PoolReport;
    /// Whether it can do its work.
    fn readiness(&self) -> Readiness;
    /// Does what an operator wants of the pool, as far as that is a change of its map; the rest follows.
    fn order(&self, order: PoolOrder) -> Asked<'_, Result<(), InspectError>>;
    /// What is kept for one address.
    fn presentity<'a>(&'a self, uri: &'a str) -> Asked<'a, Result<PresentityReport, InspectError>>;
    /// Who is called by something that begins so, of the directory.
    ///
    /// # Errors
    /// [`InspectError::NoDirectory`], or [`InspectError::Busy`].
    fn directory(&self, name: &str) -> Result<DirectoryReport, InspectError>;
    /// Hands what waits for a user to the log; it is told to those who watch once that is done.
    ///
    /// # Errors
    /// [`InspectError::Busy`] when the log does not take it now.
    fn set_voice_mail(&self, uri: &str, mail: VoiceMail) -> Result<(), InspectError>;
    /// What is to be done with a user's contact list.
    fn contacts<'a>(
        &'a self,
        uri: &'a str,
        wish: ContactsWish,
    ) -> Asked<'a, Result<ContactsReport, InspectError>>;
    /// Publishes what a source says of a user.
    fn feed(&self, call: FeedCall) -> Asked<'_, FeedAnswer>;
    /// The composed document of an address, as this watcher sees it; as a colleague, if none is named.
    fn presence(&self, uri: String, watcher: Option<String>) -> Asked<'_, FeedAnswer>;
    /// Everything counted, as Prometheus reads it.
    fn metrics(&self) -> String;
    /// What was refused lately, the newest first.
    fn refusals(&self) -> Vec<Refusal>;
}
