//! What our copy of a list must change to be what the address book says. Pure.

use std::collections::BTreeMap;

use shard::presence::contacts::{
    Contact, ContactChange, DEFAULT_GROUP, Done, EXTENSION_BYTES_MAX, EXTERNAL_URI_BYTES_MAX, List,
    NAME_BYTES_MAX, URI_BYTES_MAX,
};
use shard::xml::Document;

use super::vcard::Card;

/// The changes, in an order in which each is possible. `cards` stand in the order in which they count
/// where two are of one address.
pub(super) fn between(list: &List, cards: &[&Card], contacts_max: usize) -> Vec<ContactChange> {
    let mut copy = list.clone();
    let mut changes = Vec::new();
    let mut do_it = |copy: &mut List, change: ContactChange| {
        // What cannot be, such as a sixty-fifth group, is left out.
        let done = copy.change(&change, contacts_max).ok()?;
        changes.push(change);
        Some(done)
    };
    let mut wanted: BTreeMap<String, &Card> = BTreeMap::new();
    for card in cards {
        if card.address.len() <= URI_BYTES_MAX {
            wanted
                .entry(card.address.to_ascii_lowercase())
                .or_insert(card);
        }
    }
    for contact in &list.contacts {
        if !wanted.contains_key(&contact.uri.to_ascii_lowercase()) {
            do_it(&mut copy, ContactChange::DeleteContact(contact.uri.clone()));
        }
    }
    for (address, card) in &wanted {
        let mut groups = Vec::new();
        for name in &card.groups {
            let known = copy.groups.iter().find(|group| same(&group.name, name));
            let id = match known {
                Some(group) => Some(group.id),
                None if name.len() > NAME_BYTES_MAX => None,
                None => {
                    let (name, external_uri) = (name.as_str().into(), "".into());
                    match do_it(&mut copy, ContactChange::AddGroup { name, external_uri }) {
                        Some(Done::AddedGroup(group)) => Some(group.id),
                        _ => None,
                    }
                }
            };
            groups.extend(id);
        }
        if groups.is_empty() {
            groups.push(DEFAULT_GROUP.0);
        }
        groups.sort_unstable();
        groups.dedup();
        let known = copy.contacts.iter().find(|known| {
            let known = known.uri.to_ascii_lowercase();
            known == *address
        });
        let contact = contact_of(card, groups, known);
        if known != Some(&contact) {
            do_it(&mut copy, ContactChange::SetContact(contact));
        }
    }
    // A group that has just lost its last contact was renamed or removed there. One that was empty
    // before is shown nowhere in an address book, and stays.
    for group in &list.groups {
        let used = |list: &List| {
            let mut contacts = list.contacts.iter();
            contacts.any(|contact| contact.groups.contains(&group.id))
        };
        let plain = group.id != DEFAULT_GROUP.0 && group.external_uri.is_empty();
        if plain && used(list) && !used(&copy) {
            do_it(&mut copy, ContactChange::DeleteGroup(group.id));
        }
    }
    changes
}

fn same(one: &str, other: &str) -> bool {
    one.trim().eq_ignore_ascii_case(other.trim())
}

/// The contact that a card describes. What the card does not say is as it was.
fn contact_of(card: &Card, groups: Vec<u8>, known: Option<&Contact>) -> Contact {
    let more = card.more.as_ref();
    let was = |part: fn(&Contact) -> &str| known.map_or("", part);
    let external_uri = more.map(|more| &*more.external_uri);
    let external_uri = external_uri.filter(|uri| uri.len() <= EXTERNAL_URI_BYTES_MAX);
    let extension = more.map(|more| &*more.extension);
    let extension = extension.filter(|extension| is_extension(extension));
    let subscribed = more.map(|more| more.subscribed);
    Contact {
        uri: card.address.as_str().into(),
        name: cut(&card.name, NAME_BYTES_MAX).into(),
        groups: groups.into(),
        subscribed: subscribed
            .or(known.map(|known| known.subscribed))
            .unwrap_or(true),
        external_uri: external_uri
            .unwrap_or(was(|known| &known.external_uri))
            .into(),
        extension: extension.unwrap_or(was(|known| &known.extension)).into(),
    }
}

/// Whether a text may stand in a list as it is: a card can be written by anybody.
fn is_extension(text: &str) -> bool {
    let sound = || {
        let document = Document::parse(text.as_bytes());
        document.is_ok_and(|document| document.root().local() == "contactExtension")
    };
    text.is_empty() || text.len() <= EXTENSION_BYTES_MAX && text.starts_with('<') && sound()
}

fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use shard::presence::contacts::{Custody, Group};

    use super::super::vcard;
    use super::*;

    fn contact(uri: &str, groups: &[u8]) -> Contact {
        Contact {
            uri: uri.into(),
            name: "".into(),
            groups: groups.into(),
            subscribed: false,
            external_uri: "urn:x".into(),
            extension: "<contactExtension><a/></contactExtension>".into(),
        }
    }

    fn list() -> List {
        let group = |id, name: &str| Group {
            id,
            name: name.into(),
            external_uri: "".into(),
        };
        List {
            delta_num: 7,
            custody: Custody::Elsewhere,
            groups: vec![group(1, "~"), group(2, " Team "), group(4, "Empty")],
            contacts: vec![contact("bob@x", &[1, 2]), contact("Carol@x", &[2])],
        }
    }

    fn cards(list: &List) -> Vec<Card> {
        let each = list.contacts.iter();
        each.map(|contact| vcard::read(&vcard::write(contact, &list.groups)).expect("a card"))
            .collect()
    }

    fn changed(list: &List, cards: &[Card]) -> Vec<ContactChange> {
        let cards: Vec<&Card> = cards.iter().collect();
        let changes = between(list, &cards, 5);
        let mut copy = list.clone();
        for change in &changes {
            assert!(copy.change(change, 5).is_ok(), "{change:?}");
        }
        assert_eq!(between(&copy, &cards, 5), [], "and then it is the same");
        changes
    }

    #[test]
    fn a_list_that_was_moved_is_the_same() {
        assert_eq!(changed(&list(), &cards(&list())), []);
    }

    #[test]
    fn what_changed_there_changes_here() {
        use ContactChange::{AddGroup, DeleteContact, DeleteGroup, SetContact};
        let list = list();
        let mut cards = cards(&list);
        cards[0].groups = vec!["team".to_owned()];
        cards[0].more = None;
        let moved = Contact {
            groups: [2].into(),
            ..contact("bob@x", &[])
        };
        assert_eq!(
            changed(&list, &cards),
            [SetContact(moved)],
            "and keeps what the card left out"
        );

        let dave = Card {
            address: "dave@x".to_owned(),
            name: "D".to_owned(),
            groups: vec!["Crew".to_owned()],
            more: None,
        };
        let twin = Card {
            address: "DAVE@x".to_owned(),
            ..dave.clone()
        };
        let fresh = Contact {
            uri: "dave@x".into(),
            name: "D".into(),
            groups: [3].into(),
            subscribed: true,
            external_uri: "".into(),
            extension: "".into(),
        };
        assert_eq!(
            changed(&list, &[dave, twin]),
            [
                DeleteContact("bob@x".into()),
                DeleteContact("Carol@x".into()),
                AddGroup {
                    name: "Crew".into(),
                    external_uri: "".into()
                },
                SetContact(fresh),
                DeleteGroup(2),
            ]
        );
    }

    #[test]
    fn what_cannot_be_is_left_out() {
        let list = list();
        let mut cards = cards(&list);
        for number in 0..80 {
            cards.push(Card {
                address: format!("n{number}@x"),
                name: "é".repeat(200),
                groups: (0..70).map(|group| format!("g{group}")).collect(),
                more: Some(vcard::More {
                    subscribed: true,
                    external_uri: "x".repeat(2_000),
                    extension: "<contactExtension></b>".to_owned(),
                }),
            });
        }
        let changes = changed(&list, &cards);
        let set = changes.iter().filter_map(|change| match change {
            ContactChange::SetContact(contact) => Some(contact),
            _ => None,
        });
        let set: Vec<&Contact> = set.collect();
        assert_eq!(set.len(), 3, "five contacts at most");
        assert!(set.iter().all(|contact| contact.name.len() <= 256));
        assert!(
            set.iter()
                .all(|contact| contact.extension.is_empty() && contact.external_uri.is_empty())
        );
        let groups = changes
            .iter()
            .filter(|change| matches!(change, ContactChange::AddGroup { .. }));
        assert_eq!(groups.count(), 61);
    }
}
