//! SERVICE that acknowledges a subscriber (MS-PRES 3.6).

use shard::document::subscribers;
use shard::machine::command::Command;
use shard::slot::Slot;
use transport::sip::Request;

use super::{Aside, body, malformed, own_address};
use crate::dialect::{Answer, Circumstances, Grace, Scratch, Translated};

pub(super) fn acknowledge<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    own_address(request, circumstances, &mut scratch.presentity)?;
    let read = subscribers::parse(body(request)?);
    let (subscriber, acknowledged) = read.map_err(|error| malformed(&error, circumstances))?;
    scratch.watcher = subscriber;
    Ok(Translated::Change {
        slot: Slot::of(&scratch.presentity),
        command: Command::Acknowledge {
            presentity: &scratch.presentity,
            subscriber: &scratch.watcher,
            acknowledged,
        },
        grace: Grace::End,
        aside: Aside::Nothing,
    })
}
