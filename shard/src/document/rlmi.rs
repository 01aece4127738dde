//! `application/rlmi+xml` as MS-PRES 2.2.2.4.2 has it: the resources that a batch could not be served.

use crate::category::write_attribute;

/// The document's namespace.
const RLMI: &str = "urn:ietf:params:xml:ns:rlmi";

/// Why a resource is not served here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// To be asked for elsewhere: by a batch to this URI, or by a request of its own.
    Resubscribe(Option<String>),
    /// It has more watchers than are allowed.
    OverQuota,
}

/// Appends the list.
//= MS-PRES 3.4.5.1.3.1
//# resubscribe with or without poolFqdn; terminated with quotaExceeded and 413
pub fn compose(uri: &str, rejected: &[(String, Rejection)], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<list");
    write_attribute("xmlns", RLMI, out);
    write_attribute("uri", uri, out);
    //= MS-PRES 3.4.5.2
    //# the version is 0 in the first notification, and may stay
    write_attribute("version", "0", out);
    write_attribute("fullState", "false", out);
    if rejected.is_empty() {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    for (resource, rejection) in rejected {
        out.extend_from_slice(b"<resource");
        write_attribute("uri", resource, out);
        out.extend_from_slice(b"><instance id=\"0\"");
        let cid = crate::presence::contacts::bare(resource);
        match rejection {
            Rejection::Resubscribe(pool) => {
                write_attribute("state", "resubscribe", out);
                write_attribute("cid", cid, out);
                if let Some(pool) = pool {
                    write_attribute("poolFqdn", pool, out);
                }
            }
            Rejection::OverQuota => {
                write_attribute("state", "terminated", out);
                write_attribute("reason", "quotaExceeded", out);
                write_attribute("statusCode", "413", out);
                write_attribute("cid", cid, out);
            }
        }
        out.extend_from_slice(b"/></resource>");
    }
    out.extend_from_slice(b"</list>");
}

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-PRES 3.4.5.1.3.1
    //= type=test
    //= MS-PRES 3.4.5.2
    //= type=test
    // proves: PRES-3.4.5.1.3.1-01 PRES-3.4.5.1.3.1-02 PRES-3.4.5.1.3.1-05 PRES-3.4.5.1.3.1-06 PRES-3.4.5.1.3-19
    // proves: PRES-3.4.5.2-03
    #[test]
    fn each_rejection_says_what_to_do() {
        let written = |rejected: &[(String, Rejection)]| {
            let mut out = Vec::new();
            compose("sip:bob@contoso.com", rejected, &mut out);
            String::from_utf8(out).expect("text")
        };
        let head = "<list xmlns=\"urn:ietf:params:xml:ns:rlmi\" uri=\"sip:bob@contoso.com\" version=\"0\" fullState=\"false\"";
        assert_eq!(written(&[]), format!("{head}/>"));
        let alice = || "sip:alice@contoso.com".to_owned();
        for (rejection, expected) in [
            (
                Rejection::Resubscribe(None),
                "state=\"resubscribe\" cid=\"alice@contoso.com\"/>",
            ),
            (
                Rejection::Resubscribe(Some("sip:p@x;gruu".to_owned())),
                "state=\"resubscribe\" cid=\"alice@contoso.com\" poolFqdn=\"sip:p@x;gruu\"/>",
            ),
            (
                Rejection::OverQuota,
                "state=\"terminated\" reason=\"quotaExceeded\" statusCode=\"413\" cid=\"alice@contoso.com\"/>",
            ),
        ] {
            let text = written(&[(alice(), rejection)]);
            let expected = format!(
                "{head}><resource uri=\"sip:alice@contoso.com\"><instance id=\"0\" {expected}</resource></list>"
            );
            assert_eq!(text, expected);
        }
    }
}
