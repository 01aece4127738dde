//! AudioCodes: a gateway speaks for a user while a call lasts.

use transport::sip::Name;

use super::{QUIET, configured, printed, send};
use crate::phone::{Phone, Publisher, Watch, fresh, told};
use crate::server::Server;

const PHONE: &str = "<rpid:on-the-phone/>";

fn watch(phone: &mut Phone, call_id: &str) {
    let uri = "sip:john.doe@sfb.example";
    let head = phone.head(
        "SUBSCRIBE",
        uri,
        "sip:w@sfb.example",
        &format!("<{uri}>"),
        call_id,
        1,
    );
    let answer = phone.ask(head, "Event: presence\r\nExpires: 600\r\n", "");
    assert_eq!(answer.status().number(), 200);
}

fn own(phone: &mut Phone, cseq: u32, tag: Option<&str>, activity: &str) -> String {
    let uri = "sip:john.doe@sfb.example";
    let head = phone.head("PUBLISH", uri, uri, &format!("<{uri}>"), "own", cseq);
    let tag = tag.map_or(String::new(), |tag| format!("SIP-If-Match: {tag}\r\n"));
    let body = format!(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
         xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"{uri}\"><tuple id=\"own\"><status><basic>open</basic></status></tuple>\
         <dm:person id=\"own\"><rpid:activities>{activity}</rpid:activities></dm:person></presence>"
    );
    let lines =
        format!("Event: presence\r\nExpires: 3600\r\nContent-Type: application/pidf+xml\r\n{tag}");
    let answer = phone.ask(head, &lines, &body);
    assert_eq!(answer.status().number(), 200);
    answer.header(Name::SipETag).expect("a tag").to_owned()
}

//= AUDIOCODES p. 321
//= type=test
// proves: ADC-02 ADC-03 ADC-04 ADC-05 ADC-06 ADC-07
#[test]
fn a_call_lies_over_what_the_user_said_and_is_taken_away_again() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut watcher = Phone::tcp(server.tcp);
    let call_id = format!("watch-{}", fresh());
    watch(&mut watcher, &call_id);
    watcher.notify(Some(&call_id));
    let mut user = Phone::tcp(server.tcp);
    let tag = own(&mut user, 1, None, "<rpid:away/>");
    assert!(
        told(&watcher.notify(Some(&call_id)))
            .1
            .contains("<rpid:away/>")
    );

    let Some(publish) = printed("adc-1-publish-on-the-phone.request.sip", &[]) else {
        return;
    };
    let mut gateway = Phone::tcp(server.tcp);
    let answer = send(&mut gateway, &publish);
    assert_eq!(
        (answer.status().number(), answer.header(Name::Expires)),
        (200, Some("600"))
    );
    let first = answer.header(Name::SipETag).expect("a tag").to_owned();
    let shown = told(&watcher.notify(Some(&call_id))).1;
    assert!(shown.contains(PHONE) && !shown.contains("away"), "{shown}");

    // What the user's own client says meanwhile is kept, and does not hide the call.
    let newer = own(&mut user, 2, Some(&tag), "<rpid:meeting/>");
    let shown = told(&watcher.notify(Some(&call_id))).1;
    assert!(
        shown.contains(PHONE) && !shown.contains("meeting"),
        "{shown}"
    );

    let refresh =
        printed("adc-3-refresh.request.sip", &[("2545777538-1-1", &first)]).expect("there");
    let answer = send(&mut gateway, &refresh);
    assert_eq!(
        (answer.status().number(), answer.header(Name::Expires)),
        (200, Some("600"))
    );
    let second = answer.header(Name::SipETag).expect("a tag").to_owned();
    assert_ne!(second, first, "each refresh has a tag of its own");
    assert!(watcher.drain(QUIET).is_empty(), "a refresh is not told");

    let end = refresh
        .replace(&first, &second)
        .replace("Expires: 600", "Expires: 0")
        .replace("CSeq: 2 ", "CSeq: 3 ")
        .replace("z9hG4bKac2", "z9hG4bKac3");
    assert_eq!(send(&mut gateway, &end).status().number(), 200);
    let shown = told(&watcher.notify(Some(&call_id))).1;
    assert!(
        shown.contains("<rpid:meeting/>") && !shown.contains(PHONE),
        "what the user said last: {shown}"
    );
    own(&mut user, 3, Some(&newer), "<rpid:away/>");
    assert!(
        told(&watcher.notify(Some(&call_id)))
            .1
            .contains("<rpid:away/>"),
        "its own tag is good still"
    );
}

/// A gateway is trusted by its address where users have passwords.
// proves: ADC-01
#[test]
fn a_gateway_may_publish_for_everybody_where_the_operator_says_so() {
    let data = tempfile::tempdir().expect("a folder");
    let certificate =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (data.path().join("cert.pem"), data.path().join("key.pem"));
    std::fs::write(&cert, certificate.cert.pem()).expect("written");
    std::fs::write(&key, certificate.signing_key.serialize_pem()).expect("written");
    let users = data.path().join("users");
    std::fs::write(&users, "").expect("written");
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let (cert, key, users) = (text(&cert), text(&key), text(&users));
    let more = [
        "--auth",
        "digest",
        "--users",
        &users,
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
        "--listen",
        "tls:127.0.0.1:0",
    ];
    let Some(publish) = printed("adc-1-publish-on-the-phone.request.sip", &[]) else {
        return;
    };
    for (peers, status) in [("10.33.221.57", 401), ("127.0.0.0/8", 200)] {
        let folder = data.path().join(peers.replace('/', "-"));
        std::fs::create_dir(&folder).expect("made");
        let settings = format!(
            "[[profile]]\nname = \"gateways\"\ndialect = \"audiocodes\"\npeers = [{peers:?}]\npublishes_for_others = true\n\
             publication_max = 600\n"
        );
        let server = configured(&folder, &settings, &more);
        let mut tls = Tls::connect(&server);
        let answer = tls.ask(&publish);
        assert!(
            answer.starts_with(&format!("SIP/2.0 {status} ")),
            "{peers}: {answer}"
        );
        if status == 200 {
            assert!(
                answer.contains("\r\nExpires: 600\r\n") && answer.contains("\r\nSIP-ETag: "),
                "{answer}"
            );
            let (_, pool) = server.get("/pool");
            assert!(
                pool.contains("\"gateways\"") && pool.contains("may publish for every user"),
                "{pool}"
            );
        }
    }
    let _ = (Publisher::new("x"), Watch::new("x"));
}

/// A client of TLS that trusts whoever answers.
struct Tls {
    stream: rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>,
}

#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl Tls {
    fn connect(server: &Server) -> Tls {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(std::sync::Arc::new(Anybody))
            .with_no_client_auth();
        let name = "localhost".try_into().expect("a name");
        let connection =
            rustls::ClientConnection::new(std::sync::Arc::new(config), name).expect("a client");
        let address = server.tls.expect("a TLS listener");
        let socket = std::net::TcpStream::connect(address).expect("a connection");
        socket
            .set_read_timeout(Some(crate::server::PATIENCE))
            .expect("set");
        Tls {
            stream: rustls::StreamOwned::new(connection, socket),
        }
    }

    fn ask(&mut self, message: &str) -> String {
        use std::io::{Read as _, Write as _};
        self.stream.write_all(message.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        String::from_utf8(answer).expect("text")
    }
}
