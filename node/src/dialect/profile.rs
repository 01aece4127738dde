//! Who a peer is, by listener, address and User-Agent, and which of its habits are honoured (contradictions
//! C-02, C-03, C-06, C-10, C-13, C-69).
//!
//! Profiles of the configuration come first, in their order; then what is known by its User-Agent; then the
//! RFCs.

use std::net::SocketAddr;

use transport::flow::{Flow, Transport};
use transport::sip::{Name, Request};

use super::policy::Interval;
use crate::config::{Dialect, Listener, ProfileSettings, Protocol};

/// User-Agents that are known without a word of the operator.
const KNOWN: [(&str, Dialect); 6] = [
    ("UCCP/", Dialect::Ms),
    ("UCCAPI/", Dialect::Ms),
    ("OC/", Dialect::Ms),
    ("LCC/", Dialect::Ms),
    ("RTC/", Dialect::Ms),
    ("Aastra BluStar Client", Dialect::Blustar),
];

/// Seconds of a BluStar subscription, however many were asked for: what the document's server grants.
const BLUSTAR_SUBSCRIPTION_S: u32 = 300;

/// How one peer is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What the operator calls it, or the name of its dialect.
    pub name: String,
    /// How.
    pub dialect: Dialect,
    /// Whether the operator has said so.
    pub configured: bool,
    /// Whether it may publish for every user, and is not asked who it is.
    pub publishes_for_others: bool,
    /// Whether entity-tags stay as they are.
    pub stable_tags: bool,
    publication_max_s: Option<u32>,
    subscription_max_s: Option<u32>,
}

impl Profile {
    /// A dialect, as it is where nobody says more.
    #[must_use]
    pub fn of(dialect: Dialect) -> Profile {
        let blustar = dialect == Dialect::Blustar;
        Profile {
            name: dialect.as_str().to_owned(),
            dialect,
            configured: false,
            publishes_for_others: false,
            stable_tags: blustar,
            publication_max_s: None,
            subscription_max_s: blustar.then_some(BLUSTAR_SUBSCRIPTION_S),
        }
    }

    fn configured(settings: &ProfileSettings) -> Profile {
        let of_dialect = Profile::of(settings.dialect);
        Profile {
            name: settings.name.clone(),
            dialect: settings.dialect,
            configured: true,
            publishes_for_others: settings.publishes_for_others,
            stable_tags: settings.stable_tags.unwrap_or(of_dialect.stable_tags),
            publication_max_s: settings.publication_max_s.or(of_dialect.publication_max_s),
            subscription_max_s: settings
                .subscription_max_s
                .or(of_dialect.subscription_max_s),
        }
    }

    /// The interval of publications.
    #[must_use]
    pub fn publication(&self, everybody: Interval) -> Interval {
        everybody.up_to(self.publication_max_s)
    }

    /// The interval of subscriptions.
    #[must_use]
    pub fn subscription(&self, everybody: Interval) -> Interval {
        everybody.up_to(self.subscription_max_s)
    }

    /// The habits that are honoured, in words.
    #[must_use]
    pub fn habits(&self) -> Vec<String> {
        let mut habits: Vec<String> = Vec::new();
        let mut habit = |is: bool, text: &str| {
            if is {
                habits.push(text.to_owned());
            }
        };
        habit(
            self.stable_tags,
            "entity-tags stay as long as a publication lives",
        );
        let more: &[&str] = match self.dialect {
            Dialect::Rfc | Dialect::Audiocodes => &[],
            Dialect::Ms => &["PIDF as Microsoft prints it"],
            Dialect::Blustar => &[
                "documents in the aa: namespace",
                "the presentity stands in To",
                "an unknown To tag begins a dialog",
                "the first PUBLISH without the tag of a live publication is answered and not applied",
                "PUBLISH needs Expires and Contact",
                "one NOTIFY for each entry of a list, unless the client knows eventlist",
                "Event lyncforwarding",
            ],
            Dialect::Comsipl => &["documents about pres: URIs"],
        };
        more.iter().for_each(|text| habit(true, text));
        habit(self.publishes_for_others, "may publish for every user");
        for (what, max) in [
            ("publications", self.publication_max_s),
            ("subscriptions", self.subscription_max_s),
        ] {
            habits.extend(max.map(|seconds| format!("{what} of {seconds} s at most")));
        }
        habits
    }
}

/// All profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profiles {
    configured: Vec<(ProfileSettings, Profile)>,
    known: Vec<(&'static str, Profile)>,
    otherwise: Profile,
}

impl Default for Profiles {
    fn default() -> Profiles {
        Profiles::of(&[])
    }
}

impl Profiles {
    /// Those of the configuration, and those that are known.
    #[must_use]
    pub fn of(settings: &[ProfileSettings]) -> Profiles {
        let configured = settings
            .iter()
            .map(|settings| (settings.clone(), Profile::configured(settings)));
        Profiles {
            configured: configured.collect(),
            known: KNOWN
                .into_iter()
                .map(|(agent, dialect)| (agent, Profile::of(dialect)))
                .collect(),
            otherwise: Profile::of(Dialect::Rfc),
        }
    }

    /// The profile of who sent a request, by what it came in at, `local`.
    #[must_use]
    pub fn choose(&self, request: &Request, flow: &Flow, local: SocketAddr) -> &Profile {
        let agent = request.header(Name::UserAgent).unwrap_or_default();
        let configured = self
            .configured
            .iter()
            .find(|(settings, _)| is_for(settings, agent, flow, local));
        if let Some((_, profile)) = configured {
            return profile;
        }
        let known = self.known.iter().find(|(known, _)| agent.contains(known));
        known.map_or(&self.otherwise, |(_, profile)| profile)
    }

    /// All of them, the first that fits being the one that counts.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        let configured = self.configured.iter().map(|(_, profile)| profile);
        let known = self.known.iter().map(|(_, profile)| profile);
        configured
            .chain(known)
            .chain(std::iter::once(&self.otherwise))
    }
}

fn is_for(settings: &ProfileSettings, agent: &str, flow: &Flow, local: SocketAddr) -> bool {
    let protocol = match flow.transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
        Transport::Tls => Protocol::Tls,
        Transport::Ws => Protocol::Ws,
        Transport::Wss => Protocol::Wss,
    };
    let listens = |listener: &Listener| {
        let address = listener.address;
        let host = address.ip().is_unspecified() || address.ip() == local.ip();
        listener.protocol == protocol && host && address.port() == local.port()
    };
    let among = |named: bool, is: bool| !named || is;
    among(
        !settings.listeners.is_empty(),
        settings.listeners.iter().any(listens),
    ) && among(
        !settings.peers.is_empty(),
        settings
            .peers
            .iter()
            .any(|peers| peers.holds(flow.peer.ip())),
    ) && among(
        !settings.user_agents.is_empty(),
        settings
            .user_agents
            .iter()
            .any(|known| agent.contains(known.as_str())),
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use transport::sip::Message;

    use super::*;

    fn request(agent: &str) -> Request {
        let text = format!(
            "PUBLISH sip:a@x SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:a@x>;tag=1\r\n\
             To: <sip:a@x>\r\nCall-ID: c\r\nCSeq: 1 PUBLISH\r\nUser-Agent: {agent}\r\nContent-Length: 0\r\n\r\n"
        );
        match Message::parse(Bytes::from(text)) {
            Ok(Message::Request(request)) => request,
            other => panic!("not a request: {other:?}"),
        }
    }

    #[test]
    fn a_peer_is_known_by_listener_address_and_user_agent() {
        let settings = |name: &str, dialect| ProfileSettings {
            name: name.to_owned(),
            dialect,
            listeners: Vec::new(),
            peers: Vec::new(),
            user_agents: Vec::new(),
            publishes_for_others: false,
            stable_tags: None,
            publication_max_s: None,
            subscription_max_s: None,
        };
        let profiles = Profiles::of(&[
            ProfileSettings {
                peers: vec!["10.33.221.0/24".parse().expect("a subnet")],
                publishes_for_others: true,
                publication_max_s: Some(600),
                ..settings("gateways", Dialect::Audiocodes)
            },
            ProfileSettings {
                listeners: vec!["udp:0.0.0.0:5070".parse().expect("a listener")],
                ..settings("desk", Dialect::Blustar)
            },
            ProfileSettings {
                listeners: vec!["udp:0.0.0.0:5060".parse().expect("a listener")],
                user_agents: vec!["ComSIPL".to_owned(), "Aastra BluStar Client/9".to_owned()],
                ..settings("sipl", Dialect::Comsipl)
            },
        ]);
        for (agent, peer, local, transport, expected) in [
            (
                "x",
                "10.33.221.57:9",
                "10.0.0.1:5060",
                Transport::Tls,
                "gateways",
            ),
            (
                "Aastra BluStar Client/3",
                "10.33.221.57:9",
                "10.0.0.1:5070",
                Transport::Udp,
                "gateways",
            ),
            ("x", "10.9.9.9:9", "10.0.0.1:5070", Transport::Udp, "desk"),
            ("x", "10.9.9.9:9", "10.0.0.1:5070", Transport::Tcp, "rfc"),
            (
                "ComSIPL/1",
                "10.9.9.9:9",
                "10.0.0.1:5060",
                Transport::Udp,
                "sipl",
            ),
            (
                "ComSIPL/1",
                "10.9.9.9:9",
                "10.0.0.1:5061",
                Transport::Udp,
                "rfc",
            ),
            (
                "Aastra BluStar Client/9",
                "10.9.9.9:9",
                "10.0.0.1:5060",
                Transport::Udp,
                "sipl",
            ),
            (
                "Aastra BluStar Client/3.0.1.0",
                "10.9.9.9:9",
                "10.0.0.1:5060",
                Transport::Udp,
                "blustar",
            ),
            (
                "UCCAPI/4.0 OC/4.0",
                "10.9.9.9:9",
                "10.0.0.1:5060",
                Transport::Tcp,
                "ms",
            ),
            (
                "LinphoneAndroid/5",
                "10.9.9.9:9",
                "10.0.0.1:5060",
                Transport::Udp,
                "rfc",
            ),
        ] {
            let flow = Flow {
                worker: 0,
                number: 0,
                transport,
                peer: peer.parse().expect("an address"),
            };
            let local = local.parse().expect("an address");
            let found = profiles.choose(&request(agent), &flow, local);
            assert_eq!(found.name, expected, "{agent} from {peer} at {local}");
        }
    }

    #[test]
    fn habits_are_told_in_words() {
        let blustar = Profile::of(Dialect::Blustar).habits();
        assert!(
            blustar.iter().any(|habit| habit.contains("entity-tags")),
            "{blustar:?}"
        );
        assert!(
            blustar
                .iter()
                .any(|habit| habit == "subscriptions of 300 s at most")
        );
        assert!(Profile::of(Dialect::Rfc).habits().is_empty());
    }
}
