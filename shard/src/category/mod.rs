//! The categories of enhanced presence (MS-PRES 2.2.2.7): their table, and what the server understands
//! of those that it computes with.
//!
//! A category that is only stored is a row in [`Category`]. One whose content is interpreted has a file:
//! a struct, how it is read from a publisher's XML (once, at the ingress, house D2), how it is written.

pub mod calendar_data;
pub mod contact_card;
mod content;
pub mod device;
pub mod legacy_interop;
pub mod mwi;
pub mod services;
pub mod state;
pub mod user_properties;

use std::fmt;
use std::sync::Arc;

/// The namespace of a categories document, and what a fragment of one may take for granted.
pub const CATEGORIES: &str = "http://schemas.microsoft.com/2006/09/sip/categories";

/// Elements that say where the known part of an extensible element ends; they carry no content.
pub(crate) const COMMON_TYPES: &str = "http://schemas.microsoft.com/2006/09/sip/commontypes";

/// Bytes of a category's name.
pub const NAME_BYTES_MAX: usize = 128;

/// Whom a category is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// Whoever resolves to a container that holds it.
    Watchers,
    /// The publisher alone, whatever the container.
    Oneself,
}

/// Declares [`Category`]: name, audience, and the container that only the server writes it to.
macro_rules! categories {
    ($($variant:ident $text:literal $audience:ident $(read_only $container:literal)?),+ $(,)?) => {
        /// The name of a category. The order is that of documents: by name, others last.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Category {
            $(#[doc = concat!("`", $text, "`")] $variant,)+
            /// A name that an administrator registered.
            Other(Arc<str>),
        }

        impl Category {
            /// The category of this name; names are compared exactly.
            #[must_use]
            pub fn named(name: &str) -> Category {
                match name {
                    $($text => Category::$variant,)+
                    other => Category::Other(Arc::from(other)),
                }
            }

            /// Its name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Category::$variant => $text,)+
                    Category::Other(name) => name,
                }
            }

            /// Whether only the publisher may see it.
            //= MS-PRES 1.3.1.2
            //# a private category may stand in any container and is shown to its publisher alone
            #[must_use]
            pub fn is_private(&self) -> bool {
                match self {
                    $(Category::$variant => matches!(Audience::$audience, Audience::Oneself),)+
                    Category::Other(_) => false,
                }
            }

            /// Whether clients may not write it to this container.
            //= MS-PRES 3.2.6.2
            //# userProperties in container 1 is the server's
            #[must_use]
            pub fn is_read_only(&self, container: u16) -> bool {
                match self {
                    $($(Category::$variant => container == $container,)?)+
                    _ => false,
                }
            }

            /// Whether the name is one of the table's.
            #[must_use]
            pub fn is_registered(&self) -> bool {
                !matches!(self, Category::Other(_))
            }
        }
    };
}

categories! {
    Alerts "alerts" Oneself,
    CalendarData "calendarData" Watchers,
    ContactCard "contactCard" Watchers,
    Device "device" Watchers,
    DndState "dndState" Oneself,
    GcFilterSetting "gcFilterSetting" Oneself,
    LegacyInterop "legacyInterop" Oneself,
    LinkedPicContacts "linkedPICContacts" Oneself,
    Mwi "mwi" Oneself,
    Note "note" Watchers,
    NoteHistory "noteHistory" Watchers,
    OtherOptions "otherOptions" Oneself,
    RccOptions "rccOptions" Oneself,
    RoomInvitation "roomInvitation" Oneself,
    RoomSetting "roomSetting" Oneself,
    RoomUpdate "roomUpdate" Oneself,
    Routing "routing" Oneself,
    Services "services" Watchers,
    State "state" Watchers,
    UserInformation "userInformation" Oneself,
    UserProperties "userProperties" Watchers read_only 1,
    WorkingHours "workingHours" Oneself,
}

impl fmt::Debug for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a publisher's content means to the computing functions, read at the ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing: it is kept and shown as it is.
    #[default]
    Opaque,
    /// An instance of `state`.
    State(Box<state::State>),
    /// An instance of `device`.
    Device(Box<device::Device>),
    /// An instance of `calendarData` with working hours.
    WorkingHours(Box<calendar_data::WorkingHours>),
}

impl Meaning {
    /// Reads what the server understands of a publication's content.
    ///
    /// # Errors
    /// What is wrong with it, in words for a Warning (400).
    //= MS-PRES 2.2.2.2.1
    //# the content is interpreted by the schema that the category's name identifies
    pub fn read(
        category: &Category,
        content: crate::xml::Element<'_, '_>,
    ) -> Result<Meaning, &'static str> {
        content::check(category, content)?;
        Ok(match category {
            Category::State => Meaning::State(Box::new(state::State::read(content)?)),
            Category::Device => Meaning::Device(Box::new(device::Device::read(content)?)),
            Category::CalendarData => calendar_data::WorkingHours::read(content)
                .map_or(Meaning::Opaque, |hours| {
                    Meaning::WorkingHours(Box::new(hours))
                }),
            _ => Meaning::Opaque,
        })
    }
}

/// What the server computed or made itself: typed, and written as XML when somebody is to see it, so that
/// replicas on different builds hold equal state (house D2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Computed {
    /// `state`: an aggregate.
    State(Box<state::State>),
    /// `legacyInterop`.
    LegacyInterop(legacy_interop::LegacyInterop),
    /// `services`.
    Services(services::Services),
    /// `dndState`: whether it is on.
    DndState(bool),
    /// `workingHours`.
    WorkingHours(Box<calendar_data::WorkingHours>),
    /// `contactCard` with what the directory knows.
    ContactCard(contact_card::Card),
    /// `userProperties`.
    UserProperties(Box<user_properties::Properties>),
    /// `mwi`.
    Mwi(mwi::Waiting),
    /// A category that is there and holds nothing, so that nothing of a lower container shows.
    Empty,
}

impl Computed {
    /// Appends it as XML that can stand in a categories document.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Computed::State(state) => state.write(out),
            Computed::LegacyInterop(legacy) => legacy.write(out),
            Computed::Services(services) => services.write(out),
            Computed::DndState(on) => state::write_dnd(*on, out),
            Computed::WorkingHours(hours) => hours.write(out),
            Computed::ContactCard(card) => card.write(out),
            Computed::UserProperties(properties) => properties.write(out),
            Computed::Mwi(waiting) => waiting.write(out),
            Computed::Empty => {}
        }
    }
}

/// Appends ` name="value"`, escaped.
pub(crate) fn write_attribute(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    crate::xml::escape(value, out);
    out.push(b'"');
}

/// Appends `<name>text</name>`, escaped; nothing when the text is empty.
pub(crate) fn write_text(name: &str, text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        return;
    }
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
    crate::xml::escape(text, out);
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-PRES 1.3.1.2
    //= type=test
    //= MS-PRES 3.2.6.2
    //= type=test
    // proves: PRES-2.2.2.7-01 PRES-2.2.2.7.6-01 PRES-2.2.2.7.7-01 PRES-2.2.2.7.9-02
    // proves: PRES-2.2.2.7.10-02 PRES-2.2.2.7.12-01 PRES-3.2.6.2-06
    #[test]
    fn the_table_says_who_sees_and_who_writes() {
        for (name, private, read_only_in_1) in [
            ("state", false, false),
            ("note", false, false),
            ("legacyInterop", true, false),
            ("routing", true, false),
            ("workingHours", true, false),
            ("dndState", true, false),
            ("mwi", true, false),
            ("linkedPICContacts", true, false),
            ("userProperties", false, true),
            ("contoso.mood", false, false),
            ("State", false, false),
        ] {
            let category = Category::named(name);
            assert_eq!(category.as_str(), name);
            assert_eq!(category.is_private(), private, "{name}");
            assert_eq!(category.is_read_only(1), read_only_in_1, "{name}");
            assert!(!category.is_read_only(2), "{name}");
        }
        assert!(!Category::named("State").is_registered());
    }

    #[test]
    fn categories_stand_in_the_order_of_their_names() {
        let names = [
            "alerts",
            "calendarData",
            "note",
            "services",
            "state",
            "zebra",
        ];
        let categories = names.map(Category::named);
        assert!(categories.is_sorted());
    }
}
