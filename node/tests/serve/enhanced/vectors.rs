//! The specification's examples, replayed: a request as it is printed, its precondition made before, and
//! the answer compared with the printed one as XML.
//!
//! The examples lie beside the project (`../shared` of the workspace, or `LAMPLIGHT_SHARED`), not in it.
//! Where they are absent a test says so and proves nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node};
use transport::sip::uri::Uri;
use transport::sip::{Name, Response, gruu};

use super::super::server::Server;
use super::client::{Client, text, uuid};
use super::tree;

/// What differs from one run to the next.
pub const VARYING: [&str; 3] = ["publishTime", "expires", "version"];

/// A message of the examples.
pub struct Vector {
    name: String,
    head: String,
    pub body: String,
}

/// The specification's folder; `None`, and a word about it, where it is absent.
pub fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let shared = std::env::var_os("LAMPLIGHT_SHARED").map_or(beside, PathBuf::from);
    let folder = shared.join("spec");
    if !folder.is_dir() {
        eprintln!("skipped: no examples at {}", folder.display());
        return None;
    }
    Some(folder)
}

/// The message of this name; `None` where the examples are absent.
pub fn read(name: &str) -> Option<Vector> {
    let path = folder()?.join("vectors").join(format!("{name}.sip"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let message = text(&bytes);
    let (head, body) = message.split_once("\r\n\r\n").expect("a head and a body");
    Some(Vector {
        name: name.to_owned(),
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

impl Vector {
    /// The first line of this header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The status of a response.
    fn status(&self) -> u16 {
        let status = self.head.split(' ').nth(1);
        status.and_then(|text| text.parse().ok()).expect("a status")
    }

    /// The user and the endpoint that a request comes from: the one in its Contact.
    pub fn endpoint(&self) -> (String, [u8; 16]) {
        let contact = self.header("Contact").expect("a Contact");
        let contact = contact.trim_matches(['<', '>']);
        let uri = Uri::parse(contact).expect("a URI");
        let instance = gruu::endpoint(&uri).expect("a GRUU");
        (uri.user.to_owned(), instance)
    }

    /// Signs the endpoint in that the request comes from.
    pub fn sign_in(&self, server: &Server) -> Client {
        let (user, instance) = self.endpoint();
        endpoint(server, &user, instance)
    }

    /// Sends the request byte for byte and waits for its final response.
    pub fn ask(&self, client: &mut Client) -> Response {
        let message = format!("{}\r\n\r\n{}", self.head, self.body);
        client.phone.send(message.as_bytes());
        client.phone.response()
    }

    /// The answer has the status, the content type and the kinds of diagnosis that are printed.
    pub fn check_head(&self, answer: &Response) {
        let name = &self.name;
        assert_eq!(answer.status().number(), self.status(), "{name}");
        let media = self.header("Content-Type");
        assert_eq!(answer.header(Name::ContentType), media, "{name}");
        let number = |line: &str| line.split(';').next().map(str::to_owned);
        let printed = self.header("ms-diagnostics").and_then(number);
        let ours = answer.other_headers("ms-diagnostics").next();
        assert_eq!(ours.and_then(number), printed, "{name}");
        let cseq = self.header("CSeq").expect("a CSeq");
        assert_eq!(answer.header(Name::CSeq), Some(cseq), "{name}");
    }

    /// The answer's document shows every instance that is printed, as it is printed, and beside them only
    /// categories in those containers that `beside` names: contradiction C-67 has all of a category told,
    /// the examples what was modified.
    pub fn check_instances(&self, document: &str, masked: &[&str], beside: &[(&str, u16)]) {
        let name = &self.name;
        let (printed, ours) = (instances(&self.body, masked), instances(document, masked));
        for (key, instance) in &printed {
            // Nothing says in which order services and their capabilities stand; ours is that of their names.
            let in_order = |text: &String| {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                if key.0 == "services" {
                    lines.sort();
                }
                lines
            };
            assert_eq!(
                ours.get(key).map(in_order),
                Some(in_order(instance)),
                "{name}: {key:?} of\n{document}"
            );
        }
        let more = ours.keys().filter(|key| !printed.contains_key(key));
        let unexpected: Vec<&Key> = more
            .filter(|(category, container, _)| !beside.contains(&(category, *container)))
            .collect();
        assert!(
            unexpected.is_empty(),
            "{name}: {unexpected:?} beside\n{document}"
        );
        let publisher = |document: &str| tree::attributes(document, "categories", "uri");
        assert_eq!(publisher(document), publisher(&self.body), "{name}");
    }

    /// Publishes what the printed answer shows and the request does not publish: each instance by the
    /// endpoint that it is bound to, in the order of the printed times. What the server computes is left
    /// to it. Returns the endpoints, which must stay.
    pub fn make_precondition(
        &self,
        request: &Vector,
        server: &Server,
        own: &mut Client,
    ) -> Vec<Client> {
        let published = Document::parse(&request.body).expect("XML");
        let published: Vec<(String, String, String)> = published
            .descendants()
            .filter(|node| node.has_tag_name((RICH_PRESENCE, "publication")))
            .map(|node| key_of(node, "categoryName"))
            .collect();
        let document = Document::parse(&self.body).expect("XML");
        let mut wanted: Vec<Node<'_, '_>> = document
            .descendants()
            .filter(|node| node.tag_name().name() == "category")
            .filter(|node| node.attribute("expireType") != Some("user"))
            .filter(|node| !matches!(node.attribute("name"), Some("dndState" | "workingHours")))
            .filter(|node| !published.contains(&key_of(*node, "name")))
            .collect();
        wanted.sort_by_key(|node| node.attribute("publishTime"));
        let mut others: BTreeMap<String, Client> = BTreeMap::new();
        for node in wanted {
            let (category, container, instance) = key_of(node, "name");
            let lifetime = node.attribute("expireType").expect("an expireType");
            let content = node.first_element_child().expect("content").range();
            let publication = format!(
                "<publication categoryName=\"{category}\" instance=\"{instance}\" container=\"{container}\" \
                 version=\"0\" expireType=\"{lifetime}\">{}</publication>",
                &self.body[content]
            );
            let id = node.attribute("endpointId").map(str::to_lowercase);
            let client = match id.filter(|id| *id != uuid(own.instance)) {
                None => &mut *own,
                Some(id) => {
                    let (user, _) = request.endpoint();
                    let sign_in = || endpoint(server, &user, bytes_of(&id));
                    others.entry(id.clone()).or_insert_with(sign_in)
                }
            };
            let answer = client.publish(&publication);
            assert_eq!(answer.status().number(), 200, "{publication}");
        }
        others.into_values().collect()
    }

    /// What a request names as there at version 1, published the first time; but those of `known`, which
    /// the server publishes itself.
    pub fn earlier_versions(&self, known: &[(&str, u16)]) -> String {
        let document = Document::parse(&self.body).expect("XML");
        let mut all = String::new();
        for node in document.descendants() {
            let (category, container, _) = key_of(node, "categoryName");
            let there = known
                .iter()
                .any(|(name, number)| *name == category && number.to_string() == container);
            if node.attribute("version") == Some("1") && !there {
                let element = &self.body[node.range()];
                all += &element.replacen("version=\"1\"", "version=\"0\"", 1);
            }
        }
        all
    }
}

const RICH_PRESENCE: &str = "http://schemas.microsoft.com/2006/09/sip/rich-presence";

/// Category, container and instance.
pub type Key = (String, u16, u32);

/// The instances of a categories document, each with its canonical spelling.
pub fn instances(document: &str, masked: &[&str]) -> BTreeMap<Key, String> {
    let parsed = Document::parse(document).unwrap_or_else(|error| panic!("{error}: {document}"));
    let found = parsed
        .descendants()
        .filter(|node| node.tag_name().name() == "category" && node.has_attribute("instance"));
    let each = found.map(|node| {
        let (category, container, instance) = key_of(node, "name");
        let number = |text: String| text.parse().expect("a number");
        let key = (category, number(container) as u16, number(instance));
        (key, tree::canonical_node(node, masked))
    });
    each.collect()
}

fn key_of(node: Node<'_, '_>, name: &str) -> (String, String, String) {
    let of = |name: &str| node.attribute(name).unwrap_or_default().to_owned();
    (of(name), of("container"), of("instance"))
}

/// A signed-in endpoint with this instance.
fn endpoint(server: &Server, user: &str, instance: [u8; 16]) -> Client {
    let epid = format!("{:010x}", super::super::phone::fresh());
    let mut client = Client::with_instance(server, user, epid, instance);
    assert_eq!(client.renew(600, "").status().number(), 200, "{user}");
    client
}

fn bytes_of(uuid: &str) -> [u8; 16] {
    let hex: String = uuid.chars().filter(|c| *c != '-').collect();
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[place * 2..place * 2 + 2], 16).expect("hexadecimal");
    }
    bytes
}
