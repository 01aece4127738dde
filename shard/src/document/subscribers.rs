//! `application/msrtc-presence-setsubscriber+xml` (MS-PRES 2.2.2.6.2): a subscriber was seen.

use super::{DocumentError, canonical, truth};
use crate::xml::Document;

/// The document's namespace.
const SUBSCRIBERS: &str = "http://schemas.microsoft.com/2006/09/sip/presence-subscribers";

/// Reads who was seen: the canonical address, and whether it is acknowledged.
///
/// # Errors
/// [`DocumentError`] (400).
//= MS-PRES 3.6.5.1
//# one subscriber at a time
pub fn parse(body: &[u8]) -> Result<(String, bool), DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    if !root.is(SUBSCRIBERS, "setSubscribers") {
        return Err(document.error_at(root, "not a setSubscribers document"));
    }
    let mut subscribers = root
        .children()
        .filter(|child| child.is(SUBSCRIBERS, "subscriber"));
    let (Some(subscriber), None) = (subscribers.next(), subscribers.next()) else {
        return Err(document.error_at(root, "a setSubscribers document names one subscriber"));
    };
    let user = subscriber
        .attribute("user")
        .and_then(|user| canonical(&user));
    let user = user.ok_or_else(|| document.error_at(subscriber, "user is no address"))?;
    let acknowledged = subscriber
        .attribute("acknowledged")
        .and_then(|text| truth(&text));
    let wrong = || document.error_at(subscriber, "acknowledged is neither true nor false");
    Ok((user, acknowledged.ok_or_else(wrong)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-PRES 3.6.5.1
    //= type=test
    // proves: PRES-3.6.5.1-09 PRES-3.6.5.3-01 PRES-2.2.2.6.2-03 PRES-2.2.2.6.2-04
    #[test]
    fn one_subscriber_is_seen_at_a_time() {
        let body = |inside: &str| {
            format!("<setSubscribers xmlns=\"{SUBSCRIBERS}\">{inside}</setSubscribers>")
        };
        let john = "<subscriber user=\"john@contoso.com\" acknowledged=\"true\"/>";
        for (name, text, expected) in [
            ("one", body(john), Ok(("john@contoso.com".to_owned(), true))),
            (
                "with scheme",
                body("<subscriber user=\"sip:John@contoso.com\" acknowledged=\"false\"/>"),
                Ok(("john@contoso.com".to_owned(), false)),
            ),
            ("two", body(&format!("{john}{john}")), Err(())),
            ("none", body(""), Err(())),
            (
                "no flag",
                body("<subscriber user=\"john@contoso.com\"/>"),
                Err(()),
            ),
            (
                "no address",
                body("<subscriber user=\"john\" acknowledged=\"true\"/>"),
                Err(()),
            ),
            ("another root", "<subscribers/>".to_owned(), Err(())),
        ] {
            assert_eq!(parse(text.as_bytes()).map_err(drop), expected, "{name}");
        }
    }
}
