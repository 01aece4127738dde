//! Roaming contacts (MS-SIP 3.7, MS-PRES 3.10): the subscription, and SERVICE in SOAP.

use shard::document::contacts;
use shard::machine::command::Command;
use shard::slot::Slot;
use shard::subscription::dialog::{Format, Package};
use shard::subscription::watch::Wish;
use transport::sip::Request;

use super::category_subscribe::{Buffers, Subscription};
use super::{Aside, body, endpoint, malformed, offers, own_address};
use crate::dialect::{Answer, Circumstances, Grace, Scratch, Translated, refusal};

pub(super) fn subscribe<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    own_address(request, circumstances, &mut scratch.presentity)?;
    scratch.watcher.clone_from(&scratch.presentity);
    let ucs = offers(request, "ms-ucs");
    let ready = offers(request, "ms-ucs-ready");
    let subscription = Subscription {
        package: Package::RoamingContacts,
        format: Format::RoamingContacts,
        wish: Wish::Contacts(ucs),
        must_register: true,
        elsewhere: Vec::new(),
        aside: Aside::Contacts { ready },
    };
    Buffers::of(scratch).finish(request, circumstances, subscription)
}

/// SERVICE in SOAP that changes contacts.
pub(super) fn soap<'s>(
    request: &'s Request,
    circumstances: &Circumstances<'_>,
    scratch: &'s mut Scratch,
) -> Result<Translated<'s>, Answer> {
    let body = body(request)?;
    match contacts::method(body).as_deref() {
        Some("setContact" | "deleteContact" | "addGroup" | "modifyGroup" | "deleteGroup") => {}
        Some(_) => return Err(Answer::of(refusal::NO_SUCH_METHOD)),
        // Told where the document is wrong, or that it calls nothing.
        None => {
            let error = contacts::parse(body).err();
            return Err(error.map_or(Answer::of(refusal::NO_SUCH_METHOD), |error| {
                malformed(&error, circumstances)
            }));
        }
    }
    own_address(request, circumstances, &mut scratch.presentity)?;
    let change = contacts::parse(body).map_err(|error| malformed(&error, circumstances))?;
    Ok(Translated::Change {
        slot: Slot::of(&scratch.presentity),
        command: Command::ChangeContacts {
            presentity: &scratch.presentity,
            delta_num: change.delta_num,
            change: change.change,
            contacts_max: circumstances.policy.enhanced.contacts,
            endpoint: endpoint(request),
        },
        grace: Grace::Refresh,
        aside: Aside::Nothing,
    })
}
