//! `lamplight import`: publications out of the table `presentity` of Kamailio or OpenSIPS, through the publish API of a
//! running node, so that they pass every check that other publications pass.
//!
//! What is read is a dump of the database (`mysqldump`, with the table's definition) or a file with comma-separated
//! values whose first line names the columns (`\copy … csv header`). Nothing is taken from `active_watchers`: a dialog
//! lives on both sides.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::xxh3_64;

use crate::config::{ImportAction, ImportFormat};
use crate::operator::bearer;

/// Bytes of a file that is read as a whole: a million publications of a kilobyte.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Calls for one publication while the pool has too much to do.
const TRIES: u32 = 10;

/// Rows that were not taken whose reason is printed.
const REASONS_MAX: usize = 10;

/// A row by the names of its columns; `None` for NULL.
type Row = BTreeMap<String, Option<String>>;

/// Publishes what a table has.
///
/// # Errors
/// One line that says what is wrong with the file, or that nobody answers.
pub fn import(action: &ImportAction) -> Result<String, String> {
    let ImportFormat::KamailioPresentity = action.format;
    let show = |why: &dyn std::fmt::Display| format!("{}: {why}", action.file.display());
    let length = fs::metadata(&action.file).map_err(|why| show(&why))?.len();
    if length > FILE_BYTES_MAX {
        return Err(show(&"more than a gibibyte; import it in parts"));
    }
    let bytes = fs::read(&action.file).map_err(|why| show(&why))?;
    let text = String::from_utf8(bytes).map_err(|_| show(&"it is not UTF-8"))?;
    let rows = rows(&text).map_err(|why| show(&why))?;
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let shown = bearer(&action.at)?;
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .build(),
    );
    let (mut taken, mut left) = (0, BTreeMap::<String, usize>::new());
    for row in &rows {
        let published = match publication(row, now_s, action.most) {
            Ok(publication) if action.dry_run => {
                drop(publication);
                Ok(())
            }
            Ok(publication) => put(&agent, action, shown.as_deref(), &publication),
            Err(why) => Err(Trouble::Row(why)),
        };
        match published {
            Ok(()) => taken += 1,
            Err(Trouble::Row(why)) => *left.entry(why).or_default() += 1,
            Err(Trouble::All(why)) => {
                return Err(format!("{why}; {taken} of {} were taken", rows.len()));
            }
        }
    }
    let what = if action.dry_run {
        "would be published"
    } else {
        "published"
    };
    let mut said = format!("{taken} of {} rows {what}", rows.len());
    for (why, count) in left.iter().take(REASONS_MAX) {
        let _ = write!(said, "\n{count} not: {why}");
    }
    Ok(said)
}

/// What a row comes to.
#[derive(Debug, PartialEq, Eq)]
struct Publication {
    /// The path of the call, with the lifetime.
    path: String,
    body: String,
}

/// Why a row is not taken, or none is.
enum Trouble {
    Row(String),
    All(String),
}

fn publication(row: &Row, now_s: u64, most: u32) -> Result<Publication, String> {
    let field = |name: &str| row.get(name).and_then(|value| value.as_deref());
    let need = |name: &str| match field(name) {
        Some(value) if !value.is_empty() => Ok(value),
        _ => Err(format!("there is no {name}")),
    };
    let event = need("event")?;
    if event != "presence" {
        return Err(format!("the event is {event}"));
    }
    let expires: u64 = need("expires")?
        .parse()
        .map_err(|_| "expires is no time".to_owned())?;
    let left = expires.saturating_sub(now_s);
    if left == 0 {
        return Err("it has expired".to_owned());
    }
    let seconds = left.min(u64::from(most));
    let (user, domain, body) = (need("username")?, need("domain")?, need("body")?);
    // One source for each publication of the old server, the same when the import is done again.
    let source = xxh3_64(need("etag")?.as_bytes());
    Ok(Publication {
        path: format!(
            "/publish/sip:{}@{}/import-{source:016x}?expires={seconds}",
            escaped(user),
            escaped(domain)
        ),
        body: unwrapped(body)?,
    })
}

/// PostgreSQL writes bytes as `\x3c3f…`.
fn unwrapped(body: &str) -> Result<String, String> {
    let Some(digits) = body.strip_prefix("\\x") else {
        return Ok(body.to_owned());
    };
    let bytes = hex(digits).ok_or("the body is no hexadecimal")?;
    String::from_utf8(bytes).map_err(|_| "the body is not UTF-8".to_owned())
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok())
        .collect()
}

/// What may stand in a path as it is; the rest by its number.
fn escaped(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn put(
    agent: &ureq::Agent,
    action: &ImportAction,
    shown: Option<&str>,
    publication: &Publication,
) -> Result<(), Trouble> {
    let admin = action.at.admin;
    let mut tried = 0;
    loop {
        let mut request = agent
            .put(format!("http://{admin}{}", publication.path))
            .header("Content-Type", "application/pidf+xml");
        if let Some(shown) = shown {
            request = request.header("Authorization", shown);
        }
        let mut answer = request.send(&publication.body).map_err(|why| {
            Trouble::All(format!(
                "the admin listener at {admin} does not answer: {why}"
            ))
        })?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        tried += 1;
        match status {
            200..=299 => return Ok(()),
            401 | 403 => return Err(Trouble::All(format!("the node answered {status}: {text}"))),
            429 | 503 if tried < TRIES => {
                let wait = answer.headers().get("Retry-After");
                let wait = wait.and_then(|value| value.to_str().ok()?.parse().ok());
                std::thread::sleep(Duration::from_secs(wait.unwrap_or(1).min(15)));
            }
            429 | 503 => {
                return Err(Trouble::All(format!(
                    "the node answers {status} all the time"
                )));
            }
            _ => return Err(Trouble::Row(format!("the node answered {status}: {text}"))),
        }
    }
}

/// The rows of a dump or of comma-separated values.
fn rows(text: &str) -> Result<Vec<Row>, String> {
    if text.contains("INSERT INTO") {
        dump(text)
    } else {
        csv(text)
    }
}

/// Comma-separated values, quoted where need be; the first line has the names.
fn csv(text: &str) -> Result<Vec<Row>, String> {
    let mut lines = Vec::new();
    let mut letters = text.chars().peekable();
    while letters.peek().is_some() {
        let mut line: Vec<Option<String>> = Vec::new();
        loop {
            let mut value = String::new();
            let quoted = letters.next_if_eq(&'"').is_some();
            if quoted {
                loop {
                    match letters.next() {
                        Some('"') if letters.next_if_eq(&'"').is_some() => value.push('"'),
                        Some('"') => break,
                        Some(letter) => value.push(letter),
                        None => return Err("a quote is not closed".to_owned()),
                    }
                }
            } else {
                while let Some(letter) = letters.next_if(|letter| !",\r\n".contains(*letter)) {
                    value.push(letter);
                }
            }
            line.push((quoted || !value.is_empty()).then_some(value));
            match letters.next() {
                Some(',') => {}
                Some('\r') if letters.next_if_eq(&'\n').is_some() => break,
                Some('\n') | None => break,
                Some(letter) => return Err(format!("{letter:?} follows a quoted value")),
            }
        }
        if line.iter().any(Option::is_some) {
            lines.push(line);
        }
    }
    let mut lines = lines.into_iter();
    let names: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .into_iter()
        .map(|name| name.unwrap_or_default().trim().to_lowercase())
        .collect();
    named(&names, lines)
}

fn named(
    names: &[String],
    lines: impl Iterator<Item = Vec<Option<String>>>,
) -> Result<Vec<Row>, String> {
    if !["username", "domain", "event", "etag", "expires", "body"]
        .iter()
        .all(|wanted| names.iter().any(|name| name == wanted))
    {
        return Err(format!(
            "it is no table presentity: its columns are {names:?}; a dump needs the table's definition, and comma-separated \
             values a first line with the names"
        ));
    }
    lines
        .enumerate()
        .map(|(number, line)| {
            if line.len() != names.len() {
                return Err(format!("row {} has {} values", number + 1, line.len()));
            }
            Ok(names.iter().cloned().zip(line).collect())
        })
        .collect()
}

/// The rows that a dump inserts into the table.
fn dump(text: &str) -> Result<Vec<Row>, String> {
    let mut defined: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let create = rest.find("CREATE TABLE");
        let insert = rest.find("INSERT INTO");
        let (at, length, is_insert) = match (create, insert) {
            (Some(create), Some(insert)) if create < insert => (create, 12, false),
            (_, Some(insert)) => (insert, 11, true),
            (Some(create), None) => (create, 12, false),
            (None, None) => break,
        };
        let after = rest[at + length..].trim_start();
        let after = after
            .strip_prefix("IF NOT EXISTS")
            .map_or(after, str::trim_start);
        let (table, after) = name(after);
        rest = after;
        if table != "presentity" {
            continue;
        }
        if !is_insert {
            let end = after.find(';').ok_or("the table's definition has no end")?;
            defined = after[..end]
                .lines()
                .filter_map(|line| line.trim().strip_prefix('`'))
                .filter_map(|line| Some(line.split_once('`')?.0.to_lowercase()))
                .collect();
            rest = &after[end..];
            continue;
        }
        let after = after.trim_start();
        let (names, after) = match after.strip_prefix('(') {
            None => (defined.clone(), after),
            Some(list) => {
                let (list, after) = list.split_once(')').ok_or("a list of columns has no end")?;
                let names = list.split(',').map(|one| name(one.trim()).0.to_lowercase());
                (names.collect(), after.trim_start())
            }
        };
        let mut after = after
            .strip_prefix("VALUES")
            .ok_or("INSERT INTO without VALUES")?
            .trim_start();
        let mut lines = Vec::new();
        while let Some(values) = after.strip_prefix('(') {
            let (line, behind) = tuple(values)?;
            lines.push(line);
            after = behind.trim_start();
            after = after.strip_prefix(',').map_or(after, str::trim_start);
        }
        rest = after;
        found.extend(named(&names, lines.into_iter())?);
    }
    Ok(found)
}

/// A name in quotes or not, and what follows it.
fn name(text: &str) -> (&str, &str) {
    for quote in ['`', '"'] {
        if let Some((name, rest)) = text
            .strip_prefix(quote)
            .and_then(|text| text.split_once(quote))
        {
            return (name, rest);
        }
    }
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    text.split_at(end.unwrap_or(text.len()))
}

/// The values up to the closing parenthesis, and what follows.
fn tuple(text: &str) -> Result<(Vec<Option<String>>, &str), String> {
    let mut values = Vec::new();
    let mut rest = text.trim_start();
    loop {
        rest = rest.strip_prefix("_binary").map_or(rest, str::trim_start);
        if let Some(inside) = rest.strip_prefix('\'') {
            let (value, after) = quoted(inside)?;
            values.push(Some(value));
            rest = after.trim_start();
        } else {
            let end = rest.find([',', ')']).ok_or("a row has no end")?;
            let word = rest[..end].trim();
            values.push(match word {
                "NULL" => None,
                _ => Some(match word.strip_prefix("0x").and_then(hex) {
                    Some(bytes) => String::from_utf8(bytes).map_err(|_| "a value is not UTF-8")?,
                    None => word.to_owned(),
                }),
            });
            rest = &rest[end..];
        }
        match rest.as_bytes().first() {
            Some(b',') => rest = rest[1..].trim_start(),
            Some(b')') => return Ok((values, &rest[1..])),
            _ => return Err("a row is not as it should be".to_owned()),
        }
    }
}

/// A text up to its closing quote, as MySQL escapes it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' if text[at + 1..].starts_with('\'') => {
                letters.next();
                value.push('\'');
            }
            '\'' => return Ok((value, &text[at + 1..])),
            '\\' => match letters.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some('0') => value.push('\0'),
                Some(other) => value.push(other),
                None => break,
            },
            letter => value.push(letter),
        }
    }
    Err("a text is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = r#"-- a dump
CREATE TABLE `version` (
  `table_name` varchar(32) NOT NULL
);
INSERT INTO `version` VALUES ('presentity',13);
CREATE TABLE IF NOT EXISTS `presentity` (
  `id` int(10) unsigned NOT NULL AUTO_INCREMENT,
  `username` varchar(64) NOT NULL,
  `domain` varchar(64) NOT NULL,
  `event` varchar(64) NOT NULL,
  `etag` varchar(128) NOT NULL,
  `expires` int(11) NOT NULL,
  `received_time` int(11) NOT NULL,
  `body` blob NOT NULL,
  `sender` varchar(255) NOT NULL,
  PRIMARY KEY (`id`)
);
INSERT INTO `presentity` VALUES (1,'alice','example.com','presence','a.1',2000,10,_binary '<a b=\"it\'s; (1)\">\n</a>',''),
 (2,'bob','example.com','dialog','a.2',2000,10,'x',NULL),(3,'o''brien','example.com','presence','a.3',900,10,0x3c612f3e,'');
"#;

    #[test]
    fn rows_are_read_from_dumps_and_from_comma_separated_values() {
        let found = dump(DUMP).expect("read");
        assert_eq!(found.len(), 3);
        assert_eq!(
            found[0]["body"].as_deref(),
            Some("<a b=\"it's; (1)\">\n</a>")
        );
        assert_eq!(found[1]["sender"], None);
        assert_eq!(found[2]["username"].as_deref(), Some("o'brien"));
        assert_eq!(found[2]["body"].as_deref(), Some("<a/>"));
        let listed = "INSERT INTO presentity (username, domain, event, etag, expires, body) VALUES ('a','b','c','d',1,'e');";
        assert_eq!(rows(listed).expect("read")[0]["etag"].as_deref(), Some("d"));
        let lines = "id,username,domain,event,etag,expires,body\r\n\
                     1,alice,example.com,presence,x,2000,\"<a b=\"\"1\"\">\n,</a>\"\r\n\
                     2,bob,example.com,presence,y,2000,\\x3c612f3e\n";
        let found = rows(lines).expect("read");
        assert_eq!(found[0]["body"].as_deref(), Some("<a b=\"1\">\n,</a>"));
        assert_eq!(found[1]["username"].as_deref(), Some("bob"));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (text, why) in [
            ("", "no table presentity"),
            ("id,username\n1,alice\n", "no table presentity"),
            (
                "username,domain,event,etag,expires,body\n1,2\n",
                "row 1 has 2 values",
            ),
            ("username,\"domain\n", "not closed"),
            (
                "INSERT INTO `presentity` VALUES (1,'a');",
                "no table presentity",
            ),
            ("INSERT INTO `presentity` (`a`) VALUES ('a", "not closed"),
            ("INSERT INTO `presentity` (`a`) VALUES (1", "no end"),
            ("INSERT INTO `presentity` (`a` VALUES", "no end"),
            ("INSERT INTO `presentity` SELECT 1;", "without VALUES"),
        ] {
            let error = rows(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_row_is_published_for_what_is_left_of_its_time() {
        let found = dump(DUMP).expect("read");
        let one = publication(&found[0], 1_000, 600).expect("a publication");
        assert!(
            one.path
                .starts_with("/publish/sip:alice@example.com/import-")
        );
        assert!(one.path.ends_with("?expires=600"), "{}", one.path);
        let late = publication(&found[0], 1_900, 600).expect("a publication");
        assert!(late.path.ends_with("?expires=100"), "{}", late.path);
        assert_eq!(
            publication(&found[1], 1_000, 600),
            Err("the event is dialog".to_owned())
        );
        assert_eq!(
            publication(&found[2], 1_000, 600),
            Err("it has expired".to_owned())
        );
        assert_eq!(escaped("a b/c?ü"), "a%20b%2Fc%3F%C3%BC");
        assert_eq!(unwrapped("\\x3c612f3e").as_deref(), Ok("<a/>"));
        assert!(unwrapped("\\x3c6").is_err());
    }
}
