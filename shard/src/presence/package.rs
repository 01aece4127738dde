//! Event packages: what publications and subscriptions are about.

/// The event package of a subscription or publication. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Package {
    /// `presence` (RFC 3856).
    Presence = 1,
}

impl Package {
    /// The package with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Package> {
        (number == 1).then_some(Package::Presence)
    }
}
