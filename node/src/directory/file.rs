//! A directory file: TOML with a `[[user]]` for each. Also how the copy of a server's answer is kept.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Backend, ReadError, USERS_MAX, User};

/// A directory file.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) domains: Vec<String>,
}

impl Backend for File {
    fn read(&mut self) -> Result<Vec<User>, ReadError> {
        read(&self.path, &self.domains)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    user: Vec<Spanned<User>>,
}

/// Reads a directory file.
pub(super) fn read(path: &Path, domains: &[String]) -> Result<Vec<User>, ReadError> {
    let text = fs::read_to_string(path).map_err(|why| ReadError::Unreadable {
        path: path.to_owned(),
        why,
    })?;
    let users = parse(&text, domains).map_err(|why| ReadError::Malformed {
        path: path.to_owned(),
        why,
    })?;
    let name = || format!("the directory file {}", path.display());
    match users.len() {
        0 => Err(ReadError::Nobody(name())),
        too_many if too_many > USERS_MAX => Err(ReadError::TooMany(name())),
        _ => Ok(users),
    }
}

/// Every user of a document, settled.
fn parse(text: &str, domains: &[String]) -> Result<Vec<User>, String> {
    let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut users = Vec::with_capacity(document.user.len());
    let mut lines: HashMap<String, usize> = HashMap::new();
    let mut lines_before = LineCount::of(text);
    for spanned in document.user {
        let line = lines_before.line_at(spanned.span().start);
        let mut user = spanned.into_inner();
        if user.address.is_empty() {
            return Err(format!(
                "line {line}: a user without address; expected address = \"bob@{}\"",
                domains[0]
            ));
        }
        user.settle(domains)
            .map_err(|why| format!("line {line}: {why}"))?;
        if let Some(first) = lines.insert(user.address.clone(), line) {
            return Err(format!(
                "line {line}: {} is a user already, at line {first}",
                user.address
            ));
        }
        users.push(user);
    }
    Ok(users)
}

/// Counts lines up to places that only grow.
struct LineCount<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl<'t> LineCount<'t> {
    fn of(text: &'t str) -> LineCount<'t> {
        LineCount {
            text,
            at: 0,
            line: 1,
        }
    }

    fn line_at(&mut self, place: usize) -> usize {
        let passed = self.text.as_bytes().get(self.at..place).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.at = self.at.max(place);
        self.line
    }
}

#[derive(Serialize)]
struct Copy<'u> {
    user: &'u [User],
}

/// Writes what was read to a file of the same form; a failure is told, and forgiven.
pub(super) fn keep(path: &Path, users: &[User]) {
    let written = toml::to_string(&Copy { user: users })
        .map_err(std::io::Error::other)
        .and_then(|text| replace(path, text.as_bytes()));
    if let Err(error) = written {
        tracing::error!(%error, path = %path.display(), "the copy of the directory is not written");
    }
}

/// The file is the old one or the new one, whatever happens; nobody else reads who our users are.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Vec<String> {
        vec!["contoso.com".to_owned(), "fabrikam.com".to_owned()]
    }

    const BOB: &str = "\
# People
[[user]]
address = 'sip:Bob@Contoso.com'
display_name = 'Bob Kelly'
mail = 'bob@exchange.contoso.com'
aliases = ['smtp:robert@contoso.com']
title = 'Lead'
country_code = 'us'
phones = { work = '+1 555 0100', mobile = '+1 555 0101' }
lines = [{ uri = 'tel:+15550100;ext=100', type = 'rcc', server = 'sip:pbx@gw.contoso.com' }]
attributes = { employeeNumber = '7' }

[[user]]
address = 'alice'

[[user]]
address = 'carol@fabrikam.com'
disabled = true
";

    #[test]
    fn a_file_says_who_is_a_user() {
        let users = parse(BOB, &domains()).expect("sound");
        let addresses: Vec<&str> = users.iter().map(|user| user.address.as_str()).collect();
        assert_eq!(
            addresses,
            ["bob@contoso.com", "alice@contoso.com", "carol@fabrikam.com"]
        );
        let bob = &users[0];
        assert_eq!(
            (bob.given_name.as_str(), bob.surname.as_str()),
            ("Bob", "Kelly")
        );
        assert_eq!(bob.country_code, "US");
        assert_eq!(bob.phones.mobile, "+1 555 0101");
        assert_eq!(bob.lines[0].server, "sip:pbx@gw.contoso.com");
        assert_eq!(users[1].display_name, "alice");
        assert!(users[2].disabled && !users[1].disabled);
    }

    //= MS-PRES 2.2.2.7.4
    //= type=test
    //# a line is a tel URI; its server is a SIP URI that Rcc and UcPrivate have, Dual may have, Uc has not
    // proves: PRES-2.2.2.7.4-02 PRES-2.2.2.7.4-03 PRES-2.2.2.7.4-04 PRES-2.2.2.7.4-07
    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let line = |text: &str| format!("[[user]]\naddress='bob'\nlines=[{{{text}}}]");
        for (text, expected) in [
            ("[[user]]\nname = 'x'".to_owned(), "line 2"),
            (
                "[[user]]\nname = 'x'".to_owned(),
                "unknown field `name`, expected one of `address`",
            ),
            (
                "[[users]]\naddress = 'x'".to_owned(),
                "unknown field `users`, expected `user`",
            ),
            ("[[user]]\ntitle = 7".to_owned(), "expected a string"),
            (
                "\n\n[[user]]\ntitle = 'x'".to_owned(),
                "line 3: a user without address",
            ),
            (
                "[[user]]\naddress = 'a'\n\n[[user]]\naddress = 'bob@elsewhere.example'".to_owned(),
                "line 4: address = \"bob@elsewhere.example\"; expected an address of this deployment, such as \"bob@contoso.com\"",
            ),
            (
                "[[user]]\naddress = 'bob'\n[[user]]\naddress = 'sip:BOB@contoso.com'".to_owned(),
                "line 3: bob@contoso.com is a user already, at line 1",
            ),
            (
                "[[user]]\naddress = 'bob'\ncountry_code = 'USA'".to_owned(),
                "expected two letters of ISO 3166",
            ),
            (line("uri='+123'"), "expected a tel URI"),
            (line("uri='tel:+123', type='rcc'"), "needs server"),
            (line("uri='tel:+123', type='uc-private'"), "needs server"),
            (
                line("uri='tel:+123', type='uc', server='sip:a@b'"),
                "of type uc has no server",
            ),
            (
                line("uri='tel:+123', type='dual', server='tel:+1'"),
                "expected a SIP URI",
            ),
            (
                line("uri='tel:+123', type='pbx'"),
                "expected one of `uc`, `uc-private`, `rcc`, `dual`",
            ),
        ] {
            let why = parse(&text, &domains()).expect_err(&text);
            assert!(why.contains(expected), "{text}\n{why}");
        }
        for text in [line("uri='tel:+123', type='dual'"), line("uri='tel:+123'")] {
            assert!(parse(&text, &domains()).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_copy_says_what_was_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("directory.toml");
        let users = parse(BOB, &domains()).expect("sound");
        keep(&path, &users);
        keep(&path, &users);
        assert_eq!(read(&path, &domains()).expect("readable"), users);
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_without_users_or_no_file_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users.toml");
        let error = |path: &Path| read(path, &domains()).expect_err("no users").to_string();
        assert!(error(&path).contains("cannot be read"), "{}", error(&path));
        fs::write(&path, "# nobody yet\n").expect("written");
        assert!(error(&path).contains("holds no user"), "{}", error(&path));
    }
}
