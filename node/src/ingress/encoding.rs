//! Bodies that a client compressed (Linphone does so with its lists): unpacked once, before anybody reads them.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use transport::sip::frame::MESSAGE_BYTES_MAX;
use transport::sip::{Name, Request};

use crate::dialect::Answer;
use crate::dialect::refusal;

/// What we can read, for an Accept-Encoding.
const CODINGS: &str = "gzip, deflate, identity";

/// Replaces a compressed body by what it stands for, which may be as large as a message may be. What was signed or
/// counted was the message as it came; from here on the body is plain.
///
/// # Errors
/// 415 for a coding that we cannot read, or for several; 400 for a body that is not what its coding says; 413 for
/// one that would be larger than a message.
//= RFC 3261 20.12
//# a body is decoded before it is read as its type; the codings are those of HTTP
//= RFC 3261 8.2.3
//# 415 names the codings that are understood
pub fn decode(request: &mut Request) -> Result<(), Answer> {
    let Some(coding) = request.header(Name::ContentEncoding) else {
        return Ok(());
    };
    if request.body().is_empty() || coding.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    let packed = &request.body()[..];
    let unpacked = if coding.eq_ignore_ascii_case("deflate") {
        unpack(ZlibDecoder::new(packed))
    } else if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
        unpack(GzDecoder::new(packed))
    } else {
        return Err(Answer::of(refusal::UNSUPPORTED_TYPE).with("Accept-Encoding", CODINGS));
    };
    request.replace_body(Bytes::from(unpacked?));
    Ok(())
}

/// All that a stream holds, within bounds: a body of some bytes that stands for gigabytes costs no more than one
/// message.
fn unpack(stream: impl Read) -> Result<Vec<u8>, Answer> {
    let mut plain = Vec::new();
    stream
        .take(MESSAGE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| {
            let said = format!(
                "399 lamplight \"the body is not what its Content-Encoding says: {error}\""
            );
            Answer::of(refusal::BAD_ENCODING).with("Warning", said)
        })?;
    if plain.len() > MESSAGE_BYTES_MAX {
        return Err(Answer::of(refusal::TOO_MUCH));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use transport::sip::{Message, StatusCode};

    use super::*;

    fn request(coding: &str, body: &[u8]) -> Request {
        let mut text = format!(
            "PUBLISH sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@example.com>;tag=1\r\n\
             To: <sip:a@example.com>\r\nCall-ID: 1\r\nCSeq: 1 PUBLISH\r\nContent-Encoding: {coding}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        text.extend_from_slice(body);
        match Message::parse(Bytes::from(text)) {
            Ok(Message::Request(request)) => request,
            other => panic!("no request: {other:?}"),
        }
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(plain).expect("memory");
        packed.finish().expect("memory")
    }

    fn deflate(plain: &[u8]) -> Vec<u8> {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
        packed.write_all(plain).expect("memory");
        packed.finish().expect("memory")
    }

    //= RFC 3261 20.12
    //= type=test
    #[test]
    fn both_codings_are_read_and_plain_bodies_left_alone() {
        let plain = b"<presence/>".repeat(20);
        for (coding, body) in [
            ("gzip", gzip(&plain)),
            ("X-GZIP", gzip(&plain)),
            ("Deflate", deflate(&plain)),
            ("identity", plain.clone()),
        ] {
            let mut request = request(coding, &body);
            decode(&mut request).unwrap_or_else(|answer| panic!("{coding}: {answer:?}"));
            assert_eq!(request.body(), &plain[..], "{coding}");
        }
    }

    //= RFC 3261 8.2.3
    //= type=test
    #[test]
    fn what_cannot_be_unpacked_is_refused_with_the_reason() {
        let large = vec![b' '; MESSAGE_BYTES_MAX];
        let mut largest = request("gzip", &gzip(&large));
        assert!(decode(&mut largest).is_ok());
        let bomb = gzip(&vec![b' '; 40_000_000]);
        assert!(bomb.len() < MESSAGE_BYTES_MAX, "a small body");
        let torn = {
            let mut packed = gzip(b"a body that ends too early");
            packed.truncate(packed.len() - 9);
            packed
        };
        for (what, coding, body, status) in [
            (
                "unknown",
                "br",
                b"x".to_vec(),
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ),
            (
                "two",
                "gzip, deflate",
                gzip(b"x"),
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ),
            (
                "nonsense",
                "gzip",
                b"nonsense".to_vec(),
                StatusCode::BAD_REQUEST,
            ),
            ("another", "deflate", gzip(b"x"), StatusCode::BAD_REQUEST),
            ("torn", "gzip", torn, StatusCode::BAD_REQUEST),
            ("bomb", "gzip", bomb, StatusCode::ENTITY_TOO_LARGE),
            (
                "one byte too many",
                "deflate",
                deflate(&[large, vec![b' ']].concat()),
                StatusCode::ENTITY_TOO_LARGE,
            ),
        ] {
            let mut request = request(coding, &body);
            let answer = decode(&mut request).expect_err(what);
            assert_eq!(answer.row.status, status, "{what}");
            assert_eq!(
                request.body(),
                &body[..],
                "{what}: nothing is half unpacked"
            );
        }
    }
}
