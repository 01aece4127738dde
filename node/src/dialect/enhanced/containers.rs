//! SERVICE with changes of memberships (MS-PRES 3.5).

use shard::document::containers;
use shard::machine::command::Command;
use shard::slot::Slot;
use transport::sip::Request;

use super::{Aside, body, malformed, own_address};
use crate::dialect::{Answer, Circumstances, Grace, Scratch, Translated};

pub(super) fn set_members<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    own_address(request, circumstances, &mut scratch.presentity)?;
    let changes = containers::parse(body(request)?);
    let changes = changes.map_err(|error| malformed(&error, circumstances))?;
    Ok(Translated::Change {
        slot: Slot::of(&scratch.presentity),
        command: Command::SetMembers {
            presentity: &scratch.presentity,
            changes,
            members_max: circumstances.policy.enhanced.members,
        },
        grace: Grace::Refresh,
        aside: Aside::Nothing,
    })
}
