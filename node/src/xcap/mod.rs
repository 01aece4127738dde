//! Documents that users keep with the server, over HTTP (RFC 4825): rules (RFC 5025) and lists (RFC 4826).
//!
//! The documents stand in the shard of their user, so any node answers; a change goes through the log as a
//! PUBLISH does. Nobody but the user sees or changes them.

pub mod check;
pub mod edit;
pub mod path;
pub mod selector;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use shard::machine::command::{Command, SetDocument};
use shard::machine::crossing::{Answer, Held, Question};
use shard::machine::outcome::{Outcome, Refusal};
use shard::presence::documents::{DOCUMENT_BYTES_MAX, Expected, Keeper};
use shard::presence::publication::EntityTag;
use shard::slot::Slot;
use shard::xml::Document;
use tokio::sync::Semaphore;

use crate::config::policy::Xcap as Settings;
use crate::dialect::{Grace, address_of};
use crate::ingress::clerk::{Clerk, NoOutcome};
use crate::ingress::endpoint::Shared;
use crate::ingress::identity::Verdict;

use check::Conflict;
use edit::Unedited;
use path::{Named, USAGES, Unnamed, Usage};
use selector::{Found, Selector};

/// Requests at a time: each may wait for a shard for seconds, on a thread of its own.
const AT_A_TIME: usize = 64;

/// How often a change that somebody overtook is made again.
const TRIES: usize = 4;

/// How often a slot on its way is asked for again, and after which time.
const MOVING: (usize, Duration) = (100, Duration::from_millis(20));

const METHODS: &str = "GET, HEAD, PUT, DELETE";

/// The server of documents.
struct Service {
    root: String,
    shared: Arc<Shared>,
    clerk: Arc<Clerk>,
    permits: Semaphore,
}

/// A request, as far as it matters.
struct Call {
    method: Method,
    named: Named,
    headers: HeaderMap,
    body: Bytes,
}

/// Opens the listener and serves it on the runtime this is called from; returns the address bound.
///
/// # Errors
/// What the system says.
pub async fn serve(
    settings: Settings,
    shared: Arc<Shared>,
    clerk: Arc<Clerk>,
) -> io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(settings.listen).await?;
    let bound = listener.local_addr()?;
    let service = Arc::new(Service {
        root: settings.root,
        shared,
        clerk,
        permits: Semaphore::new(AT_A_TIME),
    });
    let router = Router::new()
        .fallback(answer)
        .layer(DefaultBodyLimit::max(DOCUMENT_BYTES_MAX))
        .with_state(service);
    tokio::spawn(async move {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        // Serving ends with the runtime; an error of the listener itself is told once.
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(%error, "the XCAP listener ended");
        }
    });
    Ok(bound)
}

async fn answer(
    State(service): State<Arc<Service>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let named = match service.admit(peer, &method, &uri, &headers) {
        Ok(named) => named,
        Err(response) => return *response,
    };
    let Ok(_permit) = service.permits.try_acquire() else {
        return busy();
    };
    let call = Call {
        method,
        named,
        headers,
        body,
    };
    // The shard is waited for where nobody else waits.
    let done = tokio::task::spawn_blocking({
        let service = Arc::clone(&service);
        move || service.perform(&call)
    });
    match done.await {
        Ok(Ok(response)) => response,
        Ok(Err(response)) => *response,
        Err(_) => busy(),
    }
}

fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into() + "\n").into_response()
}

fn busy() -> Response {
    let retry = [(header::RETRY_AFTER, "5")];
    (
        StatusCode::SERVICE_UNAVAILABLE,
        retry,
        "there is too much to do now; try again\n",
    )
        .into_response()
}

fn conflict(conflict: &Conflict) -> Response {
    let media = [(header::CONTENT_TYPE, "application/xcap-error+xml")];
    (StatusCode::CONFLICT, media, conflict.write()).into_response()
}

fn tagged(mut response: Response, tag: EntityTag) -> Response {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

impl Service {
    /// What a request names, once who asks may ask for it.
    fn admit(
        &self,
        peer: SocketAddr,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Named, Box<Response>> {
        let refuse = |status, words: &str| Err(Box::new(text(status, words)));
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let line = headers.get(header::AUTHORIZATION);
        let line = line.and_then(|line| line.to_str().ok());
        let now_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis() as u64;
        let identity = &self.shared.identity;
        let proven = match identity.check_http(method.as_str(), target, line, now_ms) {
            // As for the admin listener: this machine, and no page in a browser on it.
            Verdict::Open if peer.ip().is_loopback() && !headers.contains_key(header::ORIGIN) => {
                None
            }
            Verdict::Open => {
                return refuse(
                    StatusCode::FORBIDDEN,
                    "only this machine may ask, where nobody is asked for a password",
                );
            }
            Verdict::User(user) => Some(user),
            Verdict::Unproven(challenges) => return Err(Box::new(challenge(&challenges))),
            // These are SIP's own.
            Verdict::Endpoint { .. } | Verdict::Handshake(_) => {
                return Err(Box::new(challenge(&[])));
            }
        };
        if ![Method::GET, Method::HEAD, Method::PUT, Method::DELETE].contains(method) {
            let allow = [(header::ALLOW, METHODS)];
            let response = (
                StatusCode::METHOD_NOT_ALLOWED,
                allow,
                "GET, PUT or DELETE\n",
            );
            return Err(Box::new(response.into_response()));
        }
        let named = match path::read(&self.root, uri.path(), uri.query()) {
            Ok(named) => named,
            Err(Unnamed::Nothing) => {
                return refuse(StatusCode::NOT_FOUND, "there is no such document");
            }
            Err(Unnamed::Malformed(what)) => return refuse(StatusCode::BAD_REQUEST, what),
        };
        if let Named::Document { uri, user, .. } = &named {
            let policy = &self.shared.policy;
            let own = transport::sip::uri::Uri::parse(uri).is_ok_and(|uri| {
                let proven = proven.as_ref().is_none_or(|user| policy.is_own(&uri, user));
                proven && policy.serves(uri.host) && self.shared.users.knows(&address_of(&uri))
            });
            //= RFC 4825 8
            //# who is not the owner is told nothing, not even whether there is a document
            if !own || user.is_empty() {
                return refuse(StatusCode::FORBIDDEN, "only the documents of one's own");
            }
        }
        Ok(named)
    }

    /// Does what is asked; blocks.
    fn perform(&self, call: &Call) -> Result<Response, Box<Response>> {
        let (usage, user, name, node) = match &call.named {
            Named::Capabilities => return Ok(capabilities(&call.method)),
            Named::Document {
                usage,
                user,
                name,
                node,
                ..
            } => (usage, user, name, node.as_ref()),
        };
        for _ in 0..TRIES {
            let held = self.held(usage, user, name)?;
            //= RFC 4825 7.11
            //# conditions are about the whole document, whatever in it is asked for
            let expected = expected(&call.headers, held.as_ref(), &call.method)?;
            let (content, created) = match (&call.method, node, &held) {
                (&Method::GET | &Method::HEAD, node, Some(held)) => return get(usage, held, node),
                (&Method::GET | &Method::HEAD, _, None) => return Err(Box::new(nothing())),
                (&Method::PUT, None, held) => {
                    media(&call.headers, usage.media)?;
                    (Some(call.body.to_vec()), held.is_none())
                }
                (&Method::PUT, Some(node), Some(held)) => {
                    media(&call.headers, node_media(node))?;
                    let (text, created) = edited(held, |document| {
                        edit::put(document, node, &call.body).map_err(Unedited::Conflict)
                    })?;
                    (Some(text), created)
                }
                (&Method::PUT, Some(_), None) => {
                    return Err(Box::new(conflict(&Conflict::of(
                        "no-parent",
                        "there is no document",
                    ))));
                }
                (_, None, Some(_)) => (None, false),
                (_, Some(node), Some(held)) => {
                    let (text, _) = edited(held, |document| edit::delete(document, node))?;
                    (Some(text), false)
                }
                (_, _, None) => return Err(Box::new(nothing())),
            };
            let rules = match &content {
                Some(content) => {
                    check::check(usage.application, content).map_err(|c| Box::new(conflict(&c)))?
                }
                None => Default::default(),
            };
            let command = Command::SetDocument(SetDocument {
                presentity: user,
                application: usage.application,
                name,
                keeper: Keeper::User,
                // What was changed inside is changed as it was seen.
                expected: match (node, &held, expected) {
                    (Some(_), Some(held), _) => Expected::OneOf(vec![held.tag]),
                    (_, _, expected) => expected,
                },
                content: content.as_deref(),
                rules,
            });
            let outcome = self.set(Slot::of(user), command)?;
            let refusal = match outcome {
                Outcome::DocumentSet { tag, .. } => {
                    let status = if created {
                        StatusCode::CREATED
                    } else {
                        StatusCode::OK
                    };
                    let response = status.into_response();
                    let gone = call.method == Method::DELETE && node.is_none();
                    return Ok(if gone {
                        response
                    } else {
                        tagged(response, tag)
                    });
                }
                Outcome::Refused(refusal) => refusal,
                _ => return Err(Box::new(busy())),
            };
            match refusal {
                // Somebody was faster: what is there now is looked at anew.
                Refusal::NoMatch => {}
                Refusal::UnknownDocument => return Err(Box::new(nothing())),
                Refusal::DocumentKept => {
                    return Err(Box::new(text(
                        StatusCode::FORBIDDEN,
                        "the operator keeps this document",
                    )));
                }
                Refusal::TooManyDocuments => {
                    let full = Conflict::of("constraint-failure", "no more documents are kept");
                    return Err(Box::new(conflict(&full)));
                }
                _ => {
                    let large = Conflict::of("constraint-failure", "the document is too large");
                    return Err(Box::new(conflict(&large)));
                }
            }
        }
        Err(Box::new(busy()))
    }

    /// The document, as its leader has it.
    fn held(&self, usage: &Usage, user: &str, name: &str) -> Result<Option<Held>, Box<Response>> {
        let question = Question::Document {
            presentity: user,
            application: usage.application,
            name,
        };
        for _ in 0..MOVING.0 {
            match self.clerk.ask(Slot::of(user), &question) {
                Ok(Answer::Document(held)) => return Ok(held),
                Ok(Answer::Moving) => std::thread::sleep(MOVING.1),
                Ok(_) | Err(NoOutcome::Busy | NoOutcome::Silent) => return Err(Box::new(busy())),
            }
        }
        Err(Box::new(busy()))
    }

    fn set(&self, slot: Slot, command: Command<'_>) -> Result<Outcome, Box<Response>> {
        for _ in 0..MOVING.0 {
            match self.clerk.perform(slot, Grace::New, command.clone()) {
                Ok((Outcome::Moving, _)) => std::thread::sleep(MOVING.1),
                Ok((outcome, _)) => return Ok(outcome),
                Err(NoOutcome::Busy | NoOutcome::Silent) => return Err(Box::new(busy())),
            }
        }
        Err(Box::new(busy()))
    }
}

/// 401 with these challenges.
fn challenge(challenges: &[String]) -> Response {
    let mut response = text(StatusCode::UNAUTHORIZED, "sign in by Digest, as for SIP");
    for challenge in challenges {
        if let Ok(value) = HeaderValue::from_str(challenge) {
            let headers = response.headers_mut();
            headers.append(header::WWW_AUTHENTICATE, value);
        }
    }
    response
}

fn nothing() -> Response {
    text(
        StatusCode::NOT_FOUND,
        "there is no such document, or nothing at that place in it",
    )
}

/// The type of what a selector selects.
fn node_media(node: &Selector) -> &'static str {
    match node.attribute {
        Some(_) => "application/xcap-att+xml",
        None => "application/xcap-el+xml",
    }
}

fn media(headers: &HeaderMap, expected: &str) -> Result<(), Box<Response>> {
    let media = headers.get(header::CONTENT_TYPE);
    let media = media
        .and_then(|media| media.to_str().ok())
        .unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    Err(Box::new(text(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!("expected {expected}"),
    )))
}

/// The tags of a condition: `None` for `*`.
fn tags(value: &str) -> Option<Vec<EntityTag>> {
    if value.trim() == "*" {
        return None;
    }
    let each = value.split(',').map(|tag| {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
        EntityTag::parse(tag).unwrap_or(EntityTag::FOREIGN)
    });
    Some(each.collect())
}

/// What must be there for a change to be made, by the conditions of the request.
///
/// # Errors
/// 412, or 304 to a GET.
fn expected(
    headers: &HeaderMap,
    held: Option<&Held>,
    method: &Method,
) -> Result<Expected, Box<Response>> {
    let get = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (matches, none) = (get(header::IF_MATCH), get(header::IF_NONE_MATCH));
    let holds = |value: &str| match (tags(value), held) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(tags), Some(held)) => tags.contains(&held.tag),
    };
    let failed = || StatusCode::PRECONDITION_FAILED.into_response();
    if matches.is_some_and(|value| !holds(value)) {
        return Err(Box::new(failed()));
    }
    if none.is_some_and(holds) {
        let reads = [Method::GET, Method::HEAD].contains(method);
        return Err(Box::new(match held {
            Some(held) if reads => tagged(StatusCode::NOT_MODIFIED.into_response(), held.tag),
            _ => failed(),
        }));
    }
    Ok(match (matches.or(none), held) {
        (None, _) => Expected::Anything,
        (Some(_), Some(held)) => Expected::OneOf(vec![held.tag]),
        (Some(_), None) => Expected::Nothing,
    })
}

/// What is shown of a document.
//= RFC 4825 7.10
//# a document, an element or the value of an attribute, each with its type and the tag of the document
fn get(usage: &Usage, held: &Held, node: Option<&Selector>) -> Result<Response, Box<Response>> {
    let show = |media: &'static str, body: Vec<u8>| {
        let response = ([(header::CONTENT_TYPE, media)], body).into_response();
        tagged(response, held.tag)
    };
    let Some(node) = node else {
        return Ok(show(usage.media, held.content.to_vec()));
    };
    let document = Document::parse(&held.content).map_err(|_| Box::new(nothing()))?;
    let Found::One(element) = node.find(&document) else {
        return Err(Box::new(nothing()));
    };
    let text = document.text();
    let body = match &node.attribute {
        None => Some(&text[element.range()]),
        Some(name) => edit::value(text, element, name),
    };
    let body = body.ok_or_else(|| Box::new(nothing()))?;
    Ok(show(node_media(node), body.as_bytes().to_vec()))
}

/// The document as it would be, and whether there was nothing at that place.
fn edited(
    held: &Held,
    change: impl FnOnce(&Document<'_>) -> Result<edit::Edited, Unedited>,
) -> Result<(Vec<u8>, bool), Box<Response>> {
    let document = Document::parse(&held.content).map_err(|_| Box::new(nothing()))?;
    match change(&document) {
        Ok(edited) => Ok((edited.text, edited.created)),
        Err(Unedited::Nothing) => Err(Box::new(nothing())),
        Err(Unedited::Conflict(told)) => Err(Box::new(conflict(&told))),
    }
}

/// `xcap-caps`: which usages there are.
//= RFC 4825 12
//# a global document says what the server knows
fn capabilities(method: &Method) -> Response {
    if ![Method::GET, Method::HEAD].contains(method) {
        return (
            [(header::ALLOW, "GET, HEAD")],
            StatusCode::METHOD_NOT_ALLOWED,
        )
            .into_response();
    }
    let mut body = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xcap-caps xmlns=\"urn:ietf:params:xml:ns:xcap-caps\"><auids><auid>xcap-caps</auid>",
    );
    let mut namespaces = vec![
        "urn:ietf:params:xml:ns:xcap-caps",
        "urn:ietf:params:xml:ns:pres-rules",
    ];
    for usage in USAGES {
        for auid in usage.auids {
            body += &format!("<auid>{auid}</auid>");
        }
        namespaces.push(usage.namespace);
    }
    body += "</auids><namespaces>";
    for namespace in namespaces {
        body += &format!("<namespace>{namespace}</namespace>");
    }
    body += "</namespaces></xcap-caps>\n";
    ([(header::CONTENT_TYPE, "application/xcap-caps+xml")], body).into_response()
}
