//! An endpoint of enhanced presence: registers as these clients do, and speaks of itself by its GRUU.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use transport::sip::gruu;
use transport::sip::{Request, Response, StatusCode};

use super::super::phone::{Phone, fresh};
use super::super::server::Server;

/// How long a silence must last before we believe that nothing was told.
const SILENCE: Duration = Duration::from_millis(300);

/// One server for every test that needs no settings of its own; tests keep apart by their users' names.
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<(Server, Child)> = OnceLock::new();
    &SERVER.get_or_init(|| kept("2")).0
}

/// The same with one shard: every user can be in every batch.
pub fn single() -> &'static Server {
    static SERVER: OnceLock<(Server, Child)> = OnceLock::new();
    &SERVER.get_or_init(|| kept("1")).0
}

/// A server until this process ends.
fn kept(shards: &str) -> (Server, Child) {
    let data = tempfile::tempdir().expect("a folder").keep();
    let arguments = ["--domain", "contoso.com", "--shards", shards];
    let server = Server::start_with(&data, &arguments);
    let guard = guard(&server, &data);
    (server, guard)
}

/// Nobody drops what is static: a shell waits for the end of this process, ends the server and removes
/// its data.
fn guard(server: &Server, data: &Path) -> Child {
    Command::new("sh")
        .args(["-c", "read _; kill -9 \"$0\"; rm -rf \"$1\""])
        .arg(server.pid().to_string())
        .arg(data)
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell runs")
}

/// A server with one shard and settings of its own: the text of its node.toml.
pub fn configured(data: &Path, settings: &str) -> Server {
    let file = data.join("node.toml");
    std::fs::write(&file, settings).expect("written");
    let file = file.to_str().expect("a path");
    let arguments = ["--domain", "contoso.com", "--shards", "1", "--config", file];
    Server::start_with(&data.join("data"), &arguments)
}

/// A server with the domains of the specification's examples, and two shards.
pub fn server(data: &Path, more: &[&str]) -> Server {
    let mut arguments = vec!["--domain", "contoso.com", "--shards", "2"];
    arguments.extend(more);
    Server::start_with(data, &arguments)
}

/// A name that no other test uses.
pub fn somebody(name: &str) -> String {
    format!("{name}{}", fresh())
}

/// A signed-in endpoint.
pub struct Client {
    pub phone: Phone,
    /// `sip:bob@contoso.com`
    pub uri: String,
    pub epid: String,
    /// `+sip.instance` of the endpoint.
    pub instance: [u8; 16],
    /// The GRUU of the endpoint.
    pub gruu: String,
    /// The display name in From; none when empty.
    pub name: String,
}

/// A subscription as its client sees it.
#[derive(Clone, Debug)]
pub struct Dialog {
    event: String,
    /// Whose: the URI in To.
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    pub to_tag: Option<String>,
}

impl Client {
    /// Signs `user` of contoso.com in over TCP.
    pub fn sign_in(server: &Server, user: &str) -> Client {
        let (client, response) = Client::register(server, user, "");
        assert_eq!(response.status(), StatusCode::OK, "{user} signs in");
        client
    }

    /// The same, with more header lines; the response may be a refusal.
    pub fn register(server: &Server, user: &str, lines: &str) -> (Client, Response) {
        Client::register_as(server, user, &format!("{:010x}", fresh()), lines)
    }

    /// The same with this epid.
    pub fn register_as(server: &Server, user: &str, epid: &str, lines: &str) -> (Client, Response) {
        let instance = gruu::instance_of_epid(epid);
        let mut client = Client::with_instance(server, user, epid.to_owned(), instance);
        let response = client.renew(600, lines);
        (client, response)
    }

    /// An endpoint that did not register yet.
    pub fn new(server: &Server, user: &str) -> Client {
        let epid = format!("{:010x}", fresh());
        let instance = gruu::instance_of_epid(&epid);
        Client::with_instance(server, user, epid, instance)
    }

    /// The same, known by an instance that its epid does not make.
    pub fn with_instance(server: &Server, user: &str, epid: String, instance: [u8; 16]) -> Client {
        Client {
            phone: Phone::tcp(server.tcp),
            gruu: gruu::of_endpoint(&format!("{user}@contoso.com"), instance),
            uri: format!("sip:{user}@contoso.com"),
            epid,
            instance,
            name: String::new(),
        }
    }

    /// Somebody of `user@domain` who does not register here: a watcher from elsewhere.
    pub fn visitor(server: &Server, user: &str, domain: &str) -> Client {
        let epid = format!("{:010x}", fresh());
        let instance = gruu::instance_of_epid(&epid);
        Client {
            phone: Phone::tcp(server.tcp),
            gruu: gruu::of_endpoint(&format!("{user}@{domain}"), instance),
            uri: format!("sip:{user}@{domain}"),
            epid,
            instance,
            name: String::new(),
        }
    }

    /// REGISTER for so many seconds; 0 signs out.
    pub fn renew(&mut self, expires: u32, lines: &str) -> Response {
        let head = self.registration(expires);
        self.phone.ask(head, lines, "")
    }

    /// The head of a REGISTER for so many seconds.
    fn registration(&self, expires: u32) -> String {
        let instance = uuid(self.instance);
        let (local, uri) = (self.phone.local, self.uri.clone());
        let domain = uri.split('@').nth(1).expect("an address").to_owned();
        format!(
            "REGISTER sip:{domain} SIP/2.0\r\nVia: SIP/2.0/TCP {local};branch=z9hG4bKt{branch}\r\nMax-Forwards: 70\r\n\
             From: <{uri}>;tag=r{branch};epid={epid}\r\nTo: <{uri}>\r\nCall-ID: reg-{epid}\r\nCSeq: {branch} REGISTER\r\n\
             Contact: <sip:{local};transport=tcp;ms-opaque=d3470f2e1d>;methods=\"INVITE, MESSAGE, INFO, OPTIONS, BYE, CANCEL, NOTIFY, ACK, REFER, BENOTIFY\";proxy=replace;+sip.instance=\"<urn:uuid:{instance}>\"\r\n\
             User-Agent: UCCAPI/4.0.7577.0 OC/4.0.7577.0\r\nSupported: gruu-10, adhoclist, msrtc-event-categories\r\nSupported: ms-forking\r\n\
             ms-keep-alive: UAC;hop-hop=yes\r\nEvent: registration\r\nExpires: {expires}\r\n",
            branch = fresh(),
            epid = self.epid,
        )
    }

    /// Signs out as SIPE does: behind other requests, and gone before anything was answered.
    pub fn vanish(mut self) {
        const END: &str = "Content-Length: 0\r\n\r\n";
        let asked = |client: &Client| {
            let call_id = format!("asks-{}", fresh());
            client.head("OPTIONS", &client.uri, None, &call_id, 1) + END
        };
        let first = asked(&self);
        self.phone.send(first.as_bytes());
        let words: String = (0..150).map(|_| asked(&self)).collect();
        let words = words + &self.registration(0) + END;
        self.phone.leave(&words);
    }

    /// The head of a request of this endpoint, up to where its own lines begin.
    pub fn head(
        &self,
        method: &str,
        uri: &str,
        to_tag: Option<&str>,
        call_id: &str,
        cseq: u32,
    ) -> String {
        let to_tag = to_tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP {};branch=z9hG4bKt{}\r\nMax-Forwards: 70\r\n\
             From: {name}<{own}>;tag=f{call_id};epid={epid}\r\nTo: <{uri}>{to_tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <{gruu}>\r\n",
            self.phone.local,
            fresh(),
            name = if self.name.is_empty() {
                String::new()
            } else {
                format!("\"{}\" ", self.name)
            },
            own = self.uri,
            epid = self.epid,
            gruu = self.gruu,
        )
    }

    /// A SERVICE to oneself.
    pub fn service(&mut self, media: &str, body: &str) -> Response {
        let uri = self.uri.clone();
        self.service_to(&uri, media, body)
    }

    /// A SERVICE to somebody.
    pub fn service_to(&mut self, uri: &str, media: &str, body: &str) -> Response {
        let uri = uri.to_owned();
        let call_id = format!("service-{}", fresh());
        let head = self.head("SERVICE", &uri, None, &call_id, 1);
        self.phone
            .ask(head, &format!("Content-Type: {media}\r\n"), body)
    }

    /// Publishes these `publication` elements.
    pub fn publish(&mut self, publications: &str) -> Response {
        let uri = self.uri.clone();
        self.service(
            "application/msrtc-category-publish+xml",
            &format!(
                "<publish xmlns=\"http://schemas.microsoft.com/2006/09/sip/rich-presence\">\
                 <publications uri=\"{uri}\">{publications}</publications></publish>"
            ),
        )
    }

    /// Changes members of these `container` elements.
    pub fn set_members(&mut self, containers: &str) -> Response {
        self.service(
            "application/msrtc-setcontainermembers+xml",
            &format!(
                "<setContainerMembers xmlns=\"http://schemas.microsoft.com/2006/09/sip/container-management\">\
                 {containers}</setContainerMembers>"
            ),
        )
    }

    /// SUBSCRIBE in a dialog, or for a new one.
    pub fn subscribe(
        &mut self,
        dialog: &mut Dialog,
        expires: Option<u32>,
        lines: &str,
        media: &str,
        body: &str,
    ) -> Response {
        dialog.cseq += 1;
        let head = self.head(
            "SUBSCRIBE",
            &dialog.to,
            dialog.to_tag.as_deref(),
            &dialog.call_id,
            dialog.cseq,
        );
        let expires = expires
            .map(|expires| format!("Expires: {expires}\r\n"))
            .unwrap_or_default();
        let media = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Type: {media}\r\n")
        };
        let lines = format!("Event: {}\r\n{expires}{lines}{media}", dialog.event);
        let response = self.phone.ask(head, &lines, body);
        if response.status() == StatusCode::OK && dialog.to_tag.is_none() {
            dialog.to_tag = response.to_tag().map(str::to_owned);
        }
        response
    }

    /// Subscribes to one's own data of these kinds; the answer carries them.
    pub fn watch_self(&mut self, roaming: &[&str]) -> (Dialog, Response) {
        let mut dialog = Dialog::new("vnd-microsoft-roaming-self", &self.uri);
        let response = self.scope(&mut dialog, roaming);
        (dialog, response)
    }

    /// The same inside its dialog: another scope.
    pub fn scope(&mut self, dialog: &mut Dialog, roaming: &[&str]) -> Response {
        let body = roaming_list(roaming);
        self.subscribe(
            dialog,
            Some(3_600),
            SELF_LINES,
            "application/vnd-microsoft-roaming-self+xml",
            &body,
        )
    }

    /// A batch: subscribes to these categories of these publishers; the answer carries them.
    pub fn watch(&mut self, publishers: &[&str], categories: &[&str]) -> (Dialog, Response) {
        let mut dialog = Dialog::new("presence", &self.uri);
        let body = batch(&self.uri, "subscribe", publishers, categories);
        let response = self.change_batch(&mut dialog, &body);
        (dialog, response)
    }

    /// A single subscription to categories of one publisher, with further header lines and what to say of
    /// oneself (`<context>…</context>`, or nothing).
    pub fn watch_one(
        &mut self,
        publisher: &str,
        categories: &[&str],
        lines: &str,
        context: &str,
    ) -> (Dialog, Response) {
        let mut dialog = Dialog::new("presence", publisher);
        let response = self.ask_one(&mut dialog, Some(3_600), categories, lines, context);
        (dialog, response)
    }

    /// Looks once at categories of one publisher.
    pub fn poll_one(&mut self, publisher: &str, categories: &[&str], lines: &str) -> Response {
        let mut dialog = Dialog::new("presence", publisher);
        self.ask_one(&mut dialog, Some(0), categories, lines, "")
    }

    fn ask_one(
        &mut self,
        dialog: &mut Dialog,
        expires: Option<u32>,
        categories: &[&str],
        lines: &str,
        context: &str,
    ) -> Response {
        let body = batch(&self.uri, "subscribe", &[&dialog.to], categories);
        let body = body.replace(
            "\"/></adhocList>",
            &format!("\">{context}</resource></adhocList>"),
        );
        self.subscribe(
            dialog,
            expires,
            &format!("{SINGLE_LINES}{lines}"),
            "application/msrtc-adrl-categorylist+xml",
            &body,
        )
    }

    /// SUBSCRIBE with the body of a batch, in its dialog or for a new one.
    pub fn change_batch(&mut self, dialog: &mut Dialog, body: &str) -> Response {
        self.subscribe(
            dialog,
            Some(3_600),
            BATCH_LINES,
            "application/msrtc-adrl-categorylist+xml",
            body,
        )
    }

    /// Subscribes to one's own contacts, with more lines; the answer carries them.
    pub fn watch_contacts(&mut self, lines: &str) -> (Dialog, Response) {
        let mut dialog = Dialog::new("vnd-microsoft-roaming-contacts", &self.uri);
        let lines = format!("{CONTACT_LINES}{lines}");
        let response = self.subscribe(&mut dialog, Some(3_600), &lines, "", "");
        (dialog, response)
    }

    /// A change of one's contacts outside every dialog.
    pub fn change_contacts(&mut self, call: &str) -> Response {
        self.service("application/SOAP+xml", &soap(call))
    }

    /// The same inside the dialog of one's contacts.
    pub fn change_contacts_in(&mut self, dialog: &mut Dialog, call: &str) -> Response {
        dialog.cseq += 1;
        let to_tag = dialog.to_tag.as_deref();
        let head = self.head("SERVICE", &dialog.to, to_tag, &dialog.call_id, dialog.cseq);
        self.phone
            .ask(head, "Content-Type: application/SOAP+xml\r\n", &soap(call))
    }

    /// The next notification in a dialog.
    pub fn told(&mut self, dialog: &Dialog) -> Request {
        self.phone.notify(Some(&dialog.call_id))
    }

    /// What else is told in a dialog, until there is silence.
    pub fn rest(&mut self, dialog: &Dialog) -> Vec<Request> {
        let all = self.phone.drain(SILENCE);
        let (mine, others) = all
            .into_iter()
            .partition(|request| request.call_id() == dialog.call_id);
        self.phone.keep(others);
        mine
    }
}

/// Lines of a subscription to one's own data.
pub const SELF_LINES: &str = "Accept: application/vnd-microsoft-roaming-self+xml\r\n\
    Supported: com.microsoft.autoextend\r\nSupported: ms-benotify\r\nProxy-Require: ms-benotify\r\n\
    Supported: ms-piggyback-first-notify\r\n";

/// Lines of a subscription to one's own contacts.
pub const CONTACT_LINES: &str = "Accept: application/vnd-microsoft-roaming-contacts+xml\r\n\
    Supported: com.microsoft.autoextend\r\nSupported: ms-benotify\r\nProxy-Require: ms-benotify\r\n\
    Supported: ms-piggyback-first-notify\r\n";

/// A call of a method that changes contacts.
pub fn soap(call: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:m=\"http://schemas.microsoft.com/winrtc/2002/11/sip\"><s:Body>{call}</s:Body></s:Envelope>"
    )
}

/// setContact: an address, a name, its groups, and the list's number.
pub fn set_contact(uri: &str, name: &str, groups: &str, delta_num: u32) -> String {
    format!(
        "<m:setContact><m:displayName>{name}</m:displayName><m:groups>{groups}</m:groups>\
         <m:subscribed>true</m:subscribed><m:URI>{uri}</m:URI><m:externalURI/>\
         <m:deltaNum>{delta_num}</m:deltaNum></m:setContact>"
    )
}

/// addGroup: a name, and the list's number.
pub fn add_group(name: &str, delta_num: u32) -> String {
    format!(
        "<m:addGroup><m:name>{name}</m:name><m:externalURI/><m:deltaNum>{delta_num}</m:deltaNum></m:addGroup>"
    )
}

/// Lines of a batch.
pub const BATCH_LINES: &str = "Accept: application/msrtc-event-categories+xml, \
    text/xml+msrtc.pidf, application/pidf+xml, application/rlmi+xml, multipart/related\r\n\
    Supported: com.microsoft.autoextend\r\nSupported: ms-benotify\r\nProxy-Require: ms-benotify\r\n\
    Supported: ms-piggyback-first-notify\r\nSupported: eventlist\r\nRequire: adhoclist, categoryList\r\n";

/// The body of a subscription to one's own data of these kinds.
pub fn roaming_list(kinds: &[&str]) -> String {
    let each = |kind: &&str| match *kind {
        "delegates" => {
            "<roamingEx xmlns=\"http://schemas.microsoft.com/2007/09/sip/roaming-self-ex\" \
                        type=\"delegates\"/>"
                .to_owned()
        }
        kind => format!("<roaming type=\"{kind}\"/>"),
    };
    let each: String = kinds.iter().map(each).collect();
    format!(
        "<roamingList xmlns=\"http://schemas.microsoft.com/2006/09/sip/roaming-self\">{each}</roamingList>"
    )
}
/// Lines of a subscription to categories of one publisher.
pub const SINGLE_LINES: &str = "Accept: application/msrtc-event-categories+xml, \
    text/xml+msrtc.pidf, application/pidf+xml, application/rlmi+xml, multipart/related\r\n\
    Supported: com.microsoft.autoextend\r\nSupported: ms-benotify\r\nProxy-Require: ms-benotify\r\n\
    Supported: ms-piggyback-first-notify\r\n";

/// A line by which an edge marks a request of another deployment.
pub const FEDERATED: &str = "ms-edge-proxy-message-trust: ms-source-type=EdgeProxyGenerated;\
    ms-source-network=federation;ms-source-verified-user=verified\r\n";

/// The same for a user of a public provider.
pub const PUBLIC_CLOUD: &str = "ms-edge-proxy-message-trust: ms-source-type=EdgeProxyGenerated;\
    ms-source-network=publiccloud;ms-source-verified-user=verified\r\n";

/// The body of a batch with one action.
pub fn batch(own: &str, action: &str, publishers: &[&str], categories: &[&str]) -> String {
    let resources: String = publishers
        .iter()
        .map(|uri| format!("<resource uri=\"{uri}\"/>"))
        .collect();
    let categories: String = categories
        .iter()
        .map(|name| format!("<category name=\"{name}\"/>"))
        .collect();
    format!(
        "<batchSub xmlns=\"http://schemas.microsoft.com/2006/01/sip/batch-subscribe\" uri=\"{own}\" name=\"\">\
         <action name=\"{action}\" id=\"63792024\"><adhocList>{resources}</adhocList>\
         <categoryList xmlns=\"http://schemas.microsoft.com/2006/09/sip/categorylist\">{categories}</categoryList>\
         </action></batchSub>"
    )
}

impl Dialog {
    /// A dialog that is not there yet.
    pub fn new(event: &str, to: &str) -> Dialog {
        Dialog {
            event: event.to_owned(),
            to: to.to_owned(),
            call_id: format!("watch-{}", fresh()),
            cseq: 0,
            to_tag: None,
        }
    }
}

/// One `publication` element.
pub fn publication(
    category: &str,
    instance: u32,
    container: u32,
    version: u32,
    expire: &str,
    data: &str,
) -> String {
    format!(
        "<publication categoryName=\"{category}\" instance=\"{instance}\" container=\"{container}\" \
         version=\"{version}\" {expire}>{data}</publication>"
    )
}

/// A note, as data of a publication.
pub fn note(text: &str) -> String {
    format!(
        "<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"><body type=\"personal\" uri=\"\">{text}</body></note>"
    )
}

/// The body as text.
pub fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).expect("a body is UTF-8")
}

/// The one categories document in an answer or a notification, alone or as a part of a multipart.
pub fn categories(body: &[u8]) -> String {
    let body = text(body);
    let begin = body
        .find("<categories")
        .unwrap_or_else(|| panic!("no categories: {body}"));
    let end = body.rfind("</categories>").expect("an element has an end");
    body[begin..end + "</categories>".len()].to_owned()
}

/// The code at the begin of ms-diagnostics.
pub fn diagnostic(response: &Response) -> Option<u32> {
    let line = response.other_headers("ms-diagnostics").next()?;
    line.split(';').next()?.trim().parse().ok()
}

/// Bytes as a UUID.
pub fn uuid(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}
