//! A contact as a vCard, and back (RFC 2426, RFC 6350).
//!
//! Version 3.0, which every CardDAV server must take (RFC 6352 3). Groups are CATEGORIES rather than cards
//! of KIND group: those are of version 4.0, which a server may refuse, and a mail program shows categories.
//! What a vCard has no property for (whether presence is watched, what a client added, the exact spelling)
//! stands in one property of ours. It counts only as far as the visible properties still say what we wrote:
//! whoever edits the card elsewhere is believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shard::presence::contacts::{Contact, DEFAULT_GROUP, Group, bare};

/// The property of ours.
const OURS: &str = "X-LAMPLIGHT-CONTACT";

/// What every resource of ours is called at the beginning.
pub(super) const PREFIX: &str = "lamplight-";

/// Octets of a line before it is folded (RFC 2426 2.6).
const LINE_MAX: usize = 75;

/// What a card says of a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Card {
    /// The address without `sip:`.
    pub(super) address: String,
    /// The user's own name for it; empty for none.
    pub(super) name: String,
    /// Names of its groups; none for the default one alone.
    pub(super) groups: Vec<String>,
    /// What only a card of ours says.
    pub(super) more: Option<More>,
}

/// What only a card of ours says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct More {
    pub(super) subscribed: bool,
    pub(super) external_uri: String,
    pub(super) extension: String,
}

/// The property of ours, inside its base64.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    uri: String,
    name: String,
    groups: Vec<String>,
    subscribed: bool,
    external_uri: String,
    extension: String,
}

/// The number of a contact's card, the same each time it is written: a hash of the address, which
/// compares without regard to case.
fn number(address: &str) -> [u8; 16] {
    let digest = Sha256::digest(address.to_ascii_lowercase().as_bytes());
    let mut number = [0; 16];
    number.copy_from_slice(&digest[..16]);
    // RFC 9562 5.8: a UUID of our own making.
    number[6] = number[6] & 0x0f | 0x80;
    number[8] = number[8] & 0x3f | 0x80;
    number
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the card of an address is called in the user's address book.
pub(super) fn resource(address: &str) -> String {
    format!("{PREFIX}{}.vcf", hex(&number(address)))
}

fn uid(address: &str) -> String {
    let text = hex(&number(address));
    let parts = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ];
    format!("urn:uuid:{}", parts.join("-"))
}

/// The name that a card shows.
fn shown<'s>(uri: &'s str, name: &'s str) -> &'s str {
    if name.trim().is_empty() { uri } else { name }
}

/// The address as a URI.
fn schemed(uri: &str) -> String {
    let lower = uri.to_ascii_lowercase();
    if lower.starts_with("tel:") || lower.starts_with("sips:") {
        uri.to_owned()
    } else {
        format!("sip:{uri}")
    }
}

/// The names of a contact's groups.
fn names(contact: &Contact, groups: &[Group]) -> Vec<String> {
    let of = |id: &u8| groups.iter().find(|group| group.id == *id);
    let named = contact.groups.iter().filter_map(of);
    named.map(|group| group.name.to_string()).collect()
}

/// The categories that groups of these names are: not the default one, which is for who is in no other.
fn categories(groups: &[String]) -> Vec<&str> {
    let visible = groups.iter().map(|name| name.trim());
    let mut visible: Vec<&str> = visible
        .filter(|name| !name.is_empty() && *name != DEFAULT_GROUP.1)
        .collect();
    visible.sort_unstable();
    visible
}

/// The card of a contact.
pub(super) fn write(contact: &Contact, groups: &[Group]) -> String {
    let kept = Kept {
        uri: contact.uri.to_string(),
        name: contact.name.to_string(),
        groups: names(contact, groups),
        subscribed: contact.subscribed,
        external_uri: contact.external_uri.to_string(),
        extension: contact.extension.to_string(),
    };
    let name = escaped(shown(&kept.uri, &kept.name));
    let categories: Vec<String> = categories(&kept.groups).into_iter().map(escaped).collect();
    // A struct of texts and truths has a spelling in JSON.
    let ours = serde_json::to_vec(&kept).unwrap_or_default();
    let mut out = String::from("BEGIN:VCARD\r\nVERSION:3.0\r\n");
    let mut line = |text: String| fold(&text, &mut out);
    line("PRODID:-//Lamplight//Contacts//EN".to_owned());
    line(format!("UID:{}", uid(&kept.uri)));
    line(format!("FN:{name}"));
    line(format!("N:{name};;;;"));
    line(format!("IMPP:{}", escaped(&schemed(&kept.uri))));
    if !categories.is_empty() {
        line(format!("CATEGORIES:{}", categories.join(",")));
    }
    line(format!("{OURS}:{}", URL_SAFE_NO_PAD.encode(ours)));
    out.push_str("END:VCARD\r\n");
    out
}

//= RFC 6350 3.2
//# a line of more than 75 octets goes on in the next one, behind a blank, between characters
fn fold(text: &str, out: &mut String) {
    let mut room = LINE_MAX;
    for character in text.chars() {
        if character.len_utf8() > room {
            out.push_str("\r\n ");
            room = LINE_MAX - 1;
        }
        room -= character.len_utf8();
        out.push(character);
    }
    out.push_str("\r\n");
}

//= RFC 6350 3.4
//# commas, semicolons, backslashes and line ends of a text are escaped
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ',' | ';' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            other if other.is_control() => {}
            other => out.push(other),
        }
    }
    out
}

/// The values of a property, their escapes undone; what XML cannot hold is left out.
fn values(text: &str, separator: Option<char>) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let last = all.last_mut().expect("there is one from the start");
        match character {
            '\\' => match characters.next() {
                Some('n' | 'N') => last.push('\n'),
                Some(other) => last.push(other),
                None => {}
            },
            other if Some(other) == separator => all.push(String::new()),
            other if other.is_control() => {}
            other => last.push(other),
        }
    }
    all
}

fn value(text: &str) -> String {
    values(text, None).concat().trim().to_owned()
}

/// The lines of a card, unfolded: name in upper case without its group, and value.
fn lines(text: &str) -> Vec<(String, String)> {
    let mut unfolded: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix([' ', '\t']), unfolded.last_mut()) {
            (Some(more), Some(last)) => last.push_str(more),
            _ => unfolded.push(line.to_owned()),
        }
    }
    let split = |line: String| {
        // A colon inside quotes belongs to a parameter.
        let mut quoted = false;
        let place = line.find(|character| {
            quoted ^= character == '"';
            character == ':' && !quoted
        })?;
        let name = line[..place].split(';').next().unwrap_or_default();
        let name = name.rsplit('.').next().unwrap_or_default();
        Some((name.to_ascii_uppercase(), line[place + 1..].to_owned()))
    };
    unfolded.into_iter().filter_map(split).collect()
}

/// Reads a card; `None` for one that has no address to watch, or is of a group.
pub(super) fn read(text: &str) -> Option<Card> {
    let lines = lines(text);
    let of = |name: &'static str| lines.iter().filter(move |(known, _)| known == name);
    let is_group = of("KIND").chain(of("X-ADDRESSBOOKSERVER-KIND"));
    let is_group = is_group.map(|(_, kind)| kind).any(|kind| {
        let kind = kind.trim();
        kind.eq_ignore_ascii_case("group")
    });
    let address = of("IMPP").find_map(|(_, text)| address_in(&value(text)));
    let kept = of(OURS).find_map(|(_, text)| {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).ok()?;
        serde_json::from_slice::<Kept>(&bytes).ok()
    });
    if is_group {
        return None;
    }
    let address = address?;
    let name = of("FN").map(|(_, text)| value(text)).next();
    let name = name.unwrap_or_default();
    let groups = of("CATEGORIES").flat_map(|(_, text)| values(text, Some(',')));
    let mut groups: Vec<String> = groups.map(|name| name.trim().to_owned()).collect();
    groups.retain(|name| !name.is_empty());
    let Some(kept) = kept else {
        let unnamed = name == address;
        return Some(Card {
            name: if unnamed { String::new() } else { name },
            address,
            groups,
            more: None,
        });
    };
    // What we wrote, as far as it is still what the card shows.
    let wrote = |text: &str| value(&escaped(text));
    let same_address = address_in(&wrote(&schemed(&kept.uri))).as_ref() == Some(&address);
    let same_name = wrote(shown(&kept.uri, &kept.name)) == name;
    let same_groups = {
        let mut visible: Vec<&str> = groups.iter().map(String::as_str).collect();
        visible.sort_unstable();
        let wrote: Vec<String> = categories(&kept.groups).into_iter().map(wrote).collect();
        visible == wrote
    };
    let unnamed = name == address;
    Some(Card {
        address: if same_address { kept.uri } else { address },
        name: match (same_name, unnamed) {
            (true, _) => kept.name,
            (false, true) => String::new(),
            (false, false) => name,
        },
        groups: if same_groups { kept.groups } else { groups },
        more: Some(More {
            subscribed: kept.subscribed,
            external_uri: kept.external_uri,
            extension: kept.extension,
        }),
    })
}

/// The address of a URI that presence is to be had of.
fn address_in(uri: &str) -> Option<String> {
    let lower = uri.to_ascii_lowercase();
    let known = ["sip:", "sips:", "tel:"];
    let known = known.iter().any(|scheme| lower.starts_with(scheme));
    let address = bare(uri);
    (known && !address.is_empty()).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(id: u8, name: &str) -> Group {
        Group {
            id,
            name: name.into(),
            external_uri: "".into(),
        }
    }

    fn contact(uri: &str, name: &str, groups: &[u8], extension: &str) -> Contact {
        Contact {
            uri: uri.into(),
            name: name.into(),
            groups: groups.into(),
            subscribed: groups.len() != 2,
            external_uri: if groups.len() == 2 { "ex,t;" } else { "" }.into(),
            extension: extension.into(),
        }
    }

    //= RFC 6350 3.2
    //= type=test
    //= RFC 6350 3.4
    //= type=test
    #[test]
    fn a_contact_comes_back_as_it_was() {
        let groups = [
            group(1, "~"),
            group(2, "Team, one; two\\three"),
            group(3, " Über den Wolken "),
        ];
        let extension = format!(
            "<contactExtension><a>{}</a></contactExtension>",
            "é".repeat(300)
        );
        for (uri, name, of, extension) in [
            ("bob@contoso.com", "", &[1][..], ""),
            (
                "Bob@Contoso.com;user=phone,x",
                "Bob\nthe \"b\"",
                &[1, 2],
                "",
            ),
            (
                "tel:+14252057570",
                "Ein sehr langer Name, der über viele Zeilen geht und noch weiter, weil er muss",
                &[2, 3],
                &extension,
            ),
            ("sips:a@x", "a@x", &[3], "<contactExtension/>"),
        ] {
            let contact = contact(uri, name, of, extension);
            let text = write(&contact, &groups);
            assert!(text.lines().all(|line| line.len() <= LINE_MAX), "{text}");
            let card = read(&text).expect(uri);
            assert_eq!((&*card.address, &*card.name), (uri, name));
            assert_eq!(card.groups, names(&contact, &groups));
            let more = More {
                subscribed: contact.subscribed,
                external_uri: contact.external_uri.to_string(),
                extension: extension.to_owned(),
            };
            assert_eq!(card.more, Some(more));
            assert_eq!(
                read(&write(&contact, &groups)),
                Some(card),
                "twice the same"
            );
        }
        assert_eq!(resource("Bob@X"), resource("bob@x"));
        assert_ne!(resource("bob@x"), resource("rob@x"));
    }

    #[test]
    fn who_edits_a_card_elsewhere_is_believed() {
        let groups = [group(1, "~"), group(2, "Team")];
        let text = write(&contact("bob@x", "Bob", &[1, 2], "<e/>"), &groups);
        let edited = |from: &str, to: &str| {
            assert!(text.contains(from), "{text}");
            read(&text.replace(from, to)).expect("a card")
        };
        assert_eq!(edited("FN:Bob\r", "FN:Robert\r").name, "Robert");
        assert_eq!(edited("FN:Bob\r", "FN:bob@x\r").name, "");
        let renamed = edited("CATEGORIES:Team", "CATEGORIES:Crew,New\\, one");
        assert_eq!(renamed.groups, ["Crew", "New, one"]);
        assert_eq!(edited("CATEGORIES:Team\r\n", "").groups, [""; 0]);
        let moved = edited("IMPP:sip:bob@x", "item1.IMPP;TYPE=\"a:b\":sip:rob@y");
        assert_eq!(moved.address, "rob@y");
        assert_eq!(moved.more.expect("kept").extension, "<e/>");
        assert_eq!(edited(OURS, "X-OTHER").more, None);
        assert_eq!(edited(&format!("{OURS}:"), &format!("{OURS}:!")).more, None);
    }

    #[test]
    fn other_cards_are_contacts_where_they_have_an_address() {
        let card = |lines: &str| read(&format!("BEGIN:VCARD\nVERSION:4.0\n{lines}\nEND:VCARD\n"));
        let carol = card("FN:Carol\nIMPP;PREF=1:xmpp:c@x\nIMPP:SIP:carol@x\nCATEGORIES:A,\n B");
        let carol = carol.expect("an address");
        assert_eq!((&*carol.address, &*carol.name), ("carol@x", "Carol"));
        assert_eq!(
            (carol.groups, carol.more),
            (vec!["A".to_owned(), "B".to_owned()], None)
        );
        assert_eq!(card("FN:Carol\nEMAIL:carol@x"), None);
        assert_eq!(card("KIND:group\nFN:Team\nIMPP:sip:team@x"), None);
        assert_eq!(card("IMPP:sip:"), None);
        assert_eq!(read("\u{0}:\\"), None);
    }
}
