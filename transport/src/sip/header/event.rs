//! `Event: presence;id=1` (RFC 6665 §8.2.1).

use super::Params;

/// An event package with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The package as written. Linphone's family writes `Presence`: compare without regard to case.
    pub package: &'a str,
    /// Parameters; `id` is part of a subscription's identity.
    pub params: Params<'a>,
}

impl<'a> Event<'a> {
    /// Reads the header's value.
    #[must_use]
    pub fn parse(text: &'a str) -> Event<'a> {
        let (package, params) = text.split_at(text.find(';').unwrap_or(text.len()));
        Event {
            package: package.trim(),
            params: Params(params),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_a_package_and_perhaps_an_id() {
        for (text, package, id) in [
            ("presence", "presence", None),
            (" Presence ; id = 7", "Presence", Some("7")),
            ("", "", None),
        ] {
            let event = Event::parse(text);
            assert_eq!(
                (event.package, event.params.get("id")),
                (package, id),
                "{text}"
            );
        }
    }
}
