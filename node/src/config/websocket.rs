//! `[websocket]` of node.toml: whose pages may connect, and how soon a silent browser is missed.

use std::time::Duration;

use serde::Deserialize;
use transport::io::websocket::{Origin, WebSockets};

/// The section.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Section {
    origins: Option<Vec<String>>,
    ping_s: Option<u64>,
}

/// The settings: those of the section, with the origins of the command line in place of its own. Where nobody
/// names origins, pages of hosts that bear the name of one of our domains may connect.
///
/// # Errors
/// One line that says which setting and what was expected.
pub(super) fn check(
    section: Section,
    flags: &[String],
    domains: &[String],
) -> Result<WebSockets, String> {
    let named = match flags {
        [] => section.origins,
        flags => Some(flags.to_vec()),
    };
    let origins = match named {
        Some(named) => named
            .iter()
            .map(|text| origin(text))
            .collect::<Result<_, _>>()?,
        None => domains.iter().cloned().map(Origin::Host).collect(),
    };
    let ping_s = section.ping_s.unwrap_or(50);
    if !(1..=3_600).contains(&ping_s) {
        return Err(format!("websocket.ping_s = {ping_s}; expected 1 to 3600"));
    }
    Ok(WebSockets {
        origins,
        ping: Duration::from_secs(ping_s),
    })
}

fn origin(text: &str) -> Result<Origin, String> {
    let lower = text.to_ascii_lowercase();
    let whole = |(scheme, authority): (&str, &str)| {
        !scheme.is_empty()
            && !authority.is_empty()
            && !authority.contains(|c: char| c.is_whitespace() || "/?#*@".contains(c))
    };
    match lower.as_str() {
        "*" => Ok(Origin::Any),
        "null" => Ok(Origin::Exact(lower)),
        _ if lower.split_once("://").is_some_and(whole) => Ok(Origin::Exact(lower)),
        _ => Err(format!(
            "websocket.origins: {text:?} is no origin; expected one such as https://phone.example.com, with its port if \
             that is unusual and without a path; \"null\" for pages of files; or \"*\" for all"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Section {
        toml::from_str(text).expect("a section")
    }

    #[test]
    fn pages_of_our_domains_may_connect_unless_others_are_named() {
        let domains = ["example.com".to_owned()];
        let of = |text: &str, flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
            check(section(text), &flags, &domains)
        };
        let exact = |text: &str| Origin::Exact(text.to_owned());
        let phone = "origins = ['https://Phone.example.com:8443', 'null']";
        for (text, flags, expected) in [
            ("", &[][..], vec![Origin::Host("example.com".to_owned())]),
            ("origins = []", &[], vec![]),
            ("origins = ['*']", &[], vec![Origin::Any]),
            (
                phone,
                &[],
                vec![exact("https://phone.example.com:8443"), exact("null")],
            ),
            (phone, &["app://phone"], vec![exact("app://phone")]),
        ] {
            assert_eq!(of(text, flags).expect(text).origins, expected, "{text}");
        }
        assert_eq!(
            of("ping_s = 7", &[]).expect("sound").ping,
            Duration::from_secs(7)
        );
        for (text, says) in [
            ("ping_s = 0", "expected 1 to 3600"),
            (
                "origins = ['phone.example.com']",
                "\"phone.example.com\" is no origin",
            ),
            ("origins = ['https://a/b']", "without a path"),
            ("origins = ['https://*.a']", "is no origin"),
            ("origins = ['']", "is no origin"),
        ] {
            let fault = of(text, &[]).expect_err(text);
            assert!(fault.contains(says), "{text}: {fault}");
        }
    }
}
