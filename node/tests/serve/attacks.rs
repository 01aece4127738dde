//! What strangers do to a node on the open network, and what becomes of those who stand by.

use std::io::Read as _;
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use transport::sip::status::StatusCode;

use super::phone::{Phone, Publisher, Watch, document};
use super::server::{PATIENCE, Server};

/// An address of this machine that is not loopback's.
fn own_address() -> Option<std::net::IpAddr> {
    let probe = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Connecting a datagram socket sends nothing.
    probe.connect("192.0.2.1:9").ok()?;
    let own = probe.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}

/// A value of the node's metrics, over all labels.
fn counted(server: &Server, name: &str) -> u64 {
    let (_, text) = server.get("/metrics");
    text.lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(name))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// Attack 13: a SUBSCRIBE with a victim's address. The victim gets one grant of bytes and no more.
#[test]
fn a_forged_source_is_not_flooded() {
    let Some(own) = own_address() else {
        eprintln!("skipped: this machine has no address but loopback's");
        return;
    };
    let data = tempfile::tempdir().expect("a folder");
    let udp = format!("udp:{own}:0");
    let more = ["--auth", "open"];
    let server = Server::try_start(data.path(), &udp, "tcp:127.0.0.1:0", &more).expect("it starts");
    let mut phone = Phone::tcp(server.tcp);
    let mut alice = Publisher::new("alice");
    let note = "x".repeat(20_000);
    let answer = alice.publish(&mut phone, Some(600), &document("alice", "open", &note));
    assert_eq!(answer.status(), StatusCode::OK);

    let victim = UdpSocket::bind((own, 0)).expect("bound");
    let here = victim.local_addr().expect("bound");
    let subscribe = format!(
        "SUBSCRIBE sip:alice@example.com SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bKforged\r\n\
         Max-Forwards: 70\r\nFrom: <sip:m@example.com>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: forged\r\n\
         CSeq: 1 SUBSCRIBE\r\nContact: <sip:m@{here}>\r\nEvent: presence\r\nAccept: application/pidf+xml\r\n\
         Expires: 600\r\nContent-Length: 0\r\n\r\n"
    );
    victim
        .send_to(subscribe.as_bytes(), server.udp)
        .expect("sent");
    let (mut bytes, mut datagram) = (0, vec![0; 65_536]);
    let until = Instant::now() + PATIENCE;
    victim
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout");
    // NOTIFY is sent again at 0.5, 1.5, 3.5, 7.5 s: without a bound these are 100 kB by then.
    while counted(&server, "lamplight_datagrams_withheld_total") < 2 {
        assert!(Instant::now() < until, "nothing is withheld");
        while let Ok((length, _)) = victim.recv_from(&mut datagram) {
            bytes += length;
        }
    }
    assert!(bytes > 20_000, "the first is sent: {bytes}");
    assert!(bytes <= 65_536 + 3 * subscribe.len(), "{bytes}");

    // Who answers is told: what waited leaves at once when it is sent again.
    let answer = |request: &str| {
        let lines = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let kept: Vec<&str> = request
            .lines()
            .filter(|line| lines.iter().any(|name| line.starts_with(name)))
            .collect();
        format!(
            "SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n",
            kept.join("\r\n")
        )
    };
    let text = String::from_utf8_lossy(&datagram).into_owned();
    assert!(text.starts_with("NOTIFY "), "{}", &text[..40]);
    victim
        .send_to(answer(&text).as_bytes(), server.udp)
        .expect("sent");
    for step in 0..6 {
        let body = document("alice", "open", &format!("{step}{note}"));
        alice.publish(&mut phone, Some(600), &body);
        victim.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (length, _) = victim.recv_from(&mut datagram).expect("it is told");
        let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
        victim
            .send_to(answer(&text).as_bytes(), server.udp)
            .expect("sent");
    }
}

/// Attack 11: connections that say nothing. They are let go, and nobody is in the way meanwhile.
#[test]
fn who_connects_and_says_nothing_is_let_go() {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut mute: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(server.tcp).expect("connected"))
        .collect();
    let mut phone = Phone::tcp(server.tcp);
    let mut alice = Publisher::new("alice");
    let begun = Instant::now();
    let answer = alice.publish(
        &mut phone,
        Some(600),
        &document("alice", "open", "still here"),
    );
    assert_eq!(answer.status(), StatusCode::OK);
    for stream in &mut mute {
        let left = Duration::from_secs(90).saturating_sub(begun.elapsed());
        stream.set_read_timeout(Some(left)).expect("a timeout");
        let end = stream.read(&mut [0]);
        assert!(matches!(end, Ok(0)), "{end:?} after {:?}", begun.elapsed());
    }
    assert!(begun.elapsed() > Duration::from_secs(20), "not at once");
    // Who has spoken may be silent for as long as a refresh may take.
    let answer = alice.publish(
        &mut phone,
        Some(600),
        &document("alice", "open", "still there"),
    );
    assert_eq!(answer.status(), StatusCode::OK);
}

/// Attack 12: subscriptions without end from one source. Those who stand by are served, and each costs what it costs; how
/// many a user may have is held in the machine's own tests.
#[test]
fn a_flood_of_subscriptions_harms_nobody_else() {
    const FLOOD: u64 = 2_000;
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::start(data.path());
    let mut flood = Phone::udp(server.udp);
    let mut bystander = Phone::udp(server.udp);
    let mut alice = Publisher::new("alice");
    let answer = alice.publish(
        &mut bystander,
        Some(600),
        &document("alice", "open", "here"),
    );
    assert_eq!(answer.status(), StatusCode::OK);
    let before = counted(&server, "lamplight_resident_bytes");
    for attempt in 0..FLOOD {
        let mut watch = Watch::new("victim");
        assert_eq!(watch.subscribe(&mut flood, 600).status(), StatusCode::OK);
        if attempt % 200 == 0 {
            let body = document("alice", "open", &format!("{attempt}"));
            let answer = alice.publish(&mut bystander, Some(600), &body);
            assert_eq!(answer.status(), StatusCode::OK);
        }
    }
    assert_eq!(counted(&server, "lamplight_dialogs"), FLOOD);
    let grown = counted(&server, "lamplight_resident_bytes").saturating_sub(before);
    assert!(grown < FLOOD * 20_000, "{} bytes each", grown / FLOOD);
}
