//! The directory search of MS-PRES 3.1: what a SERVICE asks in SOAP, and the answers to it.
//!
//! [`method`] tells which of the methods a SOAP body calls, for all dialects that share SERVICE;
//! [`parse`] reads a search; [`compose`] and [`compose_fault`] write what it comes to. Searching is the
//! directory's.

use std::borrow::Cow;

use super::DocumentError;
use crate::xml::{Document, Element, escape};

/// What is both the type of the request's body and of the answer's.
pub const CONTENT_TYPE: &str = "application/SOAP+xml";

/// Filters of one search. A client's form has six fields; each filter is compared with every person.
pub const FILTERS_MAX: usize = 32;

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const METHODS: &str = "http://schemas.microsoft.com/winrtc/2002/11/sip";

/// What a client searches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search<'a> {
    /// What must hold, all of it, in the order it was written.
    pub filters: Vec<Filter<'a>>,
    /// How many rows the client wants at most; `None` leaves it to the administrator.
    pub max_results: Option<u32>,
}

/// One condition: an attribute of the directory begins with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// The attribute's name in the directory, such as `givenName`.
    pub attribute: Cow<'a, str>,
    /// What its value begins with.
    pub value: Cow<'a, str>,
}

impl Search<'_> {
    /// How many rows to answer with at most.
    //= MS-PRES 3.1.5.2
    //# the lower of what the client asks and what the administrator allows
    #[must_use]
    pub fn limit(&self, administrator: usize) -> usize {
        let asked = self
            .max_results
            .map(|asked| usize::try_from(asked).unwrap_or(usize::MAX));
        asked.map_or(administrator, |asked| asked.min(administrator))
    }
}

/// A person found, as a row of the answer shows one. What is unknown is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row<'a> {
    /// The canonical address, without its scheme.
    pub address: &'a str,
    /// How the person is called.
    pub display_name: &'a str,
    /// What the person is.
    pub title: &'a str,
    /// Where the desk is.
    pub office: &'a str,
    /// One telephone number.
    pub phone: &'a str,
    /// The company.
    pub company: &'a str,
    /// The city.
    pub city: &'a str,
    /// The state or province.
    pub state: &'a str,
    /// The country.
    pub country: &'a str,
    /// The mail address.
    pub email: &'a str,
}

/// Why a search has no answer. The comments name the status that goes with it.
//= MS-PRES 3.1.5.4
//# four kinds of failure, each with its SOAP fault code
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 400: the body is not a search.
    BadCall,
    /// 503: the directory cannot be reached, or there is too much to do.
    Busy,
    /// 403: the directory does not let us, or the user, search.
    NotAuthorized,
    /// 500: everything else.
    Unknown,
}

impl Fault {
    /// The SOAP fault code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Fault::BadCall => "Client.BadCall",
            Fault::Busy => "Server.Unavailable.Busy",
            Fault::NotAuthorized => "Client.NotAuthorized.UserSearch",
            Fault::Unknown => "Server.UnknownError",
        }
    }
}

/// The name of the method that a SOAP body calls, such as `directorySearch` or `setContact`.
///
/// # Errors
/// [`DocumentError`] for what is not a SOAP envelope that calls a method of the SERVICE namespace.
pub fn method(body: &[u8]) -> Result<&str, DocumentError> {
    let document = Document::parse(body)?;
    call(&document).map(Element::local)
}

/// Reads the body of a search: any prefixes, attributes qualified or not, filters in any order.
///
/// # Errors
/// [`DocumentError`], answered with [`Fault::BadCall`].
//= MS-PRES 2.2.1
//# filter/@href names the Array that holds the filters; maxResults is how many results are wanted
pub fn parse(body: &[u8]) -> Result<Search<'_>, DocumentError> {
    let document = Document::parse(body)?;
    let called = call(&document)?;
    let wrong = |element, what| document.error_at(element, what);
    if called.local() != "directorySearch" {
        return Err(wrong(called, "not a directory search"));
    }
    let inside = |local| called.children().find(|child| child.is(METHODS, local));
    let href = inside("filter")
        .and_then(|filter| attribute(filter, "href"))
        .ok_or_else(|| wrong(called, "a search without a filter"))?;
    // The schema has a bare IDREF, every example a fragment.
    let id = href.trim();
    let id = id.strip_prefix('#').unwrap_or(id);
    let max_results = inside("maxResults")
        .map(|element| count(&element.text()).ok_or_else(|| wrong(element, "a bad maxResults")))
        .transpose()?;
    let array = soap_body(&document)?
        .children()
        .filter(|child| child.is(METHODS, "Array"))
        .find(|array| attribute(*array, "id").is_some_and(|own| own.trim() == id))
        .ok_or_else(|| wrong(called, "a filter that names no Array"))?;
    let mut filters = Vec::new();
    for row in array.children().filter(|child| child.is(METHODS, "row")) {
        if filters.len() == FILTERS_MAX {
            return Err(wrong(row, "too many filters"));
        }
        let (Some(attribute), Some(value)) = (attribute(row, "attrib"), attribute(row, "value"))
        else {
            return Err(wrong(row, "a filter without attribute or value"));
        };
        filters.push(Filter { attribute, value });
    }
    Ok(Search {
        filters,
        max_results,
    })
}

/// An attribute, qualified as every example has it, or not, as the schemas of section 8 say.
fn attribute<'a>(element: Element<'_, 'a>, local: &str) -> Option<Cow<'a, str>> {
    element
        .attribute_of(METHODS, local)
        .or_else(|| element.attribute(local))
}

/// The `Body` of an envelope. One schema of the specification drops the namespace's last slash.
fn soap_body<'d, 'a>(document: &'d Document<'a>) -> Result<Element<'d, 'a>, DocumentError> {
    let root = document.root();
    let is = |element: Element<'_, '_>, local| {
        element.local() == local
            && element.namespace().trim_end_matches('/') == SOAP.trim_end_matches('/')
    };
    if !is(root, "Envelope") {
        return Err(document.error_at(root, "not a SOAP envelope"));
    }
    root.children()
        .find(|child| is(*child, "Body"))
        .ok_or_else(|| document.error_at(root, "an envelope without a body"))
}

/// The element that calls a method: an `Array` beside it holds what the call refers to.
fn call<'d, 'a>(document: &'d Document<'a>) -> Result<Element<'d, 'a>, DocumentError> {
    let body = soap_body(document)?;
    body.children()
        .find(|child| child.namespace() == METHODS && child.local() != "Array")
        .ok_or_else(|| document.error_at(body, "a body that calls nothing"))
}

/// An `xs:nonNegativeInteger`; what we cannot count to is as much as we can.
fn count(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let legal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    legal.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// Appends the answer to a search, with all that was found.
//= MS-PRES 3.1.5.3
//# a successful answer holds the results
//= MS-PRES 3.1.5.2
//# moreAvailable is true when the directory has more than the answer
pub fn compose<'r>(
    rows: impl ExactSizeIterator<Item = Row<'r>>,
    more_available: bool,
    out: &mut Vec<u8>,
) {
    for part in [
        "<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"",
        SOAP,
        "\" xmlns:m=\"",
        METHODS,
        "\"><SOAP-ENV:Body><m:directorySearch><m:moreAvailable>",
        if more_available { "true" } else { "false" },
        "</m:moreAvailable><m:returned>",
        &rows.len().to_string(),
        "</m:returned><m:value m:href=\"#rows\"/></m:directorySearch><m:Array m:id=\"rows\">",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    for row in rows {
        out.extend_from_slice(b"<m:row m:uri=\"sip:");
        write_value(row.address, out);
        // Every attribute of the schema is required, known or not.
        for (name, value) in [
            ("displayName", row.display_name),
            ("title", row.title),
            ("office", row.office),
            ("phone", row.phone),
            ("company", row.company),
            ("city", row.city),
            ("state", row.state),
            ("country", row.country),
            ("email", row.email),
        ] {
            out.extend_from_slice(b"\" m:");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"=\"");
            write_value(value, out);
        }
        out.extend_from_slice(b"\"/>");
    }
    out.extend_from_slice(b"</m:Array></SOAP-ENV:Body></SOAP-ENV:Envelope>");
}

/// A directory may hold what no XML document may: control characters become blanks, as a reader makes
/// of line ends in an attribute anyway.
fn write_value(value: &str, out: &mut Vec<u8>) {
    let illegal = |c: char| c.is_ascii_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    if value.contains(illegal) {
        escape(&value.replace(illegal, " "), out);
    } else {
        escape(value, out);
    }
}

/// Appends the answer to a search that failed.
//= MS-PRES 3.1.5.3
//# a failed answer should have a body, too
pub fn compose_fault(fault: Fault, out: &mut Vec<u8>) {
    for part in [
        "<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"",
        SOAP,
        "\"><SOAP-ENV:Body><SOAP-ENV:Fault><Faultcode>",
        fault.code(),
        "</Faultcode></SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}
