//! Who opens whose address book, or calendar: a line `address:login:password` each, `*` for everybody else.
//!
//! In a login, `{user}` and `{mail}` stand for the user's name and address, so that one line serves a server
//! that lets a proxy in for everybody (`*:proxy:secret`), and one that gives all the same password in a test.

use std::collections::BTreeMap;
use std::path::Path;

/// The logins of a file.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    each: BTreeMap<String, (String, String)>,
    everybody: Option<(String, String)>,
}

/// Where a text goes that is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As it is.
    Plain,
    /// With what a URL cannot hold in hexadecimal.
    Url,
}

impl Credentials {
    /// Reads a file.
    ///
    /// # Errors
    /// Which line is none, in a sentence.
    pub(crate) fn read(path: &Path) -> Result<Credentials, String> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|why| format!("{}: {why}", path.display()))?;
        Credentials::parse(&text).map_err(|line| {
            format!(
                "{}: line {line} is no login; expected address:login:password, with * for everybody",
                path.display()
            )
        })
    }

    fn parse(text: &str) -> Result<Credentials, usize> {
        let mut credentials = Credentials::default();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let mut parts = line.splitn(3, ':');
            let (Some(address), Some(login), Some(password)) =
                (parts.next(), parts.next(), parts.next())
            else {
                return Err(number);
            };
            let login = (login.to_owned(), password.to_owned());
            if address == "*" {
                credentials.everybody = Some(login);
            } else {
                credentials.each.insert(address.to_ascii_lowercase(), login);
            }
        }
        Ok(credentials)
    }

    /// Who has a login of its own.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.each.keys().map(String::as_str)
    }

    /// Login and password for the book of an address.
    pub(crate) fn of(&self, address: &str) -> Option<(String, String)> {
        let own = self.each.get(&address.to_ascii_lowercase());
        let (login, password) = own.or(self.everybody.as_ref())?;
        Some((filled(login, address, Spelling::Plain), password.clone()))
    }
}

/// A template with the user's name and address in it.
pub(crate) fn filled(template: &str, address: &str, spelling: Spelling) -> String {
    let spelled = |text: &str| match spelling {
        Spelling::Plain => text.to_owned(),
        Spelling::Url => {
            let mut out = String::new();
            for byte in text.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~@+".contains(&byte) {
                    out.push(char::from(byte));
                } else {
                    out.push_str(&format!("%{byte:02X}"));
                }
            }
            out
        }
    };
    let user = address.split('@').next().unwrap_or_default();
    template
        .replace("{user}", &spelled(user))
        .replace("{mail}", &spelled(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_login_of_its_own_or_that_of_all() {
        let text = "# logins\n\nBob@x:bob:a:b\n*:{user}-{mail}:secret\n";
        let credentials = Credentials::parse(text).expect("sound");
        let pair = |login: &str, password: &str| Some((login.to_owned(), password.to_owned()));
        assert_eq!(credentials.of("bob@x"), pair("bob", "a:b"));
        assert_eq!(credentials.of("eve@x"), pair("eve-eve@x", "secret"));
        assert_eq!(Credentials::default().of("eve@x"), None);
        assert_eq!(Credentials::parse("\nbob@x:bob").err(), Some(2));
    }

    #[test]
    fn a_name_does_not_leave_its_place_in_a_url() {
        let url = "https://x/{mail}/{user}/c/";
        for (address, expected) in [
            ("a.b@x.example", "https://x/a.b@x.example/a.b/c/"),
            (
                "../../é?@x",
                "https://x/..%2F..%2F%C3%A9%3F@x/..%2F..%2F%C3%A9%3F/c/",
            ),
        ] {
            assert_eq!(filled(url, address, Spelling::Url), expected);
        }
    }
}
