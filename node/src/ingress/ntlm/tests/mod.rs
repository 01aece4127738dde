//! The scheme as a whole: handshakes against a client, and against recorded ones.

pub(super) mod client;

use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use client::{Client, Session, challenge_of, value};

const REALM: &str = "SIP Communications Service";
const POOL: &str = "pool.example.com";

const REQUEST: Fields<'_> = Fields {
    call_id: "4037df92",
    cseq: "3",
    method: "REGISTER",
    from: "sip:alice@example.com",
    from_tag: "a1",
    to: "sip:alice@example.com",
    to_tag: "",
    identity_sip: "",
    identity_tel: "",
    expires: "7200",
    status: None,
};

fn alice() -> Client {
    Client::new("alice", "EXAMPLE", "wonder")
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint::of(&NameAddr::parse(text).expect("an address"))
}

fn sender() -> Endpoint {
    endpoint("<sip:alice@example.com>;tag=a1;epid=01")
}

/// A server with one user, and numbers that look drawn.
struct Server {
    associations: Associations,
    drawn: Cell<u64>,
    now_ms: u64,
}

impl Server {
    fn new(handshakes: usize, established: usize) -> Server {
        let target = Target::new(REALM, POOL);
        Server {
            associations: Associations::bounded(target, handshakes, established),
            drawn: Cell::new(0),
            now_ms: 1_704_067_200_000,
        }
    }

    fn receive(
        &mut self,
        line: &str,
        fields: &Fields<'_>,
        sender: &Endpoint,
    ) -> Result<Received, Refusal> {
        let secret = |login: &Login| {
            let known = login.user == "alice" && login.domain == "EXAMPLE";
            known.then(|| NtHash::of_password("wonder"))
        };
        let chance = || {
            let drawn = self.drawn.get() + 1;
            self.drawn.set(drawn);
            drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let credentials = Credentials::parse(line).expect("NTLM");
        let associations = &mut self.associations;
        associations.receive(&credentials, fields, sender, secret, chance, self.now_ms)
    }

    /// The CHALLENGE for an endpoint.
    fn begin(&mut self, sender: &Endpoint) -> (Vec<u8>, Opaque) {
        match self.receive(&line("gssapi-data=\"\", version=4"), &REQUEST, sender) {
            Ok(Received::Challenge(header)) => challenge_of(&header),
            other => panic!("a challenge, not {other:?}"),
        }
    }

    /// A whole handshake, right in everything, of that version.
    fn sign_in(&mut self, sender: &Endpoint, version: u32) -> (Session, Opaque) {
        let (challenge, opaque) = self.begin(sender);
        let (message, mut session) = alice().authenticate(&challenge);
        let signature = session.sign((REALM, POOL), &REQUEST, version);
        let rest = if version > 3 { &*signature } else { "" };
        let line = answer(&message, opaque, version, rest);
        let expected = Ok(Received::Authentic(opaque));
        assert_eq!(self.receive(&line, &REQUEST, sender), expected);
        (session, opaque)
    }

    fn knows(&mut self, endpoint: &Endpoint) -> bool {
        let found = self.associations.of_endpoint(endpoint, self.now_ms);
        found.is_some_and(|association| association.endpoint() == endpoint)
    }
}

fn line(rest: &str) -> String {
    format!("NTLM qop=\"auth\", realm=\"{REALM}\", targetname=\"{POOL}\", {rest}")
}

fn signed(opaque: Opaque, signature: &str) -> String {
    line(&format!("opaque=\"{opaque}\", {signature}"))
}

fn answer(message: &[u8], opaque: Opaque, version: u32, signature: &str) -> String {
    let token = STANDARD.encode(message);
    line(&format!(
        "opaque=\"{opaque}\", gssapi-data=\"{token}\", version={version}, {signature}"
    ))
}

//= MS-SIPAE 3.3.5.2
//= type=test
//= MS-SIPAE 3.3.4.1
//= type=test
#[test]
fn a_handshake_leads_to_signatures_both_ways() {
    for version in [2, 3, 4] {
        let mut server = Server::new(8, 8);
        let (mut session, opaque) = server.sign_in(&sender(), version);
        assert!(server.knows(&sender()));

        let ok = REQUEST.response(200, "b2", "600");
        let notify = Fields {
            call_id: "77",
            method: "BENOTIFY",
            from_tag: "b3",
            to_tag: "a3",
            expires: "",
            ..REQUEST
        };
        let association = server
            .associations
            .of_endpoint(&sender(), 0)
            .expect("there");
        assert_eq!(association.opaque(), opaque);
        for (snum, fields) in [(1, &ok), (2, &notify), (3, &ok)] {
            let header = association.sign(fields, 0x0616_454f);
            let count = session.check(&header, (REALM, POOL), fields, version);
            assert_eq!(count, Some(snum), "{header}");
            assert_eq!(header.ends_with(", version=4"), version == 4, "{header}");
            assert_eq!(value(&header, "srand"), "0616454F");
            assert_eq!(challenge_name(&header), opaque);
        }

        for _ in 0..3 {
            let signature = session.sign((REALM, POOL), &ok, version);
            let received = server.receive(&signed(opaque, &signature), &ok, &sender());
            assert_eq!(received, Ok(Received::Authentic(opaque)));
        }
    }
}

fn challenge_name(header: &str) -> Opaque {
    Opaque::parse(value(header, "opaque")).expect("a name")
}

#[test]
fn whoever_cannot_prove_the_password_stays_outside() {
    let mallory = endpoint("<sip:mallory@example.com>;epid=01");
    let other = |user, domain, password| Client::new(user, domain, password);
    for code in [false, true] {
        for (name, client, sender, version, expected) in [
            ("right", alice(), sender(), 4, Ok(())),
            (
                "login",
                other("Alice", "EXAMPLE", "wonder"),
                sender(),
                4,
                Err(Refusal::Rejected),
            ),
            (
                "password",
                other("alice", "EXAMPLE", "wander"),
                sender(),
                4,
                Err(Refusal::Rejected),
            ),
            (
                "no password",
                other("alice", "EXAMPLE", ""),
                sender(),
                4,
                Err(Refusal::Rejected),
            ),
            (
                "domain",
                other("alice", "", "wonder"),
                sender(),
                4,
                Err(Refusal::Rejected),
            ),
            (
                "nobody",
                other("mallory", "EXAMPLE", ""),
                sender(),
                4,
                Err(Refusal::Rejected),
            ),
            ("sender", alice(), mallory.clone(), 4, Err(Refusal::Unknown)),
            ("version", alice(), sender(), 1, Err(Refusal::Malformed)),
        ] {
            let mut server = Server::new(8, 8);
            let (challenge, opaque) = server.begin(&self::sender());
            let (message, mut session) = Client { code, ..client }.authenticate(&challenge);
            let signature = session.sign((REALM, POOL), &REQUEST, 4);
            let line = answer(&message, opaque, version, &signature);
            let received = server.receive(&line, &REQUEST, &sender);
            assert_eq!(received.map(|_| ()), expected, "{name}");
            assert_eq!(server.knows(&sender), expected.is_ok(), "{name}");
        }
    }
}

//= MS-SIPAE 3.2.5.2
//= type=test
#[test]
fn a_handshake_of_version_4_is_signed_and_each_challenge_is_answered_once() {
    let mut server = Server::new(8, 8);
    let (challenge, opaque) = server.begin(&sender());
    let (message, mut session) = alice().authenticate(&challenge);
    let unsigned = answer(&message, opaque, 4, "");
    let received = server.receive(&unsigned, &REQUEST, &sender());
    assert_eq!(received, Err(Refusal::Unsigned));
    let signature = session.sign((REALM, POOL), &REQUEST, 4);
    let late = answer(&message, opaque, 4, &signature);
    let received = server.receive(&late, &REQUEST, &sender());
    assert_eq!(received, Err(Refusal::Unknown));

    let (challenge, opaque) = server.begin(&sender());
    let (message, _) = alice().authenticate(&challenge);
    let wrong = answer(&message, opaque, 3, &signature);
    let altered = Fields {
        cseq: "4",
        ..REQUEST
    };
    let received = server.receive(&wrong, &altered, &sender());
    assert_eq!(received, Err(Refusal::BadSignature));
    assert!(!server.knows(&sender()));
}

#[test]
fn an_altered_message_is_refused_and_costs_the_client_nothing() {
    let mut server = Server::new(8, 8);
    let (mut session, opaque) = server.sign_in(&sender(), 4);
    let signature = session.sign((REALM, POOL), &REQUEST, 4);
    let good = signed(opaque, &signature);
    for fields in [
        Fields {
            call_id: "x",
            ..REQUEST
        },
        Fields {
            cseq: "4",
            ..REQUEST
        },
        Fields {
            method: "SERVICE",
            ..REQUEST
        },
        Fields {
            from: "sip:bob@example.com",
            ..REQUEST
        },
        Fields {
            from_tag: "x",
            ..REQUEST
        },
        Fields {
            to: "sip:bob@example.com",
            ..REQUEST
        },
        Fields {
            to_tag: "x",
            ..REQUEST
        },
        Fields {
            identity_sip: "sip:bob@example.com",
            ..REQUEST
        },
        Fields {
            identity_tel: "tel:1",
            ..REQUEST
        },
        Fields {
            expires: "0",
            ..REQUEST
        },
        Fields {
            status: Some(200),
            ..REQUEST
        },
    ] {
        let received = server.receive(&good, &fields, &sender());
        assert_eq!(received, Err(Refusal::BadSignature), "{fields:?}");
    }
    for (old, new, expected) in [
        ("cnum=\"2\"", "cnum=\"3\"", Refusal::BadSignature),
        ("cnum=\"2\"", "cnum=\"02\"", Refusal::BadSignature),
        ("cnum=\"2\"", "cnum=\"+2\"", Refusal::Malformed),
        ("cnum=\"2\"", "cnum=\"\"", Refusal::Malformed),
        ("cnum=\"2\"", "cnum=\"4294967296\"", Refusal::Malformed),
        ("crand=\"d", "crand=\"e", Refusal::BadSignature),
        ("response=\"01", "response=\"02", Refusal::BadSignature),
        ("response=\"01", "response=\"", Refusal::Malformed),
        ("response", "rspauth", Refusal::Unsigned),
        ("cnum", "snum", Refusal::Unsigned),
        ("crand", "srand", Refusal::Unsigned),
        ("SIP C", "sip c", Refusal::WrongTarget),
        ("pool", "loop", Refusal::WrongTarget),
        ("\"auth\"", "\"auth-int\"", Refusal::Malformed),
        ("opaque", "transparent", Refusal::Malformed),
        ("opaque=\"", "opaque=\"0", Refusal::Malformed),
    ] {
        assert!(good.contains(old), "{old} in {good}");
        let received = server.receive(&good.replacen(old, new, 1), &REQUEST, &sender());
        assert_eq!(received, Err(expected), "{new}");
    }
    let unknown = Opaque(opaque.0 ^ 1);
    let received = server.receive(&signed(unknown, &signature), &REQUEST, &sender());
    assert_eq!(received, Err(Refusal::Unknown));

    let once = server.receive(&good, &REQUEST, &sender());
    assert_eq!(once, Ok(Received::Authentic(opaque)));
    let twice = server.receive(&good, &REQUEST, &sender());
    assert_eq!(twice, Err(Refusal::Replayed));
}

#[test]
fn no_flipped_byte_of_an_answer_is_believed_or_panics() {
    let sender = sender();
    let (message, _) = whole();
    for at in 0..message.len() {
        let mut server = Server::new(8, 8);
        let (challenge, opaque) = server.begin(&sender);
        let client = Client {
            code: true,
            ..alice()
        };
        let (mut message, mut session) = client.authenticate(&challenge);
        message[at] ^= 1 << (at % 8);
        let signature = session.sign((REALM, POOL), &REQUEST, 4);
        let line = answer(&message, opaque, 4, &signature);
        assert!(server.receive(&line, &REQUEST, &sender).is_err(), "{at}");
    }
}

#[test]
fn no_flipped_byte_of_a_header_panics() {
    let (_, line) = whole();
    for at in 0..line.len() {
        for bit in 0..8 {
            let mut bytes = line.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            let mut server = Server::new(8, 8);
            server.begin(&sender());
            if Credentials::parse(&text).is_some() {
                let _ = server.receive(&text, &REQUEST, &sender());
            }
        }
    }
}

/// The answer to a new server's first CHALLENGE, bare and as a header.
fn whole() -> (Vec<u8>, String) {
    let mut server = Server::new(8, 8);
    let (challenge, opaque) = server.begin(&sender());
    let client = Client {
        code: true,
        ..alice()
    };
    let (message, mut session) = client.authenticate(&challenge);
    let signature = session.sign((REALM, POOL), &REQUEST, 4);
    let line = answer(&message, opaque, 4, &signature);
    (message, line)
}

#[test]
fn what_is_old_ends_and_what_is_too_much_gives_way() {
    let device = |epid: u32| endpoint(&format!("<sip:alice@example.com>;epid={epid:02}"));
    let mut server = Server::new(2, 3);

    // A handshake has a minute.
    for (waited_ms, expected) in [(59_999, Ok(())), (60_000, Err(Refusal::Unknown))] {
        let (challenge, opaque) = server.begin(&device(9));
        let (message, _) = alice().authenticate(&challenge);
        server.now_ms += waited_ms;
        let received = server.receive(&answer(&message, opaque, 3, ""), &REQUEST, &device(9));
        assert_eq!(received.map(|_| ()), expected, "{waited_ms}");
    }

    // The oldest of too many handshakes is forgotten.
    let begun = [1, 2, 3].map(|epid| (epid, server.begin(&device(epid))));
    for (epid, (challenge, opaque)) in begun {
        let (message, _) = alice().authenticate(&challenge);
        let received = server.receive(&answer(&message, opaque, 3, ""), &REQUEST, &device(epid));
        assert_eq!(received.is_ok(), epid != 1, "{epid}");
    }

    // An endpoint that signs in again has one association, the newer.
    let (_, before) = server.sign_in(&device(4), 4);
    let (_, after) = server.sign_in(&device(4), 4);
    assert!(server.associations.get_mut(before, server.now_ms).is_none());
    assert!(server.associations.get_mut(after, server.now_ms).is_some());

    // The oldest of too many associations is forgotten: 9 went when 4 came.
    let known = [9, 2, 3, 4].map(|epid| server.knows(&device(epid)));
    assert_eq!(known, [false, true, true, true]);

    server.associations.end(&device(3));
    server.associations.end(&device(3));
    assert!(!server.knows(&device(3)) && server.knows(&device(4)));

    server.now_ms += ASSOCIATION_LIFE_MS - 1;
    assert!(server.knows(&device(4)));
    let received = server.receive(&signed(after, ""), &REQUEST, &device(4));
    assert_eq!(received, Err(Refusal::Unsigned));
    server.now_ms += 1;
    let received = server.receive(&signed(after, ""), &REQUEST, &device(4));
    assert_eq!(received, Err(Refusal::Unknown));
    assert!(server.associations.endpoints.is_empty());
}

#[test]
fn an_endpoint_is_the_same_in_any_letter_case_and_not_too_long() {
    let one = endpoint("\"A\" <sip:Alice@Example.com>;tag=1;epid=0A");
    assert_eq!(one, endpoint("<sip:alice@example.com>;EPID=0a"));
    assert_eq!((one.user(), one.epid()), ("sip:alice@example.com", "0a"));
    assert_eq!(endpoint("sip:alice@example.com").epid(), "");

    let long = endpoint(&format!("sip:{};epid=01", "a".repeat(ENDPOINT_MAX)));
    let received = Server::new(8, 8).receive(&line("gssapi-data="), &REQUEST, &long);
    assert_eq!(received, Err(Refusal::Malformed));
}

#[test]
fn nothing_secret_is_printed() {
    let mut server = Server::new(8, 8);
    let (_, opaque) = server.sign_in(&sender(), 4);
    let association = server.associations.get_mut(opaque, 0).expect("there");
    let text = format!("{association:?}");
    assert!(text.contains("Four") && !text.contains("signing"), "{text}");
    let text = format!("{:?}", server.associations);
    assert!(
        text.ends_with("handshakes: 0, established: 1, .. }"),
        "{text}"
    );
    assert_eq!(
        server.associations.offer(),
        format!("NTLM realm=\"{REALM}\", targetname=\"{POOL}\", version=4")
    );
}

/// A sign-in recorded between a real client (SIPE 1.25.0) and a test server.
//= MS-SIPAE 3.3.4.1
//= type=test
#[test]
fn a_recorded_client_is_believed_and_answered_as_recorded() {
    let challenge = STANDARD
        .decode(
            "TlRMTVNTUAACAAAAEAAQADgAAABVgpnijr6iG6XPKmIAAAAAAAAAAHYAdgBIAAAABgGwHQAAAA9QAFIARQBT\
     AEUATgBDAEUAAgAQAFAAUgBFAFMARQBOAEMARQABAAgAUwBUAFUAQgAEABoAcAByAGUAcwBlAG4AYwBlAC4A\
     dABlAHMAdAADACQAcwB0AHUAYgAuAHAAcgBlAHMAZQBuAGMAZQAuAHQAZQBzAHQABwAIAGanL3xFed0BAAAA\
     AA==",
        )
        .expect("base64");
    let token = STANDARD
        .decode(
            "TlRMTVNTUAADAAAAGAAYAIIAAACmAKYAmgAAAAAAAABIAAAAJgAmAEgAAAAUABQAbgAAABAAEABAAQAAVYKY\
     YgUBKAoAAAAPYQBsAGkAYwBlAEAAcAByAGUAcwBlAG4AYwBlAC4AdABlAHMAdABQAEMALQBBAEwASQBDAEUA\
     LQAxAM6iz0I74/50mWG2ahJ/tHYp3zWUCDc0eUZSK0D/czPyjM9jSG2vMWUBAQAAAAAAAGanL3xFed0BKd81\
     lAg3NHkAAAAAAgAQAFAAUgBFAFMARQBOAEMARQABAAgAUwBUAFUAQgAEABoAcAByAGUAcwBlAG4AYwBlAC4A\
     dABlAHMAdAADACQAcwB0AHUAYgAuAHAAcgBlAHMAZQBuAGMAZQAuAHQAZQBzAHQABwAIAGanL3xFed0BAAAA\
     AAAAAAC+ECcVSbLNh2r1TLLuVr/b",
        )
        .expect("base64");
    let answer = Authenticate::parse(&token).expect("whole");
    assert_eq!(answer.login.user, "alice@presence.test");
    assert_eq!(answer.login.domain, "");
    let wrong = NtHash::of_password("secret-b");
    assert!(answer.verify(&wrong, &challenge).is_none());
    let secret = NtHash::of_password("secret-a");
    let key = answer.verify(&secret, &challenge).expect("the password");

    let target = Arc::new(Target::new(REALM, "stub.presence.test"));
    let opaque = Opaque(0xC828_81F7);
    let mut association = Association::new(target, opaque, sender(), Version::Four, &key);
    let register = Fields {
        call_id: "83DEg2BA4a1F1FiB8B6m8DB6tCF80b43A9xB2F1x",
        cseq: "3",
        method: "REGISTER",
        from: "sip:alice@presence.test",
        from_tag: "418204857",
        to: "sip:alice@presence.test",
        ..Fields::default()
    };
    let contacts = Fields {
        call_id: "6346g424Da92A1iFF1Dm9EF1t7FA8b83F7x1420x",
        cseq: "1",
        method: "SUBSCRIBE",
        from_tag: "151063087",
        ..register
    };
    let provisioning = Fields {
        call_id: "8FF6gD2A7aD884i92A7m1A80t3EBCbB231x1AD2x",
        from_tag: "3442725809",
        expires: "0",
        ..contacts
    };
    for (fields, crand, cnum, response) in [
        (
            register,
            "edff5bfc",
            "1",
            "01000000557F7F0BFDE7ECB164000000",
        ),
        (
            contacts,
            "2e9eacb1",
            "2",
            "010000003EAF2CB9AF7A550A64000000",
        ),
        (
            provisioning,
            "56d4ed37",
            "3",
            "01000000AB7F5935C6DB251E64000000",
        ),
    ] {
        let line = format!(
            "NTLM qop=\"auth\", opaque=\"C82881F7\", realm=\"SIP Communications Service\", \
             targetname=\"stub.presence.test\", crand=\"{crand}\", cnum=\"{cnum}\", \
             response=\"{response}\""
        );
        let credentials = Credentials::parse(&line).expect("NTLM");
        assert_eq!(association.verify(&credentials, &fields), Ok(()), "{cnum}");
    }
    for (fields, to_tag, srand, snum, rspauth) in [
        (
            register,
            "C80CA0B9",
            0xFA11_0CE3,
            1,
            "010000008AB46FA1BF9B43D264000000",
        ),
        (
            contacts,
            "83B7DFF9",
            0xE950_6485,
            2,
            "0100000021D393474D6481E764000000",
        ),
    ] {
        let header = association.sign(&fields.response(200, to_tag, "7200"), srand);
        let expected = format!(
            "NTLM rspauth=\"{rspauth}\", srand=\"{srand:08X}\", snum=\"{snum}\", \
             opaque=\"C82881F7\", qop=\"auth\", targetname=\"stub.presence.test\", \
             realm=\"SIP Communications Service\", version=4"
        );
        assert_eq!(header, expected);
    }
}

proptest! {
    #[test]
    fn no_header_makes_it_panic(text in ".{0,200}", token in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut server = Server::new(8, 8);
        let (_, opaque) = server.begin(&sender());
        for line in [
            format!("NTLM {text}"),
            line(&text),
            answer(&token, opaque, 4, &text),
            signed(opaque, &text),
        ] {
            if Credentials::parse(&line).is_some() {
                let _ = server.receive(&line, &REQUEST, &sender());
            }
        }
    }
}
