//! A browser's softphone: it registers, publishes, watches and is told, over WebSocket, in clear and under TLS.

use rustls::pki_types::CertificateDer;
use transport::sip::{Name, StatusCode};

use super::phone::{NOWHERE, Phone, Publisher, Watch, document, told};
use super::server::Server;

/// A server with listeners for browsers, and its certificate.
fn server(folder: &std::path::Path, more: &[&str]) -> (Server, CertificateDer<'static>) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain, pair.cert.pem()).expect("written");
    std::fs::write(&key, pair.signing_key.serialize_pem()).expect("written");
    let path = |path: &std::path::Path| path.to_str().expect("a path of text").to_owned();
    let (chain, key) = (path(&chain), path(&key));
    let mut arguments = vec!["--tls-cert", &chain, "--tls-key", &key];
    arguments.extend(["--listen", "ws:127.0.0.1:0", "--listen", "wss:127.0.0.1:0"]);
    arguments.extend(more);
    let server = Server::start_with(&folder.join("node"), &arguments);
    (server, pair.cert.der().clone())
}

//= RFC 7118 4.2
//= type=test
//= RFC 7118 5.1
//= type=test
//= RFC 7118 5.2.1
//= type=test
//= RFC 7118 5.2.2
//= type=test
#[test]
fn a_browser_registers_publishes_watches_and_is_told() {
    let data = tempfile::tempdir().expect("a folder");
    let (server, certificate) = server(data.path(), &[]);
    let (ws, wss) = (server.ws.expect("ws"), server.wss.expect("wss"));
    let mut desk = Phone::udp(server.udp);
    for (mut browser, name, at) in [
        (Phone::ws(ws), "WS", ws),
        (Phone::wss(wss, &certificate), "WSS", wss),
    ] {
        let uri = "sip:watcher@example.com";
        let call = format!("reg-{name}");
        let head = browser.head(
            "REGISTER",
            "sip:example.com",
            uri,
            &format!("<{uri}>"),
            &call,
            1,
        );
        let registered = browser.ask(head, "Expires: 600\r\n", "");
        assert_eq!(registered.status(), StatusCode::OK);
        let contact = registered.header(Name::Contact).expect("a binding");
        assert!(contact.contains(NOWHERE), "{contact}");
        let via = registered.header(Name::Via).expect("its own");
        assert!(
            via.starts_with(&format!("SIP/2.0/{name} {NOWHERE};"))
                && via.contains("received=127.0.0.1"),
            "{via}"
        );

        let user = format!("desk-{name}").to_lowercase();
        let mut watch = Watch::new(&user);
        let answer = watch.subscribe(&mut browser, 600);
        assert_eq!(answer.status(), StatusCode::OK);
        let ours = format!("<sip:{at};transport=ws>");
        assert_eq!(answer.header(Name::Contact), Some(&*ours));
        let first = browser.notify(Some(&watch.call_id));
        assert_eq!(first.uri(), format!("sip:phone@{NOWHERE};transport=ws"));
        assert!(
            first
                .top_via()
                .starts_with(&format!("SIP/2.0/{name} {at};")),
            "{}",
            first.top_via()
        );
        assert_eq!(first.header(Name::Contact), Some(&*ours));

        let mut publisher = Publisher::new(&user);
        let response = publisher.publish(
            &mut desk,
            None,
            &document(&user, "open", "at the desk — здесь"),
        );
        assert_eq!(response.status(), StatusCode::OK);
        let (_, body) = told(&browser.notify(Some(&watch.call_id)));
        assert!(body.contains("at the desk — здесь"), "{body}");

        // Its own state, in a message without Content-Length.
        let mut own = Publisher::new(&format!("browser-{name}").to_lowercase());
        let uri = format!("sip:{}@example.com", own.user);
        let head = browser.head("PUBLISH", &uri, &uri, &format!("<{uri}>"), &own.call_id, 1);
        let body = document(&own.user, "open", "in a browser");
        let message =
            format!("{head}Event: presence\r\nContent-Type: application/pidf+xml\r\n\r\n{body}");
        browser.send(message.as_bytes());
        let response = browser.response();
        assert_eq!(response.status(), StatusCode::OK);
        own.cseq = 1;
        own.tag = response.header(Name::SipETag).map(str::to_owned);
        let (_, report) = server.get(&format!("/presentity/{uri}"));
        assert!(report.contains("in a browser"), "{report}");
        assert_eq!(
            own.publish(&mut browser, Some(0), "").status(),
            StatusCode::OK
        );

        // Gone, and back over another connection: its subscription has waited.
        drop(browser);
        let response = publisher.publish(&mut desk, None, &document(&user, "closed", "gone home"));
        assert_eq!(response.status(), StatusCode::OK);
        let mut browser = match name {
            "WS" => Phone::ws(ws),
            _ => Phone::wss(wss, &certificate),
        };
        assert_eq!(watch.subscribe(&mut browser, 600).status(), StatusCode::OK);
        let (_, body) = told(&browser.notify(Some(&watch.call_id)));
        assert!(body.contains("gone home"), "{body}");
    }
}

#[test]
fn pages_of_the_domains_may_connect_or_those_that_are_named() {
    let data = tempfile::tempdir().expect("a folder");
    let (mut server, certificate) = server(data.path(), &[]);
    for (named, origin, taken) in [
        ("", "https://example.com:8443", true),
        ("", "http://localhost:8000", true),
        ("", "https://phone.example.com", false),
        ("", "null", false),
        (
            "https://phone.example.com",
            "https://phone.example.com",
            true,
        ),
        ("https://phone.example.com", "https://example.com", false),
        ("*", "https://anywhere.test", true),
    ] {
        if !named.is_empty() {
            drop(server);
            server = self::server(data.path(), &["--ws-origin", named]).0;
        }
        let at = server.ws.expect("ws");
        let answer = Phone::web(at, None, &format!("Origin: {origin}\r\n"));
        match answer {
            Ok(_) => assert!(taken, "{named:?}: {origin} was taken"),
            Err(answer) => {
                assert!(!taken, "{named:?}: {origin}: {answer}");
                assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
            }
        }
    }
    drop(certificate);
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("handshakes_failed"), "{metrics}");
}
