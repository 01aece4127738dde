//! `application/pidf-diff+xml` (RFC 5262), written: a whole document, or what makes one out of another.
//!
//! A patch is written between documents that we composed, child by child of the root: what went is removed,
//! what came is added in its place, what changed is replaced, where only one text of it changed that text
//! alone. Documents in another order, or a patch that is not shorter, make the caller send the whole.

use super::pidf::{DATA_MODEL, PIDF};
use super::rpid::RPID;
use crate::xml::{Document, Element, is_ncname};

pub(super) const PIDF_DIFF: &str = "urn:ietf:params:xml:ns:pidf-diff";

/// A document but for its version, which each watcher has its own of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnumbered {
    bytes: Vec<u8>,
    /// Where the version stands.
    at: usize,
}

impl Unnumbered {
    /// The document in this version.
    //= RFC 5262 3.1
    //# each document says its version, which grows by one
    #[must_use]
    pub fn numbered(&self, version: u32) -> Vec<u8> {
        let (head, tail) = self.bytes.split_at(self.at);
        let mut out = Vec::with_capacity(self.bytes.len() + 10);
        out.extend_from_slice(head);
        out.extend_from_slice(version.to_string().as_bytes());
        out.extend_from_slice(tail);
        out
    }

    /// The root of `document` under another name, with `content` in it.
    fn write(name: &str, document: &Document<'_>, content: &str) -> Option<Unnumbered> {
        let root = document.root();
        let [from, inner, _, to] = root.span();
        let text = document.text();
        let attributes = text[from..inner].strip_prefix("<presence")?;
        if root.is_empty_tag() {
            return None;
        }
        let mut bytes = text.as_bytes()[..from].to_vec();
        for part in ["<p:", name, " xmlns:p=\"", PIDF_DIFF, "\" version=\""] {
            bytes.extend_from_slice(part.as_bytes());
        }
        let at = bytes.len();
        for part in ["\"", attributes, content, "</p:", name, ">", &text[to..]] {
            bytes.extend_from_slice(part.as_bytes());
        }
        Some(Unnumbered { bytes, at })
    }
}

/// The whole of a presence document that we composed; `None` for another.
//= RFC 5262 3.2
//# pidf-full holds what a presence document holds
#[must_use]
pub fn whole(document: &[u8]) -> Option<Unnumbered> {
    let document = Document::parse(document).ok()?;
    if !document.root().is(PIDF, "presence") {
        return None;
    }
    let [_, inner, inner_end, _] = document.root().span();
    Unnumbered::write("pidf-full", &document, &document.text()[inner..inner_end])
}

/// What makes `now` out of `before`; `None` where the whole is to be sent.
//= RFC 5262 3.3
//# pidf-diff holds operations, in order, on what the watcher has
#[must_use]
pub fn difference(before: &[u8], now: &[u8]) -> Option<Unnumbered> {
    let (old, new) = (Document::parse(before).ok()?, Document::parse(now).ok()?);
    let start = |document: &Document<'_>| {
        let [from, inner, ..] = document.root().span();
        document.text()[from..inner].to_owned()
    };
    if !new.root().is(PIDF, "presence") || start(&old) != start(&new) {
        return None;
    }
    let operations = operations(old.root(), new.root())?;
    let [_, inner, inner_end, _] = new.root().span();
    if operations.len() >= inner_end - inner {
        return None;
    }
    Unnumbered::write("pidf-diff", &new, &operations)
}

/// What makes two children of the root the same one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key<'a> {
    Named(&'a str, &'a str, &'a str),
    /// Without an id, only its very text does.
    Text(&'a str),
}

struct Child<'d, 'a> {
    key: Key<'a>,
    element: Element<'d, 'a>,
}

fn children<'d, 'a>(root: Element<'d, 'a>) -> Vec<Child<'d, 'a>> {
    let child = |element: Element<'d, 'a>| {
        let key = match element.attribute("id") {
            Some(std::borrow::Cow::Borrowed(id)) if is_ncname(id) => {
                Key::Named(element.namespace(), element.local(), id)
            }
            _ => Key::Text(element.source()),
        };
        Child { key, element }
    };
    root.children().map(child).collect()
}

/// How names of a namespace begin in a selector, where our roots declare it.
fn prefix(namespace: &str) -> Option<&'static str> {
    match namespace {
        PIDF => Some(""),
        DATA_MODEL => Some("dm:"),
        RPID => Some("rpid:"),
        _ => None,
    }
}

/// Selects a child of the root, which is the so-manieth now.
fn selector(key: Key<'_>, place: usize) -> String {
    match key {
        Key::Named(namespace, local, id) => match prefix(namespace) {
            Some(prefix) => format!("*/{prefix}{local}[@id='{id}']"),
            None => format!("*/*[{}]", place + 1),
        },
        Key::Text(_) => format!("*/*[{}]", place + 1),
    }
}

fn operations(old: Element<'_, '_>, new: Element<'_, '_>) -> Option<String> {
    let (mut work, wanted) = (children(old), children(new));
    let mut out = String::new();
    // What stays: as many of a key as there are in both.
    let mut left: Vec<Key<'_>> = wanted.iter().map(|child| child.key).collect();
    let stays: Vec<bool> = work
        .iter()
        .map(|child| {
            let place = left.iter().position(|key| *key == child.key);
            place.map(|place| left.swap_remove(place)).is_some()
        })
        .collect();
    for place in (0..work.len()).rev().filter(|place| !stays[*place]) {
        let gone = work.remove(place);
        out += &format!("<p:remove sel=\"{}\"/>", selector(gone.key, place));
    }
    for (place, child) in wanted.iter().enumerate() {
        let source = child.element.source();
        match work.get(place) {
            Some(held) if held.key == child.key => {
                if held.element.source() != source {
                    out += &replacement(held.element, child.element, &selector(child.key, place));
                }
            }
            Some(_) if work[place..].iter().any(|held| held.key == child.key) => return None,
            Some(held) => {
                let here = selector(held.key, place);
                out += &format!("<p:add sel=\"{here}\" pos=\"before\">{source}</p:add>");
                work.insert(place, Child { ..*child });
            }
            None => {
                out += &format!("<p:add sel=\"*\">{source}</p:add>");
                work.push(Child { ..*child });
            }
        }
    }
    (work.len() == wanted.len()).then_some(out)
}

/// The smallest operation that makes one element out of another of the same name.
fn replacement(old: Element<'_, '_>, new: Element<'_, '_>, selector: &str) -> String {
    let whole = || format!("<p:replace sel=\"{selector}\">{}</p:replace>", new.source());
    let (before, now) = (old.source(), new.source());
    let start = |element: Element<'_, '_>| {
        let [from, inner, inner_end, _] = element.span();
        (inner - from, inner_end - from)
    };
    let ((old_inner, old_end), (new_inner, new_end)) = (start(old), start(new));
    if before[..old_inner] != now[..new_inner] || old.is_empty_tag() {
        return whole();
    }
    let (olds, news): (Vec<_>, Vec<_>) = (old.children().collect(), new.children().collect());
    if olds.is_empty() && news.is_empty() {
        let (had, has) = (&before[old_inner..old_end], &now[new_inner..new_end]);
        return if had.trim().is_empty() || has.trim().is_empty() {
            whole()
        } else {
            format!("<p:replace sel=\"{selector}/text()\">{has}</p:replace>")
        };
    }
    let same =
        |(old, new): &(&Element<'_, '_>, &Element<'_, '_>)| old.is(new.namespace(), new.local());
    let pairs = || olds.iter().zip(&news);
    let mut changed = pairs()
        .enumerate()
        .filter(|(_, (old, new))| old.source() != new.source());
    match (changed.next(), changed.next()) {
        (Some((place, (old, new))), None)
            if olds.len() == news.len() && pairs().all(|p| same(&p)) =>
        {
            let alike = |other: &&Element<'_, '_>| other.is(new.namespace(), new.local());
            let step = match prefix(new.namespace()) {
                Some(prefix) if news.iter().filter(alike).count() == 1 => {
                    format!("{prefix}{}", new.local())
                }
                _ => format!("*[{}]", place + 1),
            };
            let narrower = replacement(*old, *new, &format!("{selector}/{step}"));
            if narrower.len() < whole().len() {
                narrower
            } else {
                whole()
            }
        }
        _ => whole(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::patch;

    fn document(content: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
             xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
             xmlns:c=\"urn:ietf:params:xml:ns:pidf:cipid\" entity=\"sip:a@x\">{content}</presence>\n"
        )
    }

    fn tuple(id: &str, basic: &str, note: &str) -> String {
        format!(
            "<tuple id=\"{id}\"><status><basic>{basic}</basic></status><contact>sip:{id}@x</contact>\
             <note>{note}</note></tuple>"
        )
    }

    const PERSON: &str =
        "<dm:person id=\"p\"><rpid:activities><rpid:busy/></rpid:activities></dm:person>";

    //= RFC 5262 3.3
    //= type=test
    #[test]
    fn a_patch_says_what_changed_and_no_more() {
        let (one, two) = (tuple("t1", "open", "a"), tuple("t2", "open", "b"));
        let both = format!("{one}{two}<note>n</note>{PERSON}");
        for (name, now, operations) in [
            ("nothing", both.clone(), String::new()),
            (
                "a text",
                both.replacen("open", "closed", 1),
                "<p:replace sel=\"*/tuple[@id='t1']/status/basic/text()\">closed</p:replace>".into(),
            ),
            (
                "one went",
                format!("{two}<note>n</note>{PERSON}"),
                "<p:remove sel=\"*/tuple[@id='t1']\"/>".into(),
            ),
            (
                "a note",
                both.replace("<note>n</note>", "<note>m</note>"),
                "<p:remove sel=\"*/*[3]\"/><p:add sel=\"*/dm:person[@id='p']\" pos=\"before\">\
                 <note>m</note></p:add>"
                    .into(),
            ),
            (
                "an activity",
                both.replace("busy", "away"),
                format!(
                    "<p:replace sel=\"*/dm:person[@id='p']/rpid:activities\">{}</p:replace>",
                    "<rpid:activities><rpid:away/></rpid:activities>"
                ),
            ),
            (
                "one came last",
                format!("{both}<dm:device id=\"d\"><dm:deviceID>x</dm:deviceID></dm:device>"),
                "<p:add sel=\"*\"><dm:device id=\"d\"><dm:deviceID>x</dm:deviceID></dm:device></p:add>"
                    .into(),
            ),
        ] {
            let (before, now) = (document(&both), document(&now));
            let patch = difference(before.as_bytes(), now.as_bytes()).expect(name);
            let text = String::from_utf8(patch.numbered(7)).expect("text");
            let (head, inner) = text.split_once("entity=\"sip:a@x\">").expect("a root");
            assert!(head.contains("<p:pidf-diff ") && head.contains(" version=\"7\""), "{text}");
            assert_eq!(inner, format!("{operations}</p:pidf-diff>\n"), "{name}");
            let patched = patch::apply(text.as_bytes(), before.as_bytes()).expect(name);
            assert_eq!(patched, now.into_bytes(), "{name}");
        }
    }

    //= RFC 5262 3.2
    //= type=test
    #[test]
    fn the_whole_is_sent_where_a_patch_would_be_longer_or_wrong() {
        let (one, two) = (tuple("t1", "open", "a"), tuple("t2", "open", "b"));
        let before = document(&format!("{one}{two}"));
        for (name, now) in [
            ("another order", document(&format!("{two}{one}"))),
            ("all of it", document(&tuple("t3", "closed", "c"))),
            ("somebody else", before.replace("sip:a@x", "sip:b@x")),
            ("no document", "<presence/>".to_owned()),
        ] {
            assert_eq!(
                difference(before.as_bytes(), now.as_bytes()),
                None,
                "{name}"
            );
        }
        let whole = whole(before.as_bytes()).expect("ours").numbered(1);
        let text = String::from_utf8(whole).expect("text");
        let presence = patch::presence(text.as_bytes()).expect("a whole");
        assert_eq!(presence, before.into_bytes());
    }

    /// Whatever a document becomes, its patch makes it, or there is none.
    #[test]
    fn a_patch_makes_what_it_was_written_for() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut patched = 0;
        let mut before = document("");
        for step in 0..3_000 {
            let mut content = String::new();
            for id in 0..4 {
                if draw(4) > 0 {
                    let basic = ["open", "closed"][draw(2) as usize];
                    content += &tuple(&format!("t{id}"), basic, ["a", "b"][draw(2) as usize]);
                }
            }
            for _ in 0..draw(3) {
                content += &format!("<note>n{}</note>", draw(2));
            }
            if draw(2) > 0 {
                content += PERSON;
            }
            let now = document(&content);
            if let Some(patch) = difference(before.as_bytes(), now.as_bytes()) {
                let made = patch::apply(&patch.numbered(step), before.as_bytes()).expect("applied");
                assert_eq!(String::from_utf8(made).expect("text"), now);
                patched += 1;
            }
            before = now;
        }
        assert!(patched > 1_000, "{patched}");
    }
}
