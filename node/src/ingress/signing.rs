//! NTLM on this node: the associations that its SIP workers share, and whole messages signed with them.
//!
//! One lock for all: a connection may move from one worker to another, and an association with it. It is
//! held for one hash of some 400 bytes, so a core could sign a few hundred thousand messages a second before
//! two workers met. Without NTLM there is no lock and nothing is looked up.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use transport::sip::header::NameAddr;
use transport::sip::{Message, Name, Request};

use super::ntlm::{
    Association, Associations, Credentials, Endpoint, Fields, Login, NtHash, Opaque, Received,
    Refusal, Target,
};

/// What these clients are used to be asked for.
//= MS-SIPAE 3.3.5.2
//# the realm is the product's own words unless somebody decided otherwise
const REALM: &str = "SIP Communications Service";

/// The associations of this node.
pub struct Signing {
    associations: Mutex<Associations>,
    offer: String,
}

/// What a request with credentials comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The handshake goes on with this WWW-Authenticate.
    Challenge(String),
    /// The sender is proven.
    Proven {
        /// The URI of the user, in small letters.
        user: String,
        /// What answers are signed with.
        association: Opaque,
    },
}

impl Signing {
    /// None yet; `name` is what this server calls itself.
    #[must_use]
    pub fn new(name: &str) -> Signing {
        let associations = Associations::new(Target::new(REALM, name));
        Signing {
            offer: associations.offer(),
            associations: Mutex::new(associations),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Associations> {
        self.associations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The WWW-Authenticate for whoever sends no credentials, or refused ones.
    #[must_use]
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// Takes the credentials of a request: who is proven, or the next challenge of the handshake.
    ///
    /// # Errors
    /// Why the request is not to be believed.
    pub fn receive(
        &self,
        credentials: &Credentials<'_>,
        request: &Request,
        secret: impl FnOnce(&Login) -> Option<NtHash>,
        chance: impl FnMut() -> u64,
        now_ms: u64,
    ) -> Result<Step, Refusal> {
        let fields = Fields::of_request(request);
        let sender = Endpoint::of(&request.from());
        let mut associations = self.lock();
        let received =
            associations.receive(credentials, &fields, &sender, secret, chance, now_ms)?;
        let opaque = match received {
            Received::Challenge(challenge) => return Ok(Step::Challenge(challenge)),
            Received::Authentic(opaque) => opaque,
        };
        let association = associations.get_mut(opaque, now_ms);
        let association = association.ok_or(Refusal::Unknown)?;
        Ok(Step::Proven {
            user: association.endpoint().user().to_owned(),
            association: opaque,
        })
    }

    /// A response to a request, signed if the association still is.
    //= MS-SIPAE 3.3.4.1
    //# what an endpoint with an association is answered is signed
    #[must_use]
    pub fn sign_response(
        &self,
        association: Opaque,
        request: &Request,
        response: Bytes,
        srand: u32,
        now_ms: u64,
    ) -> Bytes {
        let Ok(Message::Response(read)) = Message::parse(response.clone()) else {
            return response;
        };
        let expires = read.header(Name::Expires).unwrap_or_default();
        let fields = Fields::of_request(request).response(
            read.status().number(),
            read.to_tag().unwrap_or_default(),
            expires,
        );
        let sign = |found: &mut Association| found.sign(&fields, srand);
        let line = self.lock().get_mut(association, now_ms).map(sign);
        with_line(response, line)
    }

    /// A request to `remote`, the value of its To, signed if that is an endpoint with an association.
    //= MS-SIPAE 3.3.4.1
    //# a request to an endpoint is signed with the association that its To names
    #[must_use]
    pub fn sign_request(&self, remote: &str, message: Bytes, srand: u32, now_ms: u64) -> Bytes {
        let Ok(address) = NameAddr::parse(remote) else {
            return message;
        };
        let endpoint = Endpoint::of(&address);
        if self.lock().of_endpoint(&endpoint, now_ms).is_none() {
            return message;
        }
        let Ok(Message::Request(read)) = Message::parse(message.clone()) else {
            return message;
        };
        let fields = Fields::of_request(&read);
        let sign = |found: &mut Association| found.sign(&fields, srand);
        let line = self.lock().of_endpoint(&endpoint, now_ms).map(sign);
        with_line(message, line)
    }

    /// Forgets the association of an endpoint that signed off.
    pub fn end(&self, from: &NameAddr<'_>) {
        self.lock().end(&Endpoint::of(from));
    }

    /// Forgets the associations of users who may not go on.
    pub fn retain(&self, may_go_on: impl Fn(&str) -> bool) {
        self.lock().retain(|endpoint| may_go_on(endpoint.user()));
    }
}

/// The message with one more line at the end of its head.
fn with_line(message: Bytes, line: Option<String>) -> Bytes {
    let (Some(line), Some(end)) = (line, memmem::find(&message, b"\r\n\r\n")) else {
        return message;
    };
    let (head, rest) = message.split_at(end);
    let mut out = BytesMut::with_capacity(message.len() + line.len() + 32);
    out.extend_from_slice(head);
    out.extend_from_slice(b"\r\nAuthentication-Info: ");
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(rest);
    out.freeze()
}
