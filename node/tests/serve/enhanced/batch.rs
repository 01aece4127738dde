//! What a batch is answered with, taken apart; and who lives where.

use std::sync::OnceLock;

use transport::sip::{Name, Response, StatusCode};

use super::super::server::Server;
use super::client::{BATCH_LINES, Client, Dialog, batch, somebody, text};
use super::tree;

/// One server with one shard, for tests in which everybody lives together.
pub fn together() -> &'static Server {
    static SERVER: OnceLock<(Server, tempfile::TempDir)> = OnceLock::new();
    let (server, _) = SERVER.get_or_init(|| {
        let data = tempfile::tempdir().expect("a folder");
        let arguments = ["--domain", "contoso.com", "--shards", "1"];
        (Server::start_with(data.path(), &arguments), data)
    });
    server
}

/// A server with this `node.toml` and one shard.
pub fn configured(data: &std::path::Path, toml: &str) -> Server {
    let file = data.join("node.toml");
    std::fs::write(&file, toml).expect("written");
    let file = file.to_str().expect("a path");
    Server::start_with(
        &data.join("data"),
        &["--config", file, "--domain", "contoso.com", "--shards", "1"],
    )
}

/// The type that a batch is written in.
pub const BATCH: &str = "application/msrtc-adrl-categorylist+xml";

/// One part of a multipart body.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub id: Option<String>,
    pub content_type: String,
    pub encoding: String,
    pub body: String,
}

/// The parts of a response, which must be multipart as MS-PRES 2.2.2.4.2 has it.
pub fn parts(response: &Response) -> Vec<Part> {
    let media = response.header(Name::ContentType).expect("a body");
    let begin = "multipart/related; type=\"application/rlmi+xml\";start=resourceList; boundary=";
    let boundary = media
        .strip_prefix(begin)
        .unwrap_or_else(|| panic!("{media}"));
    let body = text(response.body());
    let inside = body
        .strip_suffix(&format!("--{boundary}--\r\n"))
        .expect("it ends with its boundary");
    let between = format!("--{boundary}\r\n");
    let mut pieces = inside.split(&between);
    assert_eq!(pieces.next(), Some(""), "it begins with its boundary");
    pieces
        .map(|piece| {
            let (head, body) = piece.split_once("\r\n\r\n").expect("a head and a body");
            let line = |name: &str| {
                let mut lines = head.split("\r\n");
                lines.find_map(|line| line.strip_prefix(name).map(str::to_owned))
            };
            Part {
                id: line("Content-ID: "),
                content_type: line("Content-Type: ").expect("a type"),
                encoding: line("Content-Transfer-Encoding: ").expect("an encoding"),
                body: body.trim_end().to_owned(),
            }
        })
        .collect()
}

/// The list of those who are not served: the first part.
pub fn rejected(response: &Response) -> String {
    let list = parts(response).remove(0);
    assert_eq!(list.id.as_deref(), Some("resourceList"));
    assert_eq!(list.content_type, "application/rlmi+xml");
    list.body
}

/// The documents of those who are: address and document.
pub fn served(response: &Response) -> Vec<(String, String)> {
    let documents = parts(response).into_iter().skip(1);
    documents
        .map(|part| {
            assert_eq!(part.content_type, "application/msrtc-event-categories+xml");
            let whose = tree::attributes(&part.body, "categories", "uri");
            let [whose] = &whose[..] else {
                panic!("one publisher in a part: {}", part.body)
            };
            (whose.clone(), part.body)
        })
        .collect()
}

/// The addresses of those who are served.
pub fn whose(response: &Response) -> Vec<String> {
    served(response)
        .into_iter()
        .map(|(whose, _)| whose)
        .collect()
}

/// The response is granted.
pub fn granted(response: Response) -> Response {
    assert_eq!(response.status(), StatusCode::OK, "{response:?}");
    response
}

/// Somebody whom a batch of `client` is served with, and somebody of another shard, with the hint where.
pub fn near_and_far(client: &mut Client) -> (String, String, String) {
    let names: Vec<String> = (0..24)
        .map(|_| format!("sip:{}@contoso.com", somebody("who")))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut poll = Dialog::new("presence", &client.uri);
    let body = batch(&client.uri, "subscribe", &names, &["note"]);
    let answer = client.subscribe(&mut poll, Some(0), BATCH_LINES, BATCH, &body);
    let near = whose(&granted(answer.clone())).remove(0);
    let list = rejected(&answer);
    let far = tree::attributes(&list, "resource", "uri").remove(0);
    let hint = tree::attributes(&list, "instance", "poolFqdn").remove(0);
    (near, far, hint)
}
