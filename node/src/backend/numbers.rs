//! Which lines a switchboard has for a user: by the directory's telephone numbers, or by a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::config::Pbx;
use crate::directory::Snapshot;

/// Lines of one user at one switchboard. More are left out: a user with more is a telephone exchange.
const LINES_MAX: usize = 16;

/// Numbers by address.
pub(super) type ByUser = BTreeMap<String, Vec<String>>;

/// Reads a file with a line `alice@example.com:200` for each number.
///
/// # Errors
/// Which line is wrong, in a sentence.
pub(super) fn read(path: &Path) -> Result<ByUser, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|why| format!("{}: {why}", path.display()))?;
    parse(&text).map_err(|line| {
        format!(
            "{}: line {line} is none of a user; expected alice@example.com:200",
            path.display()
        )
    })
}

fn parse(text: &str) -> Result<ByUser, usize> {
    let mut users = ByUser::new();
    for (place, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (address, number) = line.rsplit_once(':').ok_or(place)?;
        let (address, number) = (address.trim(), number.trim());
        let legal = |c: char| c.is_ascii_alphanumeric() || "+*#._-".contains(c);
        if !address.contains('@') || number.is_empty() || !number.chars().all(legal) {
            return Err(place);
        }
        let numbers = users.entry(address.to_ascii_lowercase()).or_default();
        if !numbers.iter().any(|known| known == number) {
            numbers.push(number.to_owned());
        }
    }
    Ok(users)
}

/// The lines that a switchboard has: of whom, with which number, and the URI to subscribe to.
pub(super) fn lines(
    pbx: &Pbx,
    file: Option<&ByUser>,
    directory: Option<&Arc<Snapshot>>,
    ours: impl Fn(&str) -> bool,
) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    let mut put = |address: &str, numbers: &mut dyn Iterator<Item = &String>| {
        let wanted = |number: &&String| {
            let numbers = &pbx.numbers;
            numbers.is_empty() || numbers.iter().any(|begin| number.starts_with(begin))
        };
        for number in numbers.filter(wanted).take(LINES_MAX) {
            let uri = uri(pbx, address, number);
            all.push((address.to_owned(), number.clone(), uri));
        }
    };
    match (file, directory) {
        (Some(file), _) => {
            for (address, numbers) in file.iter().filter(|(address, _)| ours(address)) {
                put(address, &mut numbers.iter());
            }
        }
        (None, Some(directory)) => {
            for address in directory.addresses().filter(|address| ours(address)) {
                put(address, &mut directory.numbers(address).iter());
            }
        }
        (None, None) => {}
    }
    all
}

fn uri(pbx: &Pbx, address: &str, number: &str) -> String {
    let user = address.split('@').next().unwrap_or_default();
    let spelled = |text: &str| {
        let mut out = String::new();
        for byte in text.bytes() {
            // RFC 3261 §25.1: what may stand in the user part of a URI.
            if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        out
    };
    let digits = number.len().saturating_sub(match pbx.extension_digits {
        0 => number.len(),
        some => some,
    });
    let extension = number.get(digits..).unwrap_or(number);
    pbx.line
        .replace("{tel}", &spelled(number))
        .replace("{ext}", &spelled(extension.trim_start_matches('+')))
        .replace("{user}", &spelled(user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use transport::flow::Transport;

    fn pbx(line: &str, numbers: &[&str], extension_digits: usize) -> Pbx {
        Pbx {
            name: "main".to_owned(),
            transport: Transport::Udp,
            host: "pbx".to_owned(),
            port: 5060,
            line: line.to_owned(),
            users: None,
            numbers: numbers.iter().map(|begin| (*begin).to_owned()).collect(),
            extension_digits,
            from: "sip:l@x".to_owned(),
            login: None,
            expires_s: 600,
            hold_s: 300,
        }
    }

    #[test]
    fn a_number_becomes_a_line() {
        let text = "# lines\nalice@x:+4930555200\nAlice@x:*21#\n\nbob@x:300\n";
        let file = parse(text).expect("sound");
        for (template, numbers, digits, expected) in [
            (
                "sip:{tel}@pbx",
                &[][..],
                0,
                "sip:+4930555200@pbx sip:*21%23@pbx sip:300@pbx",
            ),
            ("sip:{ext}@pbx", &["+4930555"][..], 3, "sip:200@pbx"),
            ("sip:{ext}@pbx", &["+49"][..], 0, "sip:4930555200@pbx"),
            ("sip:{user}@pbx", &["3"][..], 0, "sip:bob@pbx"),
        ] {
            let pbx = pbx(template, numbers, digits);
            let lines = lines(&pbx, Some(&file), None, |_| true);
            let uris: Vec<&str> = lines.iter().map(|(_, _, uri)| uri.as_str()).collect();
            assert_eq!(uris.join(" "), expected, "{template}");
        }
        let none = lines(&pbx("sip:{tel}@pbx", &[], 0), Some(&file), None, |_| false);
        assert!(none.is_empty(), "of other shards");
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line) in [
            ("alice@x", 1),
            ("\nalice:200", 2),
            ("alice@x:", 1),
            ("alice@x:2 0", 1),
            ("alice@x:200>", 1),
        ] {
            assert_eq!(parse(text), Err(line), "{text}");
        }
    }
}
