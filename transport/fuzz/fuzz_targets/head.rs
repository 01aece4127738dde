//! Heads: no datagram panics, and whatever can be answered gets an answer that can be read.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use transport::sip::write::Reply;
use transport::sip::{Message, Request, StatusCode};

fn answer(request: &mut Request) {
    request.set_source([192, 0, 2, 1].into(), 5060);
    let reply = Reply::new(request, StatusCode::OK, Some("tag")).record_route(request).finish();
    assert!(matches!(Message::parse(reply), Ok(Message::Response(_)) | Err(_)));
}

fuzz_target!(|bytes: &[u8]| {
    match Message::parse(Bytes::copy_from_slice(bytes)) {
        Ok(Message::Request(mut request)) => {
            let _ = (request.from(), request.to(), request.expires(), request.lines().count());
            answer(&mut request);
        }
        Ok(Message::Response(response)) => drop((response.to_tag().map(str::len), response.branch().map(str::len))),
        Err(refused) => {
            if let Some(mut request) = refused.answerable {
                answer(&mut request);
            }
        }
    }
});
