//! Who may publish or operate over HTTP: bearer tokens from a file, a line `name:token` each. The name is what the log
//! says of a call; the token is the secret.
//!
//! Kept are digests under a key drawn at start, and compared are all of them, each to its end: how long it
//! takes says nothing about a token, nor which one it was.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Letters of a token: 16 of random letters are 80 bits and more.
const TOKEN_BYTES_MIN: usize = 16;

/// The tokens of a file.
pub struct Tokens {
    key: [u8; 32],
    known: Vec<(String, [u8; 32])>,
}

impl Tokens {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn read(path: &Path) -> Result<Tokens, String> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|why| format!("{}: {why}", path.display()))?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|why| why.to_string())?;
        Tokens::parse(&text, key).map_err(|line| {
            format!(
                "{}: line {line} is no token; expected name:token, of {TOKEN_BYTES_MIN} letters at least, such as \
                 pbx:{}",
                path.display(),
                "…"
            )
        })
    }

    fn parse(text: &str, key: [u8; 32]) -> Result<Tokens, usize> {
        let mut tokens = Tokens {
            key,
            known: Vec::new(),
        };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, token) = line.split_once(':').ok_or(number)?;
            if name.is_empty() || token.len() < TOKEN_BYTES_MIN || token.contains(' ') {
                return Err(number);
            }
            let digest = tokens.digest(token);
            tokens.known.push((name.to_owned(), digest));
        }
        Ok(tokens)
    }

    fn digest(&self, token: &str) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(token.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The name of who shows this Authorization header, if the token is one of ours.
    #[must_use]
    pub fn name(&self, authorization: &str) -> Option<&str> {
        let (scheme, token) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return None;
        }
        self.owner(token.trim())
    }

    /// The same for a browser, which shows a token as the password of any name (RFC 7617).
    #[must_use]
    pub fn password(&self, authorization: &str) -> Option<&str> {
        let (scheme, encoded) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("Basic") {
            return None;
        }
        let shown = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        self.owner(shown.split_once(':')?.1)
    }

    /// Whose token this is.
    fn owner(&self, token: &str) -> Option<&str> {
        let shown = self.digest(token);
        let mut found = None;
        for (name, known) in &self.known {
            let differs = known
                .iter()
                .zip(&shown)
                .fold(0, |differs, (one, other)| differs | (one ^ other));
            if differs == 0 {
                found = Some(name.as_str());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_token_is_believed() {
        let text = "# tokens\n\npbx:0123456789abcdef\nroom : no\n";
        assert_eq!(Tokens::parse(text, [1; 32]).err(), Some(4));
        assert_eq!(Tokens::parse("pbx:short", [1; 32]).err(), Some(1));
        let text = "pbx:0123456789abcdef\r\ncal:fedcba9876543210:x\n";
        let Ok(tokens) = Tokens::parse(text, [1; 32]) else {
            panic!("sound");
        };
        for (shown, expected) in [
            ("Bearer 0123456789abcdef", Some("pbx")),
            ("bearer  0123456789abcdef", Some("pbx")),
            ("Bearer fedcba9876543210:x", Some("cal")),
            ("Bearer 0123456789abcde", None),
            ("Bearer 0123456789abcdef0", None),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic 0123456789abcdef", None),
            ("", None),
        ] {
            assert_eq!(tokens.name(shown), expected, "{shown}");
        }
    }
}
