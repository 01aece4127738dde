//! SERVICE with a publish document (MS-PRES 3.2.5.1.2).

use shard::document::publish;
use shard::machine::command::{Command, PublishInstances};
use shard::slot::Slot;
use transport::sip::Request;

use super::{Aside, body, canonical_of, diagnostics, endpoint, malformed, own_address};
use crate::dialect::{Answer, Circumstances, Grace, Scratch, Translated, refusal};

pub(super) fn publish<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    own_address(request, circumstances, &mut scratch.presentity)?;
    let settings = &circumstances.policy.enhanced;
    scratch.content.clear();
    let published = publish::parse(body(request)?, &mut scratch.content)
        .map_err(|error| malformed(&error, circumstances))?;
    //= MS-PRES 3.2.5.4
    //# 400 when the URI of the publications is not that of To
    if canonical_of(&published.uri).as_ref() != Some(&scratch.presentity) {
        return Err(Answer::of(refusal::OTHER_PUBLISHER));
    }
    for (category, container, bytes) in published.places() {
        //= MS-PRES 3.2.5.4
        //# 403 for a category that is read-only in the container, or that nobody registered
        if category.is_read_only(container) {
            let answer = Answer::of(refusal::READ_ONLY);
            return Err(diagnostics::READ_ONLY.on(answer, circumstances));
        }
        if !settings.admits(category) {
            return Err(Answer::of(refusal::UNREGISTERED_CATEGORY));
        }
        //= MS-PRES 3.2.5.4
        //# 413 for more data than a publication may hold
        if bytes > settings.publication_bytes {
            let answer = Answer::of(refusal::TOO_MUCH);
            return Err(diagnostics::CATEGORY_SIZE.on(answer, circumstances));
        }
    }
    let scratch: &'s Scratch = scratch;
    let command = Command::PublishInstances(PublishInstances {
        presentity: &scratch.presentity,
        endpoint: endpoint(request),
        category_bytes_max: settings.category_bytes,
        publications: published.publications(&scratch.content),
    });
    Ok(Translated::Change {
        slot: Slot::of(&scratch.presentity),
        command,
        grace: Grace::Refresh,
        aside: Aside::Nothing,
    })
}
