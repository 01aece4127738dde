//! `application/simple-filter+xml` (RFC 4661): read into a [`Filter`], and done to presence documents.
//!
//! What is shown is always a presence document that its schema takes: the root, and whatever an element may
//! not be without, stay. Ancestors of what is wanted stay as well, without what else is in them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::DocumentError;
use super::path::{self, End, Fault, Names};
use super::pidf::{DATA_MODEL, PIDF};
use crate::subscription::filter::{Filter, Path, Selection, Trigger};
use crate::subscription::savers::Wanted;
use crate::xml::{Document, Element};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:simple-filter";

/// Bytes of a document with filters.
const BYTES_MAX: usize = 16 * 1024;

/// Paths, namespaces and triggers of one filter: they are looked at for each notification.
const PARTS_MAX: usize = 32;

/// Bytes of one value of a trigger, and of one namespace.
const VALUE_MAX: usize = 256;

/// Why filters are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// They are none (400).
    Malformed(DocumentError),
    /// They ask for what is not done here (488).
    Unsupported(DocumentError),
}

/// Reads what a SUBSCRIBE to this address says of filters.
///
/// # Errors
/// [`FilterError`].
//= RFC 4661 3
//# a filter set holds filters of resources, with what is wanted, and when
pub fn parse(body: &[u8], is_presentity: &dyn Fn(&str) -> bool) -> Result<Wanted, FilterError> {
    let document = Document::parse(body).map_err(FilterError::Malformed)?;
    let root = document.root();
    let malformed = |at, what| FilterError::Malformed(document.error_at(at, what));
    let unsupported = |at, what| FilterError::Unsupported(document.error_at(at, what));
    if !root.is(NAMESPACE, "filter-set") {
        return Err(malformed(root, "not a set of filters"));
    }
    if body.len() > BYTES_MAX {
        return Err(unsupported(root, "filters that are too long"));
    }
    let reading = Reading {
        document: &document,
        bindings: bindings(root),
    };
    let mut chosen: Option<(u8, Element<'_, '_>)> = None;
    for filter in own(root, "filter") {
        if filter.attribute("id").is_none() {
            return Err(malformed(filter, "a filter without an id"));
        }
        //= RFC 4660 5.2
        //# a filter for a resource counts before one for a domain, and that before one for all
        let weight = match (filter.attribute("uri"), filter.attribute("domain")) {
            (Some(uri), _) if is_presentity(&uri) => 2,
            (None, None) => 1,
            (None, Some(_)) => return Err(unsupported(filter, "a filter of a domain")),
            (Some(_), _) => continue,
        };
        match chosen {
            Some((other, _)) if other == weight => {
                return Err(unsupported(filter, "a second filter of the same resource"));
            }
            Some((other, _)) if other > weight => {}
            _ => chosen = Some((weight, filter)),
        }
    }
    let Some((_, filter)) = chosen else {
        return Ok(Wanted::Nothing);
    };
    //= RFC 4661 3.4
    //# a filter that is removed, or not enabled, is none
    let says = |name: &str| filter.attribute(name).and_then(|text| super::truth(&text));
    if says("remove") == Some(true) || says("enabled") == Some(false) {
        return Ok(Wanted::Nothing);
    }
    reading.filter(filter).map(Wanted::This)
}

fn own<'d, 'a>(
    element: Element<'d, 'a>,
    name: &'static str,
) -> impl Iterator<Item = Element<'d, 'a>> {
    element
        .children()
        .filter(move |child| child.is(NAMESPACE, name))
}

//= RFC 4661 3.3
//# prefixes of the paths are bound beside the filters
fn bindings(root: Element<'_, '_>) -> Vec<(String, String)> {
    let sets = own(root, "ns-bindings");
    let each = sets.flat_map(|set| own(set, "ns-binding"));
    let binding = each.filter_map(|binding| {
        let (prefix, urn) = (binding.attribute("prefix")?, binding.attribute("urn")?);
        Some((prefix.into_owned(), urn.into_owned()))
    });
    binding.take(PARTS_MAX).collect()
}

struct Reading<'d, 'a> {
    document: &'d Document<'a>,
    bindings: Vec<(String, String)>,
}

impl Reading<'_, '_> {
    fn unsupported(&self, at: Element<'_, '_>, what: &'static str) -> FilterError {
        // The element is of this document: its own lifetimes are narrower than the signature needs.
        FilterError::Unsupported(self.document.error_at_place(at.place(), what))
    }

    fn filter(&self, filter: Element<'_, '_>) -> Result<Filter, FilterError> {
        let mut read = Filter::default();
        let mut parts = 0;
        for child in filter.children() {
            parts += 1 + child.children().count();
            if parts > PARTS_MAX {
                return Err(self.unsupported(child, "a filter of too many parts"));
            }
            match (child.namespace(), child.local()) {
                (NAMESPACE, "what") => self.what(child, &mut read)?,
                (NAMESPACE, "trigger") => read.triggers.push(self.triggers(child)?),
                _ => return Err(self.unsupported(child, "an unknown part of a filter")),
            }
        }
        Ok(read)
    }

    fn what(&self, what: Element<'_, '_>, read: &mut Filter) -> Result<(), FilterError> {
        for child in what.children() {
            let selections = match (child.namespace(), child.local()) {
                (NAMESPACE, "include") => &mut read.include,
                (NAMESPACE, "exclude") => &mut read.exclude,
                _ => return Err(self.unsupported(child, "an unknown part of a filter")),
            };
            //= RFC 4661 3.5
            //# by namespace or by path, which is the default
            let kind = child.attribute("type");
            selections.push(match kind.as_deref() {
                None | Some("xpath") => Selection::Path(self.path(child)?),
                Some("namespace") => {
                    let namespace = child.text();
                    if namespace.len() > VALUE_MAX {
                        return Err(self.unsupported(child, "a value that is too long"));
                    }
                    Selection::Namespace(namespace.into())
                }
                Some(_) => return Err(self.unsupported(child, "an unknown kind of selection")),
            });
        }
        Ok(())
    }

    //= RFC 4661 3.6
    //# one trigger fires when all in it happened; several when one of them does
    fn triggers(&self, trigger: Element<'_, '_>) -> Result<Vec<Trigger>, FilterError> {
        let each = trigger.children().map(|child| {
            let path = self.path(child)?;
            Ok(match (child.namespace(), child.local()) {
                (NAMESPACE, "changed") => {
                    let value = |name: &str| match child.attribute(name) {
                        Some(value) if value.len() > VALUE_MAX => {
                            Err(self.unsupported(child, "a value that is too long"))
                        }
                        value => Ok(value.map(|value| Box::from(value.trim()))),
                    };
                    let by = match child.attribute("by") {
                        None => None,
                        Some(text) => match text.trim().parse::<f64>() {
                            Ok(by) if (0.0..1e12).contains(&by) => Some((by * 1_000.0) as u64),
                            _ => return Err(self.unsupported(child, "a step that is no number")),
                        },
                    };
                    Trigger::Changed {
                        path,
                        from: value("from")?,
                        to: value("to")?,
                        by,
                    }
                }
                (NAMESPACE, "added") => Trigger::Added(path),
                (NAMESPACE, "removed") => Trigger::Removed(path),
                _ => return Err(self.unsupported(child, "an unknown trigger")),
            })
        });
        each.collect()
    }

    fn path(&self, at: Element<'_, '_>) -> Result<Path, FilterError> {
        let of = |prefix: &str| {
            let mut bindings = self.bindings.iter();
            let bound = bindings.find(|(known, _)| known == prefix);
            match bound {
                Some((_, urn)) => Some(urn.clone()),
                None if prefix.is_empty() => Some(PIDF.to_owned()),
                None => None,
            }
        };
        let text = at.text();
        match path::parse(&text, &Names { of: &of }) {
            Ok((path, End::Element)) if text.starts_with('/') => Ok(path),
            Err(Fault::Malformed) => Err(FilterError::Malformed(
                self.document
                    .error_at_place(at.place(), "a path that is none"),
            )),
            _ => Err(self.unsupported(at, "a path of a kind that is not supported")),
        }
    }
}

/// What a filter says of an element.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// It is wanted with everything in it.
    whole: bool,
    /// It is wanted, but not for what is in it.
    alone: bool,
    /// Something in it is wanted.
    above: bool,
    /// It is not wanted.
    out: bool,
}

/// What a filter leaves of a presence document; `None` where that is the whole.
//= RFC 4660 5.3
//# what is excluded is left out of what is included, and the document stays valid
#[must_use]
pub fn apply(filter: &Filter, document: &[u8]) -> Option<Vec<u8>> {
    if filter.include.is_empty() && filter.exclude.is_empty() {
        return None;
    }
    let parsed = Document::parse(document).ok()?;
    let mut marks: Vec<Mark> = Vec::new();
    let mut above: Vec<usize> = Vec::new();
    each(parsed.root(), 0, &mut |element, parent| {
        debug_assert_eq!(element.place(), marks.len());
        marks.push(Mark::default());
        above.push(parent);
    });
    if filter.include.is_empty() {
        marks[0].whole = true;
    }
    for selection in &filter.include {
        match selection {
            Selection::Path(path) => {
                for element in path::select(&parsed, path) {
                    marks[element.place()].whole = true;
                }
            }
            Selection::Namespace(namespace) => each(parsed.root(), 0, &mut |element, _| {
                marks[element.place()].alone |= element.namespace() == &**namespace;
            }),
        }
    }
    for place in (1..marks.len()).rev() {
        if marks[place].whole || marks[place].alone || marks[place].above {
            marks[above[place]].above = true;
        }
    }
    for selection in &filter.exclude {
        match selection {
            Selection::Path(path) => {
                for element in path::select(&parsed, path) {
                    marks[element.place()].out = true;
                }
            }
            Selection::Namespace(namespace) => each(parsed.root(), 0, &mut |element, _| {
                marks[element.place()].out |= element.namespace() == &**namespace;
            }),
        }
    }
    let text = parsed.text();
    let [from, _, _, to] = parsed.root().span();
    let mut out = text.as_bytes()[..from].to_vec();
    put(text, parsed.root(), None, marks[0].whole, &marks, &mut out);
    out.extend_from_slice(&text.as_bytes()[to..]);
    Some(out)
}

/// Each element with the place of the one around it, in the order of the document.
fn each<'d, 'a>(
    element: Element<'d, 'a>,
    parent: usize,
    visit: &mut impl FnMut(Element<'d, 'a>, usize),
) {
    visit(element, parent);
    for child in element.children() {
        each(child, element.place(), visit);
    }
}

/// What the schemas say an element may not be without.
fn is_needed(element: Element<'_, '_>, parent: Option<Element<'_, '_>>) -> bool {
    match parent {
        None => true,
        Some(parent) => {
            parent.is(PIDF, "tuple") && element.is(PIDF, "status")
                || parent.is(DATA_MODEL, "device") && element.is(DATA_MODEL, "deviceID")
        }
    }
}

fn put(
    text: &str,
    element: Element<'_, '_>,
    parent: Option<Element<'_, '_>>,
    inherited: bool,
    marks: &[Mark],
    out: &mut Vec<u8>,
) {
    let mark = marks[element.place()];
    let needed = is_needed(element, parent);
    let whole = (inherited || mark.whole) && !mark.out;
    if !needed && (mark.out || !(whole || mark.alone || mark.above)) {
        return;
    }
    let [from, inner, inner_end, to] = element.span();
    let bytes = text.as_bytes();
    out.extend_from_slice(&bytes[from..inner]);
    // Text belongs to who is wanted; a device is named by it.
    let reads = whole || mark.alone || needed && element.local() == "deviceID";
    let mut at = inner;
    for child in element.children() {
        let [begin, _, _, end] = child.span();
        if reads {
            out.extend_from_slice(&bytes[at..begin]);
        }
        put(text, child, Some(element), whole, marks, out);
        at = end;
    }
    if reads {
        out.extend_from_slice(&bytes[at..inner_end]);
    }
    out.extend_from_slice(&bytes[inner_end..to]);
}

/// Whether the triggers of a filter fire between two documents; always, where there are none.
//= RFC 4660 5.3
//# who names triggers is told when one fires, and not otherwise
#[must_use]
pub fn fires(filter: &Filter, before: &[u8], now: &[u8]) -> bool {
    if filter.triggers.is_empty() {
        return true;
    }
    let (Ok(before), Ok(now)) = (Document::parse(before), Document::parse(now)) else {
        return true;
    };
    let happened = |trigger: &Trigger| match trigger {
        Trigger::Changed { path, from, to, by } => {
            pairs(&values(&before, path), &values(&now, path))
                .iter()
                .any(|(old, new)| {
                    let step = || {
                        let (old, new) = (old.parse::<f64>().ok()?, new.parse::<f64>().ok()?);
                        Some(((new - old).abs() * 1_000.0).round() as u64)
                    };
                    old != new
                        && from.as_deref().is_none_or(|from| *old == from)
                        && to.as_deref().is_none_or(|to| *new == to)
                        && by.is_none_or(|by| step().is_some_and(|step| step >= by))
                })
        }
        Trigger::Added(path) => is_without(&values(&now, path), &values(&before, path)),
        Trigger::Removed(path) => is_without(&values(&before, path), &values(&now, path)),
    };
    filter.triggers.iter().any(|all| all.iter().all(happened))
}

/// An element's name in its document, and its text.
type Value = (String, String);

/// What something was, and what it is: the same name in both, and what has another name by its order. Who
/// publishes the same under another id has changed it, not taken it away.
fn pairs<'v>(old: &'v [Value], new: &'v [Value]) -> Vec<(&'v str, &'v str)> {
    let others = |those: &'v [Value], known: &'v [Value]| {
        let is_new = |(key, _): &&Value| !known.iter().any(|(known, _)| known == key);
        those
            .iter()
            .filter(is_new)
            .map(|(_, text)| &**text)
            .collect::<Vec<&str>>()
    };
    let same = new.iter().filter_map(|(key, text)| {
        let (_, before) = old.iter().find(|(known, _)| known == key)?;
        Some((&**before, &**text))
    });
    same.chain(others(old, new).into_iter().zip(others(new, old)))
        .collect()
}

/// Whether one has something that the other has not.
fn is_without(one: &[Value], other: &[Value]) -> bool {
    let has = |key: &str| other.iter().any(|(known, _)| known == key);
    one.iter().any(|(key, _)| !has(key))
}

/// What a path leads to: names by which the same is found in another document, and texts.
fn values(document: &Document<'_>, path: &Path) -> Vec<Value> {
    let selected: Vec<usize> = path::select(document, path)
        .iter()
        .map(|e| e.place())
        .collect();
    let (mut values, mut names) = (Vec::new(), Vec::<String>::new());
    let mut known: BTreeMap<String, u32> = BTreeMap::new();
    each(document.root(), 0, &mut |element, parent| {
        let id = element.attribute("id").unwrap_or_default();
        let around = names.get(parent).map_or("", String::as_str);
        let mut name = format!("{around}/{}:{}#{id}", element.namespace(), element.local());
        let before = known.entry(name.clone()).or_default();
        *before += 1;
        if *before > 1 {
            let _ = write!(name, "+{before}");
        }
        if selected.binary_search(&element.place()).is_ok() {
            values.push((name.clone(), element.text().into_owned()));
        }
        names.push(name);
    });
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<presence \
        xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
        xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" entity=\"sip:a@x\">\
        <tuple id=\"t1\"><status><basic>open</basic></status><contact>sip:a@y</contact><note>here</note></tuple>\
        <tuple id=\"t2\"><status><basic>closed</basic></status></tuple>\
        <note>all</note>\
        <dm:person id=\"p\"><rpid:activities><rpid:busy/></rpid:activities></dm:person>\
        <dm:device id=\"d\"><rpid:class>x</rpid:class><dm:deviceID>urn:d</dm:deviceID></dm:device></presence>\n";

    fn read(filter: &str) -> Result<Filter, FilterError> {
        let body = format!(
            "<filter-set xmlns=\"urn:ietf:params:xml:ns:simple-filter\"><ns-bindings>\
             <ns-binding prefix=\"p\" urn=\"urn:ietf:params:xml:ns:pidf\"/>\
             <ns-binding prefix=\"dm\" urn=\"urn:ietf:params:xml:ns:pidf:data-model\"/>\
             <ns-binding prefix=\"r\" urn=\"urn:ietf:params:xml:ns:pidf:rpid\"/></ns-bindings>\
             <filter id=\"1\" uri=\"sip:a@x\">{filter}</filter></filter-set>"
        );
        match parse(body.as_bytes(), &|uri| uri == "sip:a@x")? {
            Wanted::This(filter) => Ok(filter),
            other => panic!("{other:?}"),
        }
    }

    /// What is left of the document: without its head and end.
    fn left(filter: &str) -> String {
        let filter = read(filter).expect("a filter");
        let left = apply(&filter, DOCUMENT.as_bytes()).unwrap_or_else(|| DOCUMENT.into());
        let left = String::from_utf8(left).expect("text");
        assert!(Document::parse(left.as_bytes()).is_ok(), "{left}");
        let inner = left.split_once("sip:a@x\">").expect("a root").1;
        inner
            .strip_suffix("</presence>\n")
            .expect("an end")
            .to_owned()
    }

    //= RFC 4661 3.5
    //= type=test
    //= RFC 4660 5.3
    //= type=test
    #[test]
    fn what_is_wanted_is_shown_and_the_document_stays_one() {
        for (what, expected) in [
            (
                "<include>/p:presence/p:tuple/p:status/p:basic</include>",
                "<tuple id=\"t1\"><status><basic>open</basic></status></tuple>\
                 <tuple id=\"t2\"><status><basic>closed</basic></status></tuple>",
            ),
            (
                "<include>//p:tuple[@id=\"t1\"]/p:note</include>",
                "<tuple id=\"t1\"><status></status><note>here</note></tuple>",
            ),
            (
                "<include type=\"xpath\">/p:presence/p:tuple[p:status/p:basic=\"closed\"]</include>",
                "<tuple id=\"t2\"><status><basic>closed</basic></status></tuple>",
            ),
            (
                "<include>//r:class</include>",
                "<dm:device id=\"d\"><rpid:class>x</rpid:class><dm:deviceID>urn:d</dm:deviceID></dm:device>",
            ),
            (
                "<include type=\"namespace\">urn:ietf:params:xml:ns:pidf:rpid</include>\
                 <exclude>/p:presence/dm:device</exclude>",
                "<dm:person id=\"p\"><rpid:activities><rpid:busy/></rpid:activities></dm:person>",
            ),
            ("<include>/presence/note</include>", "<note>all</note>"),
            (
                "<exclude>//p:tuple</exclude><exclude>//dm:deviceID</exclude><exclude>//dm:person</exclude>",
                "<note>all</note><dm:device id=\"d\"><rpid:class>x</rpid:class><dm:deviceID>urn:d\
                 </dm:deviceID></dm:device>",
            ),
            (
                "<include>/p:presence/p:tuple[2]</include><exclude>//p:status</exclude>",
                "<tuple id=\"t2\"><status></status></tuple>",
            ),
            ("<include>//p:nobody</include>", ""),
        ] {
            let left = left(&format!("<what>{what}</what>"));
            assert_eq!(left, expected, "{what}");
        }
        assert!(apply(&read("").expect("empty"), DOCUMENT.as_bytes()).is_none());
    }

    //= RFC 4661 3.6
    //= type=test
    //= RFC 4660 5.3
    //= type=test
    #[test]
    fn a_trigger_fires_when_what_it_names_happens() {
        let basic = "//p:tuple[@id=\"t1\"]/p:status/p:basic";
        let closed = DOCUMENT.replacen(">open<", ">closed<", 1);
        let noted = DOCUMENT.replace(">here<", ">there<");
        let less = DOCUMENT.replace("<rpid:busy/>", "");
        let renamed = closed.replace("\"t1\"", "\"t9\"");
        for (trigger, now, expected) in [
            (format!("<changed>{basic}</changed>"), &closed, true),
            (format!("<changed>{basic}</changed>"), &noted, false),
            ("<changed>//p:basic</changed>".to_owned(), &renamed, true),
            (
                "<changed to=\"open\">//p:basic</changed>".to_owned(),
                &renamed,
                false,
            ),
            (
                format!("<changed from=\"open\">{basic}</changed>"),
                &closed,
                true,
            ),
            (
                format!("<changed from=\"closed\">{basic}</changed>"),
                &closed,
                false,
            ),
            (
                format!("<changed to=\"closed\">{basic}</changed>"),
                &closed,
                true,
            ),
            (
                format!("<changed to=\"open\">{basic}</changed>"),
                &closed,
                false,
            ),
            (
                format!("<changed by=\"1\">{basic}</changed>"),
                &closed,
                false,
            ),
            ("<removed>//r:busy</removed>".to_owned(), &less, true),
            ("<added>//r:busy</added>".to_owned(), &less, false),
            (
                format!("<removed>//r:busy</removed><changed>{basic}</changed>"),
                &less,
                false,
            ),
        ] {
            let filter = read(&format!("<trigger>{trigger}</trigger>")).expect("a filter");
            let fired = fires(&filter, DOCUMENT.as_bytes(), now.as_bytes());
            assert_eq!(fired, expected, "{trigger}");
        }
        let either = "<trigger><added>//r:busy</added></trigger><trigger><removed>//r:busy</removed></trigger>";
        let either = read(either).expect("a filter");
        assert!(fires(&either, DOCUMENT.as_bytes(), less.as_bytes()));
        assert!(fires(&either, less.as_bytes(), DOCUMENT.as_bytes()));
        assert!(!fires(&either, DOCUMENT.as_bytes(), DOCUMENT.as_bytes()));
        let by =
            read("<trigger><changed by=\"2.5\">//p:note</changed></trigger>").expect("a filter");
        for (from, to, expected) in [("1", "3", false), ("1", "3.5", true), ("7", "-1", true)] {
            let document = |text: &str| DOCUMENT.replace(">all<", &format!(">{text}<"));
            let fired = fires(&by, document(from).as_bytes(), document(to).as_bytes());
            assert_eq!(fired, expected, "{from} {to}");
        }
    }

    //= RFC 4661 3.3
    //= type=test
    //= RFC 4661 3
    //= type=test
    #[test]
    fn what_is_not_done_is_told_from_what_is_none() {
        let many = "<what>".to_owned() + &"<include>//p:tuple</include>".repeat(40) + "</what>";
        for (filter, unsupported) in [
            ("<what><include>//x:tuple</include></what>", false),
            ("<what><include></include></what>", false),
            ("<what><include>//p:tuple[</include></what>", false),
            (
                "<what><include>//p:tuple[position()=1]</include></what>",
                true,
            ),
            (
                "<what><include>//p:tuple[@id=\"a\" or @id=\"b\"]</include></what>",
                true,
            ),
            ("<what><include>//p:tuple/@id</include></what>", true),
            ("<what><include>p:presence</include></what>", true),
            ("<what><include type=\"regex\">.*</include></what>", true),
            ("<what><include>//*[//p:note]</include></what>", true),
            ("<trigger><moved>//p:note</moved></trigger>", true),
            ("<when/>", true),
            (&*many, true),
        ] {
            let refused = read(filter).expect_err(filter);
            let is = matches!(refused, FilterError::Unsupported(_));
            assert_eq!(is, unsupported, "{filter}: {refused:?}");
        }
    }

    //= RFC 4661 3.4
    //= type=test
    //= RFC 4660 5.2
    //= type=test
    #[test]
    fn the_filter_of_the_resource_is_the_one_that_counts() {
        let set = |filters: &str| {
            let body = format!(
                "<filter-set xmlns=\"urn:ietf:params:xml:ns:simple-filter\">{filters}</filter-set>"
            );
            parse(body.as_bytes(), &|uri| uri == "sip:a@x")
        };
        let what = "<what><include>/presence/note</include></what>";
        for (filters, expected) in [
            (String::new(), Ok(false)),
            (format!("<filter id=\"1\">{what}</filter>"), Ok(true)),
            (
                format!("<filter id=\"1\" uri=\"sip:b@x\">{what}</filter>"),
                Ok(false),
            ),
            (
                format!(
                    "<filter id=\"1\">{what}</filter><filter id=\"2\" uri=\"sip:a@x\" remove=\"true\"/>"
                ),
                Ok(false),
            ),
            (
                format!("<filter id=\"1\" enabled=\"false\">{what}</filter>"),
                Ok(false),
            ),
            (format!("<filter>{what}</filter>"), Err(false)),
            (
                format!("<filter id=\"1\" domain=\"x\">{what}</filter>"),
                Err(true),
            ),
            (
                format!("<filter id=\"1\">{what}</filter><filter id=\"2\">{what}</filter>"),
                Err(true),
            ),
        ] {
            let found = set(&filters)
                .map(|wanted| matches!(wanted, Wanted::This(_)))
                .map_err(|error| matches!(error, FilterError::Unsupported(_)));
            assert_eq!(found, expected, "{filters}");
        }
    }
}
