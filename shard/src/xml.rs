//! A cursor over borrowed XML; fragments that stand alone; no DTDs.
//!
//! `scan` finds the tags; this module sees to the rest: one root, balanced ends, declared prefixes, legal
//! names and characters, the limits, and the namespaces. Elements lie in one flat list in document order,
//! each knowing where its subtree ends; texts are slices of the input.

mod scan;

use std::borrow::Cow;

use memchr::memchr2;
use quick_xml::Reader;
use quick_xml::events::Event;
use smallvec::SmallVec;

use scan::{Inside, QName, Scanner, Token};

/// Elements inside elements.
pub const DEPTH_MAX: usize = 32;
/// Attributes of one element.
pub const ATTRIBUTES_MAX: usize = 64;
/// Elements of one document: a presence document of 64 KiB cannot usefully have more.
pub const ELEMENTS_MAX: usize = 4_096;
/// Namespace declarations of one document.
pub const NAMESPACES_MAX: usize = 128;

/// Why a text is not a document. Line and column count from 1, columns in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line}, column {column}")]
pub struct XmlError {
    /// What is wrong.
    pub what: &'static str,
    /// In which line.
    pub line: u32,
    /// In which column.
    pub column: u32,
}

/// A document that was read.
#[derive(Debug)]
pub struct Document<'a> {
    text: &'a str,
    nodes: Vec<Node<'a>>,
    attributes: Vec<Attribute<'a>>,
    bindings: Vec<Binding<'a>>,
}

#[derive(Debug)]
struct Node<'a> {
    /// Position of `<` in the text.
    from: usize,
    /// Position behind the end tag.
    to: usize,
    /// Position behind the start tag.
    inner: usize,
    /// Position of the end tag.
    inner_end: usize,
    /// The node behind this one's subtree.
    next: usize,
    prefix: &'a str,
    local: &'a str,
    /// Which declaration gives its namespace; `None` for no namespace.
    binding: Option<usize>,
    /// Its attributes, as a range.
    attributes: (usize, usize),
}

impl<'a> Node<'a> {
    /// Whether an end tag of this name, as it is written, ends it.
    fn is_named(&self, name: QName<'a>) -> bool {
        self.local == name.local && self.prefix == name.prefix
    }
}

#[derive(Debug)]
struct Attribute<'a> {
    prefix: &'a str,
    local: &'a str,
    value: &'a str,
    binding: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Binding<'a> {
    prefix: &'a str,
    uri: &'a str,
    /// The node that declares it; `None` for what every document has.
    owner: Option<usize>,
}

/// The namespace of the `xml` prefix.
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// One element of a document.
#[derive(Clone, Copy, Debug)]
pub struct Element<'d, 'a> {
    document: &'d Document<'a>,
    node: usize,
}

impl<'a> Document<'a> {
    /// Reads a document.
    ///
    /// # Errors
    /// [`XmlError`] for what is not well-formed, has a DOCTYPE, is not UTF-8, or is beyond the limits.
    pub fn parse(body: &'a [u8]) -> Result<Document<'a>, XmlError> {
        let text = std::str::from_utf8(body)
            .map_err(|error| at(body, error.valid_up_to(), "not UTF-8"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut parser = Parser {
            document: Document {
                text,
                nodes: Vec::with_capacity(24),
                attributes: Vec::with_capacity(16),
                bindings: Vec::with_capacity(8),
            },
            open: SmallVec::new(),
            scope: SmallVec::new(),
        };
        parser.document.bindings.push(Binding {
            prefix: "xml",
            uri: XML,
            owner: None,
        });
        parser.scope.push(0);
        match parser.run() {
            Ok(()) => Ok(parser.document),
            Err((position, what)) => Err(at(text.as_bytes(), position, what)),
        }
    }

    /// The text that was read, without a byte order mark.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The one element that holds all others.
    #[must_use]
    pub fn root(&self) -> Element<'_, 'a> {
        Element {
            document: self,
            node: 0,
        }
    }

    /// The namespace of a prefix at an element, the empty one being the default namespace.
    #[must_use]
    pub(crate) fn namespace_of(&self, prefix: &str, element: Element<'_, 'a>) -> Option<&'a str> {
        let mut bindings = self.bindings.iter().rev();
        let holds = |owner: usize| owner <= element.node && element.node < self.nodes[owner].next;
        let found =
            bindings.find(|binding| binding.prefix == prefix && binding.owner.is_none_or(holds));
        found.map(|binding| binding.uri)
    }

    /// The error that something at the element in this place is wrong.
    #[must_use]
    pub(crate) fn error_at_place(&self, place: usize, what: &'static str) -> XmlError {
        at(self.text.as_bytes(), self.nodes[place].from, what)
    }

    /// The error that something at this element is wrong.
    #[must_use]
    pub fn error_at(&self, element: Element<'_, 'a>, what: &'static str) -> XmlError {
        at(self.text.as_bytes(), self.nodes[element.node].from, what)
    }
}

fn at(text: &[u8], position: usize, what: &'static str) -> XmlError {
    let before = &text[..position.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before
        .iter()
        .rev()
        .take_while(|byte| **byte != b'\n')
        .count()
        + 1;
    XmlError {
        what,
        line: line as u32,
        column: column as u32,
    }
}

/// Where something is wrong, and what.
type Fault = (usize, &'static str);

struct Parser<'a> {
    document: Document<'a>,
    /// Open nodes, outermost first.
    open: SmallVec<[usize; 16]>,
    /// Declarations in scope, outermost first.
    scope: SmallVec<[usize; 16]>,
}

impl<'a> Parser<'a> {
    fn run(&mut self) -> Result<(), Fault> {
        let text = self.document.text;
        characters(text)?;
        let mut scanner = Scanner::new(text);
        loop {
            let from = scanner.position();
            match scanner.token()? {
                Token::Start(name) => {
                    let empty = self.start(name, from, &mut scanner)?;
                    if empty {
                        let to = scanner.position();
                        self.end(to, to);
                    }
                }
                Token::End(name) => {
                    let open = self.open.last().map(|node| &self.document.nodes[*node]);
                    if !open.is_some_and(|open| open.is_named(name)) {
                        return Err((from, "not well-formed"));
                    }
                    self.end(from, scanner.position());
                }
                Token::Text(content) => {
                    if self.open.is_empty() && !content.trim_ascii().is_empty() {
                        return Err((from, "text outside the root element"));
                    }
                }
                Token::Characters => {
                    if self.open.is_empty() {
                        return Err((from, "text outside the root element"));
                    }
                }
                Token::Aside => {}
                Token::Over => break,
            }
        }
        match (self.open.is_empty(), self.document.nodes.is_empty()) {
            (false, _) => Err((text.len(), "an element that does not end")),
            (_, true) => Err((text.len(), "no element")),
            _ => Ok(()),
        }
    }

    /// Takes a start tag; returns whether its element is empty.
    fn start(
        &mut self,
        name: QName<'a>,
        from: usize,
        scanner: &mut Scanner<'a>,
    ) -> Result<bool, Fault> {
        if self.open.is_empty() && !self.document.nodes.is_empty() {
            return Err((from, "a second root element"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err((from, "elements nested too deep"));
        }
        if self.document.nodes.len() >= ELEMENTS_MAX {
            return Err((from, "too many elements"));
        }
        let node = self.document.nodes.len();
        let begin = self.document.attributes.len();
        let empty = loop {
            let (key, value) = match scanner.attribute().map_err(|(_, what)| (from, what))? {
                Inside::Attribute(key, value) => (key, value),
                Inside::Open => break false,
                Inside::Empty => break true,
            };
            let QName { prefix, local } = key;
            match (prefix, local) {
                ("", "xmlns") => self.bind("", value, node, from)?,
                ("xmlns", prefix) => self.bind(prefix, value, node, from)?,
                _ => {
                    let place = self.document.attributes.len();
                    if place - begin >= ATTRIBUTES_MAX {
                        return Err((from, "too many attributes"));
                    }
                    let same =
                        |known: &Attribute<'a>| known.local == local && known.prefix == prefix;
                    if self.document.attributes[begin..].iter().any(same) {
                        return Err((from, "a bad attribute"));
                    }
                    self.document.attributes.push(Attribute {
                        prefix,
                        local,
                        value,
                        binding: None,
                    });
                }
            }
        };
        let QName { prefix, local } = name;
        let binding = self.resolve(prefix, from)?;
        let end = self.document.attributes.len();
        let mut prefixed = 0;
        for place in begin..end {
            // An attribute without a prefix is in no namespace.
            if !self.document.attributes[place].prefix.is_empty() {
                let binding = self.resolve(self.document.attributes[place].prefix, from)?;
                self.document.attributes[place].binding = binding;
                prefixed += 1;
            }
        }
        if prefixed > 1 && self.has_twins(begin, end) {
            return Err((from, "the same attribute twice"));
        }
        let to = scanner.position();
        self.document.nodes.push(Node {
            from,
            to,
            inner: to,
            inner_end: to,
            next: node + 1,
            prefix,
            local,
            binding,
            attributes: (begin, end),
        });
        self.open.push(node);
        Ok(empty)
    }

    /// Whether two attributes have one name in one namespace through different prefixes.
    fn has_twins(&self, begin: usize, end: usize) -> bool {
        let attributes = &self.document.attributes[begin..end];
        let uri = |attribute: &Attribute<'a>| {
            attribute
                .binding
                .map(|binding| self.document.bindings[binding].uri)
        };
        attributes
            .iter()
            .enumerate()
            .filter(|(_, one)| !one.prefix.is_empty())
            .any(|(place, one)| {
                attributes[..place]
                    .iter()
                    .any(|other| other.local == one.local && uri(other) == uri(one))
            })
    }

    fn bind(
        &mut self,
        prefix: &'a str,
        uri: &'a str,
        owner: usize,
        from: usize,
    ) -> Result<(), Fault> {
        let bindings = &mut self.document.bindings;
        if bindings.len() >= NAMESPACES_MAX {
            return Err((from, "too many namespaces"));
        }
        let reserved = prefix == "xmlns" || (prefix == "xml") != (uri == XML);
        if reserved || (!prefix.is_empty() && uri.is_empty()) {
            return Err((from, "a bad namespace declaration"));
        }
        let twin = |declared: &&Binding<'a>| declared.owner == Some(owner);
        let mut declared = bindings.iter().rev().take_while(twin);
        if declared.any(|declared| declared.prefix == prefix) {
            return Err((from, "a bad attribute"));
        }
        self.scope.push(bindings.len());
        bindings.push(Binding {
            prefix,
            uri,
            owner: Some(owner),
        });
        Ok(())
    }

    fn resolve(&self, prefix: &str, from: usize) -> Result<Option<usize>, Fault> {
        let found = self
            .scope
            .iter()
            .rev()
            .copied()
            .find(|binding| self.document.bindings[*binding].prefix == prefix);
        match found {
            Some(binding) => Ok(Some(binding)),
            None if prefix.is_empty() => Ok(None),
            None => Err((from, "a prefix that is not declared")),
        }
    }

    fn end(&mut self, from: usize, to: usize) {
        let Some(node) = self.open.pop() else { return };
        let next = self.document.nodes.len();
        let closed = &mut self.document.nodes[node];
        closed.inner_end = from.min(to);
        closed.to = to;
        closed.next = next;
        let bindings = &self.document.bindings;
        while self
            .scope
            .last()
            .is_some_and(|binding| bindings[*binding].owner == Some(node))
        {
            self.scope.pop();
        }
    }
}

/// Every character is one that XML 1.0 allows (§2.2).
fn characters(text: &str) -> Result<(), Fault> {
    // Only control characters and the two non-characters behind 0xEF are ever illegal. Without a way out of
    // the loop it is done many bytes at a time.
    let suspicious = |byte: u8| {
        (byte < 0x20) & (byte != b'\t') & (byte != b'\n') & (byte != b'\r') | (byte == 0xef)
    };
    let any = text.bytes().fold(false, |any, byte| any | suspicious(byte));
    if any
        && let Some((offset, _)) = text
            .char_indices()
            .find(|(_, character)| !is_character(*character))
    {
        return Err((offset, "an illegal character"));
    }
    Ok(())
}

fn is_character(character: char) -> bool {
    !matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

/// Whether `text` may be a name without a colon, such as an xs:ID.
#[must_use]
pub fn is_ncname(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .first()
        .is_some_and(|first| NAME[usize::from(*first)] == BEGINS)
        && bytes.iter().all(|byte| NAME[usize::from(*byte)] != 0)
}

/// What a byte is in a name: nothing, part of one, or the [`BEGINS`] of one as well.
const NAME: [u8; 256] = {
    let mut table = [BEGINS; 256];
    let mut byte = 0u8;
    while byte < 0x80 {
        let begins = byte.is_ascii_alphabetic() || byte == b'_';
        let goes_on = byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        table[byte as usize] = if begins { BEGINS } else { goes_on as u8 };
        byte += 1;
    }
    table
};

const BEGINS: u8 = 2;

/// A text with its references resolved; `None` when one is unknown.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    let text = quick_xml::escape::unescape(text).ok()?;
    text.chars().all(is_character).then_some(text)
}

/// Appends `text` with everything escaped that must be, in content and in attributes.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    let special = |byte: &u8| matches!(byte, b'<' | b'>' | b'&' | b'"');
    while let Some(at) = rest.iter().position(special) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'&' => b"&amp;",
            _ => b"&quot;",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

impl<'d, 'a> Element<'d, 'a> {
    fn node(self) -> &'d Node<'a> {
        &self.document.nodes[self.node]
    }

    /// Its name without prefix.
    #[must_use]
    pub fn local(self) -> &'a str {
        self.node().local
    }

    /// Its namespace; empty for none.
    #[must_use]
    pub fn namespace(self) -> &'a str {
        self.node()
            .binding
            .map_or("", |binding| self.document.bindings[binding].uri)
    }

    /// Whether it has this name in this namespace.
    #[must_use]
    pub fn is(self, namespace: &str, local: &str) -> bool {
        self.local() == local && self.namespace() == namespace
    }

    /// An attribute in no namespace, references resolved.
    #[must_use]
    pub fn attribute(self, local: &str) -> Option<Cow<'a, str>> {
        self.find(|attribute| attribute.prefix.is_empty() && attribute.local == local)
    }

    /// An attribute of a namespace, references resolved.
    #[must_use]
    pub fn attribute_of(self, namespace: &str, local: &str) -> Option<Cow<'a, str>> {
        let document = self.document;
        let within = |binding: usize| document.bindings[binding].uri == namespace;
        self.find(|attribute| attribute.local == local && attribute.binding.is_some_and(within))
    }

    /// Its place among all elements of the document, counted from 0, the outermost first.
    #[must_use]
    pub(crate) fn place(self) -> usize {
        self.node
    }

    /// The element as it was written.
    #[must_use]
    pub(crate) fn source(self) -> &'a str {
        &self.document.text[self.node().from..self.node().to]
    }

    /// Where in the text it begins, where its content begins and ends, and where it ends itself. An empty
    /// tag has its content behind itself.
    #[must_use]
    pub(crate) fn span(self) -> [usize; 4] {
        let node = self.node();
        [node.from, node.inner, node.inner_end, node.to]
    }

    /// Whether it was written as an empty tag.
    #[must_use]
    pub(crate) fn is_empty_tag(self) -> bool {
        self.source().ends_with("/>") && self.node().inner == self.node().to
    }

    /// `xml:lang`.
    #[must_use]
    pub fn language(self) -> Option<Cow<'a, str>> {
        self.find(|attribute| attribute.prefix == "xml" && attribute.local == "lang")
    }

    fn find(self, is: impl Fn(&Attribute<'a>) -> bool) -> Option<Cow<'a, str>> {
        let (begin, end) = self.node().attributes;
        let found = self.document.attributes[begin..end]
            .iter()
            .find(|attribute| is(attribute))?;
        Some(unescape(found.value).expect("`start` checked the references"))
    }

    /// Where it stands in the document's text ([`Document::text`]), in bytes.
    #[must_use]
    pub fn range(self) -> std::ops::Range<usize> {
        self.node().from..self.node().to
    }

    /// Where its content ends: where its end tag begins. `None` where it has none, being empty.
    #[must_use]
    pub fn inner_end(self) -> Option<usize> {
        let node = self.node();
        (node.inner_end < node.to).then_some(node.inner_end)
    }

    /// Its name as it is written, with its prefix.
    #[must_use]
    pub fn name(self) -> String {
        match self.node().prefix {
            "" => self.local().to_owned(),
            prefix => format!("{prefix}:{}", self.local()),
        }
    }

    /// The elements directly inside.
    pub fn children(self) -> impl Iterator<Item = Element<'d, 'a>> {
        let document = self.document;
        let end = self.node().next;
        let mut node = self.node + 1;
        std::iter::from_fn(move || {
            let child = (node < end).then_some(Element { document, node })?;
            node = child.node().next;
            Some(child)
        })
    }

    /// Its text, references resolved, blanks at the ends removed; what stands in elements inside is left
    /// out.
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        let node = self.node();
        let inner = &self.document.text[node.inner..node.inner_end];
        let plain = node.next == self.node + 1 && memchr2(b'<', b'&', inner.as_bytes()).is_none();
        if plain {
            return Cow::Borrowed(inner.trim());
        }
        let mut reader = Reader::from_str(inner);
        let (mut text, mut depth) = (String::new(), 0);
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Eof => break,
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                Event::Text(content) if depth == 0 => text.push_str(&content),
                Event::CData(content) if depth == 0 => text.push_str(&content),
                Event::GeneralRef(reference) if depth == 0 => match reference.resolve_char_ref() {
                    Ok(Some(character)) => text.push(character),
                    _ => text.push(match &*reference {
                        "lt" => '<',
                        "gt" => '>',
                        "quot" => '"',
                        "apos" => '\'',
                        _ => '&',
                    }),
                },
                _ => {}
            }
        }
        Cow::Owned(text.trim().to_owned())
    }

    /// Appends the element as it was written, able to stand where only `ambient` (prefix and namespace,
    /// the default first) is declared: it takes along every declaration from outside that it uses.
    pub fn write_standalone(self, ambient: &[(&str, &str)], out: &mut Vec<u8>) {
        let node = self.node();
        let text = self.document.text;
        let name = 1
            + node.local.len()
            + if node.prefix.is_empty() {
                0
            } else {
                node.prefix.len() + 1
            };
        let after_name = node.from + name;
        out.extend_from_slice(&text.as_bytes()[node.from..after_name]);
        for declaration in self.missing(ambient) {
            let (prefix, uri) = declaration;
            out.extend_from_slice(b" xmlns");
            if !prefix.is_empty() {
                out.push(b':');
                out.extend_from_slice(prefix.as_bytes());
            }
            out.extend_from_slice(b"=\"");
            // As it was written, references and all; only the quotes around it may have been others.
            out.extend_from_slice(uri.replace('"', "&quot;").as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(&text.as_bytes()[after_name..node.to]);
    }

    /// The declarations from outside that it or anything inside it uses and `ambient` does not give.
    fn missing(self, ambient: &[(&str, &str)]) -> Vec<(&'a str, &'a str)> {
        let mut missing: Vec<(&str, &str)> = Vec::new();
        let mut uses = |prefix: &'a str, binding: Option<usize>, of_element: bool| {
            let (uri, owner) = match binding {
                Some(binding) => (
                    self.document.bindings[binding].uri,
                    self.document.bindings[binding].owner,
                ),
                None if of_element => ("", None),
                None => return,
            };
            let outside = prefix != "xml" && owner.is_none_or(|owner| owner < self.node);
            let given = ambient
                .iter()
                .any(|(known, namespace)| *known == prefix && *namespace == uri);
            if outside && !given && !missing.contains(&(prefix, uri)) {
                missing.push((prefix, uri));
            }
        };
        for node in &self.document.nodes[self.node..self.node().next] {
            uses(node.prefix, node.binding, true);
            let (begin, end) = node.attributes;
            for attribute in &self.document.attributes[begin..end] {
                uses(attribute.prefix, attribute.binding, false);
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> &'static str {
        match Document::parse(text.as_bytes()) {
            Ok(_) => "none",
            Err(error) => error.what,
        }
    }

    #[test]
    fn what_quick_xml_lets_pass_is_refused() {
        let deep = format!("{}{}", "<a>".repeat(33), "</a>".repeat(33));
        let wide = format!(
            "<a{}/>",
            (0..65).map(|n| format!(" b{n}=''")).collect::<String>()
        );
        let many = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX));
        let spaces = format!(
            "<a{}/>",
            (0..NAMESPACES_MAX)
                .map(|n| format!(" xmlns:p{n}='u{n}'"))
                .collect::<String>()
        );
        for (text, what) in [
            ("<a><b/></a>", "none"),
            (
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a/>\n<!-- end -->",
                "none",
            ),
            ("\u{feff}<a>&lt;&#65;&#x42;</a>", "none"),
            ("<a>", "an element that does not end"),
            ("<a></b>", "not well-formed"),
            ("<a/><b/>", "a second root element"),
            ("<a/>x", "text outside the root element"),
            ("<![CDATA[x]]><a/>", "text outside the root element"),
            ("", "no element"),
            ("<p:a/>", "a prefix that is not declared"),
            ("<a p:b='1'/>", "a prefix that is not declared"),
            ("<a>\u{1}</a>", "an illegal character"),
            ("<a>\u{ffff}</a>", "an illegal character"),
            ("<1a/>", "a bad element name"),
            ("<a:b:c/>", "a bad element name"),
            ("<a><!-- x -- y --></a>", "not well-formed"),
            ("<a b='<'/>", "a bad attribute value"),
            ("<a b='&nope;'/>", "a bad attribute value"),
            ("<a>&#0;</a>", "an unknown entity"),
            ("<a>&nope;</a>", "an unknown entity"),
            ("<a b='1' b='2'/>", "a bad attribute"),
            (
                "<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>",
                "the same attribute twice",
            ),
            ("<!DOCTYPE a><a/>", "a DOCTYPE, which is refused"),
            (
                "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
                "a DOCTYPE, which is refused",
            ),
            (
                "<?xml version='1.0' encoding='UTF-16'?><a/>",
                "an encoding other than UTF-8",
            ),
            (
                "<a><?xml version='1.0'?></a>",
                "an XML declaration that is not at the beginning",
            ),
            ("<a xmlns:xml='u'/>", "a bad namespace declaration"),
            ("<a xmlns:p=''/>", "a bad namespace declaration"),
            (&deep, "elements nested too deep"),
            (&wide, "too many attributes"),
            (&many, "too many elements"),
            (&spaces, "too many namespaces"),
        ] {
            assert_eq!(fault(text), what, "{}", &text[..text.len().min(60)]);
        }
    }

    #[test]
    fn a_fault_says_where_it_is() {
        let error = Document::parse(b"<a>\n  <b x='<'/>\n</a>").expect_err("a fault");
        assert_eq!((error.line, error.column), (2, 3));
        assert_eq!(
            error.to_string(),
            "a bad attribute value at line 2, column 3"
        );
    }

    #[test]
    fn namespaces_are_those_of_the_place() {
        let text =
            b"<a xmlns='one' xmlns:p='two'><p:b/><b xmlns='three'><c/></b><b xmlns=''/><b/></a>";
        let document = Document::parse(text).expect("a document");
        let root = document.root();
        assert!(root.is("one", "a"));
        let children: Vec<_> = root
            .children()
            .map(|child| (child.namespace(), child.local()))
            .collect();
        assert_eq!(
            children,
            [("two", "b"), ("three", "b"), ("", "b"), ("one", "b")]
        );
    }

    #[test]
    fn an_attribute_may_be_qualified_or_not() {
        let text = b"<a xmlns:p='one' xmlns:q='two' p:b='1' q:c='2' d='3'/>";
        let document = Document::parse(text).expect("a document");
        let root = document.root();
        let of = |local| {
            root.attribute_of("one", local)
                .or_else(|| root.attribute(local))
        };
        assert_eq!(of("b").as_deref(), Some("1"));
        assert_eq!(of("c"), None);
        assert_eq!(of("d").as_deref(), Some("3"));
    }

    #[test]
    fn a_fragment_takes_along_what_it_uses_and_nothing_else() {
        let text = b"<a xmlns='one' xmlns:p='two' xmlns:q='three' xmlns:unused='four'>\
                     <p:b q:x='1'><c/></p:b><d/><e xmlns='five'/><f xmlns=''/></a>";
        let document = Document::parse(text).expect("a document");
        let written = |ambient: &[(&str, &str)]| -> Vec<String> {
            let write = |child: Element<'_, '_>| {
                let mut out = Vec::new();
                child.write_standalone(ambient, &mut out);
                String::from_utf8(out).expect("UTF-8")
            };
            document.root().children().map(write).collect()
        };
        assert_eq!(
            written(&[("", "one"), ("p", "two")]),
            [
                "<p:b xmlns:q=\"three\" q:x='1'><c/></p:b>",
                "<d/>",
                "<e xmlns='five'/>",
                "<f xmlns=''/>",
            ]
        );
        assert_eq!(
            written(&[("", "other"), ("p", "other")]),
            [
                "<p:b xmlns:p=\"two\" xmlns:q=\"three\" xmlns=\"one\" q:x='1'><c/></p:b>",
                "<d xmlns=\"one\"/>",
                "<e xmlns='five'/>",
                "<f xmlns=''/>",
            ]
        );
    }

    #[test]
    fn text_is_what_it_means() {
        let document =
            Document::parse(b"<a> x &amp; <b>no</b><![CDATA[<y>]]>&#33; </a>").expect("a document");
        assert_eq!(document.root().text(), "x & <y>!");
    }
}
