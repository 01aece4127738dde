//! Event packages: what publications and subscriptions are about.

/// The event package of a subscription or publication. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Package {
    /// `presence` (RFC 3856): one presentity's document.
    Presence = 1,
    /// `presence` as MS-PRES 3.4 has it: categories of any number of presentities.
    Categories = 2,
    /// `vnd-microsoft-roaming-self` (MS-PRES 3.3).
    RoamingSelf = 3,
    /// `vnd-microsoft-roaming-contacts` (MS-SIP 3.7).
    RoamingContacts = 4,
    /// `presence` of any number of presentities, each with its document (RFC 4662, RFC 5367, BluStar).
    List = 5,
    // 6 to 9 are left for others.
    /// `presence.winfo` (RFC 3857): who watches one's presence.
    Winfo = 10,
}

impl Package {
    /// The package with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Package> {
        [
            Package::Presence,
            Package::Categories,
            Package::RoamingSelf,
            Package::RoamingContacts,
            Package::List,
            Package::Winfo,
        ]
        .into_iter()
        .find(|package| *package as u8 == number)
    }

    /// Its name in an Event header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Package::Presence | Package::Categories | Package::List => "presence",
            Package::Winfo => "presence.winfo",
            Package::RoamingSelf => "vnd-microsoft-roaming-self",
            Package::RoamingContacts => "vnd-microsoft-roaming-contacts",
        }
    }
}
