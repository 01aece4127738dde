//! Requests that own what they say, so that they can be repeated later.

use shard::machine::command::{
    Binding, Bindings, Command, Publish, Register, Request, Resubscribe, Subscribe, Ticket,
};
use shard::machine::outcome::RequestKey;
use shard::presence::bearing::Bearing;
use shard::presence::publication::{EntityTag, TagPolicy};
use shard::slot::Slot;
use shard::subscription::dialog::{DialogKey, EndReason, Format, LocalTag, Package};

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub key: RequestKey,
    pub ticket: Ticket,
    pub what: What,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum What {
    Register {
        aor: &'static str,
        call_id: u64,
        cseq: u32,
        /// `None` removes all.
        bindings: Option<Vec<Bound>>,
    },
    Publish {
        presentity: &'static str,
        if_match: Option<EntityTag>,
        content: Option<Vec<u8>>,
        expires_s: u32,
        tag_policy: TagPolicy,
    },
    Subscribe {
        presentity: &'static str,
        watcher: &'static str,
        dialog: DialogKey,
        chance: u64,
        cseq: u32,
        expires_s: u32,
        route: Vec<u8>,
        target: Vec<u8>,
    },
    Resubscribe {
        slot: Slot,
        dialog: DialogKey,
        cseq: u32,
        expires_s: u32,
        target: Vec<u8>,
    },
    EndDialog {
        slot: Slot,
        dialog: DialogKey,
        reason: EndReason,
    },
}

/// One contact.
#[derive(Clone, Debug)]
pub struct Bound {
    pub binding: u64,
    pub contact: String,
    pub expires_s: u32,
    pub target: Vec<u8>,
}

impl Asked {
    /// The request as the machine takes it.
    pub fn request(&self) -> Request<'_> {
        Request {
            key: self.key,
            ticket: self.ticket,
            command: self.what.command(),
        }
    }
}

impl What {
    fn command(&self) -> Command<'_> {
        match self {
            What::Register {
                aor,
                call_id,
                cseq,
                bindings,
            } => Command::Register(Register {
                aor,
                call_id: *call_id,
                cseq: *cseq,
                bindings: match bindings {
                    None => Bindings::RemoveAll,
                    Some(each) if each.is_empty() => Bindings::Nothing,
                    Some(each) => Bindings::Each(each.iter().map(Bound::binding).collect()),
                },
                profile: None,
            }),
            What::Publish {
                presentity,
                if_match,
                content,
                expires_s,
                tag_policy,
            } => Command::Publish(Publish {
                presentity,
                package: Package::Presence,
                if_match: *if_match,
                content: content.as_deref(),
                expires_s: *expires_s,
                tag_policy: *tag_policy,
                bearing: Bearing::default(),
            }),
            What::Subscribe {
                presentity,
                watcher,
                dialog,
                chance,
                cseq,
                expires_s,
                route,
                target,
            } => Command::Subscribe(Subscribe {
                presentity,
                watcher,
                package: Package::Presence,
                format: Format::Pidf,
                dialog: *dialog,
                local_tag: LocalTag::new(Slot::of(presentity), *chance),
                cseq: *cseq,
                expires_s: *expires_s,
                route,
                target,
                extras: None,
                savers: None,
            }),
            What::Resubscribe {
                slot,
                dialog,
                cseq,
                expires_s,
                target,
            } => Command::Resubscribe(Resubscribe {
                slot: *slot,
                dialog: *dialog,
                cseq: *cseq,
                expires_s: *expires_s,
                target,
                extras: None,
                savers: None,
            }),
            What::EndDialog {
                slot,
                dialog,
                reason,
            } => Command::EndDialog {
                slot: *slot,
                dialog: *dialog,
                reason: *reason,
            },
        }
    }
}

impl Bound {
    fn binding(&self) -> Binding<'_> {
        Binding {
            binding: self.binding,
            contact: &self.contact,
            instance: "",
            q: 1_000,
            path: "",
            expires_s: self.expires_s,
            target: &self.target,
            endpoint_id: None,
        }
    }
}
