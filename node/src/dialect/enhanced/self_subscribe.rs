//! SUBSCRIBE for one's own data (MS-PRES 3.3).

use shard::document::roaming_self;
use shard::subscription::dialog::{Format, Package};
use shard::subscription::watch::Wish;
use transport::sip::Request;

use super::category_subscribe::{Buffers, Subscription};
use super::{Aside, accepts, body_of_type, canonical_of, diagnostics, in_dialog, malformed};
use crate::dialect::{
    Answer, Circumstances, Scratch, Translated, address, foreign_address, refusal,
};

/// The document, asked for and told.
const TYPE: &str = "application/vnd-microsoft-roaming-self+xml";

pub(super) fn subscribe<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    //= MS-PRES 2.2.2.3.1
    //# Accept and Content-Type are those of the roaming-self document
    if !accepts(request, &[TYPE]) {
        return Err(Answer::of(refusal::NOT_ACCEPTABLE).with("Accept", TYPE));
    }
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
        let (row, diagnosis) = if known {
            (refusal::NOT_YOUR_DATA, diagnostics::DEFAULT)
        } else {
            (refusal::NO_SUCH_USER, diagnostics::USER_UNKNOWN)
        };
        return Err(diagnosis.on(Answer::of(row), circumstances));
    }
    address(
        request.from().uri,
        circumstances.policy,
        &mut scratch.presentity,
    )?;
    if !circumstances.knows(&scratch.presentity) {
        let answer = Answer::of(refusal::NO_SUCH_USER);
        return Err(diagnostics::USER_UNKNOWN.on(answer, circumstances));
    }
    let ends = request.expires().is_ok_and(|expires| expires == Some(0));
    //= MS-PRES 3.3.5.3
    //# 400 without a body, but for the end of a dialog, which has none
    let wish = if in_dialog(request) && ends {
        Wish::Same
    } else {
        let body = body_of_type(request, TYPE, circumstances)?;
        let scope = roaming_self::parse(body);
        Wish::Own(scope.map_err(|error| malformed(&error, circumstances))?)
    };
    let subscription = Subscription {
        package: Package::RoamingSelf,
        format: Format::RoamingSelf,
        wish,
        must_register: true,
        elsewhere: Vec::new(),
        aside: Aside::Nothing,
    };
    Buffers::of(scratch).finish(request, circumstances, subscription)
}
