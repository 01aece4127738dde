//! What the leader must do after an entry was applied.

use std::sync::Arc;

use crate::machine::command::Ticket;
use crate::machine::outcome::Outcome;
use crate::machine::parcel::Parcel;
use crate::presence::instance::Instance;
use crate::slot::{Aor, Slot};
use crate::subscription::dialog::{Delivery, Dialog, DialogKey, EndReason, Format};
use crate::subscription::savers::{Cause, Terms};
use crate::subscription::view::View;

/// One thing the leader must do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Answer the one who waits.
    Reply {
        /// Who waits.
        ticket: Ticket,
        /// What to tell.
        outcome: Outcome,
        /// What to show with it.
        shown: Option<Box<Shown>>,
    },
    /// Send one view to the dialogs entitled to it.
    Notify {
        /// What they may see.
        view: Arc<View>,
        /// Who is told, and with which sequence number.
        notices: Vec<Notice>,
    },
    /// Bring a command into the logs of other shards, until all that it is for have it, and then say so
    /// ([`crate::machine::command::Command::Delivered`]).
    Send {
        /// The slot that keeps it.
        slot: Slot,
        /// Its number there.
        number: u64,
        /// What, and for whom.
        parcel: Arc<Parcel>,
    },
}

/// What rides in a response.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The CSeq that the notification would have had (`ms-piggyback-cseq`); 0 for none.
    pub cseq: u32,
    /// What is seen: of a batch, one view for each resource, in the order of the request.
    pub views: Vec<Arc<View>>,
    /// Resources that have too many watchers.
    pub over_quota: Vec<Aor>,
    /// Of a version conflict: the current instances, as far as there are any.
    pub current: Vec<Option<Arc<Instance>>>,
}

/// One NOTIFY to send.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Which dialog.
    pub dialog: DialogKey,
    /// The slot that the dialog lives in.
    pub slot: Slot,
    /// NOTIFY or BENOTIFY.
    pub delivery: Delivery,
    /// Its CSeq, used for nothing else.
    pub cseq: u32,
    /// Which document.
    pub format: Format,
    /// The Subscription-State to show.
    pub state: SubscriptionState,
    /// As in [`Dialog::route`].
    pub route: Arc<[u8]>,
    /// As in [`Dialog::target`].
    pub target: Arc<[u8]>,
    /// What was agreed to save traffic, if anything.
    pub terms: Option<Arc<Terms>>,
    /// Why it is told.
    pub cause: Cause,
}

/// Subscription-State (RFC 6665 §8.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionState {
    /// `active;expires=…`
    Active {
        /// Seconds left.
        expires_s: u32,
    },
    /// `pending;expires=…`: it waits for the presentity's word.
    Pending {
        /// Seconds left.
        expires_s: u32,
    },
    /// `terminated;reason=…`
    Terminated(EndReason),
}

impl Notice {
    /// The notice that `dialog` is due, with the CSeq it has just taken.
    #[must_use]
    pub fn of(key: DialogKey, dialog: &Dialog, state: SubscriptionState) -> Notice {
        Notice {
            dialog: key,
            slot: dialog.slot(),
            delivery: dialog.delivery,
            cseq: dialog.local_cseq,
            format: dialog.format,
            state,
            route: Arc::clone(&dialog.route),
            target: Arc::clone(&dialog.target),
            terms: (dialog.savers.as_ref()).map(|savers| Arc::clone(&savers.terms)),
            // Whatever is told but for a change, is told in full.
            cause: Cause::Asked,
        }
    }
}
