//! SERVICE that changes a delegate (MS-PRES 3.9).

use shard::document::delegates;
use shard::machine::command::Command;
use shard::presence::delegate::DelegateAct;
use shard::slot::Slot;
use transport::sip::Request;

use super::{Aside, body, diagnostics, malformed, own_address};
use crate::dialect::{Answer, Circumstances, Grace, Scratch, Translated, refusal};

pub(super) fn set_delegate<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    own_address(request, circumstances, &mut scratch.presentity)?;
    let set = delegates::parse(body(request)?);
    let set = set.map_err(|error| malformed(&error, circumstances))?;
    //= MS-PRES 3.9.5.2
    //# the delegate is somebody else, and a valid user of this deployment
    if *set.delegate.address == *scratch.presentity {
        return Err(Answer::of(refusal::OWN_DELEGATE));
    }
    let domain = set
        .delegate
        .address
        .rsplit_once('@')
        .map_or("", |(_, domain)| domain);
    let valid = circumstances.policy.serves(domain) && circumstances.knows(&set.delegate.address);
    //= MS-PRES 3.9.5.4
    //# 404 for a delegate who is no user of this deployment
    if !valid && set.act != DelegateAct::Remove {
        return Err(diagnostics::USER_UNKNOWN.on(Answer::of(refusal::NO_SUCH_USER), circumstances));
    }
    Ok(Translated::Change {
        slot: Slot::of(&scratch.presentity),
        command: Command::SetDelegate {
            presentity: &scratch.presentity,
            version: set.version,
            act: set.act,
            delegate: set.delegate,
            delegates_max: circumstances.policy.enhanced.delegates,
        },
        grace: Grace::Refresh,
        aside: Aside::Nothing,
    })
}
