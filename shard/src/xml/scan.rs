//! Where the tags of a document are: one pass, nothing copied, nothing resolved.
//!
//! It takes what XML 1.0 calls well-formed, short of what needs the whole tree (balance, prefixes), which
//! its caller sees to. `shard/tests/xml_agreement.rs` holds it against quick-xml.

use memchr::{memchr, memmem};

use super::{Fault, is_character, is_ncname};

/// One piece of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `<name`; its attributes come next, by [`Scanner::attribute`].
    Start(&'a str),
    /// `</name>`
    End(&'a str),
    /// Characters between tags, references in them checked.
    Text(&'a str),
    /// `<![CDATA[…]]>`
    Characters,
    /// Comments, processing instructions, the declaration.
    Aside,
    /// Nothing is left.
    Over,
}

/// What comes next inside a start tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside<'a> {
    /// `name="value"`, without the quotes, references in it checked.
    Attribute(&'a str, &'a str),
    /// `>`
    Open,
    /// `/>`
    Empty,
}

/// Reads tokens.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

const ILL: &str = "not well-formed";

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    /// Where the next token begins.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// The next token; not to be called inside a start tag.
    pub(super) fn token(&mut self) -> Result<Token<'a>, Fault> {
        let from = self.at;
        let rest = self.rest();
        match rest {
            [] => Ok(Token::Over),
            [b'<', b'/', ..] => {
                self.at += 2;
                let name = self.name()?;
                self.blanks();
                self.expect(b'>')?;
                Ok(Token::End(name))
            }
            [b'<', b'!' | b'?', ..] => self.aside(),
            [b'<', ..] => {
                self.at += 1;
                Ok(Token::Start(self.name()?))
            }
            _ => {
                self.at += memchr(b'<', rest).unwrap_or(rest.len());
                let content = &self.text[from..self.at];
                //= XML 2.4
                //# the end of a CDATA section stands nowhere else
                if memmem::find(content.as_bytes(), b"]]>").is_some() {
                    return Err((from, ILL));
                }
                references(content, from, "an unknown entity")?;
                Ok(Token::Text(content))
            }
        }
    }

    /// The next attribute of the start tag, or its end.
    pub(super) fn attribute(&mut self) -> Result<Inside<'a>, Fault> {
        const BAD: &str = "a bad attribute";
        let before = self.at;
        self.blanks();
        match self.rest() {
            [b'>', ..] => {
                self.at += 1;
                return Ok(Inside::Open);
            }
            [b'/', b'>', ..] => {
                self.at += 2;
                return Ok(Inside::Empty);
            }
            [] => return Err((self.at, ILL)),
            _ if self.at == before => return Err((self.at, BAD)),
            _ => {}
        }
        let from = self.at;
        let name = self.name().map_err(|_| (from, BAD))?;
        self.blanks();
        self.expect(b'=').map_err(|_| (from, BAD))?;
        self.blanks();
        let quote = match self.rest() {
            [quote @ (b'"' | b'\''), ..] => *quote,
            _ => return Err((from, BAD)),
        };
        self.at += 1;
        let end = memchr(quote, self.rest()).ok_or((from, ILL))?;
        let value = &self.text[self.at..self.at + end];
        self.at += end + 1;
        if memchr(b'<', value.as_bytes()).is_some() {
            return Err((from, "a bad attribute value"));
        }
        references(value, from, "a bad attribute value")?;
        Ok(Inside::Attribute(name, value))
    }

    /// A comment, a CDATA section, a processing instruction, the declaration.
    fn aside(&mut self) -> Result<Token<'a>, Fault> {
        let from = self.at;
        let rest = self.rest();
        let until = |begin: usize, end: &str| {
            let inner = rest.get(begin..).unwrap_or_default();
            memmem::find(inner, end.as_bytes())
                .map(|found| begin + found)
                .ok_or((from, ILL))
        };
        if rest.starts_with(b"<!--") {
            //= XML 2.5
            //# two hyphens end a comment, and stand nowhere in it
            let end = until(4, "--")?;
            self.at += end + 2;
            self.expect(b'>')?;
            return Ok(Token::Aside);
        }
        if rest.starts_with(b"<![CDATA[") {
            self.at += until(9, "]]>")? + 3;
            return Ok(Token::Characters);
        }
        if rest.starts_with(b"<?") {
            let end = until(2, "?>")?;
            let inner = &self.text[from + 2..from + end];
            self.at += end + 2;
            let target = inner
                .split(|c: char| c.is_ascii_whitespace())
                .next()
                .unwrap_or_default();
            if !is_ncname(target) {
                return Err((from, "a bad processing instruction"));
            }
            if target.eq_ignore_ascii_case("xml") {
                declaration(&inner[target.len()..], from)?;
            }
            return Ok(Token::Aside);
        }
        if rest
            .get(2..9)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"DOCTYPE"))
        {
            return Err((from, "a DOCTYPE, which is refused"));
        }
        Err((from, ILL))
    }

    /// What may be a name, up to what surely is none; whoever takes it looks at its characters.
    fn name(&mut self) -> Result<&'a str, Fault> {
        let from = self.at;
        let ends = |byte: &u8| {
            byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>' | b'=' | b'<' | b'"' | b'\'')
        };
        let rest = self.rest();
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.at += length;
        if length == 0 {
            return Err((from, ILL));
        }
        Ok(&self.text[from..from + length])
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        let blank = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.at += rest.iter().position(blank).unwrap_or(rest.len());
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.rest().first() != Some(&byte) {
            return Err((self.at, ILL));
        }
        self.at += 1;
        Ok(())
    }
}

/// The pseudo-attributes of `<?xml …?>`.
fn declaration(inner: &str, from: usize) -> Result<(), Fault> {
    const BAD: Fault = (0, "a bad XML declaration");
    if from != 0 {
        return Err((from, "an XML declaration that is not at the beginning"));
    }
    // The same grammar as that of a start tag's attributes; the question mark has gone already.
    let tag = format!("{inner}>");
    let mut scanner = Scanner::new(&tag);
    loop {
        match scanner.attribute().map_err(|_| BAD)? {
            Inside::Attribute("encoding", name) => {
                let known = ["utf-8", "us-ascii", "ascii"];
                if !known.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                    return Err((from, "an encoding other than UTF-8"));
                }
            }
            Inside::Attribute("version" | "standalone", _) => {}
            Inside::Open if scanner.at == tag.len() => return Ok(()),
            _ => return Err(BAD),
        }
    }
}

/// Every reference is one of XML's own or a character that may be.
fn references(text: &str, from: usize, what: &'static str) -> Result<(), Fault> {
    let mut rest = text;
    while let Some(at) = memchr(b'&', rest.as_bytes()) {
        rest = &rest[at + 1..];
        let end = memchr(b';', rest.as_bytes()).ok_or((from, what))?;
        if !is_reference(&rest[..end]) {
            return Err((from, what));
        }
        rest = &rest[end + 1..];
    }
    Ok(())
}

fn is_reference(name: &str) -> bool {
    let digits = match name.strip_prefix('#') {
        None => return matches!(name, "lt" | "gt" | "amp" | "quot" | "apos"),
        Some(digits) => digits,
    };
    let number = match digits.strip_prefix('x') {
        Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u32::from_str_radix(hex, 16)
        }
        None if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse(),
        _ => return false,
    };
    number
        .ok()
        .and_then(char::from_u32)
        .is_some_and(is_character)
}
