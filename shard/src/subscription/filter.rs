//! Event filters (RFC 4661), as they are kept: what of a document a watcher wants, and when.
//!
//! Names carry their namespaces, so nothing of the document that they came in is needed any more.

use xxhash_rust::xxh3::xxh3_64;

/// A filter. Without anything in it, everything is shown at every change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// What is shown; everything if there is nothing here.
    pub include: Vec<Selection>,
    /// What of it is left out.
    pub exclude: Vec<Selection>,
    /// When it is shown: if all of one of these happened; always if there is none.
    pub triggers: Vec<Vec<Trigger>>,
}

/// Parts of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The elements of a namespace.
    Namespace(Box<str>),
    /// What a path leads to, with everything in it.
    Path(Path),
}

/// A location path, from the document down: the part of XPath that filters need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(pub Vec<Step>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whether it leads to descendants, not only to children.
    pub deep: bool,
    /// To which; `None` to any.
    pub name: Option<Name>,
    /// Which of them: those for which all of this holds.
    pub tests: Vec<Test>,
}

/// The name of an element or attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its namespace; empty for none.
    pub namespace: Box<str>,
    /// Its name there.
    pub local: Box<str>,
}

/// A predicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The path leads somewhere from here; where a value is named, to an element with this text. The empty
    /// path leads to the element itself.
    Element(Path, Option<Box<str>>),
    /// There is this attribute, where a value is named with this one.
    Attribute(Name, Option<Box<str>>),
    /// It is the so-manieth, counted from 1.
    Place(u32),
}

/// Something that happens to what a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Its text changed.
    Changed {
        /// Of what.
        path: Path,
        /// From this.
        from: Option<Box<str>>,
        /// To this.
        to: Option<Box<str>>,
        /// By at least this, in thousandths: both are numbers.
        by: Option<u64>,
    },
    /// It came.
    Added(Path),
    /// It went.
    Removed(Path),
}

impl Filter {
    /// Whether it says when to tell.
    #[must_use]
    pub fn has_triggers(&self) -> bool {
        !self.triggers.is_empty()
    }

    /// Distinguishes it from others, on every node alike.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        xxh3_64(&bytes)
    }

    /// Appends its one spelling in bytes, in which logs, snapshots and nodes have it.
    pub fn write(&self, out: &mut Vec<u8>) {
        for selections in [&self.include, &self.exclude] {
            out.push(selections.len() as u8);
            for selection in selections {
                match selection {
                    Selection::Namespace(uri) => {
                        out.push(1);
                        put_text(uri, out);
                    }
                    Selection::Path(path) => {
                        out.push(2);
                        put_path(path, out);
                    }
                }
            }
        }
        out.push(self.triggers.len() as u8);
        for all in &self.triggers {
            out.push(all.len() as u8);
            for trigger in all {
                match trigger {
                    Trigger::Changed { path, from, to, by } => {
                        out.push(1);
                        put_path(path, out);
                        put_value(from.as_deref(), out);
                        put_value(to.as_deref(), out);
                        out.push(u8::from(by.is_some()));
                        out.extend_from_slice(&by.unwrap_or(0).to_le_bytes());
                    }
                    Trigger::Added(path) => {
                        out.push(2);
                        put_path(path, out);
                    }
                    Trigger::Removed(path) => {
                        out.push(3);
                        put_path(path, out);
                    }
                }
            }
        }
    }

    /// Reads what [`Filter::write`] wrote; `None` for anything else.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Filter> {
        let bytes = &mut { bytes };
        let filter = Filter {
            include: many(bytes, selection)?,
            exclude: many(bytes, selection)?,
            triggers: many(bytes, |bytes| many(bytes, trigger))?,
        };
        bytes.is_empty().then_some(filter)
    }
}

/// Paths may stand in predicates of paths, but a document that goes deeper is not of ours.
const DEPTH_MAX: u32 = 4;

fn put_text(text: &str, out: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).expect("a filter's texts are bounded");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_value(value: Option<&str>, out: &mut Vec<u8>) {
    out.push(u8::from(value.is_some()));
    put_text(value.unwrap_or_default(), out);
}

fn put_name(name: &Name, out: &mut Vec<u8>) {
    put_text(&name.namespace, out);
    put_text(&name.local, out);
}

fn put_path(path: &Path, out: &mut Vec<u8>) {
    out.push(path.0.len() as u8);
    for step in &path.0 {
        out.push(u8::from(step.deep) | u8::from(step.name.is_some()) << 1);
        if let Some(name) = &step.name {
            put_name(name, out);
        }
        out.push(step.tests.len() as u8);
        for test in &step.tests {
            match test {
                Test::Element(path, value) => {
                    out.push(1);
                    put_path(path, out);
                    put_value(value.as_deref(), out);
                }
                Test::Attribute(name, value) => {
                    out.push(2);
                    put_name(name, out);
                    put_value(value.as_deref(), out);
                }
                Test::Place(place) => {
                    out.push(3);
                    out.extend_from_slice(&place.to_le_bytes());
                }
            }
        }
    }
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(*first)
}

fn chunk<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

fn flag(bytes: &mut &[u8]) -> Option<bool> {
    byte(bytes).filter(|flag| *flag <= 1).map(|flag| flag == 1)
}

fn text(bytes: &mut &[u8]) -> Option<Box<str>> {
    let length = usize::from(u16::from_le_bytes(chunk(bytes)?));
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(text).ok().map(Box::from)
}

fn value(bytes: &mut &[u8]) -> Option<Option<Box<str>>> {
    let is = flag(bytes)?;
    let text = text(bytes)?;
    Some(is.then_some(text))
}

fn many<T>(bytes: &mut &[u8], mut read: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    (0..byte(bytes)?).map(|_| read(bytes)).collect()
}

fn name(bytes: &mut &[u8]) -> Option<Name> {
    Some(Name {
        namespace: text(bytes)?,
        local: text(bytes)?,
    })
}

fn path(bytes: &mut &[u8], depth: u32) -> Option<Path> {
    if depth > DEPTH_MAX {
        return None;
    }
    let step = |bytes: &mut &[u8]| {
        let flags = byte(bytes).filter(|flags| *flags <= 3)?;
        let name = if flags & 2 == 0 {
            None
        } else {
            Some(name(bytes)?)
        };
        let test = |bytes: &mut &[u8]| {
            Some(match byte(bytes)? {
                1 => Test::Element(path(bytes, depth + 1)?, value(bytes)?),
                2 => Test::Attribute(self::name(bytes)?, value(bytes)?),
                3 => Test::Place(u32::from_le_bytes(chunk(bytes)?)),
                _ => return None,
            })
        };
        Some(Step {
            deep: flags & 1 != 0,
            name,
            tests: many(bytes, test)?,
        })
    };
    many(bytes, step).map(Path)
}

fn selection(bytes: &mut &[u8]) -> Option<Selection> {
    Some(match byte(bytes)? {
        1 => Selection::Namespace(text(bytes)?),
        2 => Selection::Path(path(bytes, 0)?),
        _ => return None,
    })
}

fn trigger(bytes: &mut &[u8]) -> Option<Trigger> {
    Some(match byte(bytes)? {
        1 => {
            let (path, from, to) = (path(bytes, 0)?, value(bytes)?, value(bytes)?);
            let (is, by) = (flag(bytes)?, u64::from_le_bytes(chunk(bytes)?));
            Trigger::Changed {
                path,
                from,
                to,
                by: is.then_some(by),
            }
        }
        2 => Trigger::Added(path(bytes, 0)?),
        3 => Trigger::Removed(path(bytes, 0)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(local: &str) -> Name {
        Name {
            namespace: "urn:x".into(),
            local: local.into(),
        }
    }

    #[test]
    fn a_filter_has_one_spelling() {
        let inner = Path(vec![Step {
            deep: false,
            name: Some(name("basic")),
            tests: Vec::new(),
        }]);
        let path = Path(vec![Step {
            deep: true,
            name: None,
            tests: vec![
                Test::Element(inner, Some("open".into())),
                Test::Attribute(name("id"), None),
                Test::Place(2),
            ],
        }]);
        let filter = Filter {
            include: vec![
                Selection::Namespace("urn:x".into()),
                Selection::Path(path.clone()),
            ],
            exclude: vec![Selection::Path(Path::default())],
            triggers: vec![vec![
                Trigger::Changed {
                    path: path.clone(),
                    from: None,
                    to: Some("closed".into()),
                    by: Some(1_500),
                },
                Trigger::Added(path.clone()),
                Trigger::Removed(path),
            ]],
        };
        let mut bytes = Vec::new();
        filter.write(&mut bytes);
        assert_eq!(Filter::read(&bytes), Some(filter.clone()));
        assert_ne!(filter.digest(), Filter::default().digest());
        for cut in 0..bytes.len() {
            assert_eq!(Filter::read(&bytes[..cut]), None, "{cut}");
        }
        for at in 0..bytes.len() {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 0xff;
            let _ = Filter::read(&spoiled);
        }
    }
}
