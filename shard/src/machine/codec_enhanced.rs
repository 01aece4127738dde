//! The log's format for the commands of enhanced presence; the rest stands in `codec.rs`.
//!
//! ```text
//!  6 publish instances  presentity [endpoint] category_bytes_max:u32 publication*
//!  7 set members        presentity members_max:u32 (id:u16 version:u32 (remove:u8 member)*)*
//!  8 acknowledge        presentity subscriber acknowledged:u8
//!  9 set delegate       presentity version:u32 act:u8 delegate delegates_max:u32
//! 10 change contacts    presentity delta_num:u32 change contacts_max:u32 [endpoint]
//! 11 hand contacts over presentity from:u8 to:u8
//! 12 set profile        presentity profile
//! 13 set waiting        presentity waiting
//! 14 end endpoint       presentity endpoint:16 target
//! 15 introduce          presentity watcher network:u8 display_name context
//! 16 contacts arrived   presentity delta_num:u32
//! 17 mirror contacts    presentity delta_num:u32 change* home:u8 contacts_max:u32
//! 32 sign off           presentity [tag] client:u64
//! 33 lose dialog        slot:u16 dialog:u128 target
//! 24 endpoint gone      watcher endpoint:16 at:u64
//! 25 relay watch        presentity sink generation:u64 watcher network:u8 display_name [context] format:u8
//!                       category* expires:u32 watchers_max:u32
//! 26 relay end          presentity sink generation:u64
//! 27 relayed            sink presentity generation:u64 revision:u32 [view]
//! 28 delivered          (slot:u16 number:u64)*
//! 40 publish source     presentity source condition:u8 [tag] [content] expires:u32 device:u8 doing:u8
//!                       category_bytes:u32 publication*
//! sink   := slot:u16 dialog:u128
//! extras := network:u8 delivery:u8 piggyback:u8 [endpoint] registered:u8 display_name wish [watchers_max:u32
//!           [abroad]]
//! abroad := [registered_at:u64] (address [context] (0 hinted | 1 watch category* | 2 unwatch category*))*
//! wish   := 0 document | 1 own scope:u8 | 2 contacts ucs:u8 | 3 categories action* | 4 same
//!         | 5 list [client:u64] (uri address origin:u8)*
//! action := subscribe:u8 (address [context])* category*
//! ```

use bytes::{BufMut, BytesMut};

use crate::machine::codec;
use crate::machine::command::{
    Abroad, Command, Elsewhere, Extras, PublishInstances, PublishSource, RelayWatch, Relayed, Sink,
};
use crate::machine::cursor::{Cursor, Unreadable, put_slice};
use crate::machine::values::{
    self, flag, list, numbered, option, put_flag, put_list, put_option, put_text,
};
use crate::presence::bearing::Bearing;
use crate::presence::container::{ContainerChange, MemberChange};
use crate::presence::delegate::DelegateAct;
use crate::presence::instance::{Deed, Publication, Wished};
use crate::presence::limits::WATCHERS_MAX;
use crate::presence::publication::EntityTag;
use crate::presence::source::Condition;
use crate::slot::Slot;
use crate::subscription::dialog::{Away, Delivery, DialogKey, EndpointId, Format};
use crate::subscription::watch::{Action, ClientId, Entry, Origin, Resource, Scope, Wish};
use crate::time::Timestamp;

const PUBLISH_INSTANCES: u8 = 6;
const SET_MEMBERS: u8 = 7;
const ACKNOWLEDGE: u8 = 8;
const SET_DELEGATE: u8 = 9;
const CHANGE_CONTACTS: u8 = 10;
const HAND_CONTACTS_OVER: u8 = 11;
const SET_PROFILE: u8 = 12;
const SET_WAITING: u8 = 13;
const END_ENDPOINT: u8 = 14;
const INTRODUCE: u8 = 15;
const CONTACTS_ARRIVED: u8 = 16;
const MIRROR_CONTACTS: u8 = 17;
const SIGN_OFF: u8 = 32;
const LOSE_DIALOG: u8 = 33;
const ENDPOINT_GONE: u8 = 24;
const RELAY_WATCH: u8 = 25;
const RELAY_END: u8 = 26;
const RELAYED: u8 = 27;
const DELIVERED: u8 = 28;
const PUBLISH_SOURCE: u8 = 40;

/// Conditions of a source.
mod condition {
    pub(super) const ANY: u8 = 0;
    pub(super) const TAG: u8 = 1;
    pub(super) const LIVES: u8 = 2;
    pub(super) const ABSENT: u8 = 3;
}

/// The number of a command of enhanced presence.
pub(super) fn number_of(command: &Command<'_>) -> u8 {
    match command {
        Command::PublishInstances(_) => PUBLISH_INSTANCES,
        Command::SetMembers { .. } => SET_MEMBERS,
        Command::Acknowledge { .. } => ACKNOWLEDGE,
        Command::SetDelegate { .. } => SET_DELEGATE,
        Command::ChangeContacts { .. } => CHANGE_CONTACTS,
        Command::HandContactsOver { .. } => HAND_CONTACTS_OVER,
        Command::SetProfile { .. } => SET_PROFILE,
        Command::SetWaiting { .. } => SET_WAITING,
        Command::EndEndpoint { .. } => END_ENDPOINT,
        Command::Introduce { .. } => INTRODUCE,
        Command::ContactsArrived { .. } => CONTACTS_ARRIVED,
        Command::MirrorContacts { .. } => MIRROR_CONTACTS,
        Command::SignOff { .. } => SIGN_OFF,
        Command::LoseDialog { .. } => LOSE_DIALOG,
        Command::EndpointGone { .. } => ENDPOINT_GONE,
        Command::RelayWatch(_) => RELAY_WATCH,
        Command::RelayEnd { .. } => RELAY_END,
        Command::Relayed(_) => RELAYED,
        Command::Delivered { .. } => DELIVERED,
        Command::PublishSource(_) => PUBLISH_SOURCE,
        Command::Register(_)
        | Command::Publish(_)
        | Command::Subscribe(_)
        | Command::Resubscribe(_)
        | Command::EndDialog { .. }
        | Command::MoveSlot { .. } => unreachable!("the other file has matched these"),
    }
}

/// Appends what a command of enhanced presence says.
pub(super) fn put(command: &Command<'_>, out: &mut BytesMut) {
    match command {
        Command::PublishInstances(request) => put_publish(request, out),
        Command::PublishSource(request) => put_source(request, out),
        Command::SetMembers {
            presentity,
            changes,
            members_max,
        } => {
            put_text(presentity, out);
            out.put_u32_le(*members_max);
            put_list(changes.iter(), out, |change, out| {
                out.put_u16_le(change.id);
                out.put_u32_le(change.version);
                put_list(change.members.iter(), out, |change, out| match change {
                    MemberChange::Add(member) => {
                        put_flag(false, out);
                        values::put_member(member, out);
                    }
                    MemberChange::Remove(member) => {
                        put_flag(true, out);
                        values::put_member(member, out);
                    }
                });
            });
        }
        Command::Acknowledge {
            presentity,
            subscriber,
            acknowledged,
        } => {
            put_text(presentity, out);
            put_text(subscriber, out);
            put_flag(*acknowledged, out);
        }
        Command::SetDelegate {
            presentity,
            version,
            act,
            delegate,
            delegates_max,
        } => {
            put_text(presentity, out);
            out.put_u32_le(*version);
            out.put_u8(*act as u8);
            values::put_delegate(delegate, out);
            out.put_u32_le(*delegates_max);
        }
        Command::ChangeContacts {
            presentity,
            delta_num,
            change,
            contacts_max,
            endpoint,
        } => {
            put_text(presentity, out);
            out.put_u32_le(*delta_num);
            values::put_contact_change(change, out);
            out.put_u32_le(*contacts_max);
            values::put_endpoint(*endpoint, out);
        }
        Command::HandContactsOver {
            presentity,
            from,
            to,
        } => {
            put_text(presentity, out);
            out.put_u8(*from as u8);
            out.put_u8(*to as u8);
        }
        Command::SetProfile {
            presentity,
            profile,
        } => {
            put_text(presentity, out);
            values::put_profile(profile, out);
        }
        Command::SetWaiting {
            presentity,
            waiting,
        } => {
            put_text(presentity, out);
            values::put_waiting(waiting, out);
        }
        Command::EndEndpoint {
            presentity,
            endpoint,
            target,
        } => {
            put_text(presentity, out);
            out.put_slice(&endpoint.0);
            put_slice(target, out);
        }
        Command::Introduce {
            presentity,
            watcher,
            network,
            display_name,
            context,
        } => {
            put_text(presentity, out);
            put_text(watcher, out);
            out.put_u8(*network as u8);
            put_text(display_name, out);
            put_slice(context, out);
        }
        Command::ContactsArrived {
            presentity,
            delta_num,
        } => {
            put_text(presentity, out);
            out.put_u32_le(*delta_num);
        }
        Command::MirrorContacts {
            presentity,
            delta_num,
            changes,
            home,
            contacts_max,
        } => {
            put_text(presentity, out);
            out.put_u32_le(*delta_num);
            put_list(changes.iter(), out, values::put_contact_change);
            put_flag(*home, out);
            out.put_u32_le(*contacts_max);
        }
        Command::SignOff {
            presentity,
            if_match,
            client,
        } => {
            put_text(presentity, out);
            put_option(*if_match, out, values::put_tag);
            out.put_u64_le(client.0);
        }
        Command::LoseDialog {
            slot,
            dialog,
            target,
        } => {
            out.put_u16_le(slot.number());
            out.put_u128_le(dialog.0);
            put_slice(target, out);
        }
        Command::EndpointGone {
            watcher,
            endpoint,
            at,
        } => {
            put_text(watcher, out);
            out.put_slice(&endpoint.0);
            out.put_u64_le(at.0);
        }
        Command::RelayWatch(watch) => {
            put_text(watch.presentity, out);
            put_sink(watch.sink, out);
            out.put_u64_le(watch.generation);
            put_text(watch.watcher, out);
            out.put_u8(watch.network as u8);
            put_text(watch.display_name, out);
            put_option(watch.context, out, put_slice);
            out.put_u8(watch.format as u8);
            put_list(watch.categories.iter(), out, values::put_category);
            out.put_u32_le(watch.expires_s);
            out.put_u32_le(watch.watchers_max);
        }
        Command::RelayEnd {
            presentity,
            sink,
            generation,
        } => {
            put_text(presentity, out);
            put_sink(*sink, out);
            out.put_u64_le(*generation);
        }
        Command::Relayed(relayed) => {
            put_sink(relayed.sink, out);
            put_text(relayed.presentity, out);
            out.put_u64_le(relayed.generation);
            out.put_u32_le(relayed.revision);
            put_option(relayed.view, out, put_slice);
        }
        Command::Delivered { parcels } => {
            put_list(parcels.iter(), out, |(slot, number), out| {
                out.put_u16_le(slot.number());
                out.put_u64_le(*number);
            });
        }
        Command::Register(_)
        | Command::Publish(_)
        | Command::Subscribe(_)
        | Command::Resubscribe(_)
        | Command::EndDialog { .. }
        | Command::MoveSlot { .. } => unreachable!("the other file has matched these"),
    }
}

fn put_publish(request: &PublishInstances<'_>, out: &mut BytesMut) {
    put_text(request.presentity, out);
    values::put_endpoint(request.endpoint, out);
    out.put_u32_le(request.category_bytes_max);
    put_list(request.publications.iter(), out, put_publication);
}

fn put_publication(publication: &Publication<'_>, out: &mut BytesMut) {
    values::put_category(&publication.category, out);
    out.put_u16_le(publication.container);
    out.put_u32_le(publication.number);
    out.put_u32_le(publication.version);
    match &publication.deed {
        Deed::Remove => out.put_u8(0),
        Deed::Set { life, xml, meaning } => {
            match life {
                Wished::Static => out.put_u8(1),
                Wished::Endpoint => out.put_u8(2),
                Wished::User => out.put_u8(3),
                Wished::Seconds(seconds) => {
                    out.put_u8(4);
                    out.put_u32_le(*seconds);
                }
            }
            put_slice(xml, out);
            values::put_meaning(meaning, out);
        }
    }
}

fn put_source(request: &PublishSource<'_>, out: &mut BytesMut) {
    put_text(request.presentity, out);
    put_text(request.source, out);
    match request.condition {
        Condition::Any => out.put_u8(condition::ANY),
        Condition::Tag(tag) => {
            out.put_u8(condition::TAG);
            out.put_u32_le(tag.salt);
            out.put_u64_le(tag.index);
            out.put_u16_le(tag.position);
        }
        Condition::Lives => out.put_u8(condition::LIVES),
        Condition::Absent => out.put_u8(condition::ABSENT),
    }
    put_option(request.content, out, put_slice);
    out.put_u32_le(request.expires_s);
    out.put_u8(request.bearing.device as u8);
    out.put_u8(request.bearing.doing as u8);
    out.put_u32_le(request.category_bytes_max);
    put_list(request.instances.iter(), out, put_publication);
}

fn source<'a>(cursor: &mut Cursor<'a>) -> Result<PublishSource<'a>, Unreadable> {
    Ok(PublishSource {
        presentity: cursor.text()?,
        source: cursor.text()?,
        condition: match cursor.u8()? {
            condition::ANY => Condition::Any,
            condition::TAG => Condition::Tag(EntityTag {
                salt: cursor.u32()?,
                index: cursor.u64()?,
                position: cursor.u16()?,
            }),
            condition::LIVES => Condition::Lives,
            condition::ABSENT => Condition::Absent,
            _ => return cursor.wrong("a condition's number before here"),
        },
        content: option(cursor, Cursor::slice)?,
        expires_s: cursor.u32()?,
        bearing: match Bearing::from_numbers(cursor.u8()?, cursor.u8()?) {
            Some(bearing) => bearing,
            None => return cursor.wrong("a bearing's numbers before here"),
        },
        category_bytes_max: cursor.u32()?,
        instances: list(cursor, 15, publication)?,
    })
}

/// Reads a command of enhanced presence.
pub(super) fn read<'a>(number: u8, cursor: &mut Cursor<'a>) -> Result<Command<'a>, Unreadable> {
    Ok(match number {
        PUBLISH_INSTANCES => Command::PublishInstances(PublishInstances {
            presentity: cursor.text()?,
            endpoint: values::endpoint(cursor)?,
            category_bytes_max: cursor.u32()?,
            publications: list(cursor, 15, publication)?,
        }),
        PUBLISH_SOURCE => Command::PublishSource(source(cursor)?),
        SET_MEMBERS => Command::SetMembers {
            presentity: cursor.text()?,
            members_max: cursor.u32()?,
            changes: list(cursor, 10, |cursor| {
                Ok(ContainerChange {
                    id: cursor.u16()?,
                    version: cursor.u32()?,
                    members: list(cursor, 2, |cursor| {
                        Ok(match flag(cursor)? {
                            false => MemberChange::Add(values::member(cursor)?),
                            true => MemberChange::Remove(values::member(cursor)?),
                        })
                    })?,
                })
            })?,
        },
        ACKNOWLEDGE => Command::Acknowledge {
            presentity: cursor.text()?,
            subscriber: cursor.text()?,
            acknowledged: flag(cursor)?,
        },
        SET_DELEGATE => Command::SetDelegate {
            presentity: cursor.text()?,
            version: cursor.u32()?,
            act: numbered(cursor, "what to do with a delegate before here", |number| {
                [DelegateAct::Set, DelegateAct::Remove]
                    .into_iter()
                    .find(|act| *act as u8 == number)
            })?,
            delegate: values::delegate(cursor)?,
            delegates_max: cursor.u32()?,
        },
        CHANGE_CONTACTS => Command::ChangeContacts {
            presentity: cursor.text()?,
            delta_num: cursor.u32()?,
            change: values::contact_change(cursor)?,
            contacts_max: cursor.u32()?,
            // Appended later.
            endpoint: if cursor.left() > 0 {
                values::endpoint(cursor)?
            } else {
                None
            },
        },
        HAND_CONTACTS_OVER => Command::HandContactsOver {
            presentity: cursor.text()?,
            from: values::custody(cursor)?,
            to: values::custody(cursor)?,
        },
        SET_PROFILE => Command::SetProfile {
            presentity: cursor.text()?,
            profile: values::profile(cursor)?,
        },
        SET_WAITING => Command::SetWaiting {
            presentity: cursor.text()?,
            waiting: values::waiting(cursor)?,
        },
        END_ENDPOINT => Command::EndEndpoint {
            presentity: cursor.text()?,
            endpoint: EndpointId(cursor.u128()?.to_le_bytes()),
            target: cursor.slice()?,
        },
        INTRODUCE => Command::Introduce {
            presentity: cursor.text()?,
            watcher: cursor.text()?,
            network: values::network(cursor)?,
            display_name: cursor.text()?,
            context: cursor.slice()?,
        },
        CONTACTS_ARRIVED => Command::ContactsArrived {
            presentity: cursor.text()?,
            delta_num: cursor.u32()?,
        },
        MIRROR_CONTACTS => Command::MirrorContacts {
            presentity: cursor.text()?,
            delta_num: cursor.u32()?,
            changes: list(cursor, 2, values::contact_change)?,
            home: flag(cursor)?,
            contacts_max: cursor.u32()?,
        },
        SIGN_OFF => Command::SignOff {
            presentity: cursor.text()?,
            if_match: option(cursor, values::tag)?,
            client: ClientId(cursor.u64()?),
        },
        LOSE_DIALOG => Command::LoseDialog {
            slot: match Slot::new(cursor.u16()?) {
                Some(slot) => slot,
                None => return cursor.wrong("a slot's number"),
            },
            dialog: DialogKey(cursor.u128()?),
            target: cursor.slice()?,
        },
        ENDPOINT_GONE => Command::EndpointGone {
            watcher: cursor.text()?,
            endpoint: EndpointId(cursor.u128()?.to_le_bytes()),
            at: Timestamp(cursor.u64()?),
        },
        RELAY_WATCH => Command::RelayWatch(RelayWatch {
            presentity: cursor.text()?,
            sink: sink(cursor)?,
            generation: cursor.u64()?,
            watcher: cursor.text()?,
            network: values::network(cursor)?,
            display_name: cursor.text()?,
            context: option(cursor, Cursor::slice)?,
            format: numbered(cursor, "a format's number before here", Format::from_number)?,
            categories: list(cursor, 5, values::category)?,
            expires_s: cursor.u32()?,
            watchers_max: cursor.u32()?,
        }),
        RELAY_END => Command::RelayEnd {
            presentity: cursor.text()?,
            sink: sink(cursor)?,
            generation: cursor.u64()?,
        },
        RELAYED => Command::Relayed(Relayed {
            sink: sink(cursor)?,
            presentity: cursor.text()?,
            generation: cursor.u64()?,
            revision: cursor.u32()?,
            view: option(cursor, Cursor::slice)?,
        }),
        DELIVERED => Command::Delivered {
            parcels: list(cursor, 10, |cursor| {
                Ok((codec::slot(cursor)?, cursor.u64()?))
            })?,
        },
        _ => return cursor.wrong("a command's number"),
    })
}

fn put_sink(sink: Sink, out: &mut BytesMut) {
    out.put_u16_le(sink.slot.number());
    out.put_u128_le(sink.dialog.0);
}

fn sink(cursor: &mut Cursor<'_>) -> Result<Sink, Unreadable> {
    Ok(Sink {
        slot: codec::slot(cursor)?,
        dialog: DialogKey(cursor.u128()?),
    })
}

fn publication<'a>(cursor: &mut Cursor<'a>) -> Result<Publication<'a>, Unreadable> {
    let category = values::category(cursor)?;
    let (container, number, version) = (cursor.u16()?, cursor.u32()?, cursor.u32()?);
    let life = match cursor.u8()? {
        0 => None,
        1 => Some(Wished::Static),
        2 => Some(Wished::Endpoint),
        3 => Some(Wished::User),
        4 => Some(Wished::Seconds(cursor.u32()?)),
        _ => return cursor.wrong("a lifetime's number before here"),
    };
    let deed = match life {
        None => Deed::Remove,
        Some(life) => Deed::Set {
            life,
            xml: cursor.slice()?,
            meaning: values::meaning(cursor)?,
        },
    };
    Ok(Publication {
        category,
        container,
        number,
        version,
        deed,
    })
}

/// Appends what an enhanced client's SUBSCRIBE says besides.
pub(super) fn put_extras(extras: &Extras<'_>, out: &mut BytesMut) {
    out.put_u8(extras.network as u8);
    out.put_u8(extras.delivery as u8);
    put_flag(extras.piggyback, out);
    values::put_endpoint(extras.endpoint, out);
    put_flag(extras.registered, out);
    put_text(extras.display_name, out);
    put_wish(&extras.wish, out);
    out.put_u32_le(extras.watchers_max);
    put_option(extras.abroad.registered_at, out, |at, out| {
        out.put_u64_le(at.0)
    });
    put_list(extras.abroad.resources.iter(), out, |resource, out| {
        put_text(resource.address, out);
        put_option(resource.context, out, |context, out| {
            put_slice(context, out)
        });
        match &resource.deed {
            Away::Hinted => out.put_u8(0),
            Away::Watch(categories) => {
                out.put_u8(1);
                put_list(categories.iter(), out, values::put_category);
            }
            Away::Unwatch(categories) => {
                out.put_u8(2);
                put_list(categories.iter(), out, values::put_category);
            }
        }
    });
}

fn abroad<'a>(cursor: &mut Cursor<'a>) -> Result<Abroad<'a>, Unreadable> {
    Ok(Abroad {
        registered_at: option(cursor, |cursor| Ok(Timestamp(cursor.u64()?)))?,
        resources: list(cursor, 6, |cursor| {
            Ok(Elsewhere {
                address: cursor.text()?,
                context: option(cursor, Cursor::slice)?,
                deed: match cursor.u8()? {
                    0 => Away::Hinted,
                    1 => Away::Watch(list(cursor, 5, values::category)?),
                    2 => Away::Unwatch(list(cursor, 5, values::category)?),
                    _ => return cursor.wrong("what to do elsewhere"),
                },
            })
        })?,
    })
}

/// Appends what is asked for.
pub(super) fn put_wish(wish: &Wish<'_>, out: &mut BytesMut) {
    match wish {
        Wish::Document => out.put_u8(0),
        Wish::Own(scope) => {
            out.put_u8(1);
            out.put_u8(scope.0);
        }
        Wish::Contacts(ucs) => {
            out.put_u8(2);
            put_flag(*ucs, out);
        }
        Wish::Categories(actions) => {
            out.put_u8(3);
            put_list(actions.iter(), out, |action, out| {
                put_flag(action.subscribe, out);
                put_list(action.resources.iter(), out, |resource, out| {
                    put_text(resource.address, out);
                    put_option(resource.context, out, |context, out| {
                        put_slice(context, out)
                    });
                });
                put_list(action.categories.iter(), out, values::put_category);
            });
        }
        Wish::Same => out.put_u8(4),
        Wish::List { client, entries } => {
            out.put_u8(5);
            put_option(client.as_ref(), out, |client, out| out.put_u64_le(client.0));
            put_list(entries.iter(), out, |entry, out| {
                put_text(entry.uri, out);
                put_text(entry.address, out);
                out.put_u8(entry.origin as u8);
            });
        }
    }
}

/// Reads what an enhanced client's SUBSCRIBE says besides.
pub(super) fn extras<'a>(cursor: &mut Cursor<'a>) -> Result<Extras<'a>, Unreadable> {
    Ok(Extras {
        network: values::network(cursor)?,
        delivery: numbered(
            cursor,
            "a delivery's number before here",
            Delivery::from_number,
        )?,
        piggyback: flag(cursor)?,
        endpoint: values::endpoint(cursor)?,
        registered: flag(cursor)?,
        display_name: cursor.text()?,
        wish: wish(cursor)?,
        // Appended later: extras end their request.
        watchers_max: if cursor.left() > 0 {
            cursor.u32()?
        } else {
            WATCHERS_MAX as u32
        },
        abroad: if cursor.left() > 0 {
            abroad(cursor)?
        } else {
            Abroad::default()
        },
    })
}

/// Reads what is asked for.
pub(super) fn wish<'a>(cursor: &mut Cursor<'a>) -> Result<Wish<'a>, Unreadable> {
    Ok(match cursor.u8()? {
        0 => Wish::Document,
        1 => Wish::Own(Scope(cursor.u8()?)),
        2 => Wish::Contacts(flag(cursor)?),
        3 => Wish::Categories(list(cursor, 9, |cursor| {
            Ok(Action {
                subscribe: flag(cursor)?,
                resources: list(cursor, 5, |cursor| {
                    Ok(Resource {
                        address: cursor.text()?,
                        context: option(cursor, |cursor| cursor.slice())?,
                    })
                })?,
                categories: list(cursor, 4, values::category)?,
            })
        })?),
        4 => Wish::Same,
        5 => Wish::List {
            client: option(cursor, Cursor::u64)?.map(ClientId),
            entries: list(cursor, 9, |cursor| {
                Ok(Entry {
                    uri: cursor.text()?,
                    address: cursor.text()?,
                    origin: numbered(cursor, "an origin", Origin::from_number)?,
                })
            })?,
        },
        _ => return cursor.wrong("a wish's number before here"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::contacts::{Contact, ContactChange, Custody, DEFAULT_GROUP, Group, List};

    #[test]
    fn moves_of_contacts_are_read_as_they_were_written() {
        let all = [
            Custody::Here,
            Custody::Migrating,
            Custody::Elsewhere,
            Custody::Queued,
            Custody::Returning,
            Custody::Kept,
        ];
        let contact = Contact {
            uri: "bob@x".into(),
            name: "Bob".into(),
            groups: [1, 7].into(),
            subscribed: false,
            external_uri: "urn:x".into(),
            extension: "<contactExtension/>".into(),
        };
        let mut commands: Vec<Command<'_>> = all
            .into_iter()
            .map(|to| Command::HandContactsOver {
                presentity: "alice@x",
                from: Custody::Here,
                to,
            })
            .collect();
        commands.push(Command::ContactsArrived {
            presentity: "alice@x",
            delta_num: 7,
        });
        for home in [false, true] {
            commands.push(Command::MirrorContacts {
                presentity: "alice@x",
                delta_num: 7,
                changes: vec![
                    ContactChange::SetContact(contact.clone()),
                    ContactChange::DeleteGroup(3),
                ],
                home,
                contacts_max: 250,
            });
        }
        for command in commands {
            let mut out = BytesMut::new();
            put(&command, &mut out);
            let mut cursor = Cursor::new(&out);
            let number = number_of(&command);
            assert_eq!(read(number, &mut cursor), Ok(command.clone()));
            assert_eq!(cursor.left(), 0, "{command:?}");
            for length in 0..out.len() {
                let cut = read(number, &mut Cursor::new(&out[..length]));
                assert!(cut.is_err(), "{command:?} cut to {length}");
            }
        }
        let (id, name) = DEFAULT_GROUP;
        for custody in all {
            let list = List {
                delta_num: 9,
                custody,
                groups: vec![Group {
                    id,
                    name: name.into(),
                    external_uri: "".into(),
                }],
                contacts: vec![contact.clone()],
            };
            let mut out = Vec::new();
            values::put_contacts(&list, &mut out);
            assert_eq!(values::contacts(&mut Cursor::new(&out)), Ok(list));
        }
    }
}
