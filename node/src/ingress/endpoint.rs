//! Requests from transport: the transaction user of one worker.
//!
//! A request is identified, translated, admitted and encoded as it comes; at the end of the turn what
//! came for a shard goes to its log as one batch. Outcomes come back as mail and are answered through
//! the transaction that waits; notices are written and sent. Nothing here blocks.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use shard::machine::codec::{encode_parcel, encode_request, home_of};
use shard::machine::command::{self, Command, Ticket};
use shard::machine::crossing::{Answer as Found, decode_question, encode_question};
use shard::machine::effect::{Notice, Shown, SubscriptionState};
use shard::machine::outcome::{Outcome, Refusal, RequestKey};
use shard::machine::parcel;
use shard::machine::tag;
use shard::presence::contacts::Custody;
use shard::presence::limits::{ENTRY_BYTES_MAX, ENTRY_REQUESTS_MAX};
use shard::runner::Job;
use shard::slot::Slot;
use shard::subscription::dialog::{Delivery, DialogKey, EndReason, EndpointId, Format};
use shard::subscription::savers::{Cause, Condition, Terms};
use shard::subscription::view::{Seen, View};
use shard::time::Timestamp;
use transport::dialog::{DialogRoute, Target, write_request};
use transport::flow::{Flow, Transport};
use transport::io::worker::{
    Complete, Context, Ended, Incoming, TransactionId, TransactionUser, Wire,
};
use transport::sip::uri::Uri;
use transport::sip::{Method, Name, Request, Response};
use transport::transaction::Millis;
use xxhash_rust::xxh3::xxh3_64;

use super::admission::{LEADERLESS_S, Pace, retry_after_s};
use super::blustar_login::{BlustarLogin, Step};
use super::chance::Chance;
use super::courier::{Courier, Errand as Carried, ParcelKey, Ways};
use super::encoding;
use super::errand::Errands;
use super::identity::{Identity, Verdict};
use super::ntlm::Opaque;
use super::overtaken::Overtaken;
use super::peers::Peers;
use super::route::{Leader, RouteTable, Routes};
use super::subscriber::Subscriber;
use super::unheard::Unheard;
use super::waiting::{Look, Waiting, WaitingRoom, What};
use crate::config::Dialect;
use crate::contact_store::ContactStore;
use crate::dialect::blustar;
use crate::dialect::enhanced::answer::{self, Here};
use crate::dialect::enhanced::endpoint as enhanced_endpoint;
use crate::dialect::profile::Profile;
use crate::dialect::{
    self, Answer, Aside, Circumstances, Grace, Identified, Policy, PollStep, Scratch, Translated,
    refusal, register, simple,
};
use crate::directory::{Proof, Users};
use crate::egress::notify::{self, Body};
use crate::egress::outbox::{Asking, Deed, Mail, Workers};
use crate::egress::render::{RenderSettings, Rendering};
use crate::egress::savers::Memory;
use crate::egress::traffic::Traffic;
use crate::observe::metrics::{Fate, Metrics};
use crate::peer::NodeNumber;
use crate::raft::proposer::{Batch, ProposeError};

/// How long a request is retried before it gets 503: well under the 32 s of the client's own timer,
/// and several elections long.
const BUDGET_MS: u64 = 5_000;

/// How long an endpoint whose connection was lost may take to register over another one: a client that
/// changes its network is back within this time.
const GRACE_MS: u64 = 5_000;

/// Challenges remembered by a worker, to know a client that does not understand them. 8 bytes each.
const CHALLENGED_MAX: usize = 16_384;

/// How long the directory may take to look at credentials: the client sends its request again meanwhile.
const PROOF_MS: u64 = 10_000;

/// Peers that a worker remembers to have heard; 8 bytes each.
const HEARD_MAX: usize = 4_096;

/// Dialogs remembered by one connection: those of all mobile clients behind one controller. Others expire.
const DIALOGS_MAX: usize = 20_000;

/// How soon a proposal that found no leader is tried again.
const RETRY_MS: u64 = 50;

/// How soon a request about a slot on its way is tried again: a slot is on its way for tens of milliseconds.
const MOVING_MS: u64 = 10;

/// How soon a request that another node has, and does not answer, is sent again: a busy leader answers
/// within tens of milliseconds, and a lost one is missed by its followers in half a second.
const ABROAD_MS: u64 = 400;

/// What the workers of a node share.
pub struct Shared {
    /// What the operator decided.
    pub policy: Policy,
    /// Who is asking.
    pub identity: Identity,
    /// Who is a user.
    pub users: Arc<dyn Users>,
    /// The shards.
    pub routes: Arc<RouteTable>,
    /// The other nodes.
    pub traffic: Traffic,
    /// The workers' mailboxes.
    pub workers: Workers,
    /// Who moves contacts to a mail server, where there is one.
    pub contact_store: Option<ContactStore>,
    /// Where BluStar's clients sign in, if they do.
    pub blustar_login: Option<BlustarLogin>,
    /// Who subscribes in the node's name, where somebody does.
    pub subscriber: OnceLock<Arc<dyn Subscriber>>,
    /// Who is spoken to in which way.
    pub peers: Peers,
    /// What an operator sees.
    pub metrics: Arc<Metrics>,
}

/// The transaction user of one worker.
pub struct Endpoint {
    shared: Arc<Shared>,
    /// A copy of the routes, and of which version it is.
    routes: Arc<Routes>,
    routes_version: u64,
    worker: u8,
    chance: Chance,
    scratch: Scratch,
    waiting: WaitingRoom,
    /// One per shard: what this turn brought.
    batches: Vec<Gathering>,
    /// One per shard: how long requests take there.
    paces: Vec<Pace>,
    /// One per shard: who led it when this was last looked at; 0 for nobody.
    led_by: Vec<NodeNumber>,
    /// Tickets to propose again, in the order of their time.
    again: VecDeque<(Millis, Ticket)>,
    /// Tickets that other nodes have, in the order of the time at which they are asked again.
    abroad: VecDeque<(Millis, Ticket)>,
    /// Tickets whose slot is on its way to another shard, in the order of the time at which they are tried
    /// again.
    moving: VecDeque<(Millis, Ticket)>,
    contacts: Contacts,
    errands: Errands,
    courier: Courier,
    overtaken: Overtaken,
    /// What watchers who save traffic were told last.
    memory: Memory,
    unheard: Unheard,
    /// Which endpoint speaks over which connection.
    connected: HashMap<u64, Lost>,
    /// Endpoints whose connection is gone, and when they are given up.
    lost: VecDeque<(Millis, Lost)>,
    /// Requests that were answered with a challenge, by a hash.
    challenged: HashSet<u64>,
    /// Peers that this worker has heard, by a hash.
    heard: HashSet<u64>,
    /// Requests of BluStar's clients whose credentials the directory looks at.
    proving: VecDeque<(Millis, u64, Incoming)>,
    /// BluStar's dialogs by the connection that they were made over.
    listening: HashMap<u64, Vec<LostDialog>>,
    /// Those whose connection is gone, and when they are given up.
    lost_dialogs: VecDeque<(Millis, LostDialog)>,
    draining: bool,
}

/// A dialog, as far as it is needed to end it when its connection is lost.
#[derive(Debug)]
struct LostDialog {
    slot: Slot,
    dialog: DialogKey,
    target: Vec<u8>,
}

/// An endpoint, as far as it is needed to end it when its connection is lost.
struct Lost {
    address: String,
    endpoint: EndpointId,
    target: Vec<u8>,
    /// When it registered over this connection, by its shard's clock.
    registered_at: Timestamp,
    /// Whether the last that it said was the end of a subscription: it is about to leave.
    leaves: bool,
}

/// What a request comes to that asks nothing of the machine.
enum Unserved {
    /// An answer at once.
    Answered(Answer),
    /// Silence.
    Ignored,
}

impl From<Answer> for Unserved {
    fn from(answer: Answer) -> Unserved {
        Unserved::Answered(answer)
    }
}

/// A batch in the making.
#[derive(Default)]
struct Gathering {
    encoded: BytesMut,
    /// Ticket and end of its encoding.
    requests: Vec<(Ticket, usize)>,
}

impl Endpoint {
    /// The user of worker `number`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, number: u8) -> Endpoint {
        let routes_version = shared.routes.version();
        let routes = shared.routes.current();
        let mut batches = Vec::new();
        batches.resize_with(routes.count(), Gathering::default);
        let paces = vec![Pace::default(); routes.count()];
        let led_by = vec![0; routes.count()];
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let first = since_1970.as_millis() as u64;
        Endpoint {
            routes,
            routes_version,
            worker: number,
            chance: Chance::new(),
            scratch: Scratch::default(),
            waiting: WaitingRoom::new(shared.traffic.me(), number, first),
            batches,
            paces,
            led_by,
            again: VecDeque::new(),
            abroad: VecDeque::new(),
            moving: VecDeque::new(),
            overtaken: Overtaken::default(),
            memory: Memory::default(),
            unheard: Unheard::default(),
            errands: Errands::new(shared.traffic.me(), number, first),
            courier: Courier::default(),
            contacts: Contacts::default(),
            connected: HashMap::new(),
            lost: VecDeque::new(),
            challenged: HashSet::new(),
            heard: HashSet::new(),
            proving: VecDeque::new(),
            listening: HashMap::new(),
            lost_dialogs: VecDeque::new(),
            draining: false,
            shared,
        }
    }

    /// Takes a new copy of the routes when there is one.
    fn look_at_the_map(&mut self) {
        let version = self.shared.routes.version();
        if version != self.routes_version {
            self.routes_version = version;
            self.routes = self.shared.routes.current();
            if self.batches.len() < self.routes.count() {
                self.batches
                    .resize_with(self.routes.count(), Gathering::default);
                self.paces.resize(self.routes.count(), Pace::default());
                self.led_by.resize(self.routes.count(), 0);
            }
        }
    }

    /// Answers at once.
    fn answer(
        &mut self,
        transaction: TransactionId,
        request: &Request,
        association: Option<Opaque>,
        answer: &Answer,
        wire: &mut Wire,
    ) {
        let tag = format!("r{:016x}", self.chance.draw());
        let status = answer.row.status.number();
        let response = answer.write(request, &tag);
        self.respond(transaction, request, association, status, response, wire);
    }

    /// Sends a response, signed where the one who asked expects it.
    fn respond(
        &mut self,
        transaction: TransactionId,
        request: &Request,
        association: Option<Opaque>,
        status: u16,
        response: Bytes,
        wire: &mut Wire,
    ) {
        let metrics = &self.shared.metrics;
        metrics.request(request.method(), status);
        metrics
            .refusals
            .note(request, status, &response, wire.wall_ms());
        let (identity, now_ms) = (&self.shared.identity, wire.wall_ms());
        let response =
            identity.sign_response(association, request, response, &mut self.chance, now_ms);
        wire.respond(transaction, status, response);
    }

    fn unavailable(retry_after_s: u32) -> Answer {
        Answer::of(refusal::UNAVAILABLE).with("Retry-After", retry_after_s.to_string())
    }

    /// Who asks, where the operator wants to know: whether it may, and what it is answered with.
    fn identify(
        &mut self,
        incoming: &Incoming,
        wire: &mut Wire,
    ) -> (Option<Opaque>, Result<(), Answer>) {
        let Incoming { request, flow, .. } = incoming;
        let (transport, now_ms) = (flow.transport, wire.wall_ms());
        let identity = &self.shared.identity;
        let verdict = identity.check(request, transport, &mut self.chance, now_ms);
        let mut association = None;
        let mut handshake = false;
        let identified = match verdict {
            Verdict::Open => return (None, Ok(())),
            Verdict::Endpoint {
                user,
                association: by,
            } => {
                association = Some(by);
                Identified::Endpoint(user)
            }
            _ if !self.must_be_known(incoming) => return (None, Ok(())),
            Verdict::User(user) => Identified::User(user),
            Verdict::Handshake(challenge) => {
                handshake = true;
                Identified::Unproven(vec![challenge])
            }
            Verdict::Unproven(challenges) => Identified::Unproven(challenges),
        };
        let identified = dialect::identified(request, identified, &self.shared.policy);
        let identified = match identified {
            Err(answer) if !handshake => Err(self.challenge_once(request, flow, answer, wire)),
            other => other,
        };
        (association, identified)
    }

    /// Whether a request does what only a known user may do. An edge has asked those of other domains
    /// already, who have no password here.
    fn must_be_known(&self, Incoming { request, flow, .. }: &Incoming) -> bool {
        let policy = &self.shared.policy;
        match request.method() {
            Method::Register | Method::Publish | Method::Service => true,
            Method::Subscribe => {
                let from = Uri::parse(request.from().uri);
                let foreign = from.is_ok_and(|from| !policy.serves(from.host));
                !(foreign && policy.is_edge(flow.peer.ip()))
            }
            _ => false,
        }
    }

    /// The answer, but 403 and the end of the connection where a client repeats what was challenged before:
    /// it has not understood, and would never end.
    //= RFC 3261 22.2
    //# whoever answers a challenge raises CSeq, so a request that was challenged comes once
    fn challenge_once(
        &mut self,
        request: &Request,
        flow: &Flow,
        answer: Answer,
        wire: &mut Wire,
    ) -> Answer {
        if answer.row != refusal::UNAUTHORIZED
            || *request.method() == Method::Register
            || !flow.transport.is_reliable()
        {
            return answer;
        }
        let (number, cseq) = (flow.number, request.cseq());
        let method = request.method().as_str();
        let which = format!("{number} {cseq} {method} {}", request.call_id());
        if self.challenged.len() >= CHALLENGED_MAX {
            self.challenged.clear();
        }
        if self.challenged.insert(xxh3_64(which.as_bytes())) {
            return answer;
        }
        self.shared.metrics.rejected("challenge-ignored");
        // A connection with a proxy at its end is not this client's alone.
        if request.headers(Name::Via).count() == 1 {
            wire.close(flow);
        }
        Answer::of(refusal::NOT_SIGNED_IN)
    }

    /// Queues `command` for the shard of `slot`; `waiting` leaves with its outcome.
    fn propose(&mut self, shard: usize, key: RequestKey, ticket: Ticket, command: Command<'_>) {
        let gathering = &mut self.batches[shard];
        encode_request(
            &command::Request {
                key,
                ticket,
                command,
            },
            &mut gathering.encoded,
        );
        gathering.requests.push((ticket, gathering.encoded.len()));
    }

    /// Queues a command of our own.
    fn run_errand(&mut self, shard: usize, key: RequestKey, command: Command<'_>) {
        let ticket = self.errands.ticket();
        self.propose(shard, key, ticket, command);
    }

    /// Lets the courier choose, by where the shards are now, and proposes what it chose.
    fn carry(
        &mut self,
        wire: &mut Wire,
        choose: impl FnOnce(&mut Courier, &Ways<'_>, &mut dyn FnMut() -> Ticket) -> Vec<Carried>,
    ) {
        let routes = Arc::clone(&self.routes);
        let errands = &mut self.errands;
        let chosen = with_ways(&routes, self.routes_version, |ways| {
            choose(&mut self.courier, ways, &mut || errands.ticket())
        });
        for carried in chosen {
            let gathering = &mut self.batches[carried.shard];
            let key = parcel::key_of(carried.key.0, carried.key.1);
            let command = carried.parcel.command();
            encode_parcel(command, key, carried.ticket, &mut gathering.encoded);
            let end = gathering.encoded.len();
            gathering.requests.push((carried.ticket, end));
            if gathering.is_full() {
                self.submit(carried.shard, wire);
            }
        }
        if let Some(next) = self.courier.next() {
            wire.wake_at(next);
        }
    }

    /// Parcels have arrived wherever they were to: the logs that keep them are told.
    fn sign_for_parcels(&mut self) {
        let mut by_shard: BTreeMap<usize, Vec<ParcelKey>> = BTreeMap::new();
        for key in self.courier.take_arrived() {
            let shard = self.routes.shard_of(key.0);
            by_shard.entry(shard).or_default().push(key);
        }
        for (shard, parcels) in by_shard {
            let key =
                RequestKey(u128::from(self.chance.draw()) << 64 | u128::from(self.chance.draw()));
            self.run_errand(shard, key, Command::Delivered { parcels });
        }
    }

    /// A contact list is shown: its mirror is looked after, or it is moved where its client is ready.
    //= MS-PRES 3.10.4
    //# who subscribes with ms-ucs-ready is queued for the move, and answered as before it
    fn move_contacts(&mut self, request: &Request, ready: bool, shown: Option<&Shown>) {
        let (Some(store), Ok(to)) = (&self.shared.contact_store, Uri::parse(request.to().uri))
        else {
            return;
        };
        let address = dialect::address_of(&to);
        let custody = shown.and_then(|shown| match &shown.views.first()?.seen {
            Seen::Contacts { list, .. } => Some(list.custody),
            _ => None,
        });
        if custody != Some(Custody::Here) || ready {
            store.hint(&address);
        }
        if ready && custody.is_none_or(|custody| custody == Custody::Here) {
            let shard = self.routes.shard_of(Slot::of(&address));
            let key =
                RequestKey(u128::from(self.chance.draw()) << 64 | u128::from(self.chance.draw()));
            let command = Command::HandContactsOver {
                presentity: &address,
                from: Custody::Here,
                to: Custody::Queued,
            };
            self.run_errand(shard, key, command);
        }
    }

    /// Proposes the end of an endpoint whose connection was lost, and did not come back.
    fn lose(&mut self, lost: &Lost) {
        let shard = self.routes.shard_of(Slot::of(&lost.address));
        let key = RequestKey(u128::from(self.chance.draw()) << 64 | u128::from(self.chance.draw()));
        let command = Command::EndEndpoint {
            presentity: &lost.address,
            endpoint: lost.endpoint,
            target: &lost.target,
        };
        self.run_errand(shard, key, command);
    }

    /// Remembers which endpoint speaks over a connection, once it is registered.
    fn remember(
        &mut self,
        request: &Request,
        flow: &Flow,
        endpoints: &[shard::presence::endpoint::Endpoint],
        registered_at: Timestamp,
    ) {
        let own = enhanced_endpoint(request);
        let registered = endpoints
            .iter()
            .find(|endpoint| endpoint.endpoint_id == own);
        let (Some(own), Some(registered), true) = (own, registered, flow.transport.is_reliable())
        else {
            self.connected.remove(&flow.number);
            return;
        };
        let to = Uri::parse(request.to().uri);
        let lost = Lost {
            address: to.map_or_else(|_| String::new(), |to| dialect::address_of(&to)),
            endpoint: own,
            target: registered.target.to_vec(),
            registered_at,
            leaves: false,
        };
        self.connected.insert(flow.number, lost);
    }

    /// Remembers over which connection a BluStar client's dialog was made.
    fn listen(
        &mut self,
        request: &Request,
        flow: &Flow,
        local_tag: &str,
        slot: Slot,
        lives: bool,
        wire: &mut Wire,
    ) {
        let dialog = DialogKey::of(request.call_id(), local_tag, request.from_tag());
        let dialogs = self.listening.entry(flow.number).or_default();
        dialogs.retain(|known| known.dialog != dialog);
        let contact = self.contacts.of(wire.local_of(flow), flow.transport);
        let mut target = Vec::new();
        let node = self.shared.traffic.me();
        let written = Target::write_from(request, flow, node, contact, &mut target);
        if lives && written.is_ok() && dialogs.len() < DIALOGS_MAX {
            dialogs.push(LostDialog {
                slot,
                dialog,
                target,
            });
        }
        if dialogs.is_empty() {
            self.listening.remove(&flow.number);
        }
    }

    /// Proposes the end of a dialog whose connection was lost, and which was not refreshed over another one.
    //= BLUSTAR 2.3
    //# the subscriptions of a client that is gone without a word are released
    fn lose_dialog(&mut self, lost: &LostDialog) {
        let shard = self.routes.shard_of(lost.slot);
        let key = RequestKey(u128::from(self.chance.draw()) << 64 | u128::from(self.chance.draw()));
        let command = Command::LoseDialog {
            slot: lost.slot,
            dialog: lost.dialog,
            target: &lost.target,
        };
        self.run_errand(shard, key, command);
    }

    /// Hears a request: whether its endpoint is about to leave, and, once, how somebody is spoken to.
    fn hear(&mut self, incoming: &Incoming, profile: &Profile) {
        if let Some(connected) = self.connected.get_mut(&incoming.flow.number) {
            let request = &incoming.request;
            connected.leaves = *request.method() == Method::Subscribe
                && request.to_tag().is_some()
                && matches!(request.expires(), Ok(Some(0)));
        }
        if profile.dialect == Dialect::Rfc && !profile.configured {
            return;
        }
        let agent = incoming.request.header(Name::UserAgent).unwrap_or_default();
        let peer = incoming.flow.peer.ip();
        let hash = xxh3_64(format!("{} {peer} {agent}", profile.name).as_bytes());
        if self.heard.len() >= HEARD_MAX {
            self.heard.clear();
        }
        if self.heard.insert(hash) {
            self.shared.peers.hear(profile, peer, agent);
        }
    }

    /// 401 in BluStar's way, and in the other ways that there are (contradiction C-09).
    //= BLUSTAR 2.10
    //# the 401 carries the key in X-BSS-auth
    fn challenge_blustar(&mut self, incoming: &Incoming, key: String, wire: &mut Wire) {
        self.shared.metrics.rejected("blustar-unproven");
        let Incoming {
            request,
            flow,
            transaction,
            local,
        } = incoming;
        let now_ms = wire.wall_ms();
        let identity = &self.shared.identity;
        let challenges = identity.challenges(flow.transport, now_ms, false);
        let contact = self.contacts.of(*local, flow.transport);
        let mut answer = dialect::unauthorized(challenges)
            .with("Contact", format!("<{contact}>"))
            .with("X-BSS-auth", key);
        if let Ok(Some(expires)) = request.expires() {
            answer = answer.with("Expires", expires.to_string());
        }
        self.answer(*transaction, request, None, &answer, wire);
    }

    /// The directory has looked at the credentials of a request that waits.
    //= BLUSTAR 2.10
    //# good credentials open the service, bad ones get 401 again
    fn proven(&mut self, number: u64, proof: &Proof, wire: &mut Wire) {
        let place = self
            .proving
            .iter()
            .position(|(_, known, _)| *known == number);
        let Some((_, _, incoming)) = place.and_then(|place| self.proving.remove(place)) else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let identified = match proof {
            Proof::Wrong => {
                if let Some(login) = &shared.blustar_login {
                    let key = login.challenge(&incoming.request, &incoming.flow, &mut self.chance);
                    self.challenge_blustar(&incoming, key, wire);
                }
                return;
            }
            Proof::Unknown => Err(Endpoint::unavailable(LEADERLESS_S)),
            Proof::User(_) | Proof::Controller => {
                let address = blustar::speaks_for(&incoming.request, &*shared.users);
                let may = address.is_some_and(|address| proof.may_speak(&address, &*shared.users));
                may.then_some(())
                    .ok_or_else(|| Answer::of(refusal::NOT_YOURS))
            }
        };
        self.take(incoming, None, identified, wire);
    }

    /// A request whose sender is known as far as it has to be.
    fn take(
        &mut self,
        mut incoming: Incoming,
        association: Option<Opaque>,
        identified: Result<(), Answer>,
        wire: &mut Wire,
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let considered = identified
            .and_then(|()| encoding::decode(&mut incoming.request))
            .map_err(Unserved::from)
            .and_then(|()| self.consider(&incoming, None, None, &mut scratch, wire));
        self.scratch = scratch;
        let Incoming {
            request,
            flow,
            transaction,
            ..
        } = incoming;
        match considered {
            Err(Unserved::Answered(answer)) => {
                self.answer(transaction, &request, association, &answer, wire)
            }
            Err(Unserved::Ignored) => {
                self.shared.metrics.dropped("ignored");
                wire.ignore(transaction);
            }
            Ok((shard, what, aside)) => {
                let asks = !matches!(what, What::Outcome { .. });
                let since = wire.now();
                if self.waiting.is_empty() {
                    wire.wake_at(Millis(since.0 + BUDGET_MS));
                }
                let ticket = self.waiting.enter(Waiting {
                    transaction,
                    request,
                    flow,
                    shard,
                    admitted: shard,
                    routes: self.routes_version,
                    since,
                    next: Millis::default(),
                    what,
                    aside,
                    association,
                });
                if asks {
                    self.ask(ticket, wire);
                } else if self.batches[shard].is_full() {
                    self.submit(shard, wire);
                }
            }
        }
    }

    /// Hands what was gathered for a shard to its log.
    fn submit(&mut self, shard: usize, wire: &mut Wire) {
        let gathering = &mut self.batches[shard];
        let requests = gathering.encoded.split().freeze();
        let gathered = std::mem::take(&mut gathering.requests);
        let mut begin = 0;
        for (ticket, end) in &gathered {
            if self.courier.shard_of(*ticket).is_some() {
                // The courier has it.
            } else if Errands::is_one(*ticket) {
                let encoded = requests.slice(begin..*end);
                let look = self.errands.begin(*ticket, shard, encoded, wire.now());
                wire.wake_at(look);
            } else if let Some(Waiting {
                what: What::Outcome { encoded },
                ..
            }) = self.waiting.look(*ticket)
            {
                *encoded = requests.slice(begin..*end);
            }
            begin = *end;
        }
        let tickets: Vec<Ticket> = gathered.into_iter().map(|(ticket, _)| ticket).collect();
        self.submit_batch(shard, Batch { requests, tickets }, wire);
    }

    fn submit_batch(&mut self, shard: usize, batch: Batch, wire: &mut Wire) {
        let routes = Arc::clone(&self.routes);
        match routes.leader(shard) {
            Leader::Here(replica) => {
                if let Err(batch) = replica.proposer.submit(batch) {
                    for ticket in batch.tickets {
                        self.give_up(ticket, wire);
                    }
                }
            }
            Leader::There(node) => match self.shared.traffic.requests(node, shard as u16, &batch) {
                Ok(()) => self.ask_again_later(&batch.tickets, wire),
                Err(_) => self.not_there(shard, &batch.tickets, wire),
            },
            Leader::Nowhere => self.not_there(shard, &batch.tickets, wire),
        }
    }

    /// Nobody is known to lead a shard, or whoever did cannot be reached.
    fn not_there(&mut self, shard: usize, tickets: &[Ticket], wire: &mut Wire) {
        self.routes.hear(shard, None);
        self.retry_later(tickets, wire);
    }

    /// Tickets that another node has, of shards that somebody else leads by now. A link to a node that has
    /// stopped may be up for seconds; what waits there is asked of the new leader as soon as there is one.
    fn overtaken_abroad(&mut self) -> Vec<(Millis, Ticket)> {
        if self.abroad.is_empty() {
            return Vec::new();
        }
        let mut changed = Vec::new();
        for (shard, led_by) in self.led_by.iter_mut().enumerate() {
            let leader = match self.routes.leader(shard) {
                Leader::Here(_) => self.shared.traffic.me(),
                Leader::There(node) => node,
                Leader::Nowhere => 0,
            };
            if std::mem::replace(led_by, leader) != leader && leader != 0 {
                changed.push(shard);
            }
        }
        if changed.is_empty() {
            return Vec::new();
        }
        let (mut due, mut rest) = (Vec::new(), VecDeque::new());
        for (at, ticket) in self.abroad.drain(..) {
            match self.waiting.look(ticket) {
                Some(waiting) if changed.contains(&waiting.shard) => due.push((at, ticket)),
                Some(_) => rest.push_back((at, ticket)),
                None => {}
            }
        }
        self.abroad = rest;
        due
    }

    /// What another node has may be lost with it: it is asked again, under the same key.
    fn ask_again_later(&mut self, tickets: &[Ticket], wire: &mut Wire) {
        let at = Millis(wire.now().0 + ABROAD_MS);
        if self.abroad.is_empty() {
            wire.wake_at(Millis(wire.now().0 + RETRY_MS));
        }
        for ticket in tickets {
            if self.waiting.plan(*ticket, at) {
                self.abroad.push_back((at, *ticket));
            }
        }
    }

    /// Puts requests that found no leader aside for a moment.
    fn retry_later(&mut self, tickets: &[Ticket], wire: &mut Wire) {
        let at = Millis(wire.now().0 + RETRY_MS);
        for ticket in tickets {
            if self.waiting.plan(*ticket, at) {
                self.again.push_back((at, *ticket));
            }
        }
        wire.wake_at(at);
    }

    /// 503, to be tried again elsewhere or later.
    fn give_up(&mut self, ticket: Ticket, wire: &mut Wire) {
        let Some(waiting) = self.leave(ticket) else {
            return;
        };
        self.shared.metrics.rejected("no-outcome");
        let answer = Endpoint::unavailable(LEADERLESS_S);
        let Waiting {
            transaction,
            request,
            association,
            ..
        } = waiting;
        self.answer(transaction, &request, association, &answer, wire);
    }

    fn leave(&mut self, ticket: Ticket) -> Option<Waiting> {
        let waiting = self.waiting.leave(ticket)?;
        self.routes.reach(waiting.admitted).permits.give_back();
        Some(waiting)
    }

    /// What becomes of a request: the answer, or what it waits for (then a permit is taken, and a
    /// change is encoded for the ticket that comes next; or for the one it has, which has its permit).
    fn consider(
        &mut self,
        incoming: &Incoming,
        again: Option<Ticket>,
        base: Option<Option<&[u8]>>,
        scratch: &mut Scratch,
        wire: &mut Wire,
    ) -> Result<(usize, What, Aside), Unserved> {
        if self.draining && again.is_none() {
            return Err(Endpoint::unavailable(LEADERLESS_S).into());
        }
        let request = &incoming.request;
        let trusted = self.is_trusted(incoming.flow.peer.ip());
        let contact = self.contacts.of(incoming.local, incoming.flow.transport);
        let circumstances = Circumstances {
            policy: &self.shared.policy,
            flow: &incoming.flow,
            node: self.shared.traffic.me(),
            contact,
            chance: self.chance.draw(),
            map: self.routes.map(),
            trusted,
            profile: self
                .shared
                .policy
                .profiles
                .choose(request, &incoming.flow, incoming.local),
            users: &*self.shared.users,
            base,
            registered: self
                .connected
                .get(&incoming.flow.number)
                .map(|known| (known.endpoint, known.registered_at)),
        };
        match dialect::translate(request, &circumstances, scratch) {
            Translated::Answered(answer) => Err(answer.into()),
            Translated::Ignored => Err(Unserved::Ignored),
            Translated::Change {
                slot,
                command,
                grace,
                aside,
            } => {
                let shard = self.admit(slot, grace, again, wire)?;
                let method = request.method().as_str();
                let key = RequestKey::of(
                    request.from().uri,
                    request.from_tag(),
                    request.call_id(),
                    request.cseq(),
                    method,
                );
                let ticket = again.unwrap_or_else(|| self.waiting.next_ticket());
                self.propose(shard, key, ticket, command);
                Ok((
                    shard,
                    What::Outcome {
                        encoded: Bytes::new(),
                    },
                    aside,
                ))
            }
            Translated::Poll(poll, aside) => {
                let shard = self.admit(poll.slot, Grace::New, again, wire)?;
                Ok((shard, What::Poll(poll), aside))
            }
            Translated::Fetch(fetch) => {
                let shard = self.admit(fetch.slot, Grace::New, again, wire)?;
                let look = Box::new(Look::of(&fetch));
                Ok((shard, What::View(look), Aside::Nothing))
            }
            Translated::Patch {
                slot,
                presentity,
                package,
                tag,
            } => {
                let shard = self.admit(slot, Grace::New, again, wire)?;
                let presentity = presentity.to_owned();
                let base = What::Base {
                    presentity,
                    package,
                    tag,
                };
                Ok((shard, base, Aside::Nothing))
            }
            Translated::Doubtful {
                slot,
                presentity,
                package,
                tag,
                otherwise,
            } => {
                let shard = self.admit(slot, Grace::New, again, wire)?;
                let presentity = presentity.to_owned();
                Ok((
                    shard,
                    What::Doubt {
                        presentity,
                        package,
                        tag,
                        otherwise,
                    },
                    Aside::Nothing,
                ))
            }
        }
    }

    /// Whether a peer is believed when it says from which network a request came.
    fn is_trusted(&self, peer: IpAddr) -> bool {
        // Contradiction C-63: configured edges, and this very machine where nobody is asked anything.
        self.shared.policy.is_edge(peer) || self.shared.identity.is_open() && peer.is_loopback()
    }

    /// Takes a permit of the slot's shard.
    //= RFC 3261 21.5.4
    //# 503 with Retry-After tells a client to come back later, or to go elsewhere
    fn admit(
        &mut self,
        slot: Slot,
        grace: Grace,
        again: Option<Ticket>,
        wire: &Wire,
    ) -> Result<usize, Answer> {
        let shard = self.routes.shard_of(slot);
        if again.is_some() {
            return Ok(shard);
        }
        let permits = &self.routes.reach(shard).permits;
        // Where nobody waits, nobody is in the way.
        let age_ms = match permits.taken() {
            0 => 0,
            _ => self.paces[shard].age_ms(wire.now().0),
        };
        if permits.take(grace, age_ms) {
            return Ok(shard);
        }
        self.shared.metrics.rejected("overload");
        Err(Endpoint::unavailable(retry_after_s(self.chance.draw())))
    }

    /// Asks the machine what a request without a log entry waits for.
    //= RFC 6665 4.4.3
    //# a fetch shows the state as it is, so only a leader that a quorum heard may answer
    fn ask(&mut self, ticket: Ticket, wire: &mut Wire) {
        let Some(waiting) = self.waiting.look(ticket) else {
            return;
        };
        let shard = waiting.asked_shard(&self.routes);
        let Some(question) = waiting.what.question() else {
            return;
        };
        let routes = Arc::clone(&self.routes);
        let mut encoded = BytesMut::new();
        encode_question(&question, &mut encoded);
        match routes.leader(shard) {
            Leader::Here(replica) if replica.proposer.can_read() => {
                let workers = self.shared.workers.clone();
                let worker = usize::from(self.worker);
                let proposer = replica.proposer.clone();
                let job = Job::Read(Box::new(move |machine| {
                    let Some(question) = decode_question(&encoded) else {
                        return;
                    };
                    let answer = machine.look_up(&question);
                    // The process may have been stopped between the first look at the lease and this one.
                    if proposer.can_read() {
                        workers.deliver(worker, Mail::Found { ticket, answer });
                    } else {
                        workers.failed(&[ticket], &ProposeError::NotLeader { leader: None });
                    }
                }));
                if replica.runner.submit(job).is_err() {
                    self.retry_later(&[ticket], wire);
                }
            }
            Leader::Here(_) => self.retry_later(&[ticket], wire),
            Leader::There(node) => {
                let traffic = &self.shared.traffic;
                match traffic.ask(node, shard as u16, ticket, &encoded) {
                    Ok(()) => self.ask_again_later(&[ticket], wire),
                    Err(_) => self.not_there(shard, &[ticket], wire),
                }
            }
            Leader::Nowhere => self.not_there(shard, &[ticket], wire),
        }
    }

    /// The same for one whose shard has spoken.
    fn leave_answered(&mut self, ticket: Ticket, now: Millis) -> Option<Waiting> {
        let waiting = self.leave(ticket)?;
        self.paces[waiting.shard].answered(waiting.since.0, now.0);
        Some(waiting)
    }

    /// Tells the one who waits.
    fn reply(&mut self, ticket: Ticket, outcome: &Outcome, shown: Option<&Shown>, wire: &mut Wire) {
        if *outcome == Outcome::Moving {
            return self.wait_for_move(ticket, wire);
        }
        if Errands::is_one(ticket) {
            let (routes, now) = (Arc::clone(&self.routes), wire.now());
            let parcel = with_ways(&routes, self.routes_version, |ways| {
                self.courier.answered(ticket, ways, now)
            });
            match self.courier.next() {
                Some(next) if parcel => wire.wake_at(next),
                _ if parcel => {}
                _ => self.errands.done(ticket),
            }
            return;
        }
        let Some(waiting) = self.leave_answered(ticket, wire.now()) else {
            return;
        };
        let Waiting {
            transaction,
            request,
            flow,
            since,
            aside,
            association,
            ..
        } = waiting;
        self.shared.metrics.queue_delay_ms(wire.now().0 - since.0);
        if let (Outcome::Registered { endpoints, at, .. }, Aside::Registration) = (outcome, &aside)
        {
            self.remember(&request, &flow, endpoints, *at);
        }
        if let (
            Outcome::Subscribed { expires_s, .. } | Outcome::Piggybacked { expires_s, .. },
            Aside::Contacts { ready, .. },
        ) = (outcome, &aside)
            && *expires_s > 0
        {
            self.move_contacts(&request, *ready, shown);
        }
        let chance = self.chance.draw();
        let to_tag = format!("r{chance:016x}");
        if let Outcome::Subscribed {
            local_tag,
            expires_s,
        } = outcome
            && flow.transport.is_reliable()
        {
            let local = wire.local_of(&flow);
            let profile = self.shared.policy.profiles.choose(&request, &flow, local);
            if profile.dialect == Dialect::Blustar {
                let ours = local_tag.to_string();
                let tag = request.to_tag().unwrap_or(&ours);
                self.listen(&request, &flow, tag, local_tag.slot(), *expires_s > 0, wire);
            }
        }
        let here = Here {
            contact: self.contacts.of(wire.local_of(&flow), flow.transport),
            chance,
            ucs: self.shared.policy.enhanced.ucs,
        };
        let mut status = 200;
        let response = match outcome {
            Outcome::Published { tag, expires_s } => {
                let local = wire.local_of(&flow);
                let profile = self.shared.policy.profiles.choose(&request, &flow, local);
                //= BLUSTAR 4.3
                //# the answer to a PUBLISH names the server in Contact
                let contact = (profile.dialect == Dialect::Blustar).then_some(here.contact);
                simple::published(&request, &to_tag, *tag, *expires_s, contact)
            }
            Outcome::Subscribed {
                local_tag,
                expires_s,
            } if aside == Aside::Nothing && is_plain(&request) => simple::subscribed(
                &request,
                *local_tag,
                *expires_s,
                here.contact,
                &flow,
                &self.shared.policy.lists,
            ),
            Outcome::Subscribed {
                local_tag,
                expires_s,
            }
            | Outcome::Piggybacked {
                local_tag,
                expires_s,
                ..
            } => {
                let local_tag = local_tag.to_string();
                answer::subscribed(&request, &local_tag, *expires_s, shown, &aside, here)
            }
            Outcome::Unchanged { expires_s, .. } => {
                status = 204;
                simple::unchanged(&request, *expires_s, here.contact)
            }
            Outcome::Registered {
                endpoints,
                at,
                refreshed,
            } if aside == Aside::Registration => {
                let to = Uri::parse(request.to().uri);
                let address = to.map_or_else(|_| String::new(), |to| dialect::address_of(&to));
                let to_tag = register::tag_of(&request, endpoints).unwrap_or(to_tag);
                register::registered_enhanced(
                    &request, &to_tag, endpoints, *at, *refreshed, &address,
                )
            }
            Outcome::Registered { endpoints, at, .. } => {
                register::registered(&request, &to_tag, endpoints, *at)
            }
            Outcome::InstancesPublished(_) | Outcome::DelegatesSet | Outcome::Done => {
                answer::done(&request, &to_tag, shown)
            }
            Outcome::ContactsChanged(group) => answer::contacts_changed(&request, &to_tag, *group),
            Outcome::Conflict(conflicts) => {
                status = 409;
                let source = &self.shared.policy.domains[0];
                answer::conflict(&request, &to_tag, conflicts, shown, source)
            }
            Outcome::Refused(refusal) => {
                let answer = self.refused(&request, *refusal, flow, wire);
                return self.answer(transaction, &request, association, &answer, wire);
            }
            // Documents are kept for those who are no SIP client.
            Outcome::Ended | Outcome::Moving | Outcome::DocumentSet { .. } => return,
        };
        self.respond(transaction, &request, association, status, response, wire);
        if association.is_some() && register::signs_off(&request) {
            self.shared.identity.signed_off(&request.from());
        }
    }

    /// What the machine refused, with its diagnosis for those who read it.
    fn refused(
        &mut self,
        request: &Request,
        refusal: Refusal,
        flow: Flow,
        wire: &mut Wire,
    ) -> Answer {
        let row = refusal::of(refusal, request.method());
        let asks_anew = refusal == Refusal::EndpointNotRegistered
            && *request.method() == Method::Subscribe
            && !self.shared.identity.is_open();
        let answer = if asks_anew {
            // Contradiction C-66: where a challenge can be answered, the endpoint is told to begin anew.
            let (transport, now_ms) = (flow.transport, wire.wall_ms());
            let challenges = self.shared.identity.challenges(transport, now_ms, false);
            let answer = dialect::unauthorized(challenges);
            self.challenge_once(request, &flow, answer, wire)
        } else {
            Answer::of(row)
        };
        match refusal::diagnosis(refusal) {
            Some(diagnosis) => {
                let source = &self.shared.policy.domains[0];
                answer.with(diagnosis.name(), diagnosis.header(source))
            }
            None => answer,
        }
    }

    /// The slot of a request is on its way to another shard: it is asked for again in a moment. Errands come
    /// again by themselves.
    fn wait_for_move(&mut self, ticket: Ticket, wire: &mut Wire) {
        match self.waiting.look(ticket) {
            Some(_) if !Errands::is_one(ticket) => {}
            _ => {
                let soon = Millis(wire.now().0 + RETRY_MS);
                self.courier.met_a_move(ticket, soon);
                return wire.wake_at(soon);
            }
        }
        let at = Millis(wire.now().0 + MOVING_MS);
        self.moving.push_back((at, ticket));
        wire.wake_at(at);
    }

    /// Tries once more what met a slot on its way: where the map has changed since, it is translated anew,
    /// because who is served together may live apart now. It keeps its key: what was done is not done twice.
    fn try_elsewhere(&mut self, ticket: Ticket, wire: &mut Wire) {
        let version = self.routes_version;
        let Some(waiting) = self.waiting.look(ticket) else {
            return;
        };
        if waiting.routes == version {
            return self.try_again(ticket, wire);
        }
        waiting.routes = version;
        self.translate_again(ticket, None, wire);
    }

    /// Translates a request anew that waits: the routes are others, or what its patch is to be done to is known.
    fn translate_again(&mut self, ticket: Ticket, base: Option<Option<&[u8]>>, wire: &mut Wire) {
        let Some(waiting) = self.waiting.look(ticket) else {
            return;
        };
        let incoming = Incoming {
            request: waiting.request.clone(),
            flow: waiting.flow,
            local: wire.local_of(&waiting.flow),
            transaction: waiting.transaction,
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let considered = self.consider(&incoming, Some(ticket), base, &mut scratch, wire);
        self.scratch = scratch;
        match considered {
            Ok((shard, what, aside)) => {
                let asks = !matches!(what, What::Outcome { .. });
                if let Some(waiting) = self.waiting.look(ticket) {
                    (waiting.shard, waiting.what, waiting.aside) = (shard, what, aside);
                }
                if asks {
                    self.ask(ticket, wire);
                } else {
                    self.submit(shard, wire);
                }
            }
            Err(unserved) => {
                let Some(waiting) = self.leave(ticket) else {
                    return;
                };
                let Waiting {
                    transaction,
                    request,
                    association,
                    ..
                } = waiting;
                match unserved {
                    Unserved::Answered(answer) => {
                        self.answer(transaction, &request, association, &answer, wire);
                    }
                    Unserved::Ignored => wire.ignore(transaction),
                }
            }
        }
    }

    /// Proposes, or asks, once more.
    fn try_again(&mut self, ticket: Ticket, wire: &mut Wire) {
        let Some(Waiting { shard, what, .. }) = self.waiting.look(ticket) else {
            return;
        };
        let shard = *shard;
        match what {
            // The machine recognises a repeat by its key, so proposing twice has one effect (house D9).
            What::Outcome { encoded } => {
                let batch = Batch {
                    requests: encoded.clone(),
                    tickets: vec![ticket],
                };
                self.submit_batch(shard, batch, wire);
            }
            What::View(_) | What::Poll(_) | What::Doubt { .. } | What::Base { .. } => {
                self.ask(ticket, wire);
            }
        }
    }

    /// Requests came back from where they were sent; perhaps with a better address.
    fn redirected(&mut self, tickets: &[Ticket], leader: Option<NodeNumber>, wire: &mut Wire) {
        let mut heard = None;
        let soon = Millis(wire.now().0 + RETRY_MS);
        for ticket in tickets {
            let own = self.courier.shard_of(*ticket);
            let own = own.or_else(|| self.errands.shard_of(*ticket));
            let waiting = self.waiting.look(*ticket);
            let asked = waiting.map(|waiting| waiting.asked_shard(&self.routes));
            let Some(shard) = own.or(asked) else {
                continue;
            };
            if heard != Some(shard) {
                heard = Some(shard);
                self.routes.hear(shard, leader);
            }
            self.courier.refused(*ticket, soon);
        }
        self.retry_later(tickets, wire);
    }

    /// 412 if the publication is not there, else what was to be said.
    fn settle_doubt(&mut self, ticket: Ticket, lives: bool, wire: &mut Wire) {
        let Some(Waiting {
            transaction,
            request,
            association,
            what: What::Doubt { otherwise, .. },
            ..
        }) = self.leave_answered(ticket, wire.now())
        else {
            return;
        };
        let answer = if lives {
            otherwise
        } else {
            Answer::of(refusal::NO_MATCH)
        };
        self.answer(transaction, &request, association, &answer, wire);
    }

    /// Answers a poll: everything is in the 200.
    fn show_poll(&mut self, ticket: Ticket, shown: &Shown, wire: &mut Wire) {
        let Some(Waiting {
            what: What::Poll(poll),
            ..
        }) = self.waiting.look(ticket)
        else {
            return;
        };
        match poll.take(shown) {
            PollStep::Repeated => return,
            PollStep::Next => return self.ask(ticket, wire),
            PollStep::Done => {}
        }
        let Some(Waiting {
            transaction,
            request,
            flow,
            aside,
            association,
            what: What::Poll(poll),
            ..
        }) = self.leave_answered(ticket, wire.now())
        else {
            return;
        };
        let shown = &poll.found;
        //= MS-PRES 3.10.4
        //# after the move a client that says ms-ucs is shown no list, not even once
        if let Some(Seen::Contacts { list, ucs: true }) = shown.views.first().map(|view| &view.seen)
            && list.custody.is_elsewhere()
        {
            let answer = self.refused(&request, Refusal::ContactsMigrated, flow, wire);
            return self.answer(transaction, &request, association, &answer, wire);
        }
        let chance = self.chance.draw();
        let here = Here {
            contact: self.contacts.of(wire.local_of(&flow), flow.transport),
            chance,
            ucs: self.shared.policy.enhanced.ucs,
        };
        let to_tag = format!("r{chance:016x}");
        let response = answer::subscribed(&request, &to_tag, 0, Some(shown), &aside, here);
        self.respond(transaction, &request, association, 200, response, wire);
    }

    /// Answers a fetch: 200, and one NOTIFY that begins and ends its dialog.
    fn show(&mut self, ticket: Ticket, view: Arc<View>, wire: &mut Wire) {
        let Some(Waiting {
            transaction,
            request,
            flow,
            association,
            what: What::View(look),
            ..
        }) = self.leave_answered(ticket, wire.now())
        else {
            return;
        };
        let cause = if known(&view, &look) {
            Cause::Suppressed
        } else {
            Cause::Asked
        };
        let contact = self.contacts.of(wire.local_of(&flow), flow.transport);
        let response = simple::subscribed(
            &request,
            look.local_tag,
            0,
            contact,
            &flow,
            &self.shared.policy.lists,
        );
        self.respond(transaction, &request, association, 200, response, wire);
        let notice = Notice {
            dialog: DialogKey::of(
                request.call_id(),
                &look.local_tag.to_string(),
                request.from_tag(),
            ),
            slot: look.local_tag.slot(),
            delivery: Delivery::Notify,
            cseq: 1,
            format: look.format,
            state: SubscriptionState::Terminated(EndReason::Timeout),
            route: look.route.into(),
            target: look.target.into(),
            cause,
            terms: look.terms,
        };
        let settings = RenderSettings::of(&self.shared.policy);
        let rendering = Rendering::new(view, &settings);
        self.notify(&rendering, &notice, wire);
    }

    /// Refuses a fetch: the presentity's rules keep the watcher out.
    fn keep_out(&mut self, ticket: Ticket, wire: &mut Wire) {
        let Some(waiting) = self.leave_answered(ticket, wire.now()) else {
            return;
        };
        let answer = Answer::of(refusal::KEPT_OUT);
        let Waiting {
            transaction,
            request,
            association,
            ..
        } = waiting;
        self.answer(transaction, &request, association, &answer, wire);
    }

    /// Sends one NOTIFY.
    fn notify(&mut self, rendering: &Rendering, notice: &Notice, wire: &mut Wire) {
        let target = Target::split(&notice.target);
        let route = match notice.format {
            // A registration is a dialog of its own, and is kept where it is sent to.
            Format::Registration => target.and_then(|(_, behind)| DialogRoute::decode(behind)),
            _ => DialogRoute::decode(&notice.route),
        };
        let (Some(route), Some((target, _))) = (route, target) else {
            self.shared.metrics.dropped("illegible-route");
            return;
        };
        if !self.shared.traffic.is_alone()
            && self.overtaken.is(notice.dialog, notice.cseq, wire.now())
        {
            self.shared.metrics.dropped("overtaken");
            return;
        }
        // The node that the watcher spoke to is gone, or an earlier life of this one: it hears where we are.
        let foreign = target.node != 0 && target.node != self.shared.traffic.me();
        let contact = self
            .contacts
            .of(wire.local_of(&target.flow), target.flow.transport);
        let target = Target {
            contact: if foreign { contact } else { target.contact },
            ..target
        };
        let plain = notice.terms.is_none() && notice.cause != Cause::Suppressed;
        let body = if plain {
            Body::plain(notice.format, rendering.document(notice.format).clone())
        } else {
            let (nothing, gzip_above) = (Terms::default(), self.shared.policy.gzip_above);
            let terms = notice.terms.as_deref().unwrap_or(&nothing);
            match self.memory.dress(rendering, notice, terms, gzip_above) {
                Some(body) => body,
                None => return self.shared.metrics.dropped("no-trigger"),
            }
        };
        let (branch, via) = wire.via(&target.flow);
        let message = notify::write(&via, notice, &route, &target, &body, rendering.digest());
        let (identity, now_ms) = (&self.shared.identity, wire.wall_ms());
        let message = identity.sign_request(route.remote, message, &mut self.chance, now_ms);
        self.shared
            .metrics
            .notify_lag_ms(wire.wall_ms().saturating_sub(rendering.taken_at().0));
        let context = NoticeContext {
            dialog: notice.dialog,
            slot: notice.slot,
            ends: matches!(notice.state, SubscriptionState::Terminated(_)),
            cseq: if plain { 0 } else { notice.cseq },
        };
        //= MS-SIP 3.5
        //# BENOTIFY is never answered, and nobody waits for an answer
        if notice.delivery == Delivery::Benotify {
            wire.send(&target.flow, message);
            return;
        }
        // A document is the whole state; what other formats tell may be a part of it.
        let complete = match notice.format {
            Format::Pidf | Format::MsPidf | Format::Msrtc | Format::Pres => Complete::Yes,
            Format::DialogInfo | Format::DialogLamp | Format::MessageSummary => Complete::Yes,
            // What has just gone stands in it once.
            Format::RegInfo => Complete::No,
            // One dialog, and a document for each member of its list.
            Format::Blustar | Format::Rlmi | Format::RlmiDeflated => Complete::No,
            Format::Categories
            | Format::RoamingSelf
            | Format::RoamingContacts
            | Format::Watcherinfo
            | Format::Registration => Complete::No,
        };
        wire.send_request(&target.flow, branch, message, context.pack(), complete);
    }

    /// Sends a request of the node's own.
    fn ask_for(&mut self, asking: &Asking, wire: &mut Wire) {
        let flow = wire.flow_to(asking.transport, asking.peer);
        let contact = self.contacts.of(wire.local_of(&flow), flow.transport);
        let route = DialogRoute {
            call_id: &asking.call_id,
            local: &asking.local,
            remote: &asking.remote,
            event: "",
            route_set: &asking.route_set,
        };
        let target = Target {
            uri: &asking.target,
            contact,
            flow,
            node: 0,
        };
        let (branch, via) = wire.via(&flow);
        let mut out = BytesMut::with_capacity(1_024 + asking.lines.len());
        write_request(asking.method, &via, asking.cseq, &route, &target, &mut out);
        out.extend_from_slice(asking.lines.as_bytes());
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        let context = own_context(asking.whose);
        wire.send_request(&flow, branch, out.freeze(), context, Complete::No);
    }

    /// Proposes the end of a dialog whose watcher is not there any more.
    //= RFC 6665 4.2.2
    //# a NOTIFY that times out or is refused for good removes the subscription
    fn end_dialog(&mut self, context: NoticeContext) {
        let shard = self.routes.shard_of(context.slot);
        // One end per dialog is enough, however many notices failed.
        let key = RequestKey(context.dialog.0.rotate_left(64) ^ u128::from(self.chance.draw()));
        let command = Command::EndDialog {
            slot: context.slot,
            dialog: context.dialog,
            reason: EndReason::Unreachable,
        };
        self.run_errand(shard, key, command);
    }
}

/// Whether what a fetch would be shown is what its condition is about.
//= RFC 5839 6.2
//# a fetch whose condition is true is told that nothing changed, by a NOTIFY without a body
fn known(view: &View, look: &Look) -> bool {
    let tag = match look.condition {
        None => return false,
        Some(Condition::Any) => return true,
        Some(Condition::Is(tag)) => tag,
    };
    let terms = look.terms.as_deref().map_or(0, Terms::digest);
    tag::digest(view).map(|digest| tag::dressed(digest, look.format, terms)) == Some(tag)
}

/// Tells the courier where the shards are.
fn with_ways<T>(routes: &Routes, version: u64, then: impl FnOnce(&Ways<'_>) -> T) -> T {
    then(&Ways {
        version,
        count: routes.count(),
        moving: routes.map().moves().next().is_some(),
        shard_of: &|slot| routes.shard_of(slot),
        leads: &|shard| matches!(routes.leader(shard), Leader::Here(_)),
    })
}

/// Whether a SUBSCRIBE is one of RFC 6665, and nothing of an enhanced client's.
fn is_plain(request: &Request) -> bool {
    let event = request
        .header(Name::Event)
        .map(transport::sip::header::Event::parse);
    event.is_none_or(|event| dialect::events::is_standard(event.package))
}

/// What is remembered of a NOTIFY until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoticeContext {
    dialog: DialogKey,
    slot: Slot,
    /// Whether it was the dialog's last: then its failure means nothing.
    ends: bool,
    /// Its CSeq, where it matters whether it was confirmed; else 0.
    cseq: u32,
}

impl NoticeContext {
    fn pack(self) -> Context {
        Context(
            self.dialog.0,
            u64::from(self.slot.number())
                | (u64::from(self.ends) << 16)
                | (u64::from(self.cseq & !(1 << 31)) << 32),
        )
    }

    fn unpack(context: Context) -> NoticeContext {
        NoticeContext {
            dialog: DialogKey(context.0),
            slot: Slot::new(context.1 as u16).expect("pack wrote a slot"),
            ends: context.1 >> 16 & 1 != 0,
            cseq: (context.1 >> 32) as u32,
        }
    }
}

/// In the second number of a context: that the request is one of the node's own. No CSeq reaches this bit (RFC 3261
/// §8.1.1.5).
const OWN: u64 = 1 << 63;

fn own_context((whose, number): (u64, u32)) -> Context {
    Context(u128::from(whose), OWN | u64::from(number))
}

impl TransactionUser for Endpoint {
    type Mail = Mail;

    fn on_request(&mut self, incoming: Incoming, wire: &mut Wire) {
        self.look_at_the_map();
        let shared = Arc::clone(&self.shared);
        let (request, flow) = (&incoming.request, &incoming.flow);
        // A NOTIFY in a dialog is for whoever subscribed; one outside of any may be a voice mail server's.
        if *request.method() == Method::Notify
            && let Some(subscriber) = shared.subscriber.get()
            && let Some(answer) = subscriber.notified(request)
        {
            return self.answer(incoming.transaction, request, None, &answer, wire);
        }
        let profile = shared.policy.profiles.choose(request, flow, incoming.local);
        self.hear(&incoming, profile);
        // Contradiction C-09: who answers another challenge is looked at as everybody else.
        let digests = request
            .header(Name::Authorization)
            .is_some_and(|line| line.to_ascii_lowercase().starts_with("digest "));
        let login = shared.blustar_login.as_ref();
        if let Some(login) = login.filter(|_| shared.identity.is_open() || !digests) {
            let worker = usize::from(self.worker);
            match login.step(request, profile, flow, worker, &mut self.chance) {
                Step::NotAsked => {}
                Step::Challenge(key) => return self.challenge_blustar(&incoming, key, wire),
                Step::Asked(number) => {
                    let at = Millis(wire.now().0 + PROOF_MS);
                    self.proving.push_back((at, number, incoming));
                    return wire.wake_at(at);
                }
                Step::Busy => {
                    let later = Err(Endpoint::unavailable(LEADERLESS_S));
                    return self.take(incoming, None, later, wire);
                }
            }
        }
        let trusted = profile.publishes_for_others && *request.method() == Method::Publish;
        let (association, identified) = if trusted {
            (None, Ok(()))
        } else {
            self.identify(&incoming, wire)
        };
        self.take(incoming, association, identified, wire);
    }

    fn on_ended(&mut self, context: Context, ended: Ended, wire: &mut Wire) {
        if context.1 & OWN != 0 {
            if let Some(subscriber) = self.shared.subscriber.get() {
                subscriber.ended((context.0 as u64, context.1 as u32), ended);
            }
            return;
        }
        let context = NoticeContext::unpack(context);
        let (fate, over) = match ended {
            Ended::Response(response) => {
                let status = response.status();
                let taken = (200..300).contains(&status.number());
                if taken && context.cseq > 0 {
                    self.memory.confirmed(context.dialog, context.cseq);
                }
                let fate = if taken { Fate::Taken } else { Fate::Refused };
                (fate, notify::ends_subscription(status))
            }
            Ended::Timeout => (Fate::Unanswered, true),
            // The watcher may come back before its subscription expires, and refresh it.
            Ended::Unreachable => (Fate::Unreachable, false),
            Ended::Replaced => (Fate::Replaced, false),
        };
        self.shared.metrics.notified(fate);
        let (before, now) = (self.unheard.count(), wire.now());
        match fate {
            Fate::Unreachable if !context.ends => self.unheard.missed(context.dialog, now),
            // The newer one says whether anybody is there.
            Fate::Replaced => {}
            _ => self.unheard.settled(context.dialog, now),
        }
        self.shared.metrics.unheard(before, self.unheard.count());
        if over && !context.ends {
            self.shared.metrics.dropped("watcher-gone");
            self.end_dialog(context);
        }
    }

    fn on_stray(&mut self, response: Response) -> bool {
        let subscriber = self.shared.subscriber.get();
        let sender = subscriber.and_then(|subscriber| subscriber.sender_of(&response));
        // Its own it would have known: that transaction is over.
        match sender.filter(|sender| *sender != usize::from(self.worker)) {
            Some(sender) => {
                let mail = Mail::Strayed(Box::new(response));
                self.shared.workers.pass(sender, mail)
            }
            None => false,
        }
    }

    fn on_mail(&mut self, mail: Mail, wire: &mut Wire) {
        self.look_at_the_map();
        match mail {
            Mail::Effects(deeds) => {
                for deed in deeds {
                    match deed {
                        Deed::Reply {
                            ticket,
                            outcome,
                            shown,
                        } => self.reply(ticket, &outcome, shown.as_deref(), wire),
                        Deed::Notify { rendering, notices } => {
                            for notice in &notices {
                                self.notify(&rendering, notice, wire);
                            }
                        }
                        Deed::Send {
                            slot,
                            number,
                            parcel,
                        } => {
                            let (key, now) = ((slot, number), wire.now());
                            self.carry(wire, |courier, ways, ticket| {
                                courier.take(key, parcel, ways, now, ticket)
                            });
                        }
                    }
                }
            }
            Mail::Found { ticket, answer } => match answer {
                Found::View(view) => self.show(ticket, view, wire),
                Found::Shown(shown) => self.show_poll(ticket, &shown, wire),
                Found::Holds(lives) => self.settle_doubt(ticket, lives, wire),
                Found::KeptOut => self.keep_out(ticket, wire),
                // Nobody here asks for documents.
                Found::Document(_) => {}
                Found::Content(stored) => {
                    let waiting = self.waiting.look(ticket);
                    if waiting.is_some_and(|waiting| matches!(waiting.what, What::Base { .. })) {
                        self.translate_again(ticket, Some(stored.as_deref()), wire);
                    }
                }
                Found::Moving => self.wait_for_move(ticket, wire),
            },
            Mail::Failed { tickets, error } => match error {
                ProposeError::NotLeader { leader } => self.redirected(&tickets, leader, wire),
                ProposeError::Unavailable => self.retry_later(&tickets, wire),
                ProposeError::Overloaded => tickets
                    .into_iter()
                    .for_each(|ticket| self.give_up(ticket, wire)),
            },
            Mail::Proven { number, proof } => self.proven(number, &proof, wire),
            Mail::Ask(asking) => self.ask_for(&asking, wire),
            Mail::Strayed(response) => {
                if let Some(context) = wire.claim(&response) {
                    self.on_ended(context, Ended::Response(response), wire);
                }
            }
            Mail::Drain => self.draining = true,
        }
    }

    //= MS-SIPREGE 3.2.2.5
    //# an endpoint whose connection is gone is as good as expired, after a while
    fn on_closed(&mut self, flow: Flow, wire: &mut Wire) {
        // A plain telephone's dialog outlives its connection: it comes back and refreshes, or it expires.
        let at = Millis(wire.now().0 + GRACE_MS);
        match self.connected.remove(&flow.number) {
            // SIPE ends its subscriptions, withdraws its registration and closes, all in a moment and without having
            // read what it was answered: its system then resets the connection, and throws away what it had not sent
            // yet, which may be that last word.
            Some(lost) if lost.leaves => self.lose(&lost),
            Some(lost) => {
                self.lost.push_back((at, lost));
                wire.wake_at(at);
            }
            None => {}
        }
        if let Some(lost) = self.listening.remove(&flow.number) {
            self.lost_dialogs
                .extend(lost.into_iter().map(|lost| (at, lost)));
            wire.wake_at(at);
        }
    }

    fn on_wake(&mut self, wire: &mut Wire) {
        self.look_at_the_map();
        let now = wire.now();
        while let Some((ticket, since)) = self.waiting.oldest() {
            if now.0 < since.0 + BUDGET_MS {
                wire.wake_at(Millis(since.0 + BUDGET_MS));
                break;
            }
            self.give_up(ticket, wire);
        }
        while self.lost.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, lost)) = self.lost.pop_front() {
                self.lose(&lost);
            }
        }
        if let Some((at, _)) = self.lost.front() {
            wire.wake_at(*at);
        }
        while self.lost_dialogs.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, lost)) = self.lost_dialogs.pop_front() {
                self.lose_dialog(&lost);
            }
        }
        if let Some((at, _)) = self.lost_dialogs.front() {
            wire.wake_at(*at);
        }
        while self.proving.front().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, _, incoming)) = self.proving.pop_front() {
                self.take(
                    incoming,
                    None,
                    Err(Endpoint::unavailable(LEADERLESS_S)),
                    wire,
                );
            }
        }
        if let Some((at, ..)) = self.proving.front() {
            wire.wake_at(*at);
        }
        let mut due = self.overtaken_abroad();
        for queue in [&mut self.again, &mut self.abroad] {
            let count = queue.partition_point(|(at, _)| *at <= now);
            due.extend(queue.drain(..count));
            if let Some((at, _)) = queue.front() {
                wire.wake_at(*at);
            }
        }
        if !self.abroad.is_empty() {
            wire.wake_at(Millis(now.0 + RETRY_MS));
        }
        for (at, ticket) in due {
            // One that came back meanwhile, or was sent again, is tried at another time.
            let planned = self.waiting.look(ticket).map(|waiting| waiting.next);
            if planned == Some(at) {
                self.try_again(ticket, wire);
            }
        }
        while self.moving.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, ticket)) = self.moving.pop_front() {
                self.try_elsewhere(ticket, wire);
            }
        }
        if let Some((at, _)) = self.moving.front() {
            wire.wake_at(*at);
        }
        self.carry(wire, |courier, ways, ticket| courier.due(ways, now, ticket));
        let (errands, next) = self.errands.due(now);
        if let Some(next) = next {
            wire.wake_at(next);
        }
        for (shard, ticket, requests) in errands {
            // Its slot may have moved since.
            let shard = home_of(&requests).map_or(shard, |slot| self.routes.shard_of(slot));
            let batch = Batch {
                requests,
                tickets: vec![ticket],
            };
            self.submit_batch(shard, batch, wire);
        }
    }

    fn end_of_turn(&mut self, wire: &mut Wire) {
        self.sign_for_parcels();
        for shard in 0..self.batches.len() {
            if !self.batches[shard].requests.is_empty() {
                self.submit(shard, wire);
            }
        }
    }
}

impl Gathering {
    /// Whether one log entry could not hold more (house §4, step 7).
    fn is_full(&self) -> bool {
        self.requests.len() >= ENTRY_REQUESTS_MAX || self.encoded.len() >= ENTRY_BYTES_MAX
    }
}

/// Our own URIs, as Contacts show them: one per socket, written once.
#[derive(Default)]
struct Contacts {
    known: Vec<(SocketAddr, Transport, String)>,
}

impl Contacts {
    fn of(&mut self, local: SocketAddr, transport: Transport) -> &str {
        let place = self
            .known
            .iter()
            .position(|(address, by, _)| *address == local && *by == transport);
        let place = place.unwrap_or_else(|| {
            // A socket on all addresses has a handful of them.
            if self.known.len() >= 64 {
                self.known.clear();
            }
            let text = format!("sip:{local}{}", transport.uri_parameter());
            self.known.push((local, transport, text));
            self.known.len() - 1
        });
        &self.known[place].2
    }
}
