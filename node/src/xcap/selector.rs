//! A place in a document (RFC 4825 §6.3): steps from the root to an element, and perhaps an attribute of it.

use shard::xml::{Document, Element};

use super::path::unescape;

/// Steps of one selector: no document is nested deeper.
const STEPS_MAX: usize = 32;

/// Which child a step goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    /// Namespace and name; `None` for any.
    name: Option<(String, String)>,
    /// Its place among those of that name, from 1.
    position: Option<usize>,
    /// An attribute without a prefix that it has, with its value.
    attribute: Option<(String, String)>,
}

/// A place in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    steps: Vec<Step>,
    /// The attribute at the end, if it is one.
    pub attribute: Option<String>,
}

/// What a selector finds.
#[derive(Clone, Copy, Debug)]
pub enum Found<'d, 'a> {
    /// One element.
    One(Element<'d, 'a>),
    /// None.
    Nothing,
    /// More than one, which names none.
    Many,
}

impl Selector {
    /// Reads what stands behind `~~/`, escapes and all; `namespace` is that of names without a prefix.
    ///
    /// # Errors
    /// What is wrong with it.
    //= RFC 4825 6.3
    //# steps by name, position and attribute; prefixes are declared in the query
    //= RFC 4825 6.4
    //# xmlns() in the query binds a prefix
    pub fn read(
        text: &str,
        query: Option<&str>,
        namespace: &str,
    ) -> Result<Selector, &'static str> {
        let text = unescape(text).ok_or("a bad escape in the selector")?;
        let bindings = bindings(query.unwrap_or_default())?;
        let resolve = |name: &str| -> Result<(String, String), &'static str> {
            match name.split_once(':') {
                None => Ok((namespace.to_owned(), name.to_owned())),
                Some((prefix, local)) => {
                    let bound = bindings.iter().find(|(known, _)| known == prefix);
                    let (_, uri) = bound.ok_or("a prefix that the query does not declare")?;
                    Ok((uri.clone(), local.to_owned()))
                }
            }
        };
        let parts = split(&text)?;
        let mut selector = Selector {
            steps: Vec::new(),
            attribute: None,
        };
        let last = parts.len() - 1;
        for (number, part) in parts.iter().enumerate() {
            if let Some(attribute) = part.strip_prefix('@') {
                if number != last || number == 0 || attribute.is_empty() {
                    return Err("an attribute that is not at the end");
                }
                selector.attribute = Some(attribute.to_owned());
                continue;
            }
            selector.steps.push(step(part, resolve)?);
        }
        if selector.steps.len() > STEPS_MAX {
            return Err("too many steps");
        }
        Ok(selector)
    }

    /// The element that it finds.
    //= RFC 4825 6.3
    //# a selector that more than one element fits selects none
    #[must_use]
    pub fn find<'d, 'a>(&self, document: &'d Document<'a>) -> Found<'d, 'a> {
        self.walk(document, self.steps.len())
    }

    /// The element that the last one is to stand in.
    #[must_use]
    pub fn parent<'d, 'a>(&self, document: &'d Document<'a>) -> Found<'d, 'a> {
        match self.steps.len() {
            0 | 1 => Found::Nothing,
            steps => self.walk(document, steps - 1),
        }
    }

    fn walk<'d, 'a>(&self, document: &'d Document<'a>, steps: usize) -> Found<'d, 'a> {
        let mut at: Option<Element<'d, 'a>> = None;
        for step in &self.steps[..steps] {
            let children: Vec<Element<'d, 'a>> = match at {
                None => vec![document.root()],
                Some(element) => element.children().collect(),
            };
            match step.choose(&children)[..] {
                [] => return Found::Nothing,
                [one] => at = Some(one),
                _ => return Found::Many,
            }
        }
        at.map_or(Found::Nothing, Found::One)
    }

    /// Where a new element goes in its parent: behind the last one of its name, or before the end.
    //= RFC 4825 8.2.3
    //# a new element goes behind those of its name, or it is the last child
    #[must_use]
    pub fn place(&self, parent: Element<'_, '_>) -> Option<usize> {
        let step = self.steps.last()?;
        let same = parent.children().filter(|child| step.is_named(*child));
        match same.last() {
            Some(sibling) => Some(sibling.range().end),
            None => parent.inner_end(),
        }
    }
}

impl Step {
    fn is_named(&self, element: Element<'_, '_>) -> bool {
        let named = |(namespace, local): &(String, String)| element.is(namespace, local);
        self.name.as_ref().is_none_or(named)
    }

    fn choose<'d, 'a>(&self, children: &[Element<'d, 'a>]) -> Vec<Element<'d, 'a>> {
        let named = children
            .iter()
            .copied()
            .filter(|child| self.is_named(*child));
        let mut chosen: Vec<Element<'d, 'a>> = match self.position {
            None => named.collect(),
            Some(position) => named.skip(position - 1).take(1).collect(),
        };
        if let Some((name, value)) = &self.attribute {
            chosen.retain(|child| child.attribute(name).as_deref() == Some(value));
        }
        chosen
    }
}

/// The parts between slashes that stand in no quotes.
fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let (mut parts, mut part, mut quote) = (Vec::new(), String::new(), None);
    for c in text.chars() {
        match (c, quote) {
            ('/', None) => parts.push(std::mem::take(&mut part)),
            ('"' | '\'', None) => {
                quote = Some(c);
                part.push(c);
            }
            (c, Some(open)) if c == open => {
                quote = None;
                part.push(c);
            }
            (c, _) => part.push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote that does not end");
    }
    parts.push(part);
    if parts.iter().any(String::is_empty) {
        return Err("an empty step");
    }
    Ok(parts)
}

fn step(
    text: &str,
    resolve: impl Fn(&str) -> Result<(String, String), &'static str>,
) -> Result<Step, &'static str> {
    let (name, mut rest) = match text.find('[') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let mut step = Step {
        name: match name {
            "*" => None,
            "" => return Err("a step without a name"),
            name => Some(resolve(name)?),
        },
        position: None,
        attribute: None,
    };
    while !rest.is_empty() {
        let inner = rest.strip_prefix('[').ok_or("a bad predicate")?;
        let (end, predicate) = predicate(inner)?;
        rest = &inner[end..];
        match predicate {
            Predicate::Position(position)
                if step.position.is_none() && step.attribute.is_none() =>
            {
                step.position = Some(position);
            }
            Predicate::Attribute(name, value) if step.attribute.is_none() => {
                step.attribute = Some((name, value));
            }
            _ => return Err("a predicate that stands twice, or too late"),
        }
    }
    Ok(step)
}

enum Predicate {
    Position(usize),
    Attribute(String, String),
}

/// What stands behind an opening bracket, and where it ends behind the closing one.
fn predicate(text: &str) -> Result<(usize, Predicate), &'static str> {
    let Some(attribute) = text.strip_prefix('@') else {
        let end = text.find(']').ok_or("a predicate that does not end")?;
        let position: usize = text[..end].parse().map_err(|_| "a bad position")?;
        if position == 0 {
            return Err("a bad position");
        }
        return Ok((end + 1, Predicate::Position(position)));
    };
    let (name, rest) = attribute.split_once('=').ok_or("a bad predicate")?;
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let quote = quote.ok_or("a value without quotes")?;
    let (value, behind) = rest[1..]
        .split_once(quote)
        .ok_or("a quote that does not end")?;
    let behind = behind
        .strip_prefix(']')
        .ok_or("a predicate that does not end")?;
    Ok((
        text.len() - behind.len(),
        Predicate::Attribute(name.to_owned(), value.to_owned()),
    ))
}

/// `xmlns(p=urn:x)xmlns(q=urn:y)`
fn bindings(query: &str) -> Result<Vec<(String, String)>, &'static str> {
    let query = unescape(query).ok_or("a bad escape in the query")?;
    let mut bindings = Vec::new();
    let mut rest = query.trim();
    while !rest.is_empty() {
        let inner = rest
            .strip_prefix("xmlns(")
            .ok_or("a query that declares no prefix")?;
        let (binding, behind) = inner
            .split_once(')')
            .ok_or("a declaration that does not end")?;
        let (prefix, uri) = binding
            .split_once('=')
            .ok_or("a declaration without a namespace")?;
        bindings.push((prefix.trim().to_owned(), uri.trim().to_owned()));
        rest = behind.trim_start();
    }
    Ok(bindings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] =
        b"<a xmlns='urn:a' xmlns:b='urn:b'><c n='1'/><c n='a/b'><d/></c><b:c n='1'/></a>";

    //= RFC 4825 6.3
    //= type=test
    //= RFC 4825 6.4
    //= type=test
    #[test]
    fn a_selector_finds_one_element_or_none() {
        let document = Document::parse(TEXT).expect("a document");
        for (selector, query, expected) in [
            ("a", None, "a"),
            ("a/c[1]", None, "c 1"),
            ("a/c[2]", None, "c a/b"),
            ("a/c[@n=\"a/b\"]", None, "c a/b"),
            ("a/c%5b@n=%22a/b%22%5d/d", None, "d"),
            ("a/c[@n='1']", None, "c 1"),
            ("a/*[3]", None, "c 1"),
            ("a/p:c", Some("xmlns(p=urn:b)"), "c 1"),
            ("a/c[2][@n=\"1\"]", None, "nothing"),
            ("a/c", None, "many"),
            ("a/x", None, "nothing"),
            ("b", None, "nothing"),
            ("a/c[1]/@n", None, "c 1 @n"),
            ("a/p:c", None, "a prefix that the query does not declare"),
            ("a//c", None, "an empty step"),
            ("a/c[0]", None, "a bad position"),
            ("a/c[@n=1]", None, "a value without quotes"),
            ("a/c[@n=\"1", None, "a quote that does not end"),
            ("a/@n/c", None, "an attribute that is not at the end"),
            ("a/c", Some("xmlns(p"), "a declaration that does not end"),
        ] {
            let told = match Selector::read(selector, query, "urn:a") {
                Err(what) => what.to_owned(),
                Ok(read) => match read.find(&document) {
                    Found::Nothing => "nothing".to_owned(),
                    Found::Many => "many".to_owned(),
                    Found::One(element) => {
                        let value = element.attribute("n").map(|value| format!(" {value}"));
                        let attribute = read.attribute.map(|name| format!(" @{name}"));
                        [
                            element.local().to_owned(),
                            value.unwrap_or_default(),
                            attribute.unwrap_or_default(),
                        ]
                        .concat()
                    }
                },
            };
            assert_eq!(told, expected, "{selector}");
        }
    }

    //= RFC 4825 8.2.3
    //= type=test
    #[test]
    fn a_new_element_goes_behind_its_like() {
        let document = Document::parse(TEXT).expect("a document");
        let text = document.text();
        for (selector, before) in [("a/c[@n=\"3\"]", "<b:c"), ("a/x", "</a>")] {
            let selector = Selector::read(selector, None, "urn:a").expect("read");
            let Found::One(parent) = selector.parent(&document) else {
                panic!("a parent");
            };
            let place = selector.place(parent).expect("a place");
            assert!(text[place..].starts_with(before), "{}", &text[place..]);
        }
    }
}
