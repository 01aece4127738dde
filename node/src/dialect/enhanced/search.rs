//! SERVICE that searches the directory (MS-PRES 3.1).
//!
//! It shares its content type with changes of contacts. Those are to their own user, and call another
//! method; a search is to a domain.

use shard::document::search::{self, Fault};
use transport::sip::uri::Uri;
use transport::sip::{Name, Request};

use super::diagnostics;
use crate::dialect::answer::Row;
use crate::dialect::{Answer, Circumstances, Translated, address, refusal};

/// Rows of an answer over UDP: 50 of some 600 bytes are half of what a datagram can hold.
const DATAGRAM_ROWS_MAX: usize = 50;

/// How long a client is asked to wait when there are too many searches.
const RETRY_AFTER_S: &str = "5";

/// Whether a SERVICE in SOAP is a search, well written or not.
pub(super) fn is_search(request: &Request) -> bool {
    match search::method(request.body()) {
        Ok(method) => method == "directorySearch",
        Err(_) => names_domain(request),
    }
}

/// Whether To has no user.
fn names_domain(request: &Request) -> bool {
    Uri::parse(request.to().uri).is_ok_and(|uri| uri.user.is_empty())
}

/// Answers a search.
pub(super) fn search<'s>(
    request: &Request,
    circumstances: &Circumstances<'_>,
) -> Result<Translated<'s>, Answer> {
    let fault = |fault| Err(failed(fault, circumstances.source()));
    //= MS-PRES 3.1.5.1
    //# a search has no Require
    let required: Vec<&str> = request.values(Name::Require).collect();
    if !required.is_empty() {
        let answer = Answer::of(refusal::BAD_EXTENSION);
        return Err(with_fault(answer, Fault::BadCall).with("Unsupported", required.join(", ")));
    }
    //= MS-PRES 3.1.5.1
    //# To is the domain that is searched
    let mut scratch = String::new();
    address(request.to().uri, circumstances.policy, &mut scratch)?;
    if !names_domain(request) {
        return fault(Fault::BadCall);
    }
    //= MS-PRES 3.1.5.1
    //# From is the user who searches
    let user = address(request.from().uri, circumstances.policy, &mut scratch);
    if user.is_err() || !scratch.contains('@') || !circumstances.knows(&scratch) {
        return fault(Fault::NotAuthorized);
    }
    //= MS-PRES 3.1.5.1
    //# a search has a body
    let Ok(asked) = search::parse(request.body()) else {
        return fault(Fault::BadCall);
    };
    let mut limit = asked.limit(circumstances.policy.results_max);
    if !circumstances.flow.transport.is_reliable() {
        limit = limit.min(DATAGRAM_ROWS_MAX);
    }
    match circumstances.users.search(&asked, limit) {
        Ok(found) => {
            let mut body = Vec::new();
            search::compose(found.rows(), found.more_available, &mut body);
            //= MS-PRES 3.1.5.1
            //# 200 with the results in SOAP
            let answer = Answer::of(refusal::OK).with_body(search::CONTENT_TYPE, body);
            Ok(Translated::Answered(answer))
        }
        Err(why) => fault(why),
    }
}

/// What a search that failed gets.
//= MS-PRES 3.1.5.4
//# each of the four faults has its status
fn failed(fault: Fault, source: &str) -> Answer {
    let row: Row = match fault {
        Fault::BadCall => refusal::BAD_SEARCH,
        Fault::Busy => refusal::UNAVAILABLE,
        Fault::NotAuthorized => refusal::SEARCH_FORBIDDEN,
        Fault::Unknown => refusal::SEARCH_FAILED,
    };
    let answer = with_fault(Answer::of(row), fault);
    let diagnosis = match fault {
        Fault::BadCall => diagnostics::BAD_XML,
        Fault::Busy => return answer.with("Retry-After", RETRY_AFTER_S),
        Fault::NotAuthorized | Fault::Unknown => diagnostics::DEFAULT,
    };
    answer.with("ms-diagnostics", diagnosis.header(source))
}

fn with_fault(answer: Answer, fault: Fault) -> Answer {
    let mut body = Vec::new();
    search::compose_fault(fault, &mut body);
    answer.with_body(search::CONTENT_TYPE, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-PRES 3.1.5.4
    //= type=test
    //# 400, 503, 403 and 500, each with its fault code in a body
    // proves: PRES-3.1.5.3-03 PRES-3.1.5.4-02
    #[test]
    fn a_fault_has_its_status_and_says_its_code() {
        for (fault, status, code, retry) in [
            (Fault::BadCall, 400, "Client.BadCall", false),
            (Fault::Busy, 503, "Server.Unavailable.Busy", true),
            (
                Fault::NotAuthorized,
                403,
                "Client.NotAuthorized.UserSearch",
                false,
            ),
            (Fault::Unknown, 500, "Server.UnknownError", false),
        ] {
            let answer = failed(fault, "contoso.com");
            assert_eq!(answer.row.status.number(), status, "{fault:?}");
            assert_eq!(answer.header("Retry-After").is_some(), retry, "{fault:?}");
            let (media, body) = answer.body().expect("a body");
            assert_eq!(media, "application/SOAP+xml");
            let body = String::from_utf8_lossy(body);
            assert!(
                body.contains(&format!("<Faultcode>{code}</Faultcode>")),
                "{body}"
            );
        }
    }
}
