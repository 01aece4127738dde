//! SUBSCRIBE for one's own data (MS-PRES 3.3).

use shard::document::roaming_self;
use shard::subscription::dialog::{Format, Package};
use shard::subscription::watch::Wish;
use transport::sip::Request;

use super::category_subscribe::{Buffers, Subscription};
use super::{Aside, body, canonical_of, diagnostics, in_dialog, malformed};
use crate::dialect::{
    Answer, Circumstances, Scratch, Translated, address, foreign_address, refusal,
};

pub(super) fn subscribe<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    foreign_address(request.from().uri, &mut scratch.watcher)?;
    //= MS-PRES 3.3.5.3
    //# From and To differ: 400 when To is a user of ours, 404 when not
    if canonical_of(request.to().uri).as_ref() != Some(&scratch.watcher) {
        let known = address(
            request.to().uri,
            circumstances.policy,
            &mut scratch.presentity,
        );
        let known = known.is_ok() && circumstances.knows(&scratch.presentity);
        let row = if known {
            refusal::NOT_YOUR_DATA
        } else {
            refusal::NO_SUCH_USER
        };
        return Err(Answer::of(row));
    }
    address(
        request.from().uri,
        circumstances.policy,
        &mut scratch.presentity,
    )?;
    if !circumstances.knows(&scratch.presentity) {
        return Err(diagnostics::USER_UNKNOWN.on(Answer::of(refusal::NO_SUCH_USER), circumstances));
    }
    let wish = if in_dialog(request) && request.body().is_empty() {
        Wish::Same
    } else {
        let scope = roaming_self::parse(body(request)?);
        Wish::Own(scope.map_err(|error| malformed(&error, circumstances))?)
    };
    let subscription = Subscription {
        package: Package::RoamingSelf,
        format: Format::RoamingSelf,
        wish,
        must_register: true,
        aside: Aside::Nothing,
    };
    Buffers::of(scratch).finish(request, circumstances, subscription)
}
