//! Why a request changes nothing.

/// Declares [`Refusal`]: variant, number in snapshots, meaning.
macro_rules! refusals {
    ($($variant:ident $number:literal $text:literal),+ $(,)?) => {
        /// Why nothing was changed. The status is chosen once, in `node::dialect::refusal`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Refusal {
            $(#[doc = $text] $variant = $number,)+
        }

        impl Refusal {
            /// The refusal with this number in a snapshot.
            #[must_use]
            pub fn from_number(number: u8) -> Option<Refusal> {
                match number {
                    $($number => Some(Refusal::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

refusals! {
    NoMatch 1 "SIP-If-Match names no live publication of this presentity and package.",
    UnknownDialog 2 "No dialog with these identifiers.",
    OutOfOrder 3 "A CSeq that is not higher than the one before, within one dialog or registration.",
    TooManyPublications 4 "More publications than a presentity may have.",
    TooManyEndpoints 5 "More endpoints than an address may have.",
    TooManyWatchers 6 "More watchers than a presentity may have.",
    ContentTooLarge 7 "The content is larger than a publication may be.",
    EndpointNotRegistered 8 "The endpoint that asks is not registered.",
    TooManyInstances 9 "More category instances than a publisher may have.",
    CategoryTooLarge 10 "More data in a category than a publisher may have.",
    TooManyMembers 11 "More members than a publisher's containers may have.",
    UnknownSubscriber 12 "Nobody of this address is in the subscriber list.",
    TooManySubscribers 13 "More entries than a subscriber list may have.",
    ContextTooLarge 14 "More context data than a subscriber list may hold.",
    UnknownDelegate 15 "Nobody of this address is a delegate.",
    TooManyDelegates 16 "More delegates than a user may have.",
    StaleContacts 17 "The contact list is not the one that the request speaks of.",
    ContactsLocked 18 "The contact list is kept elsewhere, or is on its way there.",
    UnknownContact 19 "No contact of this address.",
    UnknownGroup 20 "No group of this number.",
    TooManyContacts 21 "More contacts than a user may have.",
    TooManyGroups 22 "More groups than a list may have.",
    ExtensionTooLarge 23 "The extension of a contact is too large.",
    DuplicateGroup 24 "A group of this name exists.",
    GroupInUse 25 "A group that has contacts, or the default one, cannot be removed.",
    TooManySubscriptions 26 "More resources or categories than a dialog may watch.",
    ContactsMigrated 27 "The contact list is at a mail server, and its client knows the way there.",
    // 28 to 32 are left for others.
    NotAllowed 33 "The presentity's rules keep the watcher out.",
    UnknownDocument 34 "No document of this name.",
    TooManyDocuments 35 "More documents than a user may keep.",
    DocumentTooLarge 36 "A document that is larger than one may be.",
    DocumentKept 37 "The operator keeps the document in a file.",
}
