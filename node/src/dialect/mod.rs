//! The ways of speaking presence: one file each, and the table that tells them apart.
//!
//! A dialect turns a request into a typed [`Command`] (or a question, or an answer at once), and an
//! outcome into a response. It is pure: the clock, chance and the flow are told by the caller, and
//! nothing here sends anything.

pub mod answer;
pub mod blustar;
pub mod enhanced;
pub mod feed;
mod lists;
pub mod policy;
pub mod profile;
pub mod refusal;
pub mod register;
pub mod simple;
mod voice_mail;

use shard::category::Category;
use shard::machine::command::{Command, Extras};
use shard::machine::crossing::Question;
use shard::machine::effect::Shown;
use shard::presence::container::Network;
use shard::presence::endpoint_id::EndpointId;
use shard::presence::publication::EntityTag;
use shard::slot::Slot;
use shard::subscription::dialog::{Away, Format, LocalTag, Package};
use shard::subscription::watch::{Action, Origin, Resource, Scope, Wish};
use shard::time::Timestamp;
use transport::flow::Flow;
use transport::sip::uri::{Scheme, Uri};
use transport::sip::{Method, Name, Request};

pub use answer::Answer;
pub use enhanced::Aside;
pub use policy::Policy;

use crate::directory::Users;
use crate::peer::NodeNumber;
use crate::pool::map::PoolMap;

/// The methods a presence server answers with something else than 405 or 501.
pub const ALLOW: &str = "OPTIONS, REGISTER, PUBLISH, SUBSCRIBE, NOTIFY, SERVICE";

/// The event packages there are, for Allow-Events; without blanks, for the sake of clients that take them
/// for part of a name.
pub const ALLOW_EVENTS: &str = "presence,vnd-microsoft-roaming-contacts,vnd-microsoft-roaming-self,vnd-microsoft-provisioning-v2";

/// The option tags that a Require may hold: Path (RFC 3327) is understood and stored.
const SUPPORTED: [&str; 3] = ["path", lists::OPTION_TAG, "eventlist"];

/// What the caller knows and a dialect may not ask for itself.
#[derive(Debug)]
pub struct Circumstances<'c> {
    /// What the operator decided.
    pub policy: &'c Policy,
    /// What the request came in by.
    pub flow: &'c Flow,
    /// This node, which has the flow.
    pub node: NodeNumber,
    /// Our own URI on the socket it came to, for a Contact: `sip:192.0.2.1:5060;transport=tcp`.
    pub contact: &'c str,
    /// 64 bits that nobody can guess, fresh for this request.
    pub chance: u64,
    /// Which shard holds what.
    pub map: &'c PoolMap,
    /// Whether what the request says of its source network is believed (contradiction C-63).
    pub trusted: bool,
    /// How the one who asks is spoken to.
    pub profile: &'c profile::Profile,
    /// Who is a user of this deployment.
    pub users: &'c dyn Users,
    /// Which endpoint registered over this connection, and when by its shard's clock.
    pub registered: Option<(EndpointId, Timestamp)>,
}

impl Circumstances<'_> {
    /// Whether somebody of this canonical address, in a domain of ours, is a user.
    fn knows(&self, address: &str) -> bool {
        self.users.knows(address)
    }

    /// What we call ourselves in diagnostics.
    fn source(&self) -> &str {
        &self.policy.domains[0]
    }
}

/// Buffers that one worker uses again for each request, so that translating allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    presentity: String,
    watcher: String,
    content: Vec<u8>,
    route: Vec<u8>,
    target: Vec<u8>,
    path: String,
    names: Vec<String>,
    /// Entries of a list: as they were written, whose they are, where their state is.
    entries: Vec<(String, String, Origin)>,
}

/// What a request comes to.
#[derive(Debug)]
pub enum Translated<'s> {
    /// A change: through the log of the slot's shard.
    Change {
        /// Where.
        slot: Slot,
        /// What.
        command: Command<'s>,
        /// How gladly it is done under load (house D12).
        grace: Grace,
        /// What to keep until it is answered.
        aside: Aside,
    },
    /// A poll of an enhanced client: answered by the leader's machine without a log entry, in the 200.
    Poll(Box<Poll>, Aside),
    /// A fetch: answered by the leader's machine without a log entry (house §5).
    Fetch(Fetch<'s>),
    /// The request is refused, but with 412 if its entity-tag names nothing: RFC 3903 §6 has that
    /// come first, and only the machine knows.
    Doubtful {
        /// Where.
        slot: Slot,
        /// Whose publication.
        presentity: &'s str,
        /// Of which package.
        package: Package,
        /// Which version.
        tag: EntityTag,
        /// What to say if it exists.
        otherwise: Answer,
    },
    /// Answered at once.
    Answered(Answer),
    /// Not answered at all.
    Ignored,
}

/// One look at a presentity, told in one NOTIFY.
#[derive(Debug)]
pub struct Fetch<'s> {
    /// Where.
    pub slot: Slot,
    /// Whose state.
    pub presentity: &'s str,
    /// Of which package.
    pub package: Package,
    /// The document asked for.
    pub format: Format,
    /// Our tag of the dialog that lives for one NOTIFY.
    pub local_tag: LocalTag,
    /// As in [`shard::subscription::dialog::Dialog::route`].
    pub route: &'s [u8],
    /// As in [`shard::subscription::dialog::Dialog::target`].
    pub target: &'s [u8],
}

/// One look at something, told in the 200.
#[derive(Clone, Debug)]
pub struct Poll {
    /// Where.
    pub slot: Slot,
    /// Whose, or the home that a dialog would have.
    pub home: String,
    /// Who looks.
    pub watcher: String,
    /// From where.
    pub network: Network,
    /// The document asked for.
    pub format: Format,
    /// What is looked at.
    pub wish: PollWish,
    /// What is looked at in other shards afterwards: a slot of each, addresses and categories.
    pub elsewhere: Vec<(Slot, Vec<Looked>)>,
    /// What was found so far.
    pub found: Shown,
}

/// Addresses, and the categories that are wanted of them.
pub type Looked = (Vec<String>, Vec<Category>);

/// What is looked at.
#[derive(Clone, Debug)]
pub enum PollWish {
    /// The presentity's document.
    Document,
    /// One's own data.
    Own(Scope),
    /// One's own contacts, by a client that knows of a mail server's store or not.
    Contacts(bool),
    /// Categories of many: addresses and categories.
    Categories(Vec<(Vec<String>, Vec<Category>)>),
}

/// How a poll goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollStep {
    /// It was an answer to an earlier question.
    Repeated,
    /// Another shard is to be asked.
    Next,
    /// Everything was found.
    Done,
}

impl Poll {
    /// What must be kept of a subscription that only looks.
    #[must_use]
    pub fn of(slot: Slot, home: &str, watcher: &str, format: Format, extras: &Extras<'_>) -> Poll {
        let wish = match &extras.wish {
            Wish::Document | Wish::Same | Wish::List { .. } => PollWish::Document,
            Wish::Own(scope) => PollWish::Own(*scope),
            Wish::Contacts(ucs) => PollWish::Contacts(*ucs),
            Wish::Categories(actions) => PollWish::Categories(
                actions
                    .iter()
                    .filter(|action| action.subscribe)
                    .map(|action| {
                        let addresses = action.resources.iter().map(|r| r.address.to_owned());
                        (addresses.collect(), action.categories.clone())
                    })
                    .collect(),
            ),
        };
        Poll {
            slot,
            home: home.to_owned(),
            watcher: watcher.to_owned(),
            network: extras.network,
            format,
            wish,
            elsewhere: Vec::new(),
            found: Shown::default(),
        }
    }

    /// The same, which looks in other shards as well: at what is watched there.
    #[must_use]
    pub fn with_elsewhere(mut self, extras: &Extras<'_>, map: &PoolMap) -> Poll {
        for resource in &extras.abroad.resources {
            let Away::Watch(categories) = &resource.deed else {
                continue;
            };
            let slot = Slot::of(resource.address);
            let looked = (vec![resource.address.to_owned()], categories.clone());
            let same = |(other, _): &&mut (Slot, _)| map.shard_of(*other) == map.shard_of(slot);
            match self.elsewhere.iter_mut().find(same) {
                Some((_, all)) => all.push(looked),
                None => self.elsewhere.push((slot, vec![looked])),
            }
        }
        self
    }

    /// Takes what was found in one shard; tells whether another one is to be asked now. What comes twice,
    /// because it was asked for twice, is not taken.
    pub fn take(&mut self, shown: &Shown) -> PollStep {
        if let PollWish::Categories(actions) = &self.wish {
            let asked = actions.iter().flat_map(|(addresses, _)| addresses);
            let found = shown.views.iter().map(|view| view.presentity.as_str());
            if !asked.map(String::as_str).eq(found) {
                return PollStep::Repeated;
            }
        }
        self.found.cseq = self.found.cseq.max(shown.cseq);
        self.found.views.extend(shown.views.iter().cloned());
        self.found
            .over_quota
            .extend(shown.over_quota.iter().cloned());
        match self.elsewhere.pop() {
            Some((slot, wish)) => {
                (self.slot, self.wish) = (slot, PollWish::Categories(wish));
                PollStep::Next
            }
            None => PollStep::Done,
        }
    }

    /// The question that is put to the machine.
    #[must_use]
    pub fn question(&self) -> Question<'_> {
        let wish = match &self.wish {
            PollWish::Document => Wish::Document,
            PollWish::Own(scope) => Wish::Own(*scope),
            PollWish::Contacts(ucs) => Wish::Contacts(*ucs),
            PollWish::Categories(actions) => Wish::Categories(
                actions
                    .iter()
                    .map(|(addresses, categories)| Action {
                        subscribe: true,
                        resources: addresses
                            .iter()
                            .map(|address| Resource {
                                address,
                                context: None,
                            })
                            .collect(),
                        categories: categories.clone(),
                    })
                    .collect(),
            ),
        };
        Question::Look {
            home: &self.home,
            watcher: &self.watcher,
            network: self.network,
            format: self.format,
            wish,
        }
    }
}

/// What is given up first when there is too much to do (house D12). The order is the rule: what ends
/// something relieves us, what keeps something was promised, what is new can come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grace {
    /// Creates state.
    New,
    /// Keeps state.
    Refresh,
    /// Ends state.
    End,
}

/// Turns a request into what it comes to.
pub fn translate<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Translated<'s> {
    if let Some(answer) = refuse_any(request) {
        return Translated::Answered(answer);
    }
    let translated = match request.method() {
        Method::Publish => simple::publish(request, circumstances, scratch),
        Method::Subscribe => simple::subscribe(request, circumstances, scratch),
        Method::Register => register::register(request, circumstances, scratch),
        Method::Service => enhanced::service(request, circumstances, scratch),
        Method::Options => options(request),
        Method::Notify => voice_mail::notify(request, circumstances, scratch),
        other => Err(not_ours(other, request.to_tag().is_some())),
    };
    translated.unwrap_or_else(Translated::Answered)
}

/// Whether the one who asks may ask this.
///
/// # Errors
/// 401 with the challenges, or 403 when an authenticated user speaks for somebody else.
//= RFC 3261 22.2
//# 401 carries a challenge; a user may speak for its own address only
pub fn identified(request: &Request, verdict: Identified, policy: &Policy) -> Result<(), Answer> {
    let speaks_for = match request.method() {
        Method::Register => request.to().uri,
        Method::Publish => request.uri(),
        _ => request.from().uri,
    };
    match verdict {
        Identified::Anybody => Ok(()),
        Identified::User(user) => {
            let own = Uri::parse(speaks_for).is_ok_and(|uri| policy.is_own(&uri, &user));
            own.then_some(())
                .ok_or_else(|| Answer::of(refusal::NOT_YOURS))
        }
        //= MS-PRES 3.2.5.4
        //# the address in From is the one that was authenticated
        Identified::Endpoint(user) => {
            let proven = canonical_address(&user);
            let own = |uri: &str| proven.is_some() && canonical_address(uri) == proven;
            if own(request.from().uri) && own(speaks_for) {
                return Ok(());
            }
            let diagnosis = enhanced::diagnostics::NOT_YOURS.header(&policy.domains[0]);
            Err(Answer::of(refusal::NOT_YOURS).with("ms-diagnostics", diagnosis))
        }
        Identified::Unproven(challenges) if challenges.is_empty() => {
            Err(Answer::of(refusal::NO_SCHEME))
        }
        Identified::Unproven(challenges) => Err(unauthorized(challenges)),
    }
}

/// 401 with these challenges.
#[must_use]
pub fn unauthorized(challenges: Vec<String>) -> Answer {
    let answer = Answer::of(refusal::UNAUTHORIZED);
    challenges.into_iter().fold(answer, |answer, challenge| {
        answer.with("WWW-Authenticate", challenge)
    })
}

/// What is known of the one who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identified {
    /// Nobody is asked who they are.
    Anybody,
    /// The user of this name, proven.
    User(String),
    /// The user of this URI, proven.
    Endpoint(String),
    /// Not proven: the challenges, most preferred first; none where the transport allows none.
    Unproven(Vec<String>),
}

/// The canonical address of a URI, whatever its domain.
fn canonical_address(uri: &str) -> Option<String> {
    Uri::parse(uri).ok().map(|uri| address_of(&uri))
}

/// What RFC 3261 asks of a request before its method matters.
fn refuse_any(request: &Request) -> Option<Answer> {
    //= RFC 3261 8.2.2.3
    //# a Require that names something unknown gets 420 with Unsupported
    let unknown: Vec<&str> = request
        .values(Name::Require)
        .chain(request.values(Name::ProxyRequire))
        .filter(|tag| {
            let known = SUPPORTED.iter().chain(&enhanced::OPTION_TAGS);
            !known
                .into_iter()
                .any(|known| known.eq_ignore_ascii_case(tag))
        })
        .collect();
    if !unknown.is_empty() {
        return Some(Answer::of(refusal::BAD_EXTENSION).with("Unsupported", unknown.join(", ")));
    }
    //= RFC 3261 16.3
    //# Max-Forwards 0 gets 483, but an OPTIONS may be answered
    if request.max_forwards() == 0 && *request.method() != Method::Options {
        return Some(Answer::of(refusal::TOO_MANY_HOPS));
    }
    None
}

/// OPTIONS: what we can do (RFC 3261 §11). Also what proxies ask to see whether we live.
fn options(request: &Request) -> Result<Translated<'static>, Answer> {
    if request.to_tag().is_some() {
        return Err(Answer::of(refusal::NO_DIALOG));
    }
    Ok(Translated::Answered(
        Answer::of(refusal::OK)
            .with("Allow", ALLOW)
            .with("Accept", simple::PIDF)
            .with("Allow-Events", ALLOW_EVENTS)
            .with("Supported", SUPPORTED.join(", ")),
    ))
}

/// Methods a presence server does not do.
fn not_ours(method: &Method, in_dialog: bool) -> Answer {
    match method {
        //= RFC 3261 12.2.2
        //# a request inside a dialog that does not exist gets 481
        _ if in_dialog => Answer::of(refusal::NO_DIALOG),
        Method::Bye => Answer::of(refusal::NO_DIALOG),
        //= RFC 3261 8.2.1
        //# a method that is known but not supported gets 405 with Allow
        Method::Invite
        | Method::Message
        | Method::Info
        | Method::Refer
        | Method::Update
        | Method::Prack => Answer::of(refusal::METHOD_NOT_ALLOWED).with("Allow", ALLOW),
        _ => Answer::of(refusal::NOT_IMPLEMENTED).with("Allow", ALLOW),
    }
}

/// The canonical address (see [`shard::slot::Aor`]) that `text` names, written to `out`.
///
/// # Errors
/// 400 or 416 when `text` is not a URI we serve, 404 or 403 when its domain is not ours.
fn address(text: &str, policy: &Policy, out: &mut String) -> Result<(), Answer> {
    let uri = Uri::parse(text).map_err(|error| Answer::of_parse(&error))?;
    if uri.scheme != Scheme::Tel && !policy.serves(uri.host) {
        return Err(Answer::of(policy.foreign));
    }
    canonical(&uri, out);
    Ok(())
}

/// The canonical address of a watcher, who may be of any domain.
///
/// # Errors
/// 400 or 416 when `text` is not a URI.
fn foreign_address(text: &str, out: &mut String) -> Result<(), Answer> {
    let uri = Uri::parse(text).map_err(|error| Answer::of_parse(&error))?;
    canonical(&uri, out);
    Ok(())
}

fn canonical(uri: &Uri<'_>, out: &mut String) {
    out.clear();
    match uri.scheme {
        Scheme::Tel => shard::slot::write_tel(uri.user, out),
        Scheme::Sip | Scheme::Sips | Scheme::Pres => {
            shard::slot::write_sip(&uri.user_unescaped(), uri.host, out);
        }
    }
}

/// The canonical address of a URI.
#[must_use]
pub fn address_of(uri: &Uri<'_>) -> String {
    let mut out = String::new();
    canonical(uri, &mut out);
    out
}

/// The package of an Event header, any letter case.
///
/// # Errors
/// 489 with Allow-Events when it is missing or unknown.
fn package(request: &Request) -> Result<Package, Answer> {
    let event = request
        .header(Name::Event)
        .map(transport::sip::header::Event::parse);
    match event {
        Some(event) if event.package.eq_ignore_ascii_case("presence") => Ok(Package::Presence),
        _ => Err(Answer::of(refusal::BAD_EVENT).with("Allow-Events", ALLOW_EVENTS)),
    }
}
