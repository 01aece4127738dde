//! `multipart/related` (RFC 2387), written as Microsoft's clients read it.

/// A body of several parts in the making.
#[derive(Debug)]
pub struct Related {
    boundary: String,
    out: Vec<u8>,
}

impl Related {
    /// Begins a body; `chance` makes the boundary one that no part holds.
    #[must_use]
    pub fn new(chance: u64) -> Related {
        Related {
            boundary: format!("lamplight-{chance:016x}"),
            out: Vec::with_capacity(4_096),
        }
    }

    /// The Content-Type of the whole, whose first part is `application/rlmi+xml`.
    //= MS-PRES 2.2.2.4.2
    //# type and start as printed there, without the brackets that RFC 2387 asks for (contradiction C-47)
    #[must_use]
    pub fn content_type(&self) -> String {
        format!(
            "multipart/related; type=\"application/rlmi+xml\";start=resourceList; boundary={}",
            self.boundary
        )
    }

    /// Adds a part, which `write` writes. An empty line follows it, because a client cuts off the last
    /// four bytes before a boundary.
    //= MS-PRES 2.2.2.4.2
    //# each part has its Content-Type, and Content-Transfer-Encoding binary
    pub fn part(&mut self, id: Option<&str>, content_type: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let out = &mut self.out;
        for text in [
            "--",
            &self.boundary,
            "\r\nContent-Transfer-Encoding: binary\r\n",
        ] {
            out.extend_from_slice(text.as_bytes());
        }
        if let Some(id) = id {
            for text in ["Content-ID: ", id, "\r\n"] {
                out.extend_from_slice(text.as_bytes());
            }
        }
        for text in ["Content-Type: ", content_type, "\r\n\r\n"] {
            out.extend_from_slice(text.as_bytes());
        }
        write(out);
        out.extend_from_slice(b"\r\n\r\n");
    }

    /// The whole body.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        for text in ["--", &self.boundary, "--\r\n"] {
            self.out.extend_from_slice(text.as_bytes());
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-PRES 2.2.2.4.2
    //= type=test
    // proves: PRES-2.2.2.4.2-01 PRES-2.2.2.4.2-02 PRES-2.2.2.4.2-15 PRES-2.2.2.4.2-17
    #[test]
    fn parts_stand_between_boundaries() {
        let mut body = Related::new(0xab);
        assert_eq!(
            body.content_type(),
            "multipart/related; type=\"application/rlmi+xml\";start=resourceList; boundary=lamplight-00000000000000ab"
        );
        body.part(Some("resourceList"), "application/rlmi+xml", |out| {
            out.extend_from_slice(b"<list/>")
        });
        body.part(None, "application/msrtc-event-categories+xml", |out| {
            out.extend_from_slice(b"<c/>")
        });
        let text = String::from_utf8(body.finish()).expect("text");
        assert_eq!(
            text,
            "--lamplight-00000000000000ab\r\nContent-Transfer-Encoding: binary\r\nContent-ID: resourceList\r\n\
             Content-Type: application/rlmi+xml\r\n\r\n<list/>\r\n\r\n\
             --lamplight-00000000000000ab\r\nContent-Transfer-Encoding: binary\r\n\
             Content-Type: application/msrtc-event-categories+xml\r\n\r\n<c/>\r\n\r\n--lamplight-00000000000000ab--\r\n"
        );
    }
}
