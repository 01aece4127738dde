//! Location paths: the part of XPath that filters (RFC 4661) and patches (RFC 5261) are written in.
//!
//! Steps to children and descendants, names and `*`, and predicates that look at a child, an attribute, the
//! text or the place. What goes further is refused by name, so that whoever wrote it is told.

use crate::subscription::filter::{Name, Path, Step, Test};
use crate::xml::{Document, Element, is_ncname};

/// Steps of one path.
const STEPS_MAX: usize = 16;
/// Predicates of one step.
const TESTS_MAX: usize = 4;
/// Bytes of one path.
const BYTES_MAX: usize = 512;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The elements that its steps lead to.
    Element,
    /// The text in them.
    Text,
    /// This attribute of theirs.
    Attribute(Name),
}

/// Why a path is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is none.
    Malformed,
    /// It is one, but of a kind that is not done here.
    Unsupported,
}

/// The namespaces that a path is read with.
pub(super) struct Names<'n> {
    /// That of a prefix; of the empty one for elements without.
    pub(super) of: &'n dyn Fn(&str) -> Option<String>,
}

struct Reader<'t, 'n> {
    text: &'t str,
    names: &'n Names<'n>,
    /// How deep in predicates.
    depth: u32,
}

/// Reads a path.
pub(super) fn parse(text: &str, names: &Names<'_>) -> Result<(Path, End), Fault> {
    let text = text.trim();
    if text.is_empty() || text.len() > BYTES_MAX {
        return Err(Fault::Malformed);
    }
    let mut reader = Reader {
        text,
        names,
        depth: 0,
    };
    let path = reader.path()?;
    reader
        .text
        .is_empty()
        .then_some(path)
        .ok_or(Fault::Unsupported)
}

impl<'t> Reader<'t, '_> {
    fn takes(&mut self, what: &str) -> bool {
        let rest = self.text.strip_prefix(what);
        self.text = rest.unwrap_or(self.text);
        rest.is_some()
    }

    fn blanks(&mut self) {
        self.text = self.text.trim_start();
    }

    fn path(&mut self) -> Result<(Path, End), Fault> {
        let mut steps = Vec::new();
        let mut deep = self.takes("//");
        let _ = !deep && self.takes("/");
        loop {
            if deep && self.depth > 0 {
                // Descendants of descendants of many would be work without an end.
                return Err(Fault::Unsupported);
            }
            if self.takes("@") {
                let name = self.name(false)?;
                return Ok((Path(steps), End::Attribute(name)));
            }
            if self.takes("text()") {
                let _ = self.takes("[1]");
                return Ok((Path(steps), End::Text));
            }
            if steps.len() >= STEPS_MAX {
                return Err(Fault::Unsupported);
            }
            let name = if self.takes("*") {
                None
            } else {
                Some(self.name(true)?)
            };
            let mut tests = Vec::new();
            while self.takes("[") {
                if tests.len() >= TESTS_MAX {
                    return Err(Fault::Unsupported);
                }
                tests.push(self.test()?);
            }
            steps.push(Step { deep, name, tests });
            deep = self.takes("//");
            if !deep && !self.takes("/") {
                return Ok((Path(steps), End::Element));
            }
        }
    }

    /// A name, of an element or an attribute.
    fn name(&mut self, of_element: bool) -> Result<Name, Fault> {
        let first = self.word()?;
        let (prefix, local) = if self.takes(":") {
            (first, self.word()?)
        } else {
            ("", first)
        };
        if self.text.starts_with(':') || self.text.starts_with('(') {
            // Axes and functions.
            return Err(Fault::Unsupported);
        }
        let namespace = match (prefix, of_element) {
            ("", false) => Some(String::new()),
            _ => (self.names.of)(prefix),
        };
        Ok(Name {
            namespace: namespace.ok_or(Fault::Malformed)?.into(),
            local: local.into(),
        })
    }

    fn word(&mut self) -> Result<&'t str, Fault> {
        let legal = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = self.text.find(|c: char| !legal(c));
        let (word, rest) = self.text.split_at(end.unwrap_or(self.text.len()));
        self.text = rest;
        is_ncname(word).then_some(word).ok_or(Fault::Malformed)
    }

    fn test(&mut self) -> Result<Test, Fault> {
        self.blanks();
        let digits = self.text.find(|c: char| !c.is_ascii_digit());
        let digits = digits.unwrap_or(self.text.len());
        let test = if digits > 0 {
            let place = self.text[..digits].parse().map_err(|_| Fault::Malformed)?;
            self.text = &self.text[digits..];
            Test::Place(place)
        } else if self.takes("@") {
            let name = self.name(false)?;
            Test::Attribute(name, self.value()?)
        } else {
            if self.depth >= 2 {
                return Err(Fault::Unsupported);
            }
            let path = if self.takes(".") {
                Path::default()
            } else {
                self.depth += 1;
                let (path, end) = self.path()?;
                self.depth -= 1;
                match end {
                    End::Element | End::Text => path,
                    End::Attribute(_) => return Err(Fault::Unsupported),
                }
            };
            Test::Element(path, self.value()?)
        };
        self.blanks();
        self.takes("]").then_some(test).ok_or(Fault::Unsupported)
    }

    fn value(&mut self) -> Result<Option<Box<str>>, Fault> {
        self.blanks();
        if !self.takes("=") {
            return Ok(None);
        }
        self.blanks();
        let quote = self.text.chars().next().filter(|c| matches!(c, '"' | '\''));
        let quote = quote.ok_or(Fault::Unsupported)?;
        let rest = &self.text[1..];
        let end = rest.find(quote).ok_or(Fault::Malformed)?;
        self.text = &rest[end + 1..];
        Ok(Some(rest[..end].trim().into()))
    }
}

/// The elements that a path leads to, in the order of the document.
pub(super) fn select<'d, 'a>(document: &'d Document<'a>, path: &Path) -> Vec<Element<'d, 'a>> {
    walk(document, vec![None], path)
}

/// From some places, `None` being that of the document itself.
fn walk<'d, 'a>(
    document: &'d Document<'a>,
    from: Vec<Option<Element<'d, 'a>>>,
    path: &Path,
) -> Vec<Element<'d, 'a>> {
    let mut here = from;
    for step in &path.0 {
        if step.deep {
            here = here
                .into_iter()
                .flat_map(|at| descend(document, at))
                .collect();
            sort(&mut here);
        }
        let mut found = Vec::new();
        for at in here {
            let mut those: Vec<Element<'d, 'a>> = match at {
                None => vec![document.root()],
                Some(element) => element.children().collect(),
            };
            those.retain(|element| is_named(*element, step.name.as_ref()));
            for test in &step.tests {
                let mut place = 0;
                those.retain(|element| {
                    place += 1;
                    holds(document, *element, place, test)
                });
            }
            found.extend(those.into_iter().map(Some));
        }
        sort(&mut found);
        here = found;
    }
    here.into_iter().flatten().collect()
}

fn sort(elements: &mut Vec<Option<Element<'_, '_>>>) {
    let place = |element: &Option<Element<'_, '_>>| element.map(Element::place);
    elements.sort_by_key(place);
    elements.dedup_by_key(|element| place(element));
}

/// A place and all within.
fn descend<'d, 'a>(
    document: &'d Document<'a>,
    at: Option<Element<'d, 'a>>,
) -> Vec<Option<Element<'d, 'a>>> {
    let mut all = vec![at];
    let mut open: Vec<Element<'d, 'a>> = match at {
        None => vec![document.root()],
        Some(element) => element.children().collect(),
    };
    while let Some(element) = open.pop() {
        all.push(Some(element));
        open.extend(element.children());
    }
    all
}

fn is_named(element: Element<'_, '_>, name: Option<&Name>) -> bool {
    name.is_none_or(|name| element.is(&name.namespace, &name.local))
}

fn holds<'d, 'a>(
    document: &'d Document<'a>,
    element: Element<'d, 'a>,
    place: u32,
    test: &Test,
) -> bool {
    match test {
        Test::Place(wanted) => place == *wanted,
        Test::Attribute(name, value) => {
            let held = match &*name.namespace {
                "" => element.attribute(&name.local),
                namespace => element.attribute_of(namespace, &name.local),
            };
            held.is_some_and(|held| value.as_deref().is_none_or(|value| held.trim() == value))
        }
        Test::Element(path, value) => walk(document, vec![Some(element)], path)
            .iter()
            .any(|found| value.as_deref().is_none_or(|value| found.text() == *value)),
    }
}
