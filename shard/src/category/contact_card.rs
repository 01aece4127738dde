//! The category `contactCard` (MS-PRES 2.2.2.7.5) as the server publishes it: who somebody is.

use crate::category::write_text;

/// The category's namespace.
pub(super) const CARD: &str = "http://schemas.microsoft.com/2006/09/sip/contactcard";

//= MS-PRES 2.2.2.7.5
//= type=exception
// excepts: PRES-2.2.2.7.5-03 the server publishes no address, and a client's address is the client's
// excepts: PRES-2.2.2.7.5-04 the server publishes no type: everybody it knows is a person; a client's type passes, as the schema allows
// excepts: PRES-2.2.2.7.5-05 no source says who is an automated agent; whoever is one publishes it
/// What the server knows of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// The name to show.
    pub display_name: Box<str>,
    /// The mail address; empty when it is not known.
    pub email: Box<str>,
}

impl Card {
    /// Appends the XML.
    //= MS-PRES 3.2.6.2
    //# the server publishes displayName and email in the identity element
    pub fn write(&self, out: &mut Vec<u8>) {
        for part in ["<contactCard xmlns=\"", CARD, "\"><identity><name>"] {
            out.extend_from_slice(part.as_bytes());
        }
        write_text("displayName", &self.display_name, out);
        out.extend_from_slice(b"</name>");
        write_text("email", &self.email, out);
        out.extend_from_slice(b"</identity></contactCard>");
    }
}
