//! A user's address book over CardDAV (RFC 6352): what of it a mover needs; and reports on other collections.
//!
//! Every call is one request with a deadline. It blocks; only the mover's own threads call it, and those of the
//! connectors.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::{Document, Node};
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// How long one request may take, from the connection to the last octet.
const DEADLINE: Duration = Duration::from_secs(15);

/// Octets of an answer: a thousand cards of 4 KiB, twice over.
const ANSWER_MAX: u64 = 8 << 20;

/// Cards asked for at once: 100 of 4 KiB are an answer of 400 KiB.
const CARDS_AT_ONCE: usize = 100;

const DAV: &str = "DAV:";
const CARDDAV: &str = "urn:ietf:params:xml:ns:carddav";
const CALENDARSERVER: &str = "http://calendarserver.org/ns/";

/// Why an address book cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DavError {
    /// Nobody answers, or not in time.
    #[error("the server cannot be reached: {0}")]
    Unreachable(#[from] Box<ureq::Error>),
    /// It does not want to.
    #[error("{method} was answered {status}")]
    Refused {
        /// What was asked.
        method: &'static str,
        /// What it said.
        status: StatusCode,
    },
    /// It answers what we cannot read.
    #[error("the answer to {method} cannot be read: {why}")]
    Unreadable {
        /// What was asked.
        method: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The template of the operator makes no URL of this user.
    #[error("{0:?} is no URL of a collection")]
    NoUrl(String),
}

/// The way to a server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
}

/// One user's address book.
pub(super) struct Book<'c> {
    client: &'c Client,
    /// Ends with a slash.
    url: String,
    authorization: String,
}

/// What an address book has: the name of each card, and its entity-tag.
pub(super) type Tags = BTreeMap<String, String>;

impl Client {
    /// A client that believes the authorities of this PEM file, or those that browsers believe.
    ///
    /// # Errors
    /// When there is no certificate in it.
    pub(crate) fn new(authorities: Option<&[u8]>) -> Result<Client, String> {
        let mut tls = TlsConfig::builder();
        if let Some(pem) = authorities {
            let mut known: Vec<Certificate<'static>> = Vec::new();
            for item in parse_pem(pem) {
                if let PemItem::Certificate(certificate) =
                    item.map_err(|error| error.to_string())?
                {
                    known.push(certificate);
                }
            }
            if known.is_empty() {
                return Err("there is no certificate in it".to_owned());
            }
            tls = tls.root_certs(RootCerts::new_with_certs(&known));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(DEADLINE))
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            // Where a server sends us elsewhere, the operator's URL is to be corrected: credentials go
            // nowhere that the operator did not name.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("Lamplight/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        Ok(Client {
            agent: config.new_agent(),
        })
    }

    /// The address book at a URL, opened by this login.
    pub(super) fn book(&self, url: &str, login: &str, password: &str) -> Book<'_> {
        let slash = if url.ends_with('/') { "" } else { "/" };
        Book {
            client: self,
            url: format!("{url}{slash}"),
            authorization: basic(login, password),
        }
    }

    /// Asks for a report on what a collection holds: status and body, whatever they are.
    pub(crate) fn report(
        &self,
        url: &str,
        login: &str,
        password: &str,
        body: String,
    ) -> Result<(u16, String), DavError> {
        let lines = [
            ("Depth", "1"),
            ("Content-Type", "application/xml; charset=utf-8"),
        ];
        let authorization = basic(login, password);
        let mut answer = self.ask("REPORT", url, &authorization, &lines, Some(body))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_MAX);
        Ok((status, body.read_to_string().map_err(Box::new)?))
    }

    fn ask(
        &self,
        method: &'static str,
        url: &str,
        authorization: &str,
        lines: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Response<Body>, DavError> {
        let name = Method::from_bytes(method.as_bytes()).expect("our methods are tokens");
        let mut request = Request::builder()
            .method(name)
            .uri(url)
            .header("Authorization", authorization);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let no_url = |_| DavError::NoUrl(url.to_owned());
        let answer = match body {
            Some(body) => self.agent.run(request.body(body).map_err(no_url)?),
            None => self.agent.run(request.body(()).map_err(no_url)?),
        };
        Ok(answer.map_err(Box::new)?)
    }
}

impl Book<'_> {
    fn ask(
        &self,
        method: &'static str,
        url: &str,
        lines: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Response<Body>, DavError> {
        self.client
            .ask(method, url, &self.authorization, lines, body)
    }

    /// A request that is answered with many properties.
    fn properties(
        &self,
        method: &'static str,
        depth: &str,
        body: String,
    ) -> Result<Option<String>, DavError> {
        let lines = [
            ("Depth", depth),
            ("Content-Type", "application/xml; charset=utf-8"),
        ];
        let mut answer = self.ask(method, &self.url, &lines, Some(body))?;
        match answer.status() {
            StatusCode::MULTI_STATUS => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(DavError::Refused { method, status }),
        }
        let body = answer.body_mut().with_config().limit(ANSWER_MAX);
        Ok(Some(body.read_to_string().map_err(Box::new)?))
    }

    /// What changes with every change of the book, where the server has that; `None` for no book.
    //= RFC 6352 6.3
    //# a property of the collection says whether anything in it changed
    pub(super) fn version(&self) -> Result<Option<Option<String>>, DavError> {
        let method = "PROPFIND";
        let body = format!(
            "<propfind xmlns=\"{DAV}\" xmlns:s=\"{CALENDARSERVER}\"><prop><s:getctag/><sync-token/></prop></propfind>"
        );
        let Some(answer) = self.properties(method, "0", body)? else {
            return Ok(None);
        };
        let document = parse(method, &answer)?;
        let responses = good_properties(&document);
        let of = |namespace, name| {
            let mut all = responses.iter();
            all.find_map(|(_, property)| text_of(*property, namespace, name))
        };
        Ok(Some(
            of(CALENDARSERVER, "getctag").or_else(|| of(DAV, "sync-token")),
        ))
    }

    /// The cards that are there; `None` for no book.
    pub(super) fn tags(&self) -> Result<Option<Tags>, DavError> {
        let method = "PROPFIND";
        let body =
            format!("<propfind xmlns=\"{DAV}\"><prop><getetag/><resourcetype/></prop></propfind>");
        let Some(answer) = self.properties(method, "1", body)? else {
            return Ok(None);
        };
        let document = parse(method, &answer)?;
        let mut tags = Tags::new();
        for (href, property) in good_properties(&document) {
            let collection = property
                .descendants()
                .any(|node| node.has_tag_name((DAV, "collection")));
            let name = name_of(href);
            if let (false, false, Some(tag)) = (
                collection,
                name.is_empty(),
                text_of(property, DAV, "getetag"),
            ) {
                tags.insert(name.to_owned(), tag);
            }
        }
        Ok(Some(tags))
    }

    /// The texts of these cards, of those that are there.
    //= RFC 6352 8.7
    //# one request brings many cards by their names
    pub(super) fn cards(
        &self,
        names: &[&str],
    ) -> Result<BTreeMap<String, (String, String)>, DavError> {
        let method = "REPORT";
        let path = path_of(&self.url);
        let mut cards = BTreeMap::new();
        for some in names.chunks(CARDS_AT_ONCE) {
            let mut body = format!(
                "<c:addressbook-multiget xmlns=\"{DAV}\" xmlns:c=\"{CARDDAV}\"><prop><getetag/><c:address-data/></prop>"
            );
            for name in some {
                let mut href = Vec::new();
                shard::xml::escape(&format!("{path}{name}"), &mut href);
                body.push_str("<href>");
                body.push_str(&String::from_utf8_lossy(&href));
                body.push_str("</href>");
            }
            body.push_str("</c:addressbook-multiget>");
            let status = StatusCode::NOT_FOUND;
            let answer = self.properties(method, "1", body)?;
            let answer = answer.ok_or(DavError::Refused { method, status })?;
            let document = parse(method, &answer)?;
            for (href, property) in good_properties(&document) {
                let tag = text_of(property, DAV, "getetag");
                let text = text_of(property, CARDDAV, "address-data");
                if let (Some(tag), Some(text)) = (tag, text) {
                    cards.insert(name_of(href).to_owned(), (tag, text));
                }
            }
        }
        Ok(cards)
    }

    /// Writes a card, whether or not it is there.
    pub(super) fn put(&self, name: &str, card: String) -> Result<(), DavError> {
        let url = format!("{}{name}", self.url);
        let lines = [("Content-Type", "text/vcard; charset=utf-8")];
        let answer = self.ask("PUT", &url, &lines, Some(card))?;
        done("PUT", answer, &[])
    }

    /// Removes a card, which may be gone already.
    pub(super) fn delete(&self, name: &str) -> Result<(), DavError> {
        let url = format!("{}{name}", self.url);
        let answer = self.ask("DELETE", &url, &[], None)?;
        done("DELETE", answer, &[StatusCode::NOT_FOUND, StatusCode::GONE])
    }

    /// Makes the book, which may be there by now.
    //= RFC 6352 6.3.1
    //# an address book is made by an extended MKCOL
    pub(super) fn make(&self) -> Result<(), DavError> {
        let body = format!(
            "<mkcol xmlns=\"{DAV}\" xmlns:c=\"{CARDDAV}\"><set><prop><resourcetype><collection/><c:addressbook/></resourcetype>\
             <displayname>Contacts</displayname></prop></set></mkcol>"
        );
        let lines = [("Content-Type", "application/xml; charset=utf-8")];
        let answer = self.ask("MKCOL", &self.url, &lines, Some(body))?;
        done("MKCOL", answer, &[StatusCode::METHOD_NOT_ALLOWED])
    }
}

/// Reads an answer to its end, so that the connection can be used again.
fn done(
    method: &'static str,
    mut answer: Response<Body>,
    also: &[StatusCode],
) -> Result<(), DavError> {
    let status = answer.status();
    let body = answer.body_mut().with_config().limit(ANSWER_MAX);
    body.read_to_vec().map_err(Box::new)?;
    if status.is_success() || also.contains(&status) {
        Ok(())
    } else {
        Err(DavError::Refused { method, status })
    }
}

fn basic(login: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{login}:{password}")))
}

/// Reads an answer in XML.
pub(crate) fn parse<'t>(method: &'static str, text: &'t str) -> Result<Document<'t>, DavError> {
    Document::parse(text).map_err(|error| DavError::Unreadable {
        method,
        why: error.to_string(),
    })
}

/// The properties that were found, each with the resource that it is of.
pub(crate) fn good_properties<'d, 'i>(document: &'d Document<'i>) -> Vec<(&'d str, Node<'d, 'i>)> {
    let named = |name: &'static str| move |node: &Node<'_, '_>| node.has_tag_name((DAV, name));
    let mut found = Vec::new();
    for response in document.root_element().children().filter(named("response")) {
        let href = response.children().find(named("href"));
        let href = href.and_then(|href| href.text()).unwrap_or_default().trim();
        for state in response.children().filter(named("propstat")) {
            let status = state.children().find(named("status"));
            let status = status.and_then(|status| status.text()).unwrap_or_default();
            let property = state.children().find(named("prop"));
            if let (Some("200"), Some(property)) = (status.split_whitespace().nth(1), property) {
                found.push((href, property));
            }
        }
    }
    found
}

pub(crate) fn text_of(property: Node<'_, '_>, namespace: &str, name: &str) -> Option<String> {
    let mut children = property.children();
    let child = children.find(|node| node.has_tag_name((namespace, name)))?;
    let texts = child.descendants().filter(|node| node.is_text());
    let text: String = texts.filter_map(|node| node.text()).collect();
    (!text.trim().is_empty()).then_some(text)
}

/// The last segment of a resource's path, as it is written.
fn name_of(href: &str) -> &str {
    href.rsplit('/').next().unwrap_or_default()
}

/// The path of a URL.
fn path_of(url: &str) -> &str {
    let behind = url.find("://").map_or(0, |place| place + 3);
    let rest = &url[behind..];
    rest.find('/').map_or("/", |place| &rest[place..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_cut_out_of_urls() {
        assert_eq!(path_of("https://x:8443/dav/a/"), "/dav/a/");
        assert_eq!(path_of("https://x"), "/");
        assert_eq!(name_of("/dav/a/b%20c.vcf"), "b%20c.vcf");
        assert_eq!(name_of("/dav/a/"), "");
    }

    #[test]
    fn only_what_was_found_counts() {
        let text = "<multistatus xmlns=\"DAV:\" xmlns:c=\"urn:ietf:params:xml:ns:carddav\">\
            <response><href>/a/x.vcf</href><propstat><prop><getetag>\"1\"</getetag><c:address-data>BEGIN &amp;\nEND</c:address-data></prop>\
            <status>HTTP/1.1 200 OK</status></propstat><propstat><prop><sync-token/></prop><status>HTTP/1.1 404 Not Found</status></propstat></response>\
            <response><href>/a/y.vcf</href><status>HTTP/1.1 404 Not Found</status></response></multistatus>";
        let document = parse("REPORT", text).expect("well-formed");
        let found = good_properties(&document);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, "/a/x.vcf");
        assert_eq!(
            text_of(found[0].1, DAV, "getetag").as_deref(),
            Some("\"1\"")
        );
        assert_eq!(
            text_of(found[0].1, CARDDAV, "address-data").as_deref(),
            Some("BEGIN &\nEND")
        );
        assert_eq!(text_of(found[0].1, DAV, "sync-token"), None);
        assert!(parse("REPORT", "<a>").is_err());
    }

    #[test]
    fn authorities_are_read_or_missed() {
        assert!(Client::new(None).is_ok());
        assert!(Client::new(Some(b"nothing")).is_err());
    }
}
