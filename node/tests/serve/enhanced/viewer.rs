//! A watcher of a standard format: one dialog about one presentity, in PIDF or MSRTC.

use std::time::Duration;

use transport::sip::{Request, Response, StatusCode};

use super::super::phone::{Phone, fresh};
use super::super::server::Server;

/// How long a silence must last before we believe that nothing was told.
const SILENCE: Duration = Duration::from_millis(300);

/// What an edge of ours says of a request from another deployment.
pub const FEDERATED: &str = "ms-edge-proxy-message-trust: ms-source-type=AutoFederation;\
    ms-ep-fqdn=edge.contoso.com;ms-source-verified-user=verified;ms-source-network=federation\r\n";

/// Wants PIDF.
pub const PIDF: &str = "Accept: application/pidf+xml\r\n";

/// Wants MSRTC, as the older clients of Microsoft do.
pub const MSRTC: &str = "Accept: application/xpidf+xml, text/xml+msrtc.pidf, application/pidf+xml\r\nUser-Agent: LCC/1.3\r\n";

/// Offers both extensions.
pub const OFFERS: &str = "Supported: ms-benotify\r\nProxy-Require: ms-benotify\r\n\
    Supported: ms-piggyback-first-notify\r\n";

/// One who watches.
pub struct Viewer {
    pub phone: Phone,
    /// Who watches: the URI in From.
    pub own: String,
    /// Whom: the URI in To.
    pub to: String,
    /// What stands before the URI in From.
    pub display_name: String,
    pub call_id: String,
    pub cseq: u32,
    pub to_tag: Option<String>,
    /// Header lines of every SUBSCRIBE.
    pub lines: String,
}

impl Viewer {
    pub fn new(server: &Server, own: &str, to: &str, lines: &str) -> Viewer {
        Viewer {
            phone: Phone::tcp(server.tcp),
            own: own.to_owned(),
            to: to.to_owned(),
            display_name: String::new(),
            call_id: format!("view-{}", fresh()),
            cseq: 0,
            to_tag: None,
            lines: lines.to_owned(),
        }
    }

    /// Subscribes, and expects to be let in.
    pub fn watching(server: &Server, own: &str, to: &str, lines: &str) -> Viewer {
        let mut viewer = Viewer::new(server, own, to, lines);
        let answer = viewer.subscribe(600);
        assert_eq!(answer.status(), StatusCode::OK, "{own} watches {to}");
        viewer
    }

    /// SUBSCRIBE, inside the dialog once there is one.
    pub fn subscribe(&mut self, expires: u32) -> Response {
        self.cseq += 1;
        let to_tag = self.to_tag.as_ref();
        let to_tag = to_tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let head = format!(
            "SUBSCRIBE {to} SIP/2.0\r\nVia: SIP/2.0/TCP {local};branch=z9hG4bKt{branch}\r\nMax-Forwards: 70\r\n\
             From: {name}<{own}>;tag=f{call_id}\r\nTo: <{to}>{to_tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} SUBSCRIBE\r\n\
             Contact: <sip:{local};transport=tcp>\r\nEvent: presence\r\nExpires: {expires}\r\n",
            to = self.to,
            local = self.phone.local,
            branch = fresh(),
            name = self.display_name,
            own = self.own,
            call_id = self.call_id,
            cseq = self.cseq,
        );
        let response = self.phone.ask(head, &self.lines, "");
        if response.status() == StatusCode::OK && self.to_tag.is_none() {
            self.to_tag = response.to_tag().map(str::to_owned);
        }
        response
    }

    /// The next notification.
    pub fn told(&mut self) -> Request {
        self.phone.notify(Some(&self.call_id))
    }

    /// Its body.
    pub fn shown(&mut self) -> String {
        super::client::text(self.told().body())
    }

    /// Whether nothing more is told.
    pub fn is_left_alone(&mut self) -> bool {
        self.phone.drain(SILENCE).is_empty()
    }
}

/// A `state` element of an endpoint's device.
pub fn device(availability: u32) -> String {
    state("machineState", availability, "")
}

/// A `state` element of this type, with elements after its availability.
pub fn state(kind: &str, availability: u32, more: &str) -> String {
    let manual = kind == "userState";
    format!(
        "<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" manual=\"{manual}\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"{kind}\">\
         <availability>{availability}</availability>{more}</state>"
    )
}

/// An activity that holds for any availability.
pub fn activity(token: &str) -> String {
    format!("<activity token=\"{token}\" minAvailability=\"0\" maxAvailability=\"18999\"/>")
}
