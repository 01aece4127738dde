//! Subscription dialogs (RFC 6665): identity, both sequence numbers, expiry, and an opaque route.

use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::category::Category;
use crate::presence::container::{Network, Watcher};
use crate::presence::refusal::Refusal;
use crate::presence::rules::{Admitted, Handling};
use crate::slot::{Aor, Slot};
use crate::subscription::savers::{Asked, Savers};
use crate::subscription::watch::{ClientId, Watch, Wish};
use crate::time::Timestamp;

pub use crate::presence::endpoint_id::EndpointId;
pub use crate::presence::package::Package;

/// Names a dialog: a hash of Call-ID and both tags. 128 bits, so that no two are ever equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialogKey(pub u128);

impl DialogKey {
    /// The key of a subscription to `package`: of presence that of its dialog. Of other packages it is another
    /// one, so that a request for one package finds no subscription to a different one.
    //= RFC 6665 4.4.1
    //# a subscription is known by its dialog and its package
    #[must_use]
    pub fn of_package(
        package: Package,
        call_id: &str,
        local_tag: &str,
        remote_tag: &str,
    ) -> DialogKey {
        match package {
            Package::Dialog | Package::MessageSummary | Package::Reg => DialogKey::of(
                call_id,
                &format!("{local_tag}\0{}", package.as_str()),
                remote_tag,
            ),
            _ => DialogKey::of(call_id, local_tag, remote_tag),
        }
    }

    /// The key of the dialog with these identifiers (RFC 3261 §12), `local` being our side's tag.
    #[must_use]
    pub fn of(call_id: &str, local_tag: &str, remote_tag: &str) -> DialogKey {
        let mut text = Vec::with_capacity(call_id.len() + local_tag.len() + remote_tag.len() + 2);
        text.extend_from_slice(call_id.as_bytes());
        text.push(0);
        text.extend_from_slice(local_tag.as_bytes());
        text.push(0);
        text.extend_from_slice(remote_tag.as_bytes());
        DialogKey(xxh3_128(&text))
    }
}

impl fmt::Debug for DialogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for DialogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Our tag of a dialog. It carries the slot that the dialog lives in, so that any node routes an
/// in-dialog request without looking anything up; the rest is chance, drawn at the ingress.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LocalTag {
    slot: Slot,
    // Bytes rather than a number: there is one tag per dialog, and alignment would cost six bytes.
    chance: [u8; 8],
}

impl LocalTag {
    /// A tag for a dialog in `slot`, with 64 bits that nobody can guess.
    #[must_use]
    pub fn new(slot: Slot, chance: u64) -> LocalTag {
        LocalTag {
            slot,
            chance: chance.to_be_bytes(),
        }
    }

    /// Reads what [`fmt::Display`] wrote; `None` for a tag that was never ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<LocalTag> {
        let digits = text.strip_prefix('L')?;
        if digits.len() != 19
            || !digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return None;
        }
        let slot = Slot::new(u16::from_str_radix(&digits[..3], 16).ok()?)?;
        let chance = u64::from_str_radix(&digits[3..], 16).ok()?;
        Some(LocalTag::new(slot, chance))
    }

    /// Where the dialog lives.
    #[must_use]
    pub fn slot(self) -> Slot {
        self.slot
    }

    /// The part drawn by chance.
    #[must_use]
    pub fn chance(self) -> u64 {
        u64::from_be_bytes(self.chance)
    }
}

impl fmt::Display for LocalTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{:03x}{:016x}", self.slot.number(), self.chance())
    }
}

impl fmt::Debug for LocalTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The document that a watcher asked for. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Format {
    /// `application/pidf+xml` (RFC 3863).
    Pidf = 1,
    /// `text/xml+msrtc.pidf` (MS-PRES 2.2.2.9).
    Msrtc = 2,
    /// `application/msrtc-event-categories+xml` (MS-PRES 2.2.2.1).
    Categories = 3,
    /// `application/vnd-microsoft-roaming-self+xml` (MS-PRES 2.2.2.3).
    RoamingSelf = 4,
    /// `application/vnd-microsoft-roaming-contacts+xml` (MS-SIP 2.2.4).
    RoamingContacts = 5,
    /// `application/pidf+xml` as Microsoft's servers print it (MS-PRES 2.2.2.8).
    MsPidf = 6,
    /// `text/registration-event` (MS-SIPREGE 3.2): the end of a registration.
    Registration = 7,
    /// `multipart/related` with `application/rlmi+xml` and a PIDF document for each resource (RFC 4662).
    Rlmi = 8,
    /// `application/pidf+xml` as BluStar clients read it.
    Blustar = 9,
    /// `application/pidf+xml` about a `pres:` URI.
    Pres = 10,
    /// `application/dialog-info+xml` (RFC 4235), with everything that was published.
    DialogInfo = 11,
    /// The same with what a lamp needs, and nothing of who is spoken to.
    DialogLamp = 12,
    /// `application/simple-message-summary` (RFC 3842).
    MessageSummary = 13,
    /// `application/reginfo+xml` (RFC 3680).
    RegInfo = 14,
    /// `application/watcherinfo+xml` (RFC 3858).
    Watcherinfo = 15,
    /// As [`Format::Rlmi`], compressed (RFC 1950), as Linphone asks for lists.
    RlmiDeflated = 16,
}

impl Format {
    /// Whether it is a list with a document for each member (RFC 4662).
    #[must_use]
    pub fn is_rlmi(self) -> bool {
        matches!(self, Format::Rlmi | Format::RlmiDeflated)
    }

    /// The format with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Format> {
        [
            Format::Pidf,
            Format::Msrtc,
            Format::Categories,
            Format::RoamingSelf,
            Format::RoamingContacts,
            Format::MsPidf,
            Format::Registration,
            Format::Rlmi,
            Format::Blustar,
            Format::Pres,
            Format::DialogInfo,
            Format::DialogLamp,
            Format::MessageSummary,
            Format::RegInfo,
            Format::Watcherinfo,
            Format::RlmiDeflated,
        ]
        .into_iter()
        .find(|format| *format as u8 == number)
    }
}

/// How a notification is delivered. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Delivery {
    /// NOTIFY, which is answered.
    #[default]
    Notify = 1,
    /// BENOTIFY, which is not (MS-SIP 3.5).
    Benotify = 2,
    /// No message: a relay to a dialog of another shard, which is the dialog's route (house D7).
    Relay = 3,
}

impl Delivery {
    /// The delivery with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Delivery> {
        [Delivery::Notify, Delivery::Benotify, Delivery::Relay]
            .into_iter()
            .find(|delivery| *delivery as u8 == number)
    }
}

/// Why a subscription ended (RFC 6665 §4.1.3). Resource gone or moved comes with later dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// Not refreshed in time, or the watcher asked for the end.
    Timeout = 1,
    /// A new subscription would be accepted at once.
    Deactivated = 2,
    /// The presentity's policy changed.
    Rejected = 3,
    /// The state cannot be had any more.
    Noresource = 4,
    /// A NOTIFY was refused or never answered; nothing more is sent.
    Unreachable = 5,
    /// The same endpoint opened another dialog for the same thing.
    Superseded = 6,
    /// The endpoint is not registered any more; nothing more is sent.
    Deregistered = 7,
    /// The contact list has moved to a mail server.
    Migrated = 8,
}

impl EndReason {
    /// The reason with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<EndReason> {
        [
            EndReason::Timeout,
            EndReason::Deactivated,
            EndReason::Rejected,
            EndReason::Noresource,
            EndReason::Unreachable,
            EndReason::Superseded,
            EndReason::Deregistered,
            EndReason::Migrated,
        ]
        .into_iter()
        .find(|reason| *reason as u8 == number)
    }

    /// Whether the watcher is told.
    #[must_use]
    pub fn is_told(self) -> bool {
        !matches!(self, EndReason::Unreachable | EndReason::Deregistered)
    }
}

/// SUBSCRIBE outside a dialog.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// What is watched; the dialog's home, for a batch.
    pub presentity: &'a str,
    /// Who watches.
    pub watcher: &'a str,
    /// Of which package.
    pub package: Package,
    /// The document asked for.
    pub format: Format,
    /// Names the dialog; made of Call-ID, `local_tag` and the watcher's tag.
    pub dialog: DialogKey,
    /// Our tag, drawn at the ingress; its slot is the presentity's.
    pub local_tag: LocalTag,
    /// CSeq number.
    pub cseq: u32,
    /// Granted lifetime, not 0 (a fetch is a query, house §5).
    pub expires_s: u32,
    /// Opaque, fixed for the dialog's life.
    pub route: &'a [u8],
    /// Opaque, replaced by each refresh.
    pub target: &'a [u8],
    /// What an enhanced client adds; nothing from a plain telephone.
    pub extras: Option<Box<Extras<'a>>>,
    /// What it says to save traffic, if anything.
    pub savers: Option<Box<Asked>>,
}

/// What a SUBSCRIBE of an enhanced client says besides.
#[derive(Clone, Debug, PartialEq)]
pub struct Extras<'a> {
    /// From which network the watcher comes.
    pub network: Network,
    /// How it wants to be told.
    pub delivery: Delivery,
    /// Whether the first notification rides in the 200 (MS-SIP 3.4).
    pub piggyback: bool,
    /// Which endpoint asks.
    pub endpoint: Option<EndpointId>,
    /// Whether that endpoint must be registered at the dialog's home.
    pub registered: bool,
    /// The watcher's name, for the subscriber list; empty when there was none.
    pub display_name: &'a str,
    /// What is wanted.
    pub wish: Wish<'a>,
    /// Watchers that one presentity may have: the operator's limit.
    pub watchers_max: u32,
    /// What other shards have to do with it.
    pub abroad: Abroad<'a>,
}

/// What of a SUBSCRIBE other shards have to do with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Abroad<'a> {
    /// When the endpoint registered, by the clock of the shard where it did: as far as the connection that
    /// it speaks over has seen it.
    pub registered_at: Option<Timestamp>,
    /// Resources of a batch that live elsewhere.
    pub resources: Vec<Elsewhere<'a>>,
}

/// A resource that lives in another shard than the dialog.
#[derive(Clone, Debug, PartialEq)]
pub struct Elsewhere<'a> {
    /// The canonical address.
    pub address: &'a str,
    /// What to tell it about the watcher; `None` to tell nothing.
    pub context: Option<&'a [u8]>,
    /// What is done there.
    pub deed: Away,
}

/// What is done with a resource of another shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Away {
    /// The watcher was told where to ask: nothing, but to make it known.
    Hinted,
    /// These categories are watched through a relay.
    Watch(Vec<Category>),
    /// These no more.
    Unwatch(Vec<Category>),
}

/// How far the clocks of two shards are believed to be apart. A dialog of which nobody knows when its
/// endpoint registered lives on where the endpoint's end, by the other clock, is not later than this after
/// its beginning: it may be of an endpoint that has come back.
const APART_MS: u64 = 5_000;

/// SUBSCRIBE inside a dialog.
#[derive(Clone, Debug, PartialEq)]
pub struct Resubscribe<'a> {
    /// Where the dialog lives (from our tag).
    pub slot: Slot,
    /// Which dialog.
    pub dialog: DialogKey,
    /// CSeq number.
    pub cseq: u32,
    /// Granted lifetime; 0 ends.
    pub expires_s: u32,
    /// Remote target and flow from here on.
    pub target: &'a [u8],
    /// What an enhanced client adds.
    pub extras: Option<Box<Extras<'a>>>,
    /// What it says to save traffic, if anything.
    pub savers: Option<Box<Asked>>,
}

/// The greatest CSeq there is.
//= RFC 3261 8.1.1.5
//# a sequence number stays below 2^31
pub const CSEQ_MAX: u32 = (1 << 31) - 1;

/// A subscription and the dialog it lives in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    /// What is watched.
    pub presentity: Aor,
    /// Who watches.
    pub watcher: Aor,
    /// Which package.
    pub package: Package,
    /// Which document.
    pub format: Format,
    /// Our tag, for repeating the answer to the first SUBSCRIBE.
    pub local_tag: LocalTag,
    /// The CSeq of the last NOTIFY; the next one is higher.
    pub local_cseq: u32,
    /// The CSeq of the last SUBSCRIBE; the next one must be higher.
    pub remote_cseq: u32,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last notified: a new leader repeats what is younger than 64·T1 (house D8).
    pub notified_at: Timestamp,
    /// Tags, addresses, route set, as transport wrote them: fixed for the dialog's life.
    pub route: Arc<[u8]>,
    /// Remote target and flow, as transport wrote them: replaced by each refresh.
    pub target: Arc<[u8]>,
    /// From which network the watcher comes.
    pub network: Network,
    /// How it is told.
    pub delivery: Delivery,
    /// The container that a document's watcher saw last, where containers rule what is seen.
    pub resolved: Option<u16>,
    /// What the presentity's rules said last, of a watcher of its document.
    pub(crate) admitted: Option<Box<Admitted>>,
    /// What is watched besides a document.
    pub watch: Option<Box<Watch>>,
    /// What saves traffic, if anything does.
    pub savers: Option<Box<Savers>>,
    /// The registration that it belongs to is at least this young: an earlier end of its endpoint, told by
    /// another shard, does not concern it.
    pub(crate) since: [u8; 6],
}

/// Milliseconds in six bytes, which are enough until the year 10889: eight would take the room of a pointer from each of
/// a million dialogs.
fn packed(at: Timestamp) -> [u8; 6] {
    let mut bytes = [0; 6];
    bytes.copy_from_slice(&at.0.min((1 << 48) - 1).to_le_bytes()[..6]);
    bytes
}

/// What everybody is let in to where no rules say otherwise.
static EVERYTHING: Admitted = Admitted {
    handling: Handling::Allow,
    permissions: None,
};

impl Dialog {
    /// What presence rules let the watcher in to, when it was told last.
    #[must_use]
    pub fn admitted(&self) -> &Admitted {
        self.admitted.as_deref().unwrap_or(&EVERYTHING)
    }

    /// The watcher is let in to this.
    pub fn admit(&mut self, admitted: Admitted) {
        self.admitted = (admitted != EVERYTHING).then(|| Box::new(admitted));
    }

    /// The registration that it belongs to is at least this young: an earlier end of its endpoint, told by
    /// another shard, does not concern it.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        let mut bytes = [0; 8];
        bytes[..6].copy_from_slice(&self.since);
        Timestamp(u64::from_le_bytes(bytes))
    }

    /// Sets [`Dialog::since`].
    pub fn set_since(&mut self, at: Timestamp) {
        self.since = packed(at);
    }

    /// The dialog that a SUBSCRIBE opens. Nothing was notified yet.
    #[must_use]
    pub fn open(request: &Subscribe<'_>, presentity: Aor, now: Timestamp) -> Dialog {
        Dialog {
            // The tag's slot is where the dialog lives, whatever the ingress may have drawn.
            local_tag: LocalTag::new(presentity.slot(), request.local_tag.chance()),
            presentity,
            watcher: Aor::from_canonical(request.watcher),
            package: request.package,
            format: request.format,
            local_cseq: 0,
            remote_cseq: request.cseq,
            expires_at: now.plus_s(request.expires_s),
            notified_at: now,
            // The one copy of what the log entry says: a slice would keep the whole entry alive.
            route: request.route.into(),
            target: request.target.into(),
            network: request
                .extras
                .as_ref()
                .map_or(Network::SameEnterprise, |e| e.network),
            delivery: request
                .extras
                .as_ref()
                .map_or(Delivery::Notify, |e| e.delivery),
            resolved: None,
            admitted: None,
            watch: request.extras.as_deref().and_then(Watch::of).map(Box::new),
            savers: (request.savers.as_deref())
                .and_then(|asked| Savers::agreed(None, Some(asked), now)),
            since: packed(since(request.extras.as_deref(), now)),
        }
    }

    /// When something is to be done with it: it ends, its relays are renewed, or its time to be told comes.
    #[must_use]
    pub fn due_at(&self) -> Timestamp {
        let mut due = self.expires_at;
        if let Some(watch) = &self.watch {
            due = due.min(watch.renew_at());
        }
        if let Some(savers) = &self.savers {
            due = due.min(savers.due_at());
        }
        due
    }

    /// The slot it lives in.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.local_tag.slot()
    }

    /// Who watches, and from where.
    #[must_use]
    pub fn watching(&self) -> Watcher<'_> {
        Watcher {
            address: self.watcher.as_str(),
            network: self.network,
        }
    }

    /// The client of its user whose dialog it is, if such clients are counted.
    #[must_use]
    pub fn client(&self) -> Option<ClientId> {
        self.watch.as_deref()?.list()?.client
    }

    /// The endpoint that it belongs to.
    #[must_use]
    pub fn endpoint(&self) -> Option<EndpointId> {
        self.watch.as_deref().and_then(Watch::endpoint)
    }

    /// Takes over what a SUBSCRIBE inside the dialog says: its number, its lifetime, where to send.
    ///
    /// # Errors
    /// [`Refusal::OutOfOrder`], with nothing changed.
    pub fn refresh(&mut self, request: &Resubscribe<'_>, now: Timestamp) -> Result<(), Refusal> {
        //= RFC 3261 12.2.2
        //# a request inside a dialog must carry a higher CSeq than the one before
        if request.cseq <= self.remote_cseq {
            return Err(Refusal::OutOfOrder);
        }
        self.remote_cseq = request.cseq;
        self.expires_at = now.plus_s(request.expires_s);
        if request.extras.is_some() {
            self.set_since(self.since().max(since(request.extras.as_deref(), now)));
        }
        if self.savers.is_some() || request.savers.is_some() {
            // A pace counts from what was told last; who wants to hear something hears this answer first.
            let asked = request.savers.as_deref();
            let wants = asked.is_some_and(|asked| asked.max_interval_s > 0);
            let from = if wants { now } else { self.notified_at };
            self.savers = Savers::agreed(self.savers.take(), asked, from);
        }
        //= RFC 6665 4.1.2.2
        //# a refresh is a target refresh: notifications go to the new target from here on
        if *self.target != *request.target {
            self.target = request.target.into();
        }
        Ok(())
    }

    /// Takes the CSeq of a NOTIFY that is sent now.
    //= RFC 3261 12.2.1.1
    //# each request of ours inside a dialog has the next CSeq
    pub fn take_cseq(&mut self, now: Timestamp) {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.notified_at = now;
    }

    /// No further NOTIFY would have a number: the dialog must end with the one just taken.
    #[must_use]
    pub fn is_worn_out(&self) -> bool {
        self.local_cseq >= CSEQ_MAX
    }
}

fn since(extras: Option<&Extras<'_>>, now: Timestamp) -> Timestamp {
    let known = extras.and_then(|extras| extras.abroad.registered_at);
    known.unwrap_or(Timestamp(now.0.saturating_add(APART_MS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn dialog() -> Dialog {
        let presentity = Aor::sip("alice", "example.com");
        let request = Subscribe {
            presentity: presentity.as_str(),
            watcher: "bob@example.com",
            package: Package::Presence,
            format: Format::Pidf,
            dialog: DialogKey(1),
            local_tag: LocalTag::new(presentity.slot(), 7),
            cseq: 10,
            expires_s: 600,
            route: b"route",
            target: b"target",
            extras: None,
            savers: None,
        };
        Dialog::open(&request, presentity.clone(), NOW)
    }

    /// A million telephones that know nothing of saving pay one pointer each; what presence rules let them in to is one
    /// pointer more. With its deadline and two counters a dialog takes the 160 bytes that the allocator gave it before.
    #[test]
    fn who_saves_nothing_pays_no_memory() {
        assert_eq!(size_of::<Option<Box<Savers>>>(), 8);
        assert!(
            size_of::<Dialog>() + 8 + 16 <= 160,
            "{}",
            size_of::<Dialog>()
        );
    }

    #[test]
    fn a_local_tag_has_one_spelling() {
        for (text, expected) in [
            (
                "L0030000000000000abc",
                Slot::new(3).map(|slot| LocalTag::new(slot, 0xabc)),
            ),
            (
                "L3ffffffffffffffffff",
                Slot::new(0x3ff).map(|slot| LocalTag::new(slot, u64::MAX)),
            ),
            ("L4000000000000000abc", None),
            ("L0030000000000000ABC", None),
            ("L0030000000000000abc0", None),
            ("0030000000000000abc", None),
            ("L+030000000000000abc", None),
            ("", None),
        ] {
            assert_eq!(LocalTag::parse(text), expected, "{text}");
            if let Some(tag) = expected {
                assert_eq!(tag.to_string(), text);
                assert_eq!(LocalTag::new(tag.slot(), tag.chance()), tag);
            }
        }
    }

    #[test]
    fn a_dialogs_name_depends_on_each_part() {
        let key = DialogKey::of("call", "local", "remote");
        for (name, other) in [
            ("call", DialogKey::of("cal", "local", "remote")),
            ("shifted", DialogKey::of("calll", "ocal", "remote")),
            ("swapped", DialogKey::of("call", "remote", "local")),
        ] {
            assert_ne!(key, other, "{name}");
        }
        assert_eq!(key, DialogKey::of("call", "local", "remote"));
    }

    //= RFC 6665 4.4.1
    //= type=test
    #[test]
    fn a_subscription_to_another_package_is_another_one() {
        let key = |package| DialogKey::of_package(package, "call", "local", "remote");
        let same = DialogKey::of("call", "local", "remote");
        assert_eq!(key(Package::Presence), same);
        let mut all = vec![same];
        all.extend([Package::Dialog, Package::MessageSummary, Package::Reg].map(key));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
    }

    //= RFC 3261 12.2.2
    //= type=test
    //= RFC 6665 4.1.2.2
    //= type=test
    #[test]
    fn a_refresh_needs_a_higher_number_and_moves_the_target() {
        for (name, cseq, expected) in [
            ("next", 11, Ok(())),
            ("with a gap", 99, Ok(())),
            ("same", 10, Err(Refusal::OutOfOrder)),
            ("older", 9, Err(Refusal::OutOfOrder)),
        ] {
            let mut refreshed = dialog();
            let request = Resubscribe {
                slot: refreshed.local_tag.slot(),
                dialog: DialogKey(1),
                cseq,
                expires_s: 60,
                target: b"elsewhere",
                extras: None,
                savers: None,
            };
            assert_eq!(refreshed.refresh(&request, NOW), expected, "{name}");
            if expected.is_ok() {
                assert_eq!(refreshed.expires_at, NOW.plus_s(60), "{name}");
                assert_eq!(&*refreshed.target, b"elsewhere", "{name}");
                assert_eq!(refreshed.route, dialog().route, "{name}");
            } else {
                assert_eq!(refreshed, dialog(), "{name}");
            }
        }
    }

    //= RFC 3261 8.1.1.5
    //= type=test
    //= RFC 3261 12.2.1.1
    //= type=test
    #[test]
    fn a_dialog_ends_before_its_numbers_do() {
        let mut worn = dialog();
        worn.take_cseq(NOW);
        assert_eq!((worn.local_cseq, worn.is_worn_out()), (1, false));
        worn.local_cseq = CSEQ_MAX - 2;
        worn.take_cseq(NOW);
        assert_eq!((worn.local_cseq, worn.is_worn_out()), (CSEQ_MAX - 1, false));
        worn.take_cseq(NOW);
        assert_eq!((worn.local_cseq, worn.is_worn_out()), (CSEQ_MAX, true));
    }

    #[test]
    fn numbers_in_the_log_are_read_back() {
        for reason in [
            EndReason::Timeout,
            EndReason::Deactivated,
            EndReason::Rejected,
            EndReason::Noresource,
            EndReason::Unreachable,
            EndReason::Superseded,
            EndReason::Deregistered,
            EndReason::Migrated,
        ] {
            assert_eq!(EndReason::from_number(reason as u8), Some(reason));
        }
        assert_eq!(EndReason::from_number(0), None);
        assert_eq!(
            Package::from_number(Package::Presence as u8),
            Some(Package::Presence)
        );
        for number in 0..=u8::MAX {
            let package = Package::from_number(number);
            let known = matches!(number, 1..=8 | 10);
            assert_eq!(package.is_some(), known, "{number}");
            assert!(package.is_none_or(|package| package as u8 == number));
            let format = Format::from_number(number);
            let known = matches!(number, 1..=16);
            assert_eq!(format.is_some(), known, "{number}");
            assert!(format.is_none_or(|format| format as u8 == number));
        }
        assert_eq!(Format::from_number(Format::Pidf as u8), Some(Format::Pidf));
        assert_eq!(Format::from_number(0), None);
    }
}
