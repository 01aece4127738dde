//! MS-PRES: enhanced presence, from a SERVICE or SUBSCRIBE to a command, and from an outcome to what these
//! clients read.

pub mod answer;
mod category_subscribe;
mod contacts;
mod containers;
mod delegates;
pub mod diagnostics;
mod provisioning;
mod publish;
mod search;
mod self_subscribe;
mod subscribers;

use shard::document::DocumentError;
use shard::document::provisioning::Group;
use shard::document::rlmi::Rejection;
use shard::presence::container::Network;
use shard::presence::endpoint_id::EndpointId;
use shard::presence::limits::{BATCH_CATEGORIES_MAX, WATCHERS_MAX};
use shard::subscription::dialog::Delivery;
use transport::flow::Flow;
use transport::sip::header::MediaType;
use transport::sip::uri::Uri;
use transport::sip::{Method, Name, Request, gruu};

use super::{Answer, Circumstances, Scratch, Translated, canonical, refusal};
use crate::config::Hints;

pub(super) use category_subscribe::is_for_categories;

/// Option tags of these clients that a Proxy-Require or Require may hold.
pub(super) const OPTION_TAGS: [&str; 6] = [
    "ms-benotify",
    "adhoclist",
    "categoryList",
    "eventlist",
    "ms-piggyback-first-notify",
    "gruu-10",
];

const ROAMING_CONTACTS: &str = "vnd-microsoft-roaming-contacts";
const ROAMING_SELF: &str = "vnd-microsoft-roaming-self";

/// The event packages beside `presence`.
const PACKAGES: [&str; 3] = [
    ROAMING_CONTACTS,
    ROAMING_SELF,
    "vnd-microsoft-provisioning-v2",
];

/// What the operator decided about enhanced presence.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pool's name in its own GRUUs: the user part.
    pub pool: String,
    /// What a batch says of resources in other shards.
    pub hints: Hints,
    /// Whether names of categories that nobody registered may be published.
    pub unregistered: bool,
    /// Names registered beside those of the table.
    pub registered: Vec<String>,
    /// Bytes of one publication.
    pub publication_bytes: usize,
    /// Bytes of a category over all its instances.
    pub category_bytes: u32,
    /// Members over all containers.
    pub members: u32,
    /// Delegates of a user.
    pub delegates: u32,
    /// Contacts of a user.
    pub contacts: u32,
    /// Resources in a batch.
    pub resources: usize,
    /// Categories of one resource in a batch.
    pub categories: usize,
    /// Watchers of a user.
    pub watchers: u32,
    /// Whether contacts may be moved to a mail server.
    pub ucs: bool,
    /// Domains of public providers.
    pub public_domains: Vec<String>,
    /// What clients are told on sign-in.
    pub provisioning: Vec<Group>,
    /// Whether an endpoint must register before it subscribes.
    pub must_register: bool,
    /// Whose users may watch, and be watched, across federation and public clouds.
    pub abroad: Abroad,
}

/// The limits of the product whose clients these are, where it is known to have any.
impl Default for Settings {
    fn default() -> Settings {
        let group = |name: &str, properties: &[(&str, &str)]| Group {
            name: name.to_owned(),
            layout: Group::layout_of(name),
            properties: properties
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        Settings {
            pool: "lamplight".to_owned(),
            hints: Hints::Shard,
            unregistered: false,
            registered: Vec::new(),
            publication_bytes: 32 * 1024,
            category_bytes: 256 * 1024,
            members: 2_000,
            delegates: 25,
            contacts: 1_000,
            resources: 1_000,
            categories: BATCH_CATEGORIES_MAX,
            watchers: WATCHERS_MAX as u32,
            ucs: false,
            public_domains: Vec::new(),
            provisioning: vec![
                group(
                    "ServerConfiguration",
                    &[("ucPC2PCAVEncryption", "SupportEncryption")],
                ),
                group("meetingPolicy", &[]),
                group(
                    "ucPolicy",
                    &[
                        ("allowcallforwarding", "false"),
                        ("enabledelegation", "true"),
                    ],
                ),
                group(
                    "endpointConfiguration",
                    &[("exchangecontactstoreallowed", "false")],
                ),
                group("presencePolicyV2", &[("EnablePrivacyMode", "false")]),
            ],
            must_register: true,
            abroad: Abroad::default(),
        }
    }
}

/// Who may watch, and be watched by, users of other domains.
//= MS-PRES 3.4.5.3
//# the operator says which users may deal with federated domains and with public clouds
#[derive(Clone, Debug, Default)]
pub struct Abroad {
    /// Of federated domains; `None` for everybody.
    pub federated: Option<Vec<String>>,
    /// Of public clouds; `None` for everybody.
    pub public: Option<Vec<String>>,
}

impl Abroad {
    /// Whether a user of ours, by canonical address, may deal with users of this network.
    #[must_use]
    pub fn allows(&self, user: &str, network: Network) -> bool {
        let granted = match network {
            Network::SameEnterprise => return true,
            Network::Federated => &self.federated,
            Network::PublicCloud => &self.public,
        };
        let named = |users: &Vec<String>| users.iter().any(|granted| granted == user);
        granted.as_ref().is_none_or(named)
    }
}

impl Settings {
    /// The network that users of a domain are of which is not ours.
    fn network_of(&self, domain: &str) -> Network {
        if self.public_domains.iter().any(|public| public == domain) {
            Network::PublicCloud
        } else {
            Network::Federated
        }
    }

    /// These, where contacts may be moved to a mail server.
    #[must_use]
    pub fn with_contact_store(mut self) -> Settings {
        self.ucs = true;
        let properties = self
            .provisioning
            .iter_mut()
            .flat_map(|group| &mut group.properties);
        for (name, value) in properties {
            if name == "exchangecontactstoreallowed" {
                "true".clone_into(value);
            }
        }
        self
    }

    /// Whether a category of this name may be published.
    //= MS-PRES 3.2.5.1.2
    //# publications are limited to registered names; the administrator may register more, or allow all
    pub(super) fn admits(&self, category: &shard::category::Category) -> bool {
        category.is_registered()
            || self.unregistered
            || self.registered.iter().any(|name| name == category.as_str())
    }
}

/// What must be kept of a request until it is answered, besides the request itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Aside {
    /// Nothing.
    #[default]
    Nothing,
    /// A batch.
    Batch {
        /// Who could not be served here, in the order of the request.
        rejected: Vec<(String, Rejection)>,
    },
    /// A contact subscription.
    Contacts {
        /// Whether its client is ready to have the contacts moved to a mail server.
        ready: bool,
    },
    /// A registration: which of the bindings is the one that asks.
    Registration,
}

/// A SERVICE, by its content type.
pub(super) fn service<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let media = request.header(Name::ContentType).map(MediaType::parse);
    // Contradiction C-40: some write a blank inside.
    let essence = media.map(|media| media.essence.replace(' ', "").to_ascii_lowercase());
    let translated = match essence.as_deref() {
        Some("application/msrtc-category-publish+xml") => {
            publish::publish(request, circumstances, scratch)
        }
        Some("application/msrtc-setcontainermembers+xml") => {
            containers::set_members(request, circumstances, scratch)
        }
        Some("application/msrtc-presence-setsubscriber+xml") => {
            subscribers::acknowledge(request, circumstances, scratch)
        }
        Some("application/msrtc-setdelegate+xml") => {
            delegates::set_delegate(request, circumstances, scratch)
        }
        Some("application/soap+xml") if search::is_search(request) => {
            search::search(request, circumstances)
        }
        Some("application/soap+xml") => contacts::soap(request, circumstances, scratch),
        Some(_) => Err(Answer::of(refusal::UNSUPPORTED_TYPE).with("Accept", ACCEPT)),
        None => Err(Answer::of(refusal::BODY_MISSING)),
    };
    translated.map_err(|answer| diagnostics::explain(answer, circumstances))
}

/// The content types of a SERVICE.
const ACCEPT: &str = "application/msrtc-category-publish+xml, \
    application/msrtc-setcontainermembers+xml, application/msrtc-presence-setsubscriber+xml, \
    application/msrtc-setDelegate+xml, application/SOAP+xml";

/// Whether a package is one of these clients' own.
pub(super) fn is_own(package: &str) -> bool {
    PACKAGES.iter().any(|own| own.eq_ignore_ascii_case(package))
}

/// A SUBSCRIBE for one of these clients' own packages.
pub(super) fn subscribe<'s>(
    package: &str,
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let is = |name: &str| package.eq_ignore_ascii_case(name);
    if is(ROAMING_SELF) {
        self_subscribe::subscribe(request, circumstances, scratch)
    } else if is(ROAMING_CONTACTS) {
        contacts::subscribe(request, circumstances, scratch)
    } else {
        provisioning::subscribe(request, circumstances)
    }
}

/// A SUBSCRIBE for categories.
pub(super) fn subscribe_categories<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    category_subscribe::subscribe(request, circumstances, scratch)
}

/// Whether a header of option tags holds one.
pub(super) fn offers(request: &Request, tag: &str) -> bool {
    request
        .values(Name::Supported)
        .any(|offered| offered.eq_ignore_ascii_case(tag))
}

/// How the subscriber wants to be told.
//= MS-SIP 3.5
//# BENOTIFY where Supported and Proxy-Require both hold ms-benotify, over a reliable transport
pub(super) fn delivery(request: &Request, flow: &Flow) -> Delivery {
    let required = request
        .values(Name::ProxyRequire)
        .any(|tag| tag.eq_ignore_ascii_case("ms-benotify"));
    if required && offers(request, "ms-benotify") && flow.transport.is_reliable() {
        Delivery::Benotify
    } else {
        Delivery::Notify
    }
}

/// Whether the first notification may ride in the response.
pub(super) fn piggyback(request: &Request) -> bool {
    offers(request, "ms-piggyback-first-notify")
}

/// The endpoint that asks: by the GRUU in its Contact, by its instance, or by its epid.
#[must_use]
pub fn endpoint(request: &Request) -> Option<EndpointId> {
    let contact = request.values(Name::Contact).next();
    let contact = contact.and_then(|text| transport::sip::header::NameAddr::parse(text).ok());
    let by_gruu = contact.and_then(|contact| gruu::endpoint(&Uri::parse(contact.uri).ok()?));
    let by_instance = || {
        let instance = contact?.params.get("+sip.instance")?;
        EndpointId::parse(instance)
    };
    let by_epid = || {
        let epid = request
            .from()
            .params
            .get("epid")
            .filter(|epid| !epid.is_empty())?;
        Some(EndpointId(gruu::instance_of_epid(epid)))
    };
    by_gruu
        .map(EndpointId)
        .or_else(by_instance)
        .or_else(by_epid)
}

/// From which network a request comes.
//= MS-PRES 3.4.5.1.3
//# a request that is not marked federated or publicCloud counts as sameEnterprise
pub(super) fn network(request: &Request, circumstances: &Circumstances<'_>) -> Network {
    let marks = || {
        let trust = request.header(Name::MsEdgeProxyMessageTrust);
        let trust = trust.map(transport::sip::header::Params);
        let marked = trust.and_then(|params| params.get("ms-source-network"));
        let own = trust.and_then(|params| params.get("ms-source-type"));
        let plain = request.header(Name::MsSourceNetwork);
        (marked.or(plain), own)
    };
    // Contradiction C-63: only an edge of ours may say so.
    if !circumstances.trusted {
        return Network::SameEnterprise;
    }
    let host = |uri: &str| {
        Uri::parse(uri)
            .ok()
            .map(|uri| uri.host.to_ascii_lowercase())
    };
    let public =
        |domains: &[String]| host(request.from().uri).is_some_and(|host| domains.contains(&host));
    match marks() {
        (None, None) => Network::SameEnterprise,
        (_, Some(kind)) if kind.eq_ignore_ascii_case("InternetUser") => Network::SameEnterprise,
        (Some(network), _) if network.eq_ignore_ascii_case("publiccloud") => Network::PublicCloud,
        _ if public(&circumstances.policy.enhanced.public_domains) => Network::PublicCloud,
        _ => Network::Federated,
    }
}

/// The user whom a request is from and to, both the same, as a canonical address.
///
/// # Errors
/// 403 when they differ, 404 when it is no user of ours.
//= MS-PRES 3.2.5.4
//# From and To must be the same
fn own_address(
    request: &Request,
    circumstances: &Circumstances<'_>,
    out: &mut String,
) -> Result<(), Answer> {
    let mut from = String::new();
    super::foreign_address(request.from().uri, &mut from)?;
    super::address(request.to().uri, circumstances.policy, out)?;
    if from != *out {
        return Err(Answer::of(refusal::NOT_YOURSELF));
    }
    if !circumstances.knows(out) {
        return Err(diagnostics::USER_UNKNOWN.on(Answer::of(refusal::NO_SUCH_USER), circumstances));
    }
    Ok(())
}

/// The body, which must be there.
fn body(request: &Request) -> Result<&[u8], Answer> {
    if request.body().is_empty() {
        return Err(Answer::of(refusal::BODY_MISSING));
    }
    Ok(request.body())
}

/// The body of a SUBSCRIBE, which must be there and be of this type.
///
/// # Errors
/// 400 without a body, 415 for another type.
fn body_of_type<'r>(
    request: &'r Request,
    essence: &'static str,
    circumstances: &Circumstances<'_>,
) -> Result<&'r [u8], Answer> {
    let body = body(request).map_err(|answer| diagnostics::BAD_XML.on(answer, circumstances))?;
    let media = request.header(Name::ContentType).map(MediaType::parse);
    if media.is_some_and(|media| media.essence.eq_ignore_ascii_case(essence)) {
        return Ok(body);
    }
    let answer = Answer::of(refusal::UNSUPPORTED_TYPE).with("Accept", essence);
    Err(diagnostics::CONTENT_TYPE.on(answer, circumstances))
}

/// Whether Accept holds all of these types; a request without Accept takes what its package has.
fn accepts(request: &Request, types: &[&str]) -> bool {
    let accept = || request.values(Name::Accept).map(MediaType::parse);
    accept().next().is_none()
        || types
            .iter()
            .all(|wanted| accept().any(|media| media.accepts(wanted)))
}

/// What a body that is no document of its type gets.
fn malformed(error: &DocumentError, circumstances: &Circumstances<'_>) -> Answer {
    let answer =
        Answer::of(refusal::BAD_DOCUMENT).with("Warning", format!("399 lamplight \"{error}\""));
    diagnostics::BAD_XML.on(answer, circumstances)
}

/// The display name in From.
fn display_name(request: &Request) -> &str {
    request.from().display
}

/// The canonical address of a URI, whatever its domain.
fn canonical_of(uri: &str) -> Option<String> {
    let uri = Uri::parse(uri).ok()?;
    let mut out = String::new();
    canonical(&uri, &mut out);
    Some(out)
}

/// Whether a request is inside a dialog of ours, and is a SUBSCRIBE.
fn in_dialog(request: &Request) -> bool {
    *request.method() == Method::Subscribe && request.to_tag().is_some()
}
