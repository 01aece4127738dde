//! What a log entry says. Everything borrowed is a slice of the entry's bytes; what stays is copied
//! once, where it is stored.

use crate::machine::moves::Step;
use crate::machine::outcome::RequestKey;
use crate::slot::Slot;
use crate::subscription::dialog::{DialogKey, EndReason, EndpointId};
use crate::time::Timestamp;

use crate::presence::contacts::{ContactChange, Custody};
use crate::presence::container::{ContainerChange, Network};
use crate::presence::delegate::{Delegate, DelegateAct};
use crate::presence::enhanced::Profile;

use crate::presence::publication::EntityTag;
use crate::subscription::watch::ClientId;

pub use crate::category::mwi::Waiting;
pub use crate::presence::endpoint::{Binding, Bindings, Register};
pub use crate::presence::instance::PublishInstances;
pub use crate::presence::publication::Publish;
pub use crate::presence::source::PublishSource;
pub use crate::subscription::dialog::{Abroad, Elsewhere, Extras, Resubscribe, Subscribe};
pub use crate::subscription::relay::{RelayWatch, Relayed, Sink};

/// Who performs effects from here on: one life of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The node's number in the pool.
    pub node: u64,
    /// Drawn anew each time the process starts, so that a restarted leader replays in silence.
    pub life: u64,
}

/// Where a reply is awaited: the ingress's own numbers, opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One log entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'a> {
    /// The leader's clock when it proposed. The machine's time is the greatest seen.
    pub at: Timestamp,
    /// What happens at that time.
    pub act: Act<'a>,
}

/// What an entry does besides letting time pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Act<'a> {
    /// A leader's first entry: from here on it performs the effects (house D8).
    TermStart {
        /// Who leads.
        leader: Leader,
        /// Becomes the salt of entity-tags if the machine has none yet.
        salt: u32,
    },
    /// A batch of requests in order; empty to let time pass.
    Requests(Vec<Request<'a>>),
    /// The leader's digest of one slot and of everything the machine ever answered (house D16).
    Attest {
        /// The audited slot.
        slot: Slot,
        /// Digest of that slot's state before this entry.
        slot_digest: u64,
        /// Digest of all outcomes and effects before this entry.
        history_digest: u64,
    },
}

/// One request of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// Recognises a repeat (house D9).
    pub key: RequestKey,
    /// Who waits for the outcome.
    pub ticket: Ticket,
    /// What is asked.
    pub command: Command<'a>,
}

/// What a client asks of a shard. Addresses are canonical ([`crate::slot::Aor::as_str`]), intervals
/// are granted ones: the ingress has applied the dialect's minimum and maximum.
#[derive(Clone, Debug, PartialEq)]
pub enum Command<'a> {
    /// REGISTER (RFC 3261 §10).
    Register(Register<'a>),
    /// PUBLISH (RFC 3903).
    Publish(Publish<'a>),
    /// SUBSCRIBE outside a dialog, with a lifetime (RFC 6665).
    Subscribe(Subscribe<'a>),
    /// SUBSCRIBE inside a dialog: refresh, or end with `expires_s` 0.
    Resubscribe(Resubscribe<'a>),
    /// A NOTIFY was refused or not answered.
    EndDialog {
        /// Where the dialog lives.
        slot: Slot,
        /// Which dialog.
        dialog: DialogKey,
        /// Why it ends.
        reason: EndReason,
    },
    /// SERVICE with a publish document (MS-PRES 3.2).
    PublishInstances(PublishInstances<'a>),
    /// SERVICE with container members (MS-PRES 3.5).
    SetMembers {
        /// Whose containers.
        presentity: &'a str,
        /// What to do, in order.
        changes: Vec<ContainerChange>,
        /// Members over all containers: the operator's limit.
        members_max: u32,
    },
    /// SERVICE that acknowledges a subscriber (MS-PRES 3.6).
    Acknowledge {
        /// Whose list.
        presentity: &'a str,
        /// Who was seen: a canonical address.
        subscriber: &'a str,
        /// Whether so.
        acknowledged: bool,
    },
    /// SERVICE that changes a delegate (MS-PRES 3.9).
    SetDelegate {
        /// Whose delegates.
        presentity: &'a str,
        /// The version that the client knows.
        version: u32,
        /// What to do.
        act: DelegateAct,
        /// With whom.
        delegate: Delegate,
        /// The operator's limit.
        delegates_max: u32,
    },
    /// SERVICE that changes the contact list (MS-SIP 3.7).
    ChangeContacts {
        /// Whose list.
        presentity: &'a str,
        /// The number that the client knows.
        delta_num: u32,
        /// What to do.
        change: ContactChange,
        /// The operator's limit.
        contacts_max: u32,
        /// Which endpoint asks: it is told the whole list when it does not know the current one.
        endpoint: Option<EndpointId>,
    },
    /// The contact list moves to another keeper (MS-PRES 3.10).
    HandContactsOver {
        /// Whose list.
        presentity: &'a str,
        /// From whom.
        from: Custody,
        /// To whom.
        to: Custody,
    },
    /// All contacts of a list are at the mail server (MS-PRES 4.14.2).
    ContactsArrived {
        /// Whose list.
        presentity: &'a str,
        /// Of the list that was moved.
        delta_num: u32,
    },
    /// What the mail server's list differs in from our copy (MS-PRES 3.10.4).
    MirrorContacts {
        /// Whose list.
        presentity: &'a str,
        /// Of the copy that was compared.
        delta_num: u32,
        /// What to do, in order.
        changes: Vec<ContactChange>,
        /// Whether the list is kept here again from then on.
        home: bool,
        /// The operator's limit.
        contacts_max: u32,
    },
    /// An endpoint's connection is lost, and it has not come back on another one.
    EndEndpoint {
        /// Whose endpoint.
        presentity: &'a str,
        /// Which.
        endpoint: EndpointId,
        /// Its target as it was registered: one that registered anew has another.
        target: &'a [u8],
    },
    /// Somebody watches, in a dialog of another shard, and wants it known (MS-PRES 3.4.5.1.3).
    Introduce {
        /// Who is watched.
        presentity: &'a str,
        /// Who watches.
        watcher: &'a str,
        /// From where.
        network: Network,
        /// The watcher's name; empty when it gave none.
        display_name: &'a str,
        /// What it says about why: XML that stands alone, possibly nothing.
        context: &'a [u8],
    },
    /// An endpoint of another shard's user is gone: its dialogs here end (MS-SIPREGE 3.2.2.5).
    EndpointGone {
        /// Whose endpoint.
        watcher: &'a str,
        /// Which.
        endpoint: EndpointId,
        /// When, by the clock of its own shard: what it opened after it came back lives on.
        at: Timestamp,
    },
    /// A dialog of another shard watches somebody of this one.
    RelayWatch(RelayWatch<'a>),
    /// It does so no more.
    RelayEnd {
        /// Who was watched.
        presentity: &'a str,
        /// Who was told.
        sink: Sink,
        /// As it asked last.
        generation: u64,
    },
    /// What such a dialog, of this shard, is to be told.
    Relayed(Relayed<'a>),
    /// Parcels have arrived wherever they were to.
    Delivered {
        /// Which: the slot that they are kept with, and their numbers.
        parcels: Vec<(Slot, u64)>,
    },
    /// What the directory says of a user (MS-PRES 3.2.6.2).
    SetProfile {
        /// Of whom.
        presentity: &'a str,
        /// What.
        profile: Profile,
    },
    /// PUBLISH with a lifetime of zero by a BluStar client: it is gone, and with the last one its user.
    SignOff {
        /// Whose.
        presentity: &'a str,
        /// The tag that it knows.
        if_match: Option<EntityTag>,
        /// Which client.
        client: ClientId,
    },
    /// A client's connection is lost, and its dialog was not refreshed over another one.
    LoseDialog {
        /// Where the dialog lives.
        slot: Slot,
        /// Which dialog.
        dialog: DialogKey,
        /// Its target as it was: one that was refreshed since has another.
        target: &'a [u8],
    },
    /// What a switchboard, a calendar or a script says of a user.
    PublishSource(PublishSource<'a>),
    /// What a mail system says of a user's voice mail (MS-PRES 3.2.5.7).
    SetWaiting {
        /// Of whom.
        presentity: &'a str,
        /// What.
        waiting: Waiting,
    },
    /// A slot moves from this shard or to it (house D15). Nobody waits for it.
    MoveSlot {
        /// Which one.
        slot: Slot,
        /// Which move: the pool map counts them.
        number: u64,
        /// What is done.
        step: Step<'a>,
    },
}

impl Command<'_> {
    /// The slot that the request is about, and whose memory keeps its outcome; `None` for a step of a
    /// move and for what is about more than one slot.
    #[must_use]
    pub fn home(&self) -> Option<Slot> {
        Some(match self {
            Command::Register(register) => Slot::of(register.aor),
            Command::Publish(publish) => Slot::of(publish.presentity),
            Command::Subscribe(subscribe) => Slot::of(subscribe.presentity),
            Command::PublishInstances(publish) => Slot::of(publish.presentity),
            Command::PublishSource(publish) => Slot::of(publish.presentity),
            Command::Resubscribe(Resubscribe { slot, .. })
            | Command::EndDialog { slot, .. }
            | Command::LoseDialog { slot, .. } => *slot,
            Command::SetMembers { presentity, .. }
            | Command::Acknowledge { presentity, .. }
            | Command::SetDelegate { presentity, .. }
            | Command::ChangeContacts { presentity, .. }
            | Command::HandContactsOver { presentity, .. }
            | Command::ContactsArrived { presentity, .. }
            | Command::MirrorContacts { presentity, .. }
            | Command::EndEndpoint { presentity, .. }
            | Command::SignOff { presentity, .. }
            | Command::Introduce { presentity, .. }
            | Command::SetProfile { presentity, .. }
            | Command::SetWaiting { presentity, .. } => Slot::of(presentity),
            Command::RelayWatch(watch) => Slot::of(watch.presentity),
            Command::RelayEnd { presentity, .. } => Slot::of(presentity),
            Command::Relayed(relayed) => relayed.sink.slot,
            // About every slot, or several; a parcel of a slot that has left is handed out again there.
            Command::EndpointGone { .. } | Command::Delivered { .. } => return None,
            Command::MoveSlot { .. } => return None,
        })
    }
}
