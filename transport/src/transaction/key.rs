//! What matches a message to its transaction, with and without a branch.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};

use smallvec::SmallVec;

use crate::sip::{Method, Request};

/// Names a server transaction: a hash, keyed anew in each process, so that nobody can aim at
/// another's. With 100,000 live transactions two meet by chance once in 10¹⁴.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey(pub u64);

/// Makes keys with this process's secret.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    secret: RandomState,
}

impl Keys {
    /// The key of the transaction that `request` belongs to. An ACK belongs to its INVITE.
    //= RFC 3261 17.2.3
    //# branch, sent-by and method match a request to its transaction
    #[must_use]
    pub fn of(&self, request: &Request) -> ServerKey {
        let method = match request.method() {
            Method::Ack => &Method::Invite,
            method => method,
        };
        self.key(request, method)
    }

    /// The key of the INVITE that a CANCEL means.
    #[must_use]
    pub fn of_cancelled(&self, request: &Request) -> ServerKey {
        self.key(request, &Method::Invite)
    }

    fn key(&self, request: &Request, method: &Method) -> ServerKey {
        let mut hasher = self.secret.build_hasher();
        let via = request.via();
        match via.branch() {
            Some(branch) => {
                // In one piece: a hasher pays for each.
                let mut all: SmallVec<[u8; 128]> = SmallVec::new();
                for part in [method.as_str(), branch, via.host] {
                    all.extend_from_slice(part.as_bytes());
                    all.push(0);
                }
                all.extend_from_slice(&via.port.map_or(0, u32::from).to_le_bytes());
                all.push(u8::from(via.port.is_some()));
                hasher.write(&all);
            }
            //= RFC 3261 17.2.3
            //# without such a branch: Request-URI, tags, Call-ID, CSeq and the top Via match
            None => {
                method.as_str().hash(&mut hasher);
                request.uri().hash(&mut hasher);
                request.from_tag().hash(&mut hasher);
                // The To tag of an ACK is ours, the INVITE had none.
                if *method != Method::Invite {
                    request.to_tag().hash(&mut hasher);
                }
                request.call_id().hash(&mut hasher);
                request.cseq().hash(&mut hasher);
                request.top_via().hash(&mut hasher);
            }
        }
        ServerKey(hasher.finish())
    }

    /// The number behind `counter` in a row that nobody else can continue, for branches of our own.
    #[must_use]
    pub fn scramble(&self, counter: u64) -> u64 {
        self.secret.hash_one(counter)
    }
}

/// Hashes a key that is a keyed hash already: by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("keys are single numbers");
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl BuildHasher for AsItIs {
    type Hasher = AsItIs;

    fn build_hasher(&self) -> AsItIs {
        AsItIs(0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sip::Message;

    fn request(method: &str, via: &str, cseq: u32, to_tag: &str) -> Request {
        let text = format!(
            "{method} sip:b@h SIP/2.0\r\nVia: {via}\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>{to_tag}\r\n\
             Call-ID: c\r\nCSeq: {cseq} {method}\r\n\r\n"
        );
        match Message::parse(Bytes::from(text)) {
            Ok(Message::Request(request)) => request,
            other => panic!("not a request: {other:?}"),
        }
    }

    //= RFC 3261 17.2.3
    //= type=test
    #[test]
    fn a_repeat_matches_and_another_request_does_not() {
        let keys = Keys::default();
        let of = |method, via, cseq, to_tag| keys.of(&request(method, via, cseq, to_tag));
        let new = "SIP/2.0/UDP h:5060;branch=z9hG4bKa";
        let old = "SIP/2.0/TCP h:5060";
        let publish = of("PUBLISH", new, 1, "");
        assert_eq!(of("PUBLISH", new, 1, ""), publish);
        assert_ne!(
            of("PUBLISH", "SIP/2.0/UDP h:5060;branch=z9hG4bKb", 1, ""),
            publish,
            "another branch"
        );
        assert_ne!(
            of("PUBLISH", "SIP/2.0/UDP h:5061;branch=z9hG4bKa", 1, ""),
            publish,
            "another sent-by"
        );
        assert_ne!(of("SUBSCRIBE", new, 1, ""), publish, "another method");
        assert_eq!(
            of("ACK", new, 1, ";tag=x"),
            of("INVITE", new, 1, ""),
            "an ACK is its INVITE's"
        );

        let service = of("SERVICE", old, 1, "");
        assert_eq!(of("SERVICE", old, 1, ""), service);
        assert_ne!(of("SERVICE", old, 2, ""), service, "another CSeq");
        assert_ne!(of("SERVICE", old, 1, ";tag=x"), service, "another To tag");
        assert_eq!(
            of("ACK", old, 1, ";tag=x"),
            of("INVITE", old, 1, ""),
            "an ACK of RFC 2543"
        );
    }
}
