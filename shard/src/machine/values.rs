//! The values of enhanced presence in bytes: of what log entries and snapshots alike are made.
//!
//! Each kind of value has a number that is never used for another (house D19). Text and opaque bytes stand
//! behind their length in 32 bits; an optional value stands behind 0 or 1.

use std::sync::Arc;

use bytes::BufMut;

use crate::category::calendar_data::WorkingHours;
use crate::category::contact_card::Card;
use crate::category::device::{Capability, Device};
use crate::category::legacy_interop::LegacyInterop;
use crate::category::mwi::Waiting;
use crate::category::services::{Offer, Services};
use crate::category::state::{Activity, Kind, State};
use crate::category::user_properties::{Line, LineType, Properties};
use crate::category::{Category, Computed, Meaning};
use crate::machine::cursor::{Cursor, Unreadable, put_slice};
use crate::presence::contacts::{Contact, ContactChange, Custody, Group, List};
use crate::presence::container::{Container, Member, Network};
use crate::presence::delegate::Delegate;
use crate::presence::endpoint_id::EndpointId;
use crate::presence::enhanced::Profile;
use crate::presence::instance::{Body, Instance, Lifetime};
use crate::presence::publication::EntityTag;
use crate::presence::subscriber::Subscriber;
use crate::slot::Aor;
use crate::subscription::filter::Filter;
use crate::subscription::savers::{Asked, Condition, Terms, Wanted};
use crate::time::Timestamp;

type Read<T> = Result<T, Unreadable>;

pub(super) fn put_text(text: &str, out: &mut impl BufMut) {
    put_slice(text.as_bytes(), out);
}

pub(super) fn put_tag(tag: EntityTag, out: &mut impl BufMut) {
    out.put_u32_le(tag.salt);
    out.put_u64_le(tag.index);
    out.put_u16_le(tag.position);
}

pub(super) fn tag(cursor: &mut Cursor<'_>) -> Read<EntityTag> {
    Ok(EntityTag {
        salt: cursor.u32()?,
        index: cursor.u64()?,
        position: cursor.u16()?,
    })
}

fn text(cursor: &mut Cursor<'_>) -> Read<Box<str>> {
    Ok(cursor.text()?.into())
}

pub(super) fn put_flag(flag: bool, out: &mut impl BufMut) {
    out.put_u8(u8::from(flag));
}

pub(super) fn flag(cursor: &mut Cursor<'_>) -> Read<bool> {
    match cursor.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => cursor.wrong("0 or 1 before here"),
    }
}

pub(super) fn put_option<T, O: BufMut>(value: Option<T>, out: &mut O, put: impl FnOnce(T, &mut O)) {
    put_flag(value.is_some(), out);
    if let Some(value) = value {
        put(value, out);
    }
}

pub(super) fn option<'a, T>(
    cursor: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Read<T>,
) -> Read<Option<T>> {
    flag(cursor)?.then(|| read(cursor)).transpose()
}

/// Appends a list behind its count.
pub(super) fn put_list<T, O: BufMut>(
    list: impl ExactSizeIterator<Item = T>,
    out: &mut O,
    mut put: impl FnMut(T, &mut O),
) {
    out.put_u32_le(u32::try_from(list.len()).expect("lists are bounded"));
    for value in list {
        put(value, out);
    }
}

/// A list behind its count; each value takes at least `least` bytes.
pub(super) fn list<'a, T>(
    cursor: &mut Cursor<'a>,
    least: usize,
    mut read: impl FnMut(&mut Cursor<'a>) -> Read<T>,
) -> Read<Vec<T>> {
    let count = cursor.count(least)?;
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        values.push(read(cursor)?);
    }
    Ok(values)
}

/// Appends what holds for a subscription to save traffic.
pub(super) fn put_terms(terms: &Terms, out: &mut impl BufMut) {
    out.put_u32_le(terms.min_interval_s);
    out.put_u32_le(terms.max_interval_s);
    put_flag(terms.partial, out);
    put_flag(terms.gzip, out);
    put_option(terms.filter.as_ref(), out, put_filter);
}

/// What [`put_terms`] wrote.
pub(super) fn terms(cursor: &mut Cursor<'_>) -> Read<Terms> {
    Ok(Terms {
        min_interval_s: cursor.u32()?,
        max_interval_s: cursor.u32()?,
        partial: flag(cursor)?,
        gzip: flag(cursor)?,
        filter: option(cursor, filter)?,
    })
}

fn put_filter(filter: &Filter, out: &mut impl BufMut) {
    let mut bytes = Vec::new();
    filter.write(&mut bytes);
    put_slice(&bytes, out);
}

fn filter(cursor: &mut Cursor<'_>) -> Read<Filter> {
    match Filter::read(cursor.slice()?) {
        Some(filter) => Ok(filter),
        None => cursor.wrong("a filter before here"),
    }
}

/// Appends what a SUBSCRIBE says to save traffic.
pub(super) fn put_asked(asked: &Asked, out: &mut impl BufMut) {
    match asked.condition {
        None => out.put_u8(0),
        Some(Condition::Any) => out.put_u8(1),
        Some(Condition::Is(tag)) => {
            out.put_u8(2);
            out.put_u64_le(tag);
        }
    }
    out.put_u32_le(asked.min_interval_s);
    out.put_u32_le(asked.max_interval_s);
    put_option(asked.partial, out, put_flag);
    put_option(asked.gzip, out, put_flag);
    match &asked.filter {
        Wanted::Same => out.put_u8(0),
        Wanted::Nothing => out.put_u8(1),
        Wanted::This(filter) => {
            out.put_u8(2);
            put_filter(filter, out);
        }
    }
}

/// What [`put_asked`] wrote.
pub(super) fn asked(cursor: &mut Cursor<'_>) -> Read<Asked> {
    Ok(Asked {
        condition: match cursor.u8()? {
            0 => None,
            1 => Some(Condition::Any),
            2 => Some(Condition::Is(cursor.u64()?)),
            _ => return cursor.wrong("a condition's number before here"),
        },
        min_interval_s: cursor.u32()?,
        max_interval_s: cursor.u32()?,
        partial: option(cursor, flag)?,
        gzip: option(cursor, flag)?,
        filter: match cursor.u8()? {
            0 => Wanted::Same,
            1 => Wanted::Nothing,
            2 => Wanted::This(filter(cursor)?),
            _ => return cursor.wrong("what to do with the filter before here"),
        },
    })
}

/// What `from_number` makes of the next byte.
pub(super) fn numbered<T>(
    cursor: &mut Cursor<'_>,
    what: &'static str,
    from_number: impl FnOnce(u8) -> Option<T>,
) -> Read<T> {
    match from_number(cursor.u8()?) {
        Some(value) => Ok(value),
        None => cursor.wrong(what),
    }
}

pub(super) fn put_endpoint(endpoint: Option<EndpointId>, out: &mut impl BufMut) {
    put_option(endpoint, out, |id, out| out.put_slice(&id.0));
}

pub(super) fn endpoint(cursor: &mut Cursor<'_>) -> Read<Option<EndpointId>> {
    option(cursor, |cursor| {
        Ok(EndpointId(cursor.u128()?.to_le_bytes()))
    })
}

pub(super) fn put_category(category: &Category, out: &mut impl BufMut) {
    put_text(category.as_str(), out);
}

pub(super) fn category(cursor: &mut Cursor<'_>) -> Read<Category> {
    Ok(Category::named(cursor.text()?))
}

pub(super) fn network(cursor: &mut Cursor<'_>) -> Read<Network> {
    numbered(
        cursor,
        "a network's number before here",
        Network::from_number,
    )
}

fn put_state(state: &State, out: &mut impl BufMut) {
    out.put_u8(state.kind as u8);
    put_flag(state.manual, out);
    put_option(state.start_time, out, |at, out| out.put_u64_le(at.0));
    put_text(&state.endpoint_id, out);
    put_option(state.last_active, out, |at, out| out.put_u64_le(at.0));
    out.put_u32_le(state.availability);
    // A count in one byte: an optional activity was written like this before there could be several.
    out.put_u8(u8::try_from(state.activities.len()).expect("activities are bounded"));
    for activity in &state.activities {
        put_text(&activity.token, out);
        put_text(&activity.custom, out);
        out.put_u32_le(activity.min);
        out.put_u32_le(activity.max);
    }
    for text in [
        &state.endpoint_location,
        &state.meeting_subject,
        &state.meeting_location,
        &state.time_zone_bias,
        &state.time_zone_name,
        &state.time_zone_abbreviation,
        &state.device,
    ] {
        put_text(text, out);
    }
}

fn state(cursor: &mut Cursor<'_>) -> Read<State> {
    Ok(State {
        kind: numbered(cursor, "a state's kind before here", Kind::from_number)?,
        manual: flag(cursor)?,
        start_time: option(cursor, |cursor| cursor.u64().map(Timestamp))?,
        endpoint_id: text(cursor)?,
        last_active: option(cursor, |cursor| cursor.u64().map(Timestamp))?,
        availability: cursor.u32()?,
        activities: (0..cursor.u8()?)
            .map(|_| {
                Ok(Activity {
                    token: text(cursor)?,
                    custom: text(cursor)?,
                    min: cursor.u32()?,
                    max: cursor.u32()?,
                })
            })
            .collect::<Read<_>>()?,
        endpoint_location: text(cursor)?,
        meeting_subject: text(cursor)?,
        meeting_location: text(cursor)?,
        time_zone_bias: text(cursor)?,
        time_zone_name: text(cursor)?,
        time_zone_abbreviation: text(cursor)?,
        device: text(cursor)?,
    })
}

fn put_capability(capability: &Capability, out: &mut impl BufMut) {
    put_text(&capability.name, out);
    put_flag(capability.render, out);
    put_flag(capability.capture, out);
    put_flag(capability.publish, out);
    put_option(capability.version, out, |version, out| {
        out.put_u32_le(version)
    });
}

fn capability(cursor: &mut Cursor<'_>) -> Read<Capability> {
    Ok(Capability {
        name: text(cursor)?,
        render: flag(cursor)?,
        capture: flag(cursor)?,
        publish: flag(cursor)?,
        version: option(cursor, Cursor::u32)?,
    })
}

fn put_hours(hours: &WorkingHours, out: &mut impl BufMut) {
    put_text(&hours.mailbox_id, out);
    put_text(&hours.hours, out);
}

fn hours(cursor: &mut Cursor<'_>) -> Read<WorkingHours> {
    Ok(WorkingHours {
        mailbox_id: text(cursor)?,
        hours: text(cursor)?,
    })
}

pub(super) fn put_meaning(meaning: &Meaning, out: &mut impl BufMut) {
    match meaning {
        Meaning::Opaque => out.put_u8(0),
        Meaning::State(state) => {
            out.put_u8(1);
            put_state(state, out);
        }
        Meaning::Device(device) => {
            out.put_u8(2);
            put_text(&device.endpoint_id, out);
            put_list(device.capabilities.iter(), out, |(uri, capability), out| {
                put_text(uri, out);
                put_capability(capability, out);
            });
        }
        Meaning::WorkingHours(hours) => {
            out.put_u8(3);
            put_hours(hours, out);
        }
    }
}

pub(super) fn meaning(cursor: &mut Cursor<'_>) -> Read<Meaning> {
    Ok(match cursor.u8()? {
        0 => Meaning::Opaque,
        1 => Meaning::State(Box::new(state(cursor)?)),
        2 => Meaning::Device(Box::new(Device {
            endpoint_id: text(cursor)?,
            capabilities: list(cursor, 12, |cursor| {
                Ok((text(cursor)?, capability(cursor)?))
            })?
            .into(),
        })),
        3 => Meaning::WorkingHours(Box::new(hours(cursor)?)),
        _ => return cursor.wrong("a meaning's number before here"),
    })
}

fn put_computed(computed: &Computed, out: &mut impl BufMut) {
    match computed {
        Computed::Empty => out.put_u8(0),
        Computed::State(state) => {
            out.put_u8(1);
            put_state(state, out);
        }
        Computed::LegacyInterop(legacy) => {
            out.put_u8(2);
            put_interop(legacy, out);
        }
        Computed::Services(services) => {
            out.put_u8(3);
            put_list(services.0.iter(), out, |(uri, offers), out| {
                put_text(uri, out);
                put_list(offers.iter(), out, |offer, out| {
                    put_capability(&offer.capability, out);
                    out.put_u32_le(offer.device_availability);
                    put_text(&offer.preferred_endpoint_id, out);
                });
            });
        }
        Computed::DndState(on) => {
            out.put_u8(4);
            put_flag(*on, out);
        }
        Computed::WorkingHours(hours) => {
            out.put_u8(5);
            put_hours(hours, out);
        }
        Computed::ContactCard(card) => {
            out.put_u8(6);
            put_card(card, out);
        }
        Computed::UserProperties(properties) => {
            out.put_u8(7);
            put_properties(properties, out);
        }
        Computed::Mwi(waiting) => {
            out.put_u8(8);
            put_waiting(waiting, out);
        }
    }
}

pub(super) fn put_interop(legacy: &LegacyInterop, out: &mut impl BufMut) {
    out.put_u32_le(legacy.availability);
    put_text(&legacy.token, out);
}

pub(super) fn interop(cursor: &mut Cursor<'_>) -> Read<LegacyInterop> {
    Ok(LegacyInterop {
        availability: cursor.u32()?,
        token: text(cursor)?,
    })
}

fn computed(cursor: &mut Cursor<'_>) -> Read<Computed> {
    Ok(match cursor.u8()? {
        0 => Computed::Empty,
        1 => Computed::State(Box::new(state(cursor)?)),
        2 => Computed::LegacyInterop(interop(cursor)?),
        3 => {
            let services = list(cursor, 8, |cursor| {
                let uri = text(cursor)?;
                let offers = list(cursor, 16, |cursor| {
                    Ok(Offer {
                        capability: capability(cursor)?,
                        device_availability: cursor.u32()?,
                        preferred_endpoint_id: text(cursor)?,
                    })
                })?;
                Ok((uri, offers.into()))
            })?;
            Computed::Services(Services(services.into()))
        }
        4 => Computed::DndState(flag(cursor)?),
        5 => Computed::WorkingHours(Box::new(hours(cursor)?)),
        6 => Computed::ContactCard(card(cursor)?),
        7 => Computed::UserProperties(Box::new(properties(cursor)?)),
        8 => Computed::Mwi(waiting(cursor)?),
        _ => return cursor.wrong("a computed value's number before here"),
    })
}

fn put_card(card: &Card, out: &mut impl BufMut) {
    put_text(&card.display_name, out);
    put_text(&card.email, out);
}

fn card(cursor: &mut Cursor<'_>) -> Read<Card> {
    Ok(Card {
        display_name: text(cursor)?,
        email: text(cursor)?,
    })
}

fn put_properties(properties: &Properties, out: &mut impl BufMut) {
    put_list(properties.lines.iter(), out, |line, out| {
        put_text(&line.uri, out);
        out.put_u8(line.line_type as u8);
        put_text(&line.server, out);
    });
    for text in [
        &properties.fax,
        &properties.street,
        &properties.city,
        &properties.state,
        &properties.country_code,
        &properties.postal_code,
        &properties.home_page,
    ] {
        put_text(text, out);
    }
}

fn properties(cursor: &mut Cursor<'_>) -> Read<Properties> {
    Ok(Properties {
        lines: list(cursor, 9, |cursor| {
            Ok(Line {
                uri: text(cursor)?,
                line_type: numbered(cursor, "a line's type before here", LineType::from_number)?,
                server: text(cursor)?,
            })
        })?
        .into(),
        fax: text(cursor)?,
        street: text(cursor)?,
        city: text(cursor)?,
        state: text(cursor)?,
        country_code: text(cursor)?,
        postal_code: text(cursor)?,
        home_page: text(cursor)?,
    })
}

pub(super) fn put_waiting(waiting: &Waiting, out: &mut impl BufMut) {
    put_flag(waiting.waiting, out);
    put_option(waiting.unread, out, |count, out| out.put_u32_le(count));
    put_option(waiting.read, out, |count, out| out.put_u32_le(count));
}

pub(super) fn waiting(cursor: &mut Cursor<'_>) -> Read<Waiting> {
    Ok(Waiting {
        waiting: flag(cursor)?,
        unread: option(cursor, Cursor::u32)?,
        read: option(cursor, Cursor::u32)?,
    })
}

pub(super) fn put_profile(profile: &Profile, out: &mut impl BufMut) {
    put_card(&profile.card, out);
    put_text(&profile.phone, out);
    put_properties(&profile.properties, out);
}

pub(super) fn profile(cursor: &mut Cursor<'_>) -> Read<Profile> {
    Ok(Profile {
        card: card(cursor)?,
        phone: text(cursor)?,
        properties: properties(cursor)?,
    })
}

pub(super) fn put_member(member: &Member, out: &mut impl BufMut) {
    match member {
        Member::User(address) => {
            out.put_u8(1);
            put_text(address, out);
        }
        Member::Domain(domain) => {
            out.put_u8(2);
            put_text(domain, out);
        }
        Member::SameEnterprise => out.put_u8(3),
        Member::Federated => out.put_u8(4),
        Member::PublicCloud => out.put_u8(5),
        Member::Everyone => out.put_u8(6),
    }
}

pub(super) fn member(cursor: &mut Cursor<'_>) -> Read<Member> {
    Ok(match cursor.u8()? {
        1 => Member::User(text(cursor)?),
        2 => Member::Domain(text(cursor)?),
        3 => Member::SameEnterprise,
        4 => Member::Federated,
        5 => Member::PublicCloud,
        6 => Member::Everyone,
        _ => return cursor.wrong("a member's number before here"),
    })
}

pub(super) fn put_container(container: &Container, out: &mut impl BufMut) {
    out.put_u16_le(container.id);
    out.put_u32_le(container.version);
    put_list(container.members.iter(), out, put_member);
}

pub(super) fn container(cursor: &mut Cursor<'_>) -> Read<Container> {
    Ok(Container {
        id: cursor.u16()?,
        version: cursor.u32()?,
        members: list(cursor, 1, member)?,
    })
}

pub(super) fn put_subscriber(subscriber: &Subscriber, out: &mut impl BufMut) {
    put_text(subscriber.address.as_str(), out);
    put_text(&subscriber.display_name, out);
    out.put_u8(subscriber.network as u8);
    put_flag(subscriber.acknowledged, out);
    put_flag(subscriber.lasting, out);
    put_slice(&subscriber.context, out);
}

pub(super) fn subscriber(cursor: &mut Cursor<'_>) -> Read<Subscriber> {
    Ok(Subscriber {
        address: Aor::from_canonical(cursor.text()?),
        display_name: text(cursor)?,
        network: network(cursor)?,
        acknowledged: flag(cursor)?,
        lasting: flag(cursor)?,
        context: cursor.slice()?.into(),
    })
}

pub(super) fn put_delegate(delegate: &Delegate, out: &mut impl BufMut) {
    put_text(&delegate.address, out);
    put_flag(delegate.publish, out);
    put_flag(delegate.redelegate, out);
}

pub(super) fn delegate(cursor: &mut Cursor<'_>) -> Read<Delegate> {
    Ok(Delegate {
        address: text(cursor)?,
        publish: flag(cursor)?,
        redelegate: flag(cursor)?,
    })
}

pub(super) fn put_group(group: &Group, out: &mut impl BufMut) {
    out.put_u8(group.id);
    put_text(&group.name, out);
    put_text(&group.external_uri, out);
}

pub(super) fn group(cursor: &mut Cursor<'_>) -> Read<Group> {
    Ok(Group {
        id: cursor.u8()?,
        name: text(cursor)?,
        external_uri: text(cursor)?,
    })
}

pub(super) fn put_contact(contact: &Contact, out: &mut impl BufMut) {
    put_text(&contact.uri, out);
    put_text(&contact.name, out);
    put_slice(&contact.groups, out);
    put_flag(contact.subscribed, out);
    put_text(&contact.external_uri, out);
    put_text(&contact.extension, out);
}

pub(super) fn contact(cursor: &mut Cursor<'_>) -> Read<Contact> {
    Ok(Contact {
        uri: text(cursor)?,
        name: text(cursor)?,
        groups: cursor.slice()?.into(),
        subscribed: flag(cursor)?,
        external_uri: text(cursor)?,
        extension: text(cursor)?,
    })
}

pub(super) fn put_contact_change(change: &ContactChange, out: &mut impl BufMut) {
    match change {
        ContactChange::SetContact(contact) => {
            out.put_u8(1);
            put_contact(contact, out);
        }
        ContactChange::DeleteContact(uri) => {
            out.put_u8(2);
            put_text(uri, out);
        }
        ContactChange::AddGroup { name, external_uri } => {
            out.put_u8(3);
            put_text(name, out);
            put_text(external_uri, out);
        }
        ContactChange::ModifyGroup(group) => {
            out.put_u8(4);
            put_group(group, out);
        }
        ContactChange::DeleteGroup(id) => {
            out.put_u8(5);
            out.put_u8(*id);
        }
    }
}

pub(super) fn contact_change(cursor: &mut Cursor<'_>) -> Read<ContactChange> {
    Ok(match cursor.u8()? {
        1 => ContactChange::SetContact(contact(cursor)?),
        2 => ContactChange::DeleteContact(text(cursor)?),
        3 => ContactChange::AddGroup {
            name: text(cursor)?,
            external_uri: text(cursor)?,
        },
        4 => ContactChange::ModifyGroup(group(cursor)?),
        5 => ContactChange::DeleteGroup(cursor.u8()?),
        _ => return cursor.wrong("a contact change's number before here"),
    })
}

pub(super) fn put_contacts(contacts: &List, out: &mut impl BufMut) {
    out.put_u32_le(contacts.delta_num);
    out.put_u8(contacts.custody as u8);
    put_list(contacts.groups.iter(), out, put_group);
    put_list(contacts.contacts.iter(), out, put_contact);
}

pub(super) fn contacts(cursor: &mut Cursor<'_>) -> Read<List> {
    Ok(List {
        delta_num: cursor.u32()?,
        custody: custody(cursor)?,
        groups: list(cursor, 9, group)?,
        contacts: list(cursor, 21, contact)?,
    })
}

pub(super) fn custody(cursor: &mut Cursor<'_>) -> Read<Custody> {
    numbered(
        cursor,
        "a custody's number before here",
        Custody::from_number,
    )
}

pub(super) fn put_instance(instance: &Instance, out: &mut impl BufMut) {
    put_category(&instance.category, out);
    out.put_u16_le(instance.container);
    out.put_u32_le(instance.number);
    out.put_u32_le(instance.version);
    out.put_u64_le(instance.published_at.0);
    match instance.lifetime {
        Lifetime::Static => out.put_u8(0),
        Lifetime::Endpoint(endpoint) => {
            out.put_u8(1);
            out.put_slice(&endpoint.0);
        }
        Lifetime::User => out.put_u8(2),
        Lifetime::Until(at) => {
            out.put_u8(3);
            out.put_u64_le(at.0);
        }
    }
    match &instance.body {
        Body::Published { xml, meaning } => {
            out.put_u8(0);
            put_slice(xml, out);
            put_meaning(meaning, out);
        }
        Body::Computed(computed) => {
            out.put_u8(1);
            put_computed(computed, out);
        }
    }
}

pub(super) fn instance(cursor: &mut Cursor<'_>) -> Read<Arc<Instance>> {
    Ok(Arc::new(Instance {
        category: category(cursor)?,
        container: cursor.u16()?,
        number: cursor.u32()?,
        version: cursor.u32()?,
        published_at: Timestamp(cursor.u64()?),
        lifetime: match cursor.u8()? {
            0 => Lifetime::Static,
            1 => Lifetime::Endpoint(EndpointId(cursor.u128()?.to_le_bytes())),
            2 => Lifetime::User,
            3 => Lifetime::Until(Timestamp(cursor.u64()?)),
            _ => return cursor.wrong("a lifetime's number before here"),
        },
        body: match cursor.u8()? {
            0 => Body::Published {
                xml: cursor.slice()?.into(),
                meaning: meaning(cursor)?,
            },
            1 => Body::Computed(computed(cursor)?),
            _ => return cursor.wrong("a body's number before here"),
        },
    }))
}
