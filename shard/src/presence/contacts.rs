//! Roaming contacts (MS-SIP 3.7, MS-PRES 3.10): a user's own list of people and groups.

use std::sync::Arc;

use crate::presence::refusal::Refusal;

/// Groups of a list (MS-SIP 9.1).
pub const GROUPS_MAX: usize = 64;
/// Bytes of what a client adds to a contact (MS-SIP 9.1).
pub const EXTENSION_BYTES_MAX: usize = 1_024;
/// Bytes of a contact's URI (MS-SIP 9.1).
pub const URI_BYTES_MAX: usize = 454;
/// Bytes of a name.
pub const NAME_BYTES_MAX: usize = 256;
/// Bytes of an external URI.
pub const EXTERNAL_URI_BYTES_MAX: usize = 1_024;

/// The group that every list has, and its name: clients show it as "Other Contacts".
pub const DEFAULT_GROUP: (u8, &str) = (1, "~");

/// A group of contacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number, 1 to 64.
    pub id: u8,
    /// Its name.
    pub name: Box<str>,
    /// What it stands for elsewhere; empty for nothing.
    pub external_uri: Box<str>,
}

/// A contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Its address as the client wrote it, without `sip:`.
    pub uri: Box<str>,
    /// The user's own name for it; empty for the directory's.
    pub name: Box<str>,
    /// The groups it is in, ascending.
    pub groups: Box<[u8]>,
    /// Whether its presence is watched.
    pub subscribed: bool,
    /// What it stands for elsewhere; empty for nothing.
    pub external_uri: Box<str>,
    /// What the client adds, as XML that stands alone; empty for nothing.
    pub extension: Box<str>,
}

/// Who keeps the list. The numbers are the log's, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Custody {
    /// We do.
    #[default]
    Here = 0,
    /// It is being moved; nobody changes it.
    Migrating = 1,
    /// A mail server does; ours is a copy.
    Elsewhere = 2,
    /// We do, until somebody has time to move it.
    Queued = 3,
    /// A mail server does, until somebody has fetched it for the last time.
    Returning = 4,
    /// We do, because the operator brought it home: no client's wish moves it again.
    Kept = 5,
}

impl Custody {
    /// The custody with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Custody> {
        [
            Custody::Here,
            Custody::Migrating,
            Custody::Elsewhere,
            Custody::Queued,
            Custody::Returning,
            Custody::Kept,
        ]
        .into_iter()
        .find(|known| *known as u8 == number)
    }

    /// Whether clients change the list here.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Custody::Here | Custody::Queued | Custody::Kept)
    }

    /// Whether a mail server has the true list.
    #[must_use]
    pub fn is_elsewhere(self) -> bool {
        matches!(self, Custody::Elsewhere | Custody::Returning)
    }

    /// Whether one who may decide can hand a list over so. That it has arrived at the mail server, or is
    /// back, has conditions of its own: [`Contacts::arrive`], [`Contacts::mirror`].
    fn may_become(self, next: Custody) -> bool {
        use Custody::{Elsewhere, Here, Kept, Migrating, Queued, Returning};
        matches!(
            (self, next),
            (Here | Kept, Queued)
                | (Queued, Migrating)
                | (Queued | Migrating | Returning, Kept)
                | (Elsewhere, Returning)
                | (Returning, Elsewhere)
        )
    }
}

/// What to do with a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContactChange {
    /// Add a contact, or replace the one of this address. Without groups it goes into the default one.
    SetContact(Contact),
    /// Remove a contact from all groups.
    DeleteContact(Box<str>),
    /// Add a group; it gets the lowest free number.
    AddGroup {
        /// Its name.
        name: Box<str>,
        /// What it stands for elsewhere.
        external_uri: Box<str>,
    },
    /// Rename a group.
    ModifyGroup(Group),
    /// Remove an empty group.
    DeleteGroup(u8),
}

/// What a change did, for the notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A new contact.
    AddedContact(Contact),
    /// Another contact than before.
    ModifiedContact(Contact),
    /// A contact less.
    DeletedContact(Box<str>),
    /// A new group.
    AddedGroup(Group),
    /// Another group than before.
    ModifiedGroup(Group),
    /// A group less.
    DeletedGroup(u8),
}

/// One step of a list from one number to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The number before.
    pub from: u32,
    /// The number after.
    pub to: u32,
    /// What happened.
    pub done: Done,
}

/// The list itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Grows by one with each change; never 0, which clients ignore.
    pub delta_num: u32,
    /// Who keeps it.
    pub custody: Custody,
    /// Its groups, by number.
    pub groups: Vec<Group>,
    /// Its contacts, in the order in which they were added.
    pub contacts: Vec<Contact>,
}

/// The list of one user. Replaced, never changed, so that a view only points to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts(Option<Arc<List>>);

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// An address without the scheme that every client leaves out or writes as it likes.
#[must_use]
pub fn bare(uri: &str) -> &str {
    match uri.get(..4) {
        Some(scheme) if scheme.eq_ignore_ascii_case("sip:") => &uri[4..],
        _ => uri,
    }
}

impl List {
    fn new() -> List {
        let (id, name) = DEFAULT_GROUP;
        let group = Group {
            id,
            name: name.into(),
            external_uri: "".into(),
        };
        List {
            delta_num: 1,
            custody: Custody::Here,
            groups: vec![group],
            contacts: Vec::new(),
        }
    }

    /// Does one change, whoever asks for it.
    ///
    /// # Errors
    /// What stands in the way, with nothing changed.
    pub fn change(&mut self, change: &ContactChange, contacts_max: usize) -> Result<Done, Refusal> {
        match change {
            ContactChange::SetContact(contact) => self.set_contact(contact, contacts_max),
            ContactChange::DeleteContact(uri) => {
                let place = self.contacts.iter().position(|known| same(&known.uri, uri));
                let contact = self.contacts.remove(place.ok_or(Refusal::UnknownContact)?);
                Ok(Done::DeletedContact(contact.uri))
            }
            ContactChange::AddGroup { name, external_uri } => {
                self.check_name(name, None)?;
                let taken = |id: &u8| self.groups.iter().any(|group| group.id == *id);
                let id = (2..=GROUPS_MAX as u8)
                    .find(|id| !taken(id))
                    .ok_or(Refusal::TooManyGroups)?;
                let group = Group {
                    id,
                    name: name.clone(),
                    external_uri: external_uri.clone(),
                };
                let place = self.groups.partition_point(|known| known.id < id);
                self.groups.insert(place, group.clone());
                Ok(Done::AddedGroup(group))
            }
            ContactChange::ModifyGroup(group) => {
                self.check_name(&group.name, Some(group.id))?;
                let known = self.groups.iter_mut().find(|known| known.id == group.id);
                *known.ok_or(Refusal::UnknownGroup)? = group.clone();
                Ok(Done::ModifiedGroup(group.clone()))
            }
            ContactChange::DeleteGroup(id) => {
                let place = self.groups.iter().position(|group| group.id == *id);
                let place = place.ok_or(Refusal::UnknownGroup)?;
                let used = self
                    .contacts
                    .iter()
                    .any(|contact| contact.groups.contains(id));
                //= MS-SIP 3.7.4.4
                //# the default group stays, and a group with contacts stays
                if *id == DEFAULT_GROUP.0 || used {
                    return Err(Refusal::GroupInUse);
                }
                self.groups.remove(place);
                Ok(Done::DeletedGroup(*id))
            }
        }
    }

    /// One change, and the next number.
    fn step(&mut self, change: &ContactChange, contacts_max: usize) -> Result<Delta, Refusal> {
        let (from, done) = (self.delta_num, self.change(change, contacts_max)?);
        self.delta_num = from.wrapping_add(1).max(1);
        Ok(Delta {
            from,
            to: self.delta_num,
            done,
        })
    }

    fn set_contact(&mut self, contact: &Contact, max: usize) -> Result<Done, Refusal> {
        if contact.extension.len() > EXTENSION_BYTES_MAX {
            return Err(Refusal::ExtensionTooLarge);
        }
        let known = |id: &u8| self.groups.iter().any(|group| group.id == *id);
        if !contact.groups.iter().all(known) {
            return Err(Refusal::UnknownGroup);
        }
        let mut contact = contact.clone();
        let mut groups = std::mem::take(&mut contact.groups).into_vec();
        groups.sort_unstable();
        groups.dedup();
        if groups.is_empty() {
            groups.push(DEFAULT_GROUP.0);
        }
        contact.groups = groups.into();
        match self
            .contacts
            .iter()
            .position(|known| same(&known.uri, &contact.uri))
        {
            Some(place) => {
                self.contacts[place] = contact.clone();
                Ok(Done::ModifiedContact(contact))
            }
            None if self.contacts.len() >= max => Err(Refusal::TooManyContacts),
            None => {
                self.contacts.push(contact.clone());
                Ok(Done::AddedContact(contact))
            }
        }
    }

    fn check_name(&self, name: &str, own: Option<u8>) -> Result<(), Refusal> {
        let taken = self
            .groups
            .iter()
            .any(|group| Some(group.id) != own && same(&group.name, name));
        if taken {
            Err(Refusal::DuplicateGroup)
        } else {
            Ok(())
        }
    }
}

impl Contacts {
    /// The list that a snapshot holds.
    pub(crate) fn from_list(list: Option<List>) -> Contacts {
        Contacts(list.map(Arc::new))
    }

    /// The list, if it ever was changed.
    #[must_use]
    pub fn kept(&self) -> Option<&List> {
        self.0.as_deref()
    }

    /// The list, to be shown: a new one has the default group.
    #[must_use]
    pub fn share(&self) -> Arc<List> {
        self.0
            .as_ref()
            .map_or_else(|| Arc::new(List::new()), Arc::clone)
    }

    /// Does what a request asks.
    ///
    /// # Errors
    /// [`Refusal::StaleContacts`] when `delta_num` is not the current number, and what else stands in the
    /// way, with nothing changed.
    //= MS-SIP 3.7
    //# a change names the current number and makes it one greater
    pub fn change(
        &mut self,
        delta_num: u32,
        change: &ContactChange,
        contacts_max: usize,
    ) -> Result<Delta, Refusal> {
        let mut list = List::clone(&self.share());
        //= MS-PRES 3.10.4
        //# while the list is moved, and after, its clients cannot change it here
        if !list.custody.is_ours() {
            return Err(Refusal::ContactsLocked);
        }
        if list.delta_num != delta_num {
            return Err(Refusal::StaleContacts);
        }
        let delta = list.step(change, contacts_max)?;
        self.0 = Some(Arc::new(list));
        Ok(delta)
    }

    /// Does what the mail server's list differs in, all of it or nothing.
    ///
    /// # Errors
    /// [`Refusal::StaleContacts`] when this is not the copy that was compared, or no copy at all.
    //= MS-PRES 3.10.4
    //# after the move, what changes at the mail server is shown to who asks here
    pub fn mirror(
        &mut self,
        delta_num: u32,
        changes: &[ContactChange],
        home: bool,
        contacts_max: usize,
    ) -> Result<Vec<Delta>, Refusal> {
        let mut list = List::clone(&self.share());
        let asked = !home || list.custody == Custody::Returning;
        if !list.custody.is_elsewhere() || !asked || list.delta_num != delta_num {
            return Err(Refusal::StaleContacts);
        }
        let steps = changes.iter().map(|change| list.step(change, contacts_max));
        let steps = steps.collect::<Result<Vec<Delta>, Refusal>>()?;
        if home {
            list.custody = Custody::Kept;
        }
        self.0 = Some(Arc::new(list));
        Ok(steps)
    }

    /// All of the list that had `delta_num` is at the mail server.
    ///
    /// # Errors
    /// [`Refusal::StaleContacts`] when another list is on its way, or none.
    pub fn arrive(&mut self, delta_num: u32) -> Result<(), Refusal> {
        let mut list = List::clone(&self.share());
        if list.custody != Custody::Migrating || list.delta_num != delta_num {
            return Err(Refusal::StaleContacts);
        }
        list.custody = Custody::Elsewhere;
        self.0 = Some(Arc::new(list));
        Ok(())
    }

    /// Another keeper, from here on.
    ///
    /// # Errors
    /// [`Refusal::StaleContacts`] when the custody is not what the one who asks believes, or cannot become
    /// what it asks for.
    pub fn hand_over(&mut self, from: Custody, to: Custody) -> Result<(), Refusal> {
        let mut list = List::clone(&self.share());
        if list.custody != from || !from.may_become(to) {
            return Err(Refusal::StaleContacts);
        }
        list.custody = to;
        self.0 = Some(Arc::new(list));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(uri: &str, groups: &[u8]) -> Contact {
        Contact {
            uri: uri.into(),
            name: "".into(),
            groups: groups.into(),
            subscribed: true,
            external_uri: "".into(),
            extension: "".into(),
        }
    }

    fn add_group(name: &str) -> ContactChange {
        ContactChange::AddGroup {
            name: name.into(),
            external_uri: "".into(),
        }
    }

    //= MS-SIP 3.7
    //= type=test
    //= MS-SIP 3.7.4.4
    //= type=test
    #[test]
    fn a_list_changes_step_by_step() {
        use ContactChange::{DeleteContact, DeleteGroup, ModifyGroup, SetContact};
        let mut contacts = Contacts::default();
        let mut number = 1;
        let team = Group {
            id: 2,
            name: "Team".into(),
            external_uri: "".into(),
        };
        let big = Contact {
            extension: "x".repeat(1_025).into(),
            ..contact("e@x", &[])
        };
        for (name, change, expected) in [
            (
                "no group",
                SetContact(contact("bob@x", &[])),
                Ok(Done::AddedContact(contact("bob@x", &[1]))),
            ),
            (
                "a group",
                add_group("Team"),
                Ok(Done::AddedGroup(team.clone())),
            ),
            (
                "the same name",
                add_group("team"),
                Err(Refusal::DuplicateGroup),
            ),
            (
                "into it",
                SetContact(contact("BOB@x", &[2, 1, 2])),
                Ok(Done::ModifiedContact(contact("BOB@x", &[1, 2]))),
            ),
            ("in use", DeleteGroup(2), Err(Refusal::GroupInUse)),
            ("the default", DeleteGroup(1), Err(Refusal::GroupInUse)),
            ("unknown", DeleteGroup(9), Err(Refusal::UnknownGroup)),
            (
                "into nothing",
                SetContact(contact("c@x", &[7])),
                Err(Refusal::UnknownGroup),
            ),
            (
                "a second",
                SetContact(contact("c@x", &[])),
                Ok(Done::AddedContact(contact("c@x", &[1]))),
            ),
            (
                "too many",
                SetContact(contact("d@x", &[])),
                Err(Refusal::TooManyContacts),
            ),
            (
                "too large",
                SetContact(big),
                Err(Refusal::ExtensionTooLarge),
            ),
            (
                "rename",
                ModifyGroup(Group {
                    name: "Crew".into(),
                    ..team.clone()
                }),
                Ok(Done::ModifiedGroup(Group {
                    name: "Crew".into(),
                    ..team
                })),
            ),
            (
                "gone",
                DeleteContact("bob@X".into()),
                Ok(Done::DeletedContact("BOB@x".into())),
            ),
            (
                "gone already",
                DeleteContact("bob@x".into()),
                Err(Refusal::UnknownContact),
            ),
            ("empty now", DeleteGroup(2), Ok(Done::DeletedGroup(2))),
        ] {
            let before = contacts.clone();
            assert_eq!(
                contacts.change(number + 1, &change, 2),
                Err(Refusal::StaleContacts),
                "{name}"
            );
            let step = contacts.change(number, &change, 2);
            let expected = expected.map(|done| Delta {
                from: number,
                to: number + 1,
                done,
            });
            assert_eq!(step, expected, "{name}");
            match step {
                Ok(_) => number += 1,
                Err(_) => assert_eq!(contacts, before, "{name}"),
            }
        }
    }

    //= MS-PRES 3.10.4
    //= type=test
    // proves: PRES-3.10.4-02
    #[test]
    fn a_list_that_is_moved_cannot_be_changed() {
        use Custody::{Elsewhere, Here, Kept, Migrating, Queued, Returning};
        type Step = fn(&mut Contacts) -> Result<(), Refusal>;
        let mut contacts = Contacts::default();
        let mut number = 1;
        for (name, step, becomes, ours) in [
            (
                "queued",
                (|contacts| contacts.hand_over(Here, Queued)) as Step,
                Queued,
                true,
            ),
            (
                "begun",
                |contacts| contacts.hand_over(Queued, Migrating),
                Migrating,
                false,
            ),
            ("given up", |c| c.hand_over(Migrating, Kept), Kept, true),
            ("once more", |c| c.hand_over(Kept, Queued), Queued, true),
            (
                "begun again",
                |c| c.hand_over(Queued, Migrating),
                Migrating,
                false,
            ),
            (
                "arrived",
                |c| c.arrive(c.share().delta_num),
                Elsewhere,
                false,
            ),
            (
                "called home",
                |c| c.hand_over(Elsewhere, Returning),
                Returning,
                false,
            ),
            (
                "home",
                |c| {
                    c.mirror(c.share().delta_num, &[add_group("Late")], true, 9)
                        .map(drop)
                },
                Kept,
                true,
            ),
        ] {
            assert_eq!(step(&mut contacts), Ok(()), "{name}");
            assert_eq!(contacts.share().custody, becomes, "{name}");
            number = contacts.share().delta_num.max(number);
            let change = add_group(name);
            let changed = contacts.change(number, &change, 9);
            match ours {
                true => assert!(changed.is_ok(), "{name}"),
                false => assert_eq!(changed, Err(Refusal::ContactsLocked), "{name}"),
            }
            number = contacts.share().delta_num;
        }
        let names: Vec<_> = contacts
            .share()
            .groups
            .iter()
            .map(|g| g.name.clone())
            .collect();
        assert_eq!(
            names.iter().map(|name| &**name).collect::<Vec<_>>(),
            ["~", "queued", "given up", "once more", "Late", "home"]
        );
    }

    #[test]
    fn a_list_goes_no_other_way() {
        use Custody::{Elsewhere, Here, Kept, Migrating, Queued, Returning};
        let all = [Here, Migrating, Elsewhere, Queued, Returning, Kept];
        let may = [
            (Here, Queued),
            (Kept, Queued),
            (Queued, Migrating),
            (Queued, Kept),
            (Migrating, Kept),
            (Returning, Kept),
            (Elsewhere, Returning),
            (Returning, Elsewhere),
        ];
        for from in all {
            for to in all {
                let list = List {
                    custody: from,
                    ..List::new()
                };
                let mut contacts = Contacts::from_list(Some(list));
                let before = contacts.clone();
                let done = contacts.hand_over(from, to);
                assert_eq!(done.is_ok(), may.contains(&(from, to)), "{from:?} {to:?}");
                if done.is_err() {
                    assert_eq!(contacts, before, "{from:?} {to:?}");
                }
                assert_eq!(
                    before.clone().arrive(1).is_ok(),
                    from == Migrating,
                    "{from:?}"
                );
                assert!(before.clone().arrive(2).is_err(), "of another list");
                let mirrors = |home| before.clone().mirror(1, &[], home, 9).is_ok();
                assert_eq!(mirrors(false), from.is_elsewhere(), "{from:?}");
                assert_eq!(mirrors(true), from == Returning, "{from:?}");
            }
            assert_eq!(Custody::from_number(from as u8), Some(from));
        }
        assert_eq!(Custody::from_number(6), None);
    }

    #[test]
    fn a_mirror_is_changed_as_a_whole_or_not_at_all() {
        let list = List {
            custody: Custody::Elsewhere,
            ..List::new()
        };
        let mut contacts = Contacts::from_list(Some(list));
        let good = [
            add_group("Team"),
            ContactChange::SetContact(contact("a@x", &[2])),
        ];
        let steps = contacts.mirror(1, &good, false, 9).expect("done");
        assert_eq!(
            steps
                .iter()
                .map(|step| (step.from, step.to))
                .collect::<Vec<_>>(),
            [(1, 2), (2, 3)]
        );
        let before = contacts.clone();
        let bad = [
            add_group("Crew"),
            ContactChange::DeleteContact("nobody@x".into()),
        ];
        assert_eq!(
            contacts.mirror(3, &bad, false, 9),
            Err(Refusal::UnknownContact)
        );
        assert_eq!(
            contacts.mirror(1, &good, false, 9),
            Err(Refusal::StaleContacts)
        );
        assert_eq!(contacts, before);
    }
}
