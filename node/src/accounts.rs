//! `lamplight user`: the operator's hand on the users file.

use std::io;

use crate::config::{Account, Auth, Config, NewPassword, UserAction};
use crate::ingress::users::{Kind, Secrets, UsersFile};

/// Does what is asked for; what to print.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn perform(action: &UserAction) -> Result<String, String> {
    match action {
        UserAction::Add(new) => {
            set(new, absent)?;
            let Account { realm, name, .. } = &new.account;
            let kinds = Kind::ALL.map(Kind::as_str).join(", ");
            Ok(format!("{name} of {realm} is a user now ({kinds}); {HUP}"))
        }
        UserAction::Passwd(new) => {
            set(new, present)?;
            let Account { realm, name, .. } = &new.account;
            Ok(format!("{name} of {realm} has another password; {HUP}"))
        }
        UserAction::Remove(account) => {
            let Account { users, realm, name } = account;
            let mut file = UsersFile::open(users)?;
            present(&file, account)?;
            file.remove(name, realm);
            file.save()?;
            Ok(format!("{name} of {realm} is no user any more; {HUP}"))
        }
        UserAction::List { users } => {
            refuse_unless(users.exists(), || {
                format!(
                    "there is no {}; lamplight user add makes it",
                    users.display()
                )
            })?;
            Ok(list(&UsersFile::open(users)?))
        }
    }
}

/// What a running server has to be told.
const HUP: &str = "a running server reads the file on SIGHUP";

/// Whether the users of a configuration are sound.
///
/// # Errors
/// One line that says what is wrong with the file.
pub fn check(config: &Config) -> Result<(), String> {
    match (&config.auth, &config.users) {
        (Auth::Schemes(_), Some(users)) => Secrets::load(users, &config.realm).map(drop),
        _ => Ok(()),
    }
}

fn refuse_unless(fine: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if fine { Ok(()) } else { Err(why()) }
}

fn absent(file: &UsersFile, Account { users, realm, name }: &Account) -> Result<(), String> {
    refuse_unless(!file.has(name, realm), || {
        format!(
            "{name} of {realm} is in {} already; lamplight user passwd gives another password",
            users.display()
        )
    })
}

fn present(file: &UsersFile, Account { users, realm, name }: &Account) -> Result<(), String> {
    refuse_unless(file.has(name, realm), || {
        format!(
            "there is no {name} of {realm} in {}; lamplight user list shows who is, lamplight user add adds",
            users.display()
        )
    })
}

/// Gives a password to a user who is as `expected`. Nobody waits for the file while somebody types, so what
/// was expected is looked at before and after.
fn set(
    new: &NewPassword,
    expected: fn(&UsersFile, &Account) -> Result<(), String>,
) -> Result<(), String> {
    let Account { users, realm, name } = &new.account;
    expected(&UsersFile::open(users)?, &new.account)?;
    let password = if new.password_stdin {
        first_line(&mut io::stdin().lock())?
    } else {
        ask(name)?
    };
    let mut file = UsersFile::open(users)?;
    expected(&file, &new.account)?;
    file.set(name, realm, &password)?;
    file.save()
}

fn first_line(input: &mut impl io::BufRead) -> Result<String, String> {
    let mut line = String::new();
    input
        .read_line(&mut line)
        .map_err(|why| format!("no password on standard input: {why}"))?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    Ok(password.strip_suffix('\r').unwrap_or(password).to_owned())
}

fn ask(name: &str) -> Result<String, String> {
    let prompt = |text: String| {
        rpassword::prompt_password(text).map_err(|why| {
            format!("there is no terminal to ask for the password ({why}); give it with --password-stdin")
        })
    };
    let password = prompt(format!("New password of {name}: "))?;
    let again = prompt("Once more: ".to_owned())?;
    refuse_unless(password == again, || {
        "the two are not the same; nothing was changed".to_owned()
    })?;
    Ok(password)
}

fn list(file: &UsersFile) -> String {
    let listed = file.list();
    let width = |of: &str, all: &mut dyn Iterator<Item = usize>| {
        all.chain([of.len()]).max().unwrap_or_default()
    };
    let user = width("USER", &mut listed.iter().map(|one| one.user.len()));
    let realm = width("REALM", &mut listed.iter().map(|one| one.realm.len()));
    let mut text = format!("{:user$}  {:realm$}  SCHEMES", "USER", "REALM");
    for one in &listed {
        let kinds: Vec<&str> = one.kinds.iter().map(|kind| kind.as_str()).collect();
        let kinds = kinds.join(", ");
        text += &format!("\n{:user$}  {:realm$}  {kinds}", one.user, one.realm);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line() {
        for (input, password) in [
            ("wonder\n", "wonder"),
            ("wonder\r\nnext\n", "wonder"),
            ("with blanks \n", "with blanks "),
            ("no end", "no end"),
            ("", ""),
        ] {
            assert_eq!(first_line(&mut input.as_bytes()).as_deref(), Ok(password));
        }
    }

    #[test]
    fn the_list_is_a_table() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = UsersFile::open(&folder.path().join("users")).expect("new");
        for user in ["alice", "bo"] {
            file.set(user, "example.com", "secret").expect("taken");
        }
        assert_eq!(
            list(&file),
            "USER   REALM        SCHEMES\n\
             alice  example.com  MD5, SHA-256, SHA-512-256, NTLM\n\
             bo     example.com  MD5, SHA-256, SHA-512-256, NTLM"
        );
    }
}
