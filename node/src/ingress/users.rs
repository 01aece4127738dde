//! The users file: who may sign in, and the secrets that prove it.
//!
//! A line for each secret, `user:realm:scheme:secret`; `#` begins a comment. The secret of a digest
//! algorithm is HA1, the hash of `user:realm:password`; that of NTLM is the NT hash of the password, and
//! that is as good as the password itself: so the file is its owner's alone.
//!
//! The server only reads it. `lamplight user` changes it, whole or not at all, and leaves what it does not
//! know how to change (comments, other realms) as it was.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::digest::Algorithm;
use super::ntlm::NtHash;

/// Longest name of a user, and longest realm.
const NAME_MAX: usize = 255;

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIP Digest.
    Digest(Algorithm),
    /// NTLM.
    Ntlm,
}

impl Kind {
    /// All that a user has.
    pub const ALL: [Kind; 4] = [
        Kind::Digest(Algorithm::Md5),
        Kind::Digest(Algorithm::Sha256),
        Kind::Digest(Algorithm::Sha512_256),
        Kind::Ntlm,
    ];

    /// As in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Digest(algorithm) => algorithm.as_str(),
            Kind::Ntlm => "NTLM",
        }
    }

    fn parse(text: &str) -> Option<Kind> {
        let is = |known: &Kind| known.as_str().eq_ignore_ascii_case(text);
        Kind::ALL.into_iter().find(is)
    }

    /// Hexadecimal digits of a secret.
    fn digits(self) -> usize {
        match self {
            Kind::Digest(Algorithm::Md5) | Kind::Ntlm => 32,
            Kind::Digest(Algorithm::Sha256 | Algorithm::Sha512_256) => 64,
        }
    }

    /// The secret of a user with this password.
    fn secret(self, user: &str, realm: &str, password: &str) -> String {
        match self {
            Kind::Digest(algorithm) => algorithm.hash(&[user, realm, password]),
            Kind::Ntlm => NtHash::of_password(password).digits(),
        }
    }
}

/// A line that holds a secret.
struct Entry<'l> {
    user: &'l str,
    realm: &'l str,
    kind: Kind,
    secret: &'l str,
}

impl Entry<'_> {
    fn is_of(&self, user: &str, realm: &str) -> bool {
        self.realm == realm && self.user.eq_ignore_ascii_case(user)
    }
}

/// What a line holds: nothing, or a secret.
fn read(line: &str) -> Result<Option<Entry<'_>>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let parts: Vec<&str> = line.split(':').collect();
    let [user, realm, scheme, secret] = parts[..] else {
        return Err("expected user:realm:scheme:secret".to_owned());
    };
    let kind = Kind::parse(scheme).ok_or_else(|| {
        format!("unknown scheme {scheme:?}; expected MD5, SHA-256, SHA-512-256 or NTLM")
    })?;
    let digits = kind.digits();
    if secret.len() != digits || !secret.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let kind = kind.as_str();
        return Err(format!(
            "the secret of {kind} has {digits} hexadecimal digits"
        ));
    }
    Ok(Some(Entry {
        user,
        realm,
        kind,
        secret,
    }))
}

/// The secrets of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Proofs {
    digest: Vec<(Algorithm, String)>,
    ntlm: Option<NtHash>,
}

/// The secrets of one realm's users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// By name, in small letters.
    users: HashMap<String, Proofs>,
    /// What every user can prove itself with.
    algorithms: Vec<Algorithm>,
}

impl Secrets {
    /// Reads the file.
    ///
    /// # Errors
    /// One line that says which line of the file is wrong, and how it should be.
    pub fn load(path: &Path, realm: &str) -> Result<Secrets, String> {
        let text = fs::read_to_string(path).map_err(|why| {
            format!(
                "the users file {} cannot be read: {why}; lamplight user add makes it",
                path.display()
            )
        })?;
        Secrets::parse(&text, realm).map_err(|why| format!("{} {why}", path.display()))
    }

    /// Reads the text of the file.
    ///
    /// # Errors
    /// Which line is wrong, and how it should be.
    pub fn parse(text: &str, realm: &str) -> Result<Secrets, String> {
        let mut users: HashMap<String, Proofs> = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let on = |why: String| format!("line {}: {why}", number + 1);
            let Some(entry) = read(line).map_err(on)? else {
                continue;
            };
            if entry.realm != realm {
                let of = entry.realm;
                return Err(on(format!("realm {of:?} is not this node's {realm:?}")));
            }
            let proofs = users.entry(entry.user.to_ascii_lowercase()).or_default();
            match entry.kind {
                Kind::Digest(algorithm) => {
                    proofs.digest.retain(|(known, _)| *known != algorithm);
                    proofs
                        .digest
                        .push((algorithm, entry.secret.to_ascii_lowercase()));
                }
                Kind::Ntlm => proofs.ntlm = NtHash::parse(entry.secret),
            }
        }
        Ok(Secrets {
            algorithms: common(&users),
            users,
        })
    }

    /// The digest algorithms to ask for, strongest first.
    //= RFC 8760 2.4
    //# a client takes the strongest that it knows, so only what every user has a secret for is offered
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// HA1 of a user.
    #[must_use]
    pub fn digest(&self, user: &str, algorithm: Algorithm) -> Option<&str> {
        let proofs = self.users.get(&user.to_ascii_lowercase())?;
        let found = proofs.digest.iter().find(|(of, _)| *of == algorithm);
        found.map(|(_, secret)| &**secret)
    }

    /// The NT hash of a user.
    #[must_use]
    pub fn ntlm(&self, user: &str) -> Option<NtHash> {
        self.users.get(&user.to_ascii_lowercase())?.ntlm
    }

    /// How many users there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// The algorithms that every user of digest has, or, where there is none, those that anybody has.
fn common(users: &HashMap<String, Proofs>) -> Vec<Algorithm> {
    let has = |proofs: &Proofs, algorithm| proofs.digest.iter().any(|(of, _)| *of == algorithm);
    let of_digest = || users.values().filter(|proofs| !proofs.digest.is_empty());
    let everybody = |algorithm: &Algorithm| of_digest().all(|proofs| has(proofs, *algorithm));
    let anybody = |algorithm: &Algorithm| of_digest().any(|proofs| has(proofs, *algorithm));
    let all = Algorithm::ALL.into_iter();
    let common: Vec<Algorithm> = all.clone().filter(everybody).collect();
    if common.is_empty() {
        all.filter(anybody).collect()
    } else {
        common
    }
}

/// A user as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub user: String,
    /// The realm.
    pub realm: String,
    /// What it has secrets for.
    pub kinds: Vec<Kind>,
}

/// The file, to be changed.
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    lines: Vec<String>,
    /// Keeps others from changing it as well, until this is dropped.
    _lock: File,
}

impl UsersFile {
    /// Reads the file, or begins a new one where there is none, and keeps other writers out.
    ///
    /// # Errors
    /// One line that says what is wrong and what to do.
    pub fn open(path: &Path) -> Result<UsersFile, String> {
        // Of a link, what it points to is changed.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = folder_of(&path);
        let lock = File::open(folder)
            .and_then(|folder| folder.lock().map(|()| folder))
            .map_err(|why| format!("the folder {} cannot be used: {why}", folder.display()))?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(why) if why.kind() == io::ErrorKind::NotFound => String::new(),
            Err(why) => return Err(format!("{} cannot be read: {why}", path.display())),
        };
        for (number, line) in text.lines().enumerate() {
            read(line).map_err(|why| {
                format!(
                    "{} line {}: {why}; nothing was changed",
                    path.display(),
                    number + 1
                )
            })?;
        }
        Ok(UsersFile {
            path,
            lines: text.lines().map(str::to_owned).collect(),
            _lock: lock,
        })
    }

    /// Whether a user is in it.
    #[must_use]
    pub fn has(&self, user: &str, realm: &str) -> bool {
        self.lines.iter().any(|line| is_of(line, user, realm))
    }

    /// The users, in the order of the file.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let mut listed: Vec<Listed> = Vec::new();
        for entry in self
            .lines
            .iter()
            .filter_map(|line| read(line).ok().flatten())
        {
            let known = listed
                .iter_mut()
                .find(|known| entry.is_of(&known.user, &known.realm));
            match known {
                Some(known) => known.kinds.push(entry.kind),
                None => listed.push(Listed {
                    user: entry.user.to_owned(),
                    realm: entry.realm.to_owned(),
                    kinds: vec![entry.kind],
                }),
            }
        }
        listed
    }

    /// Gives a user this password in all schemes, where it stood before or at the end.
    ///
    /// # Errors
    /// Why the name, the realm or the password cannot be taken.
    pub fn set(&mut self, user: &str, realm: &str, password: &str) -> Result<(), String> {
        check_name(user)?;
        check_realm(realm)?;
        check_password(password)?;
        // The hashes hold the name as it was given first: a phone sends it in the same letters.
        let written = self.lines.iter().find(|line| is_of(line, user, realm));
        let user = written
            .and_then(|line| line.trim().split(':').next())
            .unwrap_or(user)
            .to_owned();
        let at = self.lines.iter().position(|line| is_of(line, &user, realm));
        self.lines.retain(|line| !is_of(line, &user, realm));
        let at = at.unwrap_or(self.lines.len());
        let secrets = Kind::ALL.map(|kind| {
            let secret = kind.secret(&user, realm, password);
            format!("{user}:{realm}:{}:{secret}", kind.as_str())
        });
        self.lines.splice(at..at, secrets);
        Ok(())
    }

    /// Takes a user out.
    pub fn remove(&mut self, user: &str, realm: &str) {
        self.lines.retain(|line| !is_of(line, user, realm));
    }

    /// Writes the file: beside the old one, to the disk, and then in its place.
    ///
    /// # Errors
    /// One line that says what is wrong; then the file is as it was.
    pub fn save(&self) -> Result<(), String> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = self.path.with_file_name(name);
        self.write(&beside).map_err(|why| {
            let _ = fs::remove_file(&beside);
            format!(
                "{} cannot be written: {why}; it is as it was",
                self.path.display()
            )
        })
    }

    fn write(&self, beside: &Path) -> io::Result<()> {
        // What a writer that was killed left behind; the lock is ours.
        match fs::remove_file(beside) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(beside)?;
        // An administrator who changes the server's file leaves it to the server.
        if let (Ok(before), Ok(now)) = (fs::metadata(&self.path), file.metadata())
            && (before.uid(), before.gid()) != (now.uid(), now.gid())
        {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
        }
        for line in &self.lines {
            file.write_all(line.as_bytes())?;
            file.write_all(b"\n")?;
        }
        file.sync_all()?;
        fs::rename(beside, &self.path)?;
        File::open(folder_of(&self.path))?.sync_all()
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn is_of(line: &str, user: &str, realm: &str) -> bool {
    read(line).is_ok_and(|entry| entry.is_some_and(|entry| entry.is_of(user, realm)))
}

/// Whether a name can stand in the file, in a header and in an address.
///
/// # Errors
/// How it should be.
fn check_name(user: &str) -> Result<(), String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || ":\"\\<>#;,".contains(c);
    if user.is_empty() || user.len() > NAME_MAX || user.contains(odd) {
        return Err(format!(
            "{user:?} is no name of a user; expected the part of the address before the @, such as alice, \
             or the whole address without sip:"
        ));
    }
    Ok(())
}

/// Whether a realm can stand in the file and in a header.
///
/// # Errors
/// How it should be.
pub fn check_realm(realm: &str) -> Result<(), String> {
    let odd = |c: char| c.is_control() || ":\"\\".contains(c);
    if realm.trim().is_empty() || realm.len() > NAME_MAX || realm.contains(odd) {
        return Err(format!(
            "{realm:?} is no realm; expected text without colons and quotes, such as example.com"
        ));
    }
    Ok(())
}

fn check_password(password: &str) -> Result<(), String> {
    if password.is_empty() {
        return Err("the password is empty; nothing was changed".to_owned());
    }
    if password.contains(char::is_control) {
        return Err("the password has a character that no keyboard types".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_line_that_is_wrong_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        for (line, what) in [
            ("alice", "expected user:realm:scheme:secret"),
            (
                "alice:elsewhere:MD5:00112233445566778899aabbccddeeff",
                "realm \"elsewhere\" is not this node's \"example.com\"",
            ),
            ("alice:example.com:SHA-1:00", "unknown scheme"),
            ("alice:example.com:MD5:xyz", "32 hexadecimal digits"),
            ("alice:example.com:SHA-256:00", "64 hexadecimal digits"),
            ("alice:example.com:NTLM:00", "32 hexadecimal digits"),
        ] {
            fs::write(&file, format!("\n{line}\n")).expect("written");
            let error = Secrets::load(&file, "example.com").expect_err(line);
            assert!(error.contains("line 2") && error.contains(what), "{error}");
        }
        let none = Secrets::load(&folder.path().join("none"), "example.com");
        assert!(none.expect_err("nothing there").contains("user add"));
    }

    #[test]
    fn a_user_has_a_secret_for_each_scheme() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let mut file = UsersFile::open(&path).expect("a new one");
        file.set("alice", "example.com", "wonder").expect("taken");
        file.save().expect("written");
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let secrets = Secrets::load(&path, "example.com").expect("sound");
        assert_eq!(secrets.algorithms(), Algorithm::ALL);
        for algorithm in Algorithm::ALL {
            let expected = algorithm.hash(&["alice", "example.com", "wonder"]);
            assert_eq!(secrets.digest("ALICE", algorithm), Some(&*expected));
        }
        assert_eq!(secrets.ntlm("Alice"), Some(NtHash::of_password("wonder")));
        assert_eq!(secrets.ntlm("bob"), None);
    }

    #[test]
    fn a_change_leaves_the_rest_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let digits = "0123456789abcdef0123456789ABCDEF";
        let before = format!(
            "# ours\nalice:a.example:MD5:{digits}\n\nbob:a.example:NTLM:{digits}\nalice:b.example:MD5:{digits}\n"
        );
        fs::write(&path, &before).expect("written");
        let mut file = UsersFile::open(&path).expect("sound");
        let listed: Vec<(String, String, usize)> = file
            .list()
            .into_iter()
            .map(|one| (one.user, one.realm, one.kinds.len()))
            .collect();
        let row = |user: &str, realm: &str, kinds| (user.to_owned(), realm.to_owned(), kinds);
        assert_eq!(
            listed,
            [
                row("alice", "a.example", 1),
                row("bob", "a.example", 1),
                row("alice", "b.example", 1)
            ]
        );
        assert!(file.has("ALICE", "a.example") && !file.has("carol", "a.example"));
        file.set("Alice", "a.example", "new").expect("taken");
        file.save().expect("written");
        drop(file);
        let text = fs::read_to_string(&path).expect("there");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5 + 3);
        assert!(lines[1].starts_with("alice:a.example:MD5:") && !lines[1].ends_with(digits));
        assert_eq!((lines[0], lines[5]), ("# ours", ""));
        let mut file = UsersFile::open(&path).expect("sound");
        file.remove("alice", "a.example");
        assert!(!file.has("alice", "a.example"));
        file.save().expect("written");
        let rest = before.replace(&format!("alice:a.example:MD5:{digits}\n"), "");
        assert_eq!(fs::read_to_string(&path).expect("there"), rest);
        assert!(!folder.path().join("users.new").exists());
    }

    #[test]
    fn what_cannot_stand_in_the_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let mut file = UsersFile::open(&path).expect("a new one");
        for (user, realm, password, what) in [
            ("", "r", "p", "no name"),
            ("a:b", "r", "p", "no name"),
            ("a b", "r", "p", "no name"),
            ("#a", "r", "p", "no name"),
            ("a\nb", "r", "p", "no name"),
            ("a", "r:s", "p", "no realm"),
            ("a", " ", "p", "no realm"),
            ("a", "r\"", "p", "no realm"),
            ("a", "r", "", "empty"),
            ("a", "r", "p\u{7}", "character"),
        ] {
            let error = file.set(user, realm, password).expect_err(what);
            assert!(error.contains(what), "{user:?} {realm:?}: {error}");
        }
        assert_eq!(file.list(), []);
        drop(file);
        fs::write(&path, "alice\n").expect("written");
        let error = UsersFile::open(&path).expect_err("a bad line");
        assert!(
            error.contains("line 1") && error.contains("nothing was changed"),
            "{error}"
        );
    }

    //= RFC 8760 2.4
    //= type=test
    #[test]
    fn only_what_everybody_can_answer_is_asked_for() {
        let md5 = "00112233445566778899aabbccddeeff";
        let sha = md5.repeat(2);
        let asked = |lines: &[String]| {
            let secrets = Secrets::parse(&lines.join("\n"), "r").expect("sound");
            let names = secrets.algorithms().iter().map(|of| of.as_str());
            names.collect::<Vec<_>>().join(" ")
        };
        let old = format!("old:r:MD5:{md5}");
        let new = [
            format!("new:r:MD5:{md5}"),
            format!("new:r:SHA-256:{sha}"),
            format!("new:r:SHA-512-256:{sha}"),
        ];
        let windows = format!("windows:r:NTLM:{md5}");
        assert_eq!(asked(&new), "SHA-512-256 SHA-256 MD5");
        assert_eq!(
            asked(&[&new[..], std::slice::from_ref(&windows)].concat()),
            "SHA-512-256 SHA-256 MD5"
        );
        assert_eq!(
            asked(&[&new[..], std::slice::from_ref(&old)].concat()),
            "MD5"
        );
        assert_eq!(asked(&[new[1].clone(), old]), "SHA-256 MD5");
        // Nobody to ask: whoever tries is asked for all, and is refused.
        assert_eq!(asked(&[windows]), "SHA-512-256 SHA-256 MD5");
    }
}
