//! The admin listener: health, metrics, and what the node knows, over HTTP; and what it is told: a user's waiting
//! voice mail, and what sources of presence publish.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::json;

use super::dashboard;
use super::guard::{self, Guard};
use super::report::{
    ContactsWish, FeedAct, FeedAnswer, FeedCall, Inspect, InspectError, PoolOrder, VoiceMail,
};

type Node = State<Arc<dyn Inspect>>;

/// Bytes of a call: a document is as long as SIP's may be.
const CALL_BYTES_MAX: usize = 65_535;

/// Opens the listener and serves it on the runtime this is called from; returns the address bound.
///
/// # Errors
/// What the system says.
pub async fn serve(
    address: SocketAddr,
    guard: Option<Guard>,
    node: Arc<dyn Inspect>,
) -> io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let router = Router::new()
        .route("/", get(index))
        .merge(dashboard::routes())
        .route(
            "/refusals",
            get(|State(node): Node| async move { Json(node.refusals()) }),
        )
        .route("/live", get(|| async { "alive\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route(
            "/pool",
            get(|State(node): Node| async move { Json(node.pool()) }),
        )
        .route("/pool/nodes/{node}/{how}", post(stand))
        .route("/pool/shards/{shard}/lead/{node}", post(lead))
        .route("/pool/shards/{shard}/place/{nodes}", post(place))
        .route("/pool/shards/{total}", post(shards))
        .route(
            "/pool/balance",
            post(|node: Node| order(node, PoolOrder::Balance)),
        )
        .route(
            "/pool/moves/stop",
            post(|node: Node| order(node, PoolOrder::StayAll)),
        )
        .route("/pool/slots/{slots}/to/{shard}", post(move_these))
        .route("/pool/slots/of/{shard}/{count}/to/{to}", post(move_some))
        .route(
            "/pool/snapshot",
            post(|node: Node| order(node, PoolOrder::Snapshot)),
        )
        .route("/presentity/{uri}", get(presentity))
        .route("/directory", get(directory))
        .route("/presentity/{uri}/waiting", put(waiting))
        .route(
            "/presentity/{uri}/contacts",
            get(|node: Node, uri: Path<String>| contacts(node, uri, ContactsWish::Look)),
        )
        .route(
            "/presentity/{uri}/contacts/migrate",
            post(|node: Node, uri: Path<String>| contacts(node, uri, ContactsWish::Migrate)),
        )
        .route("/presentity/{uri}/contacts/return", post(contacts_return))
        .route("/presence/{uri}", get(presence))
        .route(
            "/publish/{uri}/{source}",
            put(publish)
                .delete(unpublish)
                .layer(DefaultBodyLimit::max(CALL_BYTES_MAX)),
        )
        .fallback(|| async {
            (
                StatusCode::NOT_FOUND,
                Json(json!({ "error": "there is nothing here; / lists what there is" })),
            )
        })
        .with_state(node);
    let router = match guard {
        Some(guard) => router.layer(middleware::from_fn_with_state(
            Arc::new(guard),
            guard::guard,
        )),
        None => router,
    };
    tokio::spawn(async move {
        // Serving ends with the runtime; an error of the listener itself is told once.
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(%error, "the admin listener ended");
        }
    });
    Ok(bound)
}

/// The page for who browses; a list of what there is for who does not.
async fn index(headers: HeaderMap) -> Response {
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.contains("text/html")) {
        return dashboard::page();
    }
    INDEX.into_response()
}

const INDEX: &str = "Lamplight\n\
     \n\
     /dashboard          all of this for a browser, live (so does / there)\n\
     /live               the process runs\n\
     /ready              every shard here has a leader and has caught up\n\
     /metrics            Prometheus text\n\
     /pool               node, shards, leaders, log positions (JSON)\n\
     POST /pool/nodes/{node}/drain|resume|remove, /pool/shards/{shard}/lead/{node}, /pool/snapshot,\n\
     \x20    /pool/shards/{total}, /pool/shards/{shard}/place/{node,…}, /pool/balance, /pool/moves/stop,\n\
     \x20    /pool/slots/{slot,…}/to/{shard}, /pool/slots/of/{shard}/{count}/to/{shard}\n\
     \x20                   what `lamplight pool` does\n\
     /presentity/{uri}   what is kept for an address and what its watchers see (JSON)\n\
     /directory?search=  users whose name begins so (JSON)\n\
     PUT /presentity/{uri}/waiting   voice mail: {\"waiting\": true, \"unread\": 2, \"read\": 8} (JSON)\n\
     /presence/{uri}     the document that watchers are shown, in parts (JSON); ?watcher={uri}\n\
     PUT, DELETE /publish/{uri}/{source}   what a source says of a user: {\"status\": \"busy\", \"note\": \"…\",\n\
     \x20                   \"expires\": 600} (JSON), PIDF or categories; with a bearer token\n\
     /presentity/{uri}/contacts           who keeps its contact list (JSON)\n\
     POST /presentity/{uri}/contacts/migrate   move the list to the mail server\n\
     POST /presentity/{uri}/contacts/return    bring it home; ?from=copy where the mail server is gone\n\
     /refusals           what was refused lately, and why (JSON)\n";

async fn ready(State(node): Node) -> Response {
    let readiness = node.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(node): Node) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], node.metrics()).into_response()
}

/// What the operator looks for; everybody, if nothing is said.
#[derive(serde::Deserialize)]
struct Wanted {
    #[serde(default)]
    search: String,
}

async fn directory(State(node): Node, Query(wanted): Query<Wanted>) -> Response {
    match node.directory(&wanted.search) {
        Ok(report) => Json(report).into_response(),
        Err(error) => refused(&error),
    }
}

async fn order(State(node): Node, order: PoolOrder) -> Response {
    match node.order(order).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(&error),
    }
}

async fn stand(node: Node, Path((number, how)): Path<(u64, String)>) -> Response {
    let wanted = match how.as_str() {
        "drain" => PoolOrder::Drain(number),
        "resume" => PoolOrder::Resume(number),
        "remove" => PoolOrder::Remove(number),
        _ => {
            return refused(&InspectError::Unsound(format!(
                "{how:?} is nothing a node can do"
            )));
        }
    };
    order(node, wanted).await
}

async fn lead(node: Node, Path((shard, to)): Path<(u16, u64)>) -> Response {
    order(node, PoolOrder::Lead(shard, to)).await
}

async fn shards(node: Node, Path(total): Path<u16>) -> Response {
    order(node, PoolOrder::Shards(total)).await
}

async fn move_some(node: Node, Path((from, count, to)): Path<(u16, u16, u16)>) -> Response {
    order(node, PoolOrder::MoveSlots(from, to, count)).await
}

async fn move_these(node: Node, Path((slots, to)): Path<(String, u16)>) -> Response {
    match numbers(&slots) {
        Some(slots) => order(node, PoolOrder::MoveThese(slots, to)).await,
        None => refused(&InspectError::Unsound(format!("{slots:?} are no slots"))),
    }
}

async fn place(node: Node, Path((shard, nodes)): Path<(u16, String)>) -> Response {
    match numbers(&nodes) {
        Some(nodes) => order(node, PoolOrder::Place(shard, nodes)).await,
        None => refused(&InspectError::Unsound(format!("{nodes:?} are no nodes"))),
    }
}

/// Numbers between commas.
fn numbers<T: std::str::FromStr>(text: &str) -> Option<Vec<T>> {
    text.split(',').map(|number| number.parse().ok()).collect()
}

async fn presentity(State(node): Node, Path(uri): Path<String>) -> Response {
    match node.presentity(&uri).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => refused(&error),
    }
}

/// 202: the log has it, and what was logged will be done. Only JSON is taken, and only by PUT, so that no
/// page in somebody's browser can send it.
async fn waiting(
    State(node): Node,
    Path(uri): Path<String>,
    Json(mail): Json<VoiceMail>,
) -> Response {
    match node.set_voice_mail(&uri, mail) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(error) => refused(&error),
    }
}

async fn contacts(State(node): Node, Path(uri): Path<String>, wish: ContactsWish) -> Response {
    match node.contacts(&uri, wish).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => refused(&error),
    }
}

/// How a list is brought home.
#[derive(Debug, serde::Deserialize)]
struct From {
    from: Option<String>,
}

async fn contacts_return(node: Node, uri: Path<String>, Query(how): Query<From>) -> Response {
    match how.from.as_deref() {
        None => contacts(node, uri, ContactsWish::Return).await,
        Some("copy") => contacts(node, uri, ContactsWish::ReturnCopy).await,
        Some(_) => {
            let error = json!({ "error": "from is copy, or is not said" });
            (StatusCode::BAD_REQUEST, Json(error)).into_response()
        }
    }
}

/// Whom a document is shown to.
#[derive(serde::Deserialize)]
struct Seen {
    watcher: Option<String>,
}

async fn presence(
    State(node): Node,
    Path(uri): Path<String>,
    Query(seen): Query<Seen>,
) -> Response {
    answered(node.presence(uri, seen.watcher).await)
}

/// How long a document lives that cannot say so itself.
#[derive(serde::Deserialize)]
struct Life {
    expires: Option<String>,
}

/// Who calls, and whom it is about.
type About = (
    ConnectInfo<SocketAddr>,
    Path<(String, String)>,
    Query<Life>,
    HeaderMap,
);

async fn publish(State(node): Node, about: About, body: Bytes) -> Response {
    let call = call(FeedAct::Put, about, body.to_vec());
    answered(node.feed(call).await)
}

async fn unpublish(State(node): Node, about: About) -> Response {
    let call = call(FeedAct::Delete, about, Vec::new());
    answered(node.feed(call).await)
}

fn call(act: FeedAct, about: About, body: Vec<u8>) -> FeedCall {
    let (ConnectInfo(peer), Path((uri, source)), Query(life), headers) = about;
    // A header that is no text is worth as much as none, but for those that make a condition: that fails.
    let text = |name: HeaderName| {
        let value = headers.get(name)?;
        Some(value.to_str().unwrap_or("illegible").to_owned())
    };
    FeedCall {
        uri,
        source,
        act,
        media: text(header::CONTENT_TYPE).unwrap_or_default(),
        if_match: text(header::IF_MATCH),
        if_none_match: text(header::IF_NONE_MATCH),
        expires: life.expires,
        authorization: text(header::AUTHORIZATION),
        loopback: peer.ip().to_canonical().is_loopback(),
        body,
    }
}

fn answered(answer: FeedAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = if answer.body.is_null() {
        status.into_response()
    } else {
        (status, Json(answer.body)).into_response()
    };
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn refused(error: &InspectError) -> Response {
    let status = match error {
        InspectError::BadAddress(_) | InspectError::Unsound(_) => StatusCode::BAD_REQUEST,
        InspectError::Unknown(_) | InspectError::Foreign(_) | InspectError::NoDirectory => {
            StatusCode::NOT_FOUND
        }
        InspectError::Elsewhere(_) => StatusCode::MISDIRECTED_REQUEST,
        InspectError::NoStore => StatusCode::CONFLICT,
        InspectError::Busy | InspectError::NotNow(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(json!({ "error": error.to_string() }))).into_response()
}
