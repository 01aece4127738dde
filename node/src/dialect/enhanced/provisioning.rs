//! SUBSCRIBE for what the deployment tells its clients (MS-SIPREGE 2.2.2): answered from configuration.

use shard::document::provisioning;
use transport::sip::header::MediaType;
use transport::sip::{Name, Request};

use super::{body, malformed, offers};
use crate::dialect::{Answer, Circumstances, Translated, refusal};

/// The document of the question and of the answer.
const TYPE: &str = "application/vnd-microsoft-roaming-provisioning-v2+xml";

//= MS-SIPREGE 2.2.2.1
//# one look, answered in the 200; another Accept gets 406
pub(super) fn subscribe(
    request: &Request,
    circumstances: &Circumstances<'_>,
) -> Result<Translated<'static>, Answer> {
    let mut accepted = request.values(Name::Accept).peekable();
    if accepted.peek().is_some() && !accepted.any(|media| MediaType::parse(media).accepts(TYPE)) {
        return Err(Answer::of(refusal::NOT_ACCEPTABLE).with("Accept", TYPE));
    }
    let asked = provisioning::parse(body(request)?);
    let asked = asked.map_err(|error| malformed(&error, circumstances))?;
    let mut document = Vec::new();
    let known = &circumstances.policy.enhanced.provisioning;
    provisioning::compose(&asked, known, &mut document);
    let mut answer = Answer::of(refusal::OK)
        .with("Contact", format!("<{}>", circumstances.contact))
        .with("Expires", "0")
        .with("Event", "vnd-microsoft-provisioning-v2")
        .with("subscription-state", "terminated;expires=0")
        .with("ms-piggyback-cseq", "1");
    if offers(request, "ms-piggyback-first-notify") {
        answer = answer.with("Supported", "ms-benotify, ms-piggyback-first-notify");
    }
    Ok(Translated::Answered(answer.with_body(TYPE, document)))
}
