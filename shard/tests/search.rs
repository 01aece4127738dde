//! Directory search documents: read as clients write them, composed as the example shows.

use proptest::prelude::*;
use shard::document::search::{
    FILTERS_MAX, Fault, Filter, Row, Search, compose, compose_fault, method, parse,
};
use shard::xml::Document;

const METHODS: &str = "http://schemas.microsoft.com/winrtc/2002/11/sip";

/// The request of MS-PRES 2.2.1 and 4.1, with its line ends.
const REQUEST: &str = "<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\">\r\n  \
    <SOAP-ENV:Body>\r\n    \
    <m:directorySearch xmlns:m=\"http://schemas.microsoft.com/winrtc/2002/11/sip\">\r\n      \
    <m:filter m:href=\"#searchArray\"/>\r\n      <m:maxResults>100</m:maxResults>\r\n    </m:directorySearch>\r\n    \
    <m:Array xmlns:m=\"http://schemas.microsoft.com/winrtc/2002/11/sip\" m:id=\"searchArray\">\r\n      \
    <m:row m:attrib=\"givenName\" m:value=\"Alice\"/>\r\n    </m:Array>\r\n  \
    </SOAP-ENV:Body>\r\n</SOAP-ENV:Envelope>\r\n";

/// The answer of MS-PRES 4.1.
const ANSWER: &str = "<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\" \
    xmlns:m=\"http://schemas.microsoft.com/winrtc/2002/11/sip\">\r\n  <SOAP-ENV:Body>\r\n    <m:directorySearch>\r\n      \
    <m:moreAvailable>false</m:moreAvailable>\r\n      <m:returned>1</m:returned>\r\n      <m:value m:href=\"#rows\"/>\r\n    \
    </m:directorySearch>\r\n    <m:Array m:id=\"rows\">\r\n      \
    <m:row m:uri=\"sip:Alice@contoso.com\" m:displayName=\"Alice\" m:title=\"SR. LEAD\" m:office=\"111\" \
    m:phone=\"+1 (555) 555555 X55555\" m:company=\"contoso\" m:city=\"\" m:state=\"\" m:country=\"\" \
    m:email=\"Alice@contoso.com\"/>\r\n    </m:Array>\r\n  </SOAP-ENV:Body>\r\n</SOAP-ENV:Envelope>\r\n";

fn envelope(inside: &str) -> String {
    format!(
        "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/' xmlns:p='{METHODS}'>\
         <s:Body>{inside}</s:Body></s:Envelope>"
    )
}

fn filter<'a>(attribute: &'a str, value: &'a str) -> Filter<'a> {
    Filter {
        attribute: attribute.into(),
        value: value.into(),
    }
}

/// The text without what stands between the tags.
fn compact(text: &str) -> String {
    text.split("\r\n").map(str::trim_start).collect()
}

//= MS-PRES 2.2.1
//= type=test
#[test]
fn a_search_is_read_however_it_is_qualified() {
    let bare = "<Envelope xmlns='http://schemas.xmlsoap.org/soap/envelope'><Body>\
        <Array xmlns='http://schemas.microsoft.com/winrtc/2002/11/sip' id='f'>\
        <row value='A&amp;B' attrib='company'/><row attrib='givenName' value='Al'/></Array>\
        <directorySearch xmlns='http://schemas.microsoft.com/winrtc/2002/11/sip'><filter href='f'/></directorySearch>\
        </Body></Envelope>";
    let choosing = envelope(
        "<p:directorySearch><p:maxResults> 0 </p:maxResults><p:filter p:href='#two'/></p:directorySearch>\
         <p:Array p:id='one'><p:row p:attrib='c' p:value='x'/></p:Array>\
         <p:Array id='two'><!-- later --><p:row attrib='sn' p:value='L'/></p:Array><p:Array p:id='three'/>",
    );
    let nothing = envelope(
        "<p:directorySearch><p:filter href='#a'/><p:maxResults>99999999999</p:maxResults></p:directorySearch>\
         <p:Array id='a'/>",
    );
    for (name, body, filters, max_results) in [
        (
            "the example",
            REQUEST,
            vec![filter("givenName", "Alice")],
            Some(100),
        ),
        (
            "no prefix, the array first, no limit",
            bare,
            vec![filter("company", "A&B"), filter("givenName", "Al")],
            None,
        ),
        (
            "one array of several",
            &choosing,
            vec![filter("sn", "L")],
            Some(0),
        ),
        (
            "no filters, a limit beyond counting",
            &nothing,
            vec![],
            Some(u32::MAX),
        ),
    ] {
        let expected = Search {
            filters,
            max_results,
        };
        assert_eq!(parse(body.as_bytes()), Ok(expected), "{name}");
        assert_eq!(method(body.as_bytes()), Ok("directorySearch"), "{name}");
    }
}

//= MS-PRES 3.1.5.4
//= type=test
#[test]
fn what_is_no_search_is_a_bad_call() {
    let search =
        |inside: &str| envelope(&format!("<p:directorySearch>{inside}</p:directorySearch>"));
    let array = |rows: &str| {
        envelope(&format!(
            "<p:directorySearch><p:filter p:href='#a'/></p:directorySearch><p:Array p:id='a'>{rows}</p:Array>"
        ))
    };
    let many = array(&"<p:row attrib='sn' value='x'/>".repeat(FILTERS_MAX + 1));
    for (body, what) in [
        ("", "no element"),
        (
            &REQUEST[..REQUEST.len() / 2],
            "an element that does not end",
        ),
        ("<a/>", "not a SOAP envelope"),
        (
            "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'/>",
            "an envelope without a body",
        ),
        (&envelope(""), "a body that calls nothing"),
        (
            &envelope("<p:Array p:id='a'/>"),
            "a body that calls nothing",
        ),
        (&envelope("<directorySearch/>"), "a body that calls nothing"),
        (&envelope("<p:setContact/>"), "not a directory search"),
        (&search(""), "a search without a filter"),
        (&search("<p:filter/>"), "a search without a filter"),
        (
            &search("<p:filter href='#a'/>"),
            "a filter that names no Array",
        ),
        (
            &search("<p:filter href='#a'/><p:maxResults>-1</p:maxResults>"),
            "a bad maxResults",
        ),
        (
            &search("<p:filter href='#a'/><p:maxResults/>"),
            "a bad maxResults",
        ),
        (
            &array("<p:row attrib='sn'/>"),
            "a filter without attribute or value",
        ),
        (
            &array("<p:row s:attrib='sn' value='x'/>"),
            "a filter without attribute or value",
        ),
        (&many, "too many filters"),
    ] {
        let error = parse(body.as_bytes()).expect_err(body);
        assert_eq!(error.what, what, "{body}");
    }
    assert!(parse(b"<a>\xff</a>").is_err());
    assert!(parse(array(&"<p:row attrib='sn' value='x'/>".repeat(FILTERS_MAX)).as_bytes()).is_ok());
}

#[test]
fn the_method_is_told_by_namespace_and_name() {
    for (inside, expected) in [
        ("<p:setContact/>", Ok("setContact")),
        ("<p:Array/><p:addGroup/>", Ok("addGroup")),
        ("<q:x xmlns:q='urn:q'/><p:deleteGroup/>", Ok("deleteGroup")),
        ("<q:addGroup xmlns:q='urn:q'/>", Err(())),
    ] {
        let body = envelope(inside);
        assert_eq!(method(body.as_bytes()).map_err(drop), expected, "{inside}");
    }
}

// proves: PRES-3.1.5.2-02
//= MS-PRES 3.1.5.2
//= type=test
#[test]
fn the_lower_limit_counts() {
    for (asked, administrator, limit) in [
        (None, 100, 100),
        (Some(10), 100, 10),
        (Some(100), 10, 10),
        (Some(0), 10, 0),
        (Some(u32::MAX), 10, 10),
    ] {
        let search = Search {
            filters: vec![],
            max_results: asked,
        };
        assert_eq!(search.limit(administrator), limit, "{asked:?}");
    }
}

// proves: PRES-3.1.5.3-02
//= MS-PRES 3.1.5.3
//= type=test
#[test]
fn the_answer_is_as_the_example_has_it() {
    let alice = Row {
        address: "Alice@contoso.com",
        display_name: "Alice",
        title: "SR. LEAD",
        office: "111",
        phone: "+1 (555) 555555 X55555",
        company: "contoso",
        email: "Alice@contoso.com",
        ..Row::default()
    };
    let composed = |rows: &[Row<'_>], more| {
        let mut out = Vec::new();
        compose(rows.iter().copied(), more, &mut out);
        String::from_utf8(out).expect("UTF-8")
    };
    assert_eq!(composed(&[alice], false), compact(ANSWER));
    let two = composed(&[alice, alice], true);
    assert!(two.contains("<m:moreAvailable>true</m:moreAvailable><m:returned>2</m:returned>"));
    let none = composed(&[], false);
    assert!(
        none.contains("<m:returned>0</m:returned>")
            && none.contains("<m:Array m:id=\"rows\"></m:Array>")
    );
}

//= MS-PRES 3.1.5.4
//= type=test
#[test]
fn a_failure_says_its_code() {
    for (fault, code) in [
        (Fault::BadCall, "Client.BadCall"),
        (Fault::Busy, "Server.Unavailable.Busy"),
        (Fault::NotAuthorized, "Client.NotAuthorized.UserSearch"),
        (Fault::Unknown, "Server.UnknownError"),
    ] {
        let mut out = Vec::new();
        compose_fault(fault, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            format!(
                "<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"http://schemas.xmlsoap.org/soap/envelope/\"><SOAP-ENV:Body>\
                 <SOAP-ENV:Fault><Faultcode>{code}</Faultcode></SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>"
            )
        );
    }
}

/// What a document can hold of a text.
fn writable(text: &str) -> String {
    let illegal = |c: char| c.is_ascii_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.replace(illegal, " ")
}

proptest! {
    #[test]
    fn an_answer_holds_any_text(
        texts in prop::collection::vec(prop::collection::vec(any::<char>(), 0..12), 10),
        rows in 0_usize..4,
    ) {
        let texts: Vec<String> = texts.into_iter().map(String::from_iter).collect();
        let row = Row {
            address: &texts[0],
            display_name: &texts[1],
            title: &texts[2],
            office: &texts[3],
            phone: &texts[4],
            company: &texts[5],
            city: &texts[6],
            state: &texts[7],
            country: &texts[8],
            email: &texts[9],
        };
        let mut out = Vec::new();
        compose(std::iter::repeat_n(row, rows), false, &mut out);
        let document = Document::parse(&out).expect("well-formed");
        let body = document.root().children().next().expect("a body");
        let array = body.children().nth(1).expect("an array");
        prop_assert_eq!(array.children().count(), rows);
        let names = [
            "uri", "displayName", "title", "office", "phone", "company", "city", "state", "country", "email",
        ];
        for element in array.children() {
            for (name, text) in names.iter().zip(&texts) {
                let scheme = if *name == "uri" { "sip:" } else { "" };
                let read = element.attribute_of(METHODS, name).expect("required by the schema");
                prop_assert_eq!(read, format!("{scheme}{}", writable(text)));
            }
        }
    }

    #[test]
    fn a_search_says_what_was_written(
        pairs in prop::collection::vec(("[ -~é]{0,12}", "[ -~é]{0,12}"), 0..6),
        max in any::<u32>(),
    ) {
        let escaped = |text: &str| {
            let mut out = Vec::new();
            shard::xml::escape(text, &mut out);
            String::from_utf8(out).expect("UTF-8")
        };
        let rows: String = pairs
            .iter()
            .map(|(attribute, value)| {
                format!("<p:row p:value=\"{}\" attrib=\"{}\"/>", escaped(value), escaped(attribute))
            })
            .collect();
        let body = envelope(&format!(
            "<p:Array p:id='x'>{rows}</p:Array><p:directorySearch><p:filter p:href='#x'/>\
             <p:maxResults>{max}</p:maxResults></p:directorySearch>"
        ));
        let search = parse(body.as_bytes()).expect("a search");
        let read: Vec<(String, String)> = search
            .filters
            .into_iter()
            .map(|filter| (filter.attribute.into_owned(), filter.value.into_owned()))
            .collect();
        prop_assert_eq!(read, pairs);
        prop_assert_eq!(search.max_results, Some(max));
    }

    #[test]
    fn no_body_panics(cut in 0..REQUEST.len(), at in 0..REQUEST.len(), with in any::<u8>()) {
        let _ = parse(&REQUEST.as_bytes()[..cut]);
        let mut changed = REQUEST.as_bytes().to_vec();
        changed[at] = with;
        let _ = parse(&changed);
    }
}
