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
    /// `dialog` (RFC 4235): the calls of a user.
    Dialog = 6,
    /// `message-summary` (RFC 3842): waiting voice mail.
    MessageSummary = 7,
    /// `reg` (RFC 3680): where a user is registered.
    Reg = 8,
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
            Package::Dialog,
            Package::MessageSummary,
            Package::Reg,
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
            Package::Dialog => "dialog",
            Package::MessageSummary => "message-summary",
            Package::Reg => "reg",
        }
    }

    /// Whether a publication of it takes part in its user's presence: who is on the phone is busy.
    #[must_use]
    pub fn bears_on_presence(self) -> bool {
        matches!(self, Package::Presence | Package::Dialog)
    }

    /// Whether its subscriptions are those of RFC 6665: told when they end, bounded for each presentity.
    #[must_use]
    pub fn is_standard(self) -> bool {
        match self {
            Package::Presence
            | Package::List
            | Package::Dialog
            | Package::MessageSummary
            | Package::Reg
            | Package::Winfo => true,
            Package::Categories | Package::RoamingSelf | Package::RoamingContacts => false,
        }
    }
}
