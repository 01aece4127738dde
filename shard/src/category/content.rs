//! The least that a client's content must be where MS-PRES gives its category a schema (section 7) and
//! the server does not compute with it: the right root, and what nobody could read it without.
//!
//! The rest passes as it is. A publisher's XML is kept and shown, not judged: clients write more than the
//! schemas know (contradiction C-45), and a refusal would cost them their whole batch.

use super::{Category, calendar_data, contact_card, mwi};
use crate::xml::Element;

/// The namespace of what persistent chat keeps.
const PROPERTY_LIST: &str = "http://schemas.microsoft.com/2010/12/sip/propertyList";

/// Checks the content of a publication.
///
/// # Errors
/// What is wrong with it, in words for a Warning (400).
//= MS-PRES 2.2.2.7
//# of its own categories the server knows the schema, of all others it knows nothing
pub(super) fn check(category: &Category, content: Element<'_, '_>) -> Result<(), &'static str> {
    match category {
        Category::ContactCard if !content.is(contact_card::CARD, "contactCard") => {
            Err("a contactCard is an element contactCard of its namespace")
        }
        Category::CalendarData if !content.is(calendar_data::CALENDAR, "calendarData") => {
            Err("calendarData is an element calendarData of its namespace")
        }
        Category::Mwi => mwi::Waiting::read(content).map(drop),
        Category::LinkedPicContacts => linked_contacts(content),
        Category::RoomSetting
        | Category::RoomUpdate
        | Category::RoomInvitation
        | Category::GcFilterSetting => property_list(content),
        _ => Ok(()),
    }
}

/// Its namespace is that of the document around it, of which there are two: it is not looked at.
//= MS-PRES 2.2.2.7.12
//# a list of entries, each with a primary identity and the list of its secondary ones
fn linked_contacts(content: Element<'_, '_>) -> Result<(), &'static str> {
    if content.local() != "LinkedPicContactList" {
        return Err("linkedPICContacts are an element LinkedPicContactList");
    }
    let of = content.namespace();
    for entry in content.children() {
        let mut lists = entry
            .children()
            .filter(|child| child.is(of, "secondary-identities"));
        if !entry.is(of, "LinkedPicContactEntry") {
            return Err("a LinkedPicContactList holds elements LinkedPicContactEntry");
        }
        if entry.attribute("primary-Identity").is_none() {
            return Err("a LinkedPicContactEntry has a primary-Identity");
        }
        if lists.next().is_none() || lists.next().is_some() {
            return Err("a LinkedPicContactEntry has one element secondary-identities");
        }
    }
    Ok(())
}

//= MS-PRES 2.2.2.7.13
//# a list of one property or more, each with name, type, and a value or properties of its own
fn property_list(content: Element<'_, '_>) -> Result<(), &'static str> {
    if !content.is(PROPERTY_LIST, "propertyList") {
        return Err("it is an element propertyList of its namespace");
    }
    let is_property = |child: &Element<'_, '_>| child.is(PROPERTY_LIST, "property");
    let mut properties = content.children().filter(is_property).peekable();
    if properties.peek().is_none() {
        return Err("a propertyList without a property");
    }
    for property in properties {
        if property.attribute("name").is_none() || property.attribute("type").is_none() {
            return Err("a property has a name and a type");
        }
        let says = |child: Element<'_, '_>| child.is(PROPERTY_LIST, "value") || is_property(&child);
        if !property.children().any(says) {
            return Err("a property has a value");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Document;

    fn checked(category: &str, text: &str) -> Result<(), &'static str> {
        let document = Document::parse(text.as_bytes()).expect("well-formed");
        check(&Category::named(category), document.root())
    }

    fn chat(properties: &str) -> String {
        format!("<propertyList xmlns=\"{PROPERTY_LIST}\">{properties}</propertyList>")
    }

    // proves: PRES-2.2.2.7.12-02 PRES-2.2.2.7.13-01 PRES-2.2.2.7.11-03
    //= MS-PRES 2.2.2.7
    //= type=test
    //= MS-PRES 2.2.2.7.12
    //= type=test
    //= MS-PRES 2.2.2.7.13
    //= type=test
    #[test]
    fn content_has_the_root_and_the_parts_of_its_schema() {
        let property = "<property name=\"url\" type=\"string\"><value/></property>";
        let nested =
            format!("<property name=\"room\" type=\"object\">{property}{property}</property>");
        let entry = |attributes: &str, inside: &str| {
            format!(
                "<c:LinkedPicContactList xmlns:c=\"urn:c\"><c:LinkedPicContactEntry {attributes}>{inside}\
                 </c:LinkedPicContactEntry></c:LinkedPicContactList>"
            )
        };
        let bob = "primary-Identity=\"bob@example.org\"";
        let list = "<c:secondary-identities><c:secondary-identity>b@example.net</c:secondary-identity>\
                    </c:secondary-identities>";
        let waiting = |attributes: &str| format!("<mwi xmlns=\"{}\" {attributes}/>", mwi::MWI);
        for (category, text, sound) in [
            ("roomSetting", chat(property), true),
            ("roomUpdate", chat(&property.repeat(3)), true),
            ("roomInvitation", chat(&nested), true),
            (
                "gcFilterSetting",
                chat(&format!("{property}<end xmlns=\"urn:x\"/>")),
                true,
            ),
            ("roomSetting", chat(""), false),
            ("roomUpdate", "<propertyList/>".to_owned(), false),
            (
                "roomInvitation",
                chat("<property type=\"string\"><value/></property>"),
                false,
            ),
            (
                "gcFilterSetting",
                chat("<property name=\"a\"><value/></property>"),
                false,
            ),
            (
                "gcFilterSetting",
                chat("<property name=\"a\" type=\"string\"/>"),
                false,
            ),
            ("linkedPICContacts", entry(bob, list), true),
            (
                "linkedPICContacts",
                "<LinkedPicContactList/>".to_owned(),
                true,
            ),
            ("linkedPICContacts", entry("", list), false),
            ("linkedPICContacts", entry(bob, ""), false),
            ("linkedPICContacts", entry(bob, &list.repeat(2)), false),
            (
                "linkedPICContacts",
                "<LinkedPicContactList><a/></LinkedPicContactList>".to_owned(),
                false,
            ),
            (
                "linkedPICContacts",
                "<linkedPicContactList/>".to_owned(),
                false,
            ),
            ("mwi", waiting("messageWaiting=\"true\""), true),
            (
                "mwi",
                waiting("messageWaiting=\"0\" unreadVoiceMailCount=\"4294967295\""),
                true,
            ),
            ("mwi", waiting(""), false),
            ("mwi", waiting("messageWaiting=\"yes\""), false),
            (
                "mwi",
                waiting("messageWaiting=\"1\" readVoiceMailCount=\"-1\""),
                false,
            ),
            ("mwi", "<mwi messageWaiting=\"1\"/>".to_owned(), false),
            (
                "contactCard",
                format!(
                    "<contactCard xmlns=\"{}\" isUCEnabled=\"true\"/>",
                    contact_card::CARD
                ),
                true,
            ),
            ("contactCard", "<contactCard/>".to_owned(), false),
            (
                "calendarData",
                format!("<calendarData xmlns=\"{}\"/>", calendar_data::CALENDAR),
                true,
            ),
            ("calendarData", "<calendar/>".to_owned(), false),
            ("note", "<anything/>".to_owned(), true),
            ("contoso.mood", "<a:b xmlns:a=\"urn:a\"/>".to_owned(), true),
        ] {
            assert_eq!(
                checked(category, &text).is_ok(),
                sound,
                "{category}: {text}"
            );
        }
    }
}
