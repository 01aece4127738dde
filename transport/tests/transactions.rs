//! RFC 3261 §17 as scripts: what comes when, and what is then sent.

use bytes::Bytes;
use transport::flow::{Flow, Transport};
use transport::sip::{Message, Request};
use transport::transaction::Millis;
use transport::transaction::client::{Branch, ClientTransactions, Late};
use transport::transaction::server::{Arrival, ServerTransactions};

fn flow(transport: Transport) -> Flow {
    Flow {
        worker: 0,
        transport,
        number: 0,
        peer: "192.0.2.1:5060".parse().expect("an address"),
    }
}

fn request(method: &str, branch: &str) -> Request {
    let text = format!(
        "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch={branch}\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
         Call-ID: c\r\nCSeq: 1 {method}\r\n\r\n"
    );
    match Message::parse(Bytes::from(text)) {
        Ok(Message::Request(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

//= RFC 3261 17.1.2.2
//= type=test
#[test]
fn a_request_is_repeated_at_doubling_intervals_and_given_up_after_64_t1() {
    let mut client = ClientTransactions::default();
    assert!(client.begin(
        Branch(1),
        flow(Transport::Udp),
        Bytes::from_static(b"NOTIFY"),
        7,
        Millis(1_000)
    ));
    let mut sent = Vec::new();
    let mut gave_up = None;
    while let Some(due) = client.next_deadline() {
        while let Some(late) = client.expire(due) {
            match late {
                Late::Again(_, message) => {
                    assert_eq!(message, "NOTIFY");
                    sent.push(due.0 - 1_000);
                }
                Late::GaveUp(_, context) => gave_up = Some((due.0 - 1_000, context)),
            }
        }
    }
    assert_eq!(
        sent,
        [
            500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
        ]
    );
    assert_eq!(gave_up, Some((32_000, 7)));
    assert_eq!(client.count(), 0);
}

//= RFC 3261 17.1.2.2
//= type=test
#[test]
fn a_response_ends_it_and_a_provisional_one_slows_it_down() {
    let mut client = ClientTransactions::default();
    client.begin(
        Branch(1),
        flow(Transport::Udp),
        Bytes::from_static(b"x"),
        1,
        Millis(0),
    );
    assert_eq!(client.respond(Branch(1), false), None);
    assert_eq!(
        client.expire(Millis(500)),
        Some(Late::Again(flow(Transport::Udp), Bytes::from_static(b"x")))
    );
    assert_eq!(
        client.next_deadline(),
        Some(Millis(4_500)),
        "T2 after a provisional response"
    );
    assert_eq!(client.respond(Branch(1), true), Some(1));
    assert_eq!(client.respond(Branch(1), true), None, "once");
    assert_eq!(client.expire(Millis(60_000)), None);

    client.begin(
        Branch(2),
        flow(Transport::Tcp),
        Bytes::from_static(b"x"),
        2,
        Millis(0),
    );
    assert_eq!(
        client.next_deadline(),
        Some(Millis(32_000)),
        "nothing is repeated over a stream"
    );
    assert_eq!(
        client.expire(Millis(32_000)),
        Some(Late::GaveUp(flow(Transport::Tcp), 2))
    );
}

//= RFC 3261 17.2.2
//= type=test
#[test]
fn a_retransmission_gets_the_answer_again_for_64_t1() {
    let mut server = ServerTransactions::default();
    let publish = request("PUBLISH", "z9hG4bKa");
    let udp = flow(Transport::Udp);
    let Arrival::New(key) = server.arrive(&publish, &udp, Millis(0)) else {
        panic!("new")
    };
    assert_eq!(
        server.arrive(&publish, &udp, Millis(400)),
        Arrival::Absorbed,
        "nothing to say yet"
    );
    let answer = Bytes::from_static(b"SIP/2.0 200 OK");
    assert_eq!(server.answer(key, answer.clone(), Millis(500)), Some(udp));
    assert_eq!(
        server.answer(key, answer.clone(), Millis(501)),
        None,
        "one final answer"
    );
    assert_eq!(
        server.arrive(&publish, &udp, Millis(32_000)),
        Arrival::Repeat(answer.clone())
    );
    server.expire(Millis(32_500), |_, _| {
        panic!("a PUBLISH's answer is not repeated by itself")
    });
    assert_eq!(server.count(), 0);
    assert!(matches!(
        server.arrive(&publish, &udp, Millis(32_501)),
        Arrival::New(_)
    ));

    let tcp = flow(Transport::Tcp);
    let Arrival::New(key) = server.arrive(&request("PUBLISH", "z9hG4bKb"), &tcp, Millis(0)) else {
        panic!("new")
    };
    server.answer(key, answer, Millis(1));
    assert_eq!(
        server.count(),
        1,
        "over a stream nothing is remembered: only the open one above is left"
    );
}

//= RFC 3261 17.2.1
//= type=test
//= RFC 3261 9.2
//= type=test
#[test]
fn the_answer_to_an_invite_is_repeated_until_its_ack() {
    let mut server = ServerTransactions::default();
    let udp = flow(Transport::Udp);
    let invite = request("INVITE", "z9hG4bKi");
    assert_eq!(
        server.arrive(&request("CANCEL", "z9hG4bKi"), &udp, Millis(0)),
        Arrival::Cancel { found: false }
    );
    let Arrival::New(key) = server.arrive(&invite, &udp, Millis(0)) else {
        panic!("new")
    };
    assert_eq!(
        server.arrive(&request("CANCEL", "z9hG4bKi"), &udp, Millis(1)),
        Arrival::Cancel { found: true }
    );
    server.answer(key, Bytes::from_static(b"405"), Millis(0));
    let mut again = Vec::new();
    for now in [500, 1_500, 3_500] {
        server.expire(Millis(now), |_, answer| again.push((now, answer)));
    }
    assert_eq!(again.len(), 3);
    assert_eq!(
        server.arrive(&request("ACK", "z9hG4bKi"), &udp, Millis(3_600)),
        Arrival::Absorbed
    );
    server.expire(Millis(20_000), |_, _| panic!("it was acknowledged"));
    assert_eq!(
        server.arrive(&request("ACK", "z9hG4bKunknown"), &udp, Millis(0)),
        Arrival::Absorbed,
        "an ACK is never answered"
    );
}

#[test]
fn an_ignored_request_leaves_nothing_behind() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut server = ServerTransactions::default();
        let (publish, flow) = (request("PUBLISH", "z9hG4bKi"), flow(transport));
        for _ in 0..2 {
            let Arrival::New(key) = server.arrive(&publish, &flow, Millis(0)) else {
                panic!("each time as if it were the first");
            };
            server.ignore(key);
            assert_eq!(server.count(), 0);
        }
        // What was answered stays answered.
        let Arrival::New(key) = server.arrive(&publish, &flow, Millis(0)) else {
            panic!("new");
        };
        let answer = Bytes::from_static(b"SIP/2.0 200 OK");
        assert!(server.answer(key, answer.clone(), Millis(0)).is_some());
        server.ignore(key);
        if transport == Transport::Udp {
            let again = server.arrive(&publish, &flow, Millis(1));
            assert_eq!(again, Arrival::Repeat(answer));
        }
    }
}
