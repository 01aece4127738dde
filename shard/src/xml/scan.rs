//! Where the tags of a document are: one pass, nothing copied, nothing resolved.
//!
//! It takes what XML 1.0 calls well-formed, short of what needs the whole tree (balance, prefixes), which
//! its caller sees to. `shard/tests/xml_agreement.rs` holds it against quick-xml.

use memchr::{memchr, memchr2, memmem};

use super::{BEGINS, Fault, NAME, is_character, is_ncname};

/// One piece of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// `<name`; its attributes come next, by [`Scanner::attribute`].
    Start(QName<'a>),
    /// `</name>`
    End(QName<'a>),
    /// Characters between tags, references in them checked.
    Text(&'a str),
    /// `<![CDATA[…]]>`
    Characters,
    /// Comments, processing instructions, the declaration.
    Aside,
    /// Nothing is left.
    Over,
}

/// A name, each of its parts an NCName; the prefix may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QName<'a> {
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
}

/// What comes next inside a start tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside<'a> {
    /// `name="value"`, without the quotes, references in it checked.
    Attribute(QName<'a>, &'a str),
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
                let name = self.name(from, ILL)?;
                self.blanks();
                self.expect(b'>')?;
                Ok(Token::End(name))
            }
            [b'<', b'!' | b'?', ..] => self.aside(),
            [b'<', ..] => {
                self.at += 1;
                Ok(Token::Start(self.name(from, "a bad element name")?))
            }
            _ => {
                self.at += memchr(b'<', rest).unwrap_or(rest.len());
                let content = &self.text[from..self.at];
                if memchr2(b'&', b']', content.as_bytes()).is_some() {
                    // XML 1.0 §2.4: the end of a CDATA section stands nowhere else.
                    if memmem::find(content.as_bytes(), b"]]>").is_some() {
                        return Err((from, ILL));
                    }
                    references(content, from, "an unknown entity")?;
                }
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
            [b'<', ..] => return Err((self.at, ILL)),
            _ if self.at == before => return Err((self.at, BAD)),
            _ => {}
        }
        let from = self.at;
        let name = self.name(from, "a bad attribute name")?;
        if self.rest().first() != Some(&b'=') {
            self.blanks();
        }
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
        if let Some(at) = memchr2(b'<', b'&', value.as_bytes()) {
            if memchr(b'<', &value.as_bytes()[at..]).is_some() {
                return Err((from, "a bad attribute value"));
            }
            references(value, from, "a bad attribute value")?;
        }
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
            // XML 1.0 §2.5: two hyphens end a comment, and stand nowhere in it.
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

    /// A name, up to what cannot be part of one.
    fn name(&mut self, from: usize, what: &'static str) -> Result<QName<'a>, Fault> {
        let begin = self.at;
        let bytes = self.text.as_bytes();
        let mut colon = None;
        let mut part = begin;
        let mut at = begin;
        while let Some(byte) = bytes.get(at) {
            let class = NAME[usize::from(*byte)];
            if *byte == b':' && colon.is_none() && at > part {
                colon = Some(at);
                part = at + 1;
            } else if class == 0 || at == part && class != BEGINS {
                break;
            }
            at += 1;
        }
        let ends = matches!(
            bytes.get(at),
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>' | b'=')
        );
        if at == part || !ends {
            return Err((from, what));
        }
        self.at = at;
        Ok(match colon {
            Some(colon) => QName {
                prefix: &self.text[begin..colon],
                local: &self.text[colon + 1..at],
            },
            None => QName {
                prefix: "",
                local: &self.text[begin..at],
            },
        })
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
    let mut scanner = Scanner::new(inner);
    while !inner[scanner.at..].trim_ascii().is_empty() {
        let Inside::Attribute(name, value) = scanner.attribute().map_err(|_| BAD)? else {
            return Err(BAD);
        };
        match (name.prefix, name.local) {
            ("", "encoding") => {
                let known = ["utf-8", "us-ascii", "ascii"];
                if !known.iter().any(|known| value.eq_ignore_ascii_case(known)) {
                    return Err((from, "an encoding other than UTF-8"));
                }
            }
            ("", "version" | "standalone") => {}
            _ => return Err(BAD),
        }
    }
    Ok(())
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
