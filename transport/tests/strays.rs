//! Answers that come to another worker than the one that asked: the system gives a datagram to any of those that
//! share a port.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use transport::dialog::{DialogRoute, Target, write_request};
use transport::flow::{Flow, Transport};
use transport::io::driven::Driven;
use transport::io::worker::{Complete, Context, Ended, Incoming, TransactionUser, Wire};
use transport::sip::Response;

enum Mail {
    /// Ask this peer.
    Ask(SocketAddr),
    /// An answer that came to the other worker.
    Strayed(Box<Response>),
}

#[derive(Default)]
struct Seen {
    ended: Vec<(Context, u16)>,
    strays: Vec<Response>,
}

struct User(Rc<RefCell<Seen>>);

impl User {
    fn ended(&self, context: Context, response: &Response) {
        let status = response.status().number();
        self.0.borrow_mut().ended.push((context, status));
    }
}

impl TransactionUser for User {
    type Mail = Mail;

    fn on_request(&mut self, _: Incoming, _: &mut Wire) {}

    fn on_ended(&mut self, context: Context, ended: Ended, _: &mut Wire) {
        match ended {
            Ended::Response(response) => self.ended(context, &response),
            other => panic!("{other:?}"),
        }
    }

    fn on_stray(&mut self, response: Response) -> bool {
        self.0.borrow_mut().strays.push(response);
        true
    }

    fn on_mail(&mut self, mail: Mail, wire: &mut Wire) {
        match mail {
            Mail::Ask(peer) => {
                let flow = wire.flow_to(Transport::Udp, peer);
                let (branch, via) = wire.via(&flow);
                let mut out = BytesMut::new();
                let route = DialogRoute {
                    call_id: "c",
                    local: "<sip:us@x>;tag=1",
                    remote: "<sip:them@x>",
                    event: "",
                    route_set: "",
                };
                let target = Target {
                    uri: "sip:them@x",
                    contact: "sip:us",
                    flow,
                    node: 0,
                };
                write_request("SUBSCRIBE", &via, 7, &route, &target, &mut out);
                out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
                wire.send_request(&flow, branch, out.freeze(), Context(5, 6), Complete::No);
            }
            Mail::Strayed(response) => {
                if let Some(context) = wire.claim(&response) {
                    self.ended(context, &response);
                }
            }
        }
    }

    fn on_closed(&mut self, _: Flow, _: &mut Wire) {}
    fn on_wake(&mut self, _: &mut Wire) {}
    fn end_of_turn(&mut self, _: &mut Wire) {}
}

//= RFC 3261 17.1.3
//= type=test
#[test]
fn an_answer_finds_the_worker_that_asked() {
    let here: SocketAddr = "192.0.2.1:5060".parse().expect("an address");
    let peer: SocketAddr = "192.0.2.9:5060".parse().expect("an address");
    let seen = [Rc::<RefCell<Seen>>::default(), Rc::default()];
    let asks = Driven::new(0, here, User(Rc::clone(&seen[0])));
    let other = Driven::new(1, here, User(Rc::clone(&seen[1])));
    assert!(asks.mailbox().post(Mail::Ask(peer)).is_ok());
    assert!(asks.read_mail());
    let sent = asks.take();
    let request = String::from_utf8_lossy(&sent[0].1).into_owned();
    let head: Vec<&str> = request
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with("Contact"))
        .collect();
    let answer = |status: &str| {
        Bytes::from(format!(
            "SIP/2.0 {status}\r\n{}\r\n\r\n",
            head.join("\r\n").trim_end()
        ))
    };

    // One that is not final changes nothing there; the final one is told, passed on, and ends the request.
    other.arrive(peer, answer("100 Trying"));
    assert!(seen[1].borrow().strays.is_empty());
    other.arrive(peer, answer("200 OK"));
    let stray = seen[1].borrow_mut().strays.pop().expect("it is told");
    assert!(seen[1].borrow().ended.is_empty());
    assert!(
        asks.mailbox()
            .post(Mail::Strayed(Box::new(stray.clone())))
            .is_ok()
    );
    assert!(asks.read_mail());
    assert_eq!(seen[0].borrow().ended, [(Context(5, 6), 200)]);
    // Another copy of it ends nothing, wherever it comes to.
    assert!(asks.mailbox().post(Mail::Strayed(Box::new(stray))).is_ok());
    assert!(asks.read_mail());
    asks.arrive(peer, answer("200 OK"));
    assert_eq!(seen[0].borrow().ended.len(), 1);
    assert_eq!(
        seen[0].borrow().strays.len(),
        1,
        "its own transaction is over"
    );
}
