//! ms-diagnostics (MS-OCER 2.2.1): a number that clients act on, and a text that people read.

use crate::dialect::{Answer, Circumstances, refusal};

/// One diagnosis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The number.
    pub id: u32,
    /// What it means.
    pub reason: &'static str,
}

const fn diagnosis(id: u32, reason: &'static str) -> Diagnosis {
    Diagnosis { id, reason }
}

/// An acknowledged subscriber is not in the list.
pub const NO_SUBSCRIBER: Diagnosis = diagnosis(2000, "Prompted subscriber does not exist.");
/// No contact of this address.
pub const NO_CONTACT: Diagnosis = diagnosis(2001, "Contact does not exist.");
/// No group of this number.
pub const NO_GROUP: Diagnosis = diagnosis(2002, "Group does not exist.");
/// A category that only the server writes there.
pub const READ_ONLY: Diagnosis = diagnosis(
    2003,
    "Category publication failed - Cannot overwrite read only publication.",
);
/// A federated or public user, where such may not watch or be watched.
pub const NOT_AUTHORIZED: Diagnosis = diagnosis(2004, "Subscriber is not authorized to subscribe.");
/// From names nobody whom To could be.
pub const FROM_UNKNOWN: Diagnosis = diagnosis(2005, "The user in the FROM URI is not found.");
/// Too many members.
pub const MEMBER_LIMIT: Diagnosis = diagnosis(2006, "Container member limit exceeded.");
/// Too many contacts.
pub const CONTACT_LIMIT: Diagnosis = diagnosis(2007, "Contact limit exceeded.");
/// Too many groups.
pub const GROUP_LIMIT: Diagnosis = diagnosis(2008, "Group limit exceeded.");
/// Too much added to a contact.
pub const EXTENSION_SIZE: Diagnosis = diagnosis(2009, "Contact extension too large.");
/// Too much data in a category.
pub const CATEGORY_SIZE: Diagnosis = diagnosis(2010, "Category size limit exceeded.");
/// Too many categories watched.
pub const SUBSCRIPTION_LIMIT: Diagnosis = diagnosis(2012, "Category subscription limit exceeded.");
/// A SUBSCRIBE inside a dialog that is not there.
pub const NO_DIALOG: Diagnosis = diagnosis(2014, "Subscription dialog does not exist.");
/// Two groups of one name.
pub const DUPLICATE_GROUP: Diagnosis = diagnosis(2015, "Duplicate group name.");
/// A version that is not the current one.
pub const STALE_PUBLICATION: Diagnosis = diagnosis(2044, "Publication version out of date");
/// An enhanced client must know of GRUUs.
pub const GRUU_REQUIRED: Diagnosis = diagnosis(2057, "Supported gruu-10 is required.");
/// A delegate version that is not the current one.
pub const STALE_DELEGATES: Diagnosis = diagnosis(2141, "Delegate version is out of date");
/// The contacts are at a mail server's.
pub const CONTACTS_MIGRATED: Diagnosis = diagnosis(
    2165,
    "Contact subscription is not allowed as the user's contact list has migrated to Exchange.",
);
/// The contacts have moved to a mail server, and the subscription ends.
pub const SUBSCRIPTION_MIGRATED: Diagnosis = diagnosis(
    2186,
    "Contact subscription has been terminated as the user migrated to ucs mode.",
);
/// Anything else.
pub const DEFAULT: Diagnosis = diagnosis(4000, "User services default.");
/// A body that cannot be read.
pub const BAD_XML: Diagnosis = diagnosis(4001, "XML parse failure.");
/// An authenticated user speaks for somebody else.
pub const NOT_YOURS: Diagnosis = diagnosis(
    4004,
    "Credentials provided are not authorized to act as specified from URI.",
);
/// No such user.
pub const USER_UNKNOWN: Diagnosis = diagnosis(
    4005,
    "Destination URI either not enabled for SIP or does not exist.",
);
/// Too much.
pub const TOO_LARGE: Diagnosis = diagnosis(
    4008,
    "Input data too large - one of the parameters exceeds limit.",
);
/// A body of another type than the request says it has.
pub const CONTENT_TYPE: Diagnosis = diagnosis(
    4013,
    "Content-type does not match the expected content-type.",
);
/// Neither epid nor instance.
pub const NO_ENDPOINT: Diagnosis = diagnosis(4010, "Missing endpoint identifier.");
/// A REGISTER for another event.
pub const NOT_REGISTRATION: Diagnosis =
    diagnosis(4055, "Event header is not set to \"registration\"");
/// An endpoint that the server signed out.
pub const SIGNED_OUT: Diagnosis = diagnosis(4140, "User logged out");

/// A refusal says why in a number too: the nearest one, where nobody named a better.
pub(super) fn explain(answer: Answer, circumstances: &Circumstances<'_>) -> Answer {
    if answer.header("ms-diagnostics").is_some() {
        return answer;
    }
    let diagnosis = match answer.row {
        refusal::BODY_MISSING => BAD_XML,
        refusal::UNSUPPORTED_TYPE => CONTENT_TYPE,
        _ => DEFAULT,
    };
    diagnosis.on(answer, circumstances)
}

impl Diagnosis {
    /// The header's name.
    // What peers outside the enterprise may read stands in a header of its own, without source.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.is_public() {
            "ms-diagnostics-public"
        } else {
            "ms-diagnostics"
        }
    }

    fn is_public(&self) -> bool {
        [NO_DIALOG.id, SUBSCRIPTION_MIGRATED.id, SIGNED_OUT.id].contains(&self.id)
    }

    /// As the header has it.
    #[must_use]
    pub fn header(&self, source: &str) -> String {
        // The text may hold quotes; the header's may not.
        let reason = self.reason.replace('"', "'");
        if self.is_public() {
            return format!("{};reason=\"{reason}\"", self.id);
        }
        format!("{};reason=\"{reason}\";source=\"{source}\"", self.id)
    }

    /// The answer with this diagnosis.
    #[must_use]
    pub fn on(&self, answer: Answer, circumstances: &Circumstances<'_>) -> Answer {
        answer.with(self.name(), self.header(circumstances.source()))
    }
}
