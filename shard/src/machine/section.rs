//! State in bytes: one slot, one outcome, one chunk of remembered outcomes.
//!
//! A snapshot's sections and the digests of the audit are made of these. Equal state gives equal
//! bytes: everything stands in the tables' order, and what is derived (deadlines, counts, the lists
//! of watchers) is left out. Fields are never reordered; the snapshot's version says which there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BufMut;

use crate::machine::cursor::{Cursor, Unreadable, put_slice};
use crate::machine::outcome::{Outcome, Refusal, RequestKey};
use crate::machine::parcel;
use crate::machine::policy_values;
use crate::machine::replies::Chunk;
use crate::machine::store::Store;
use crate::machine::table::{Held, SlotTable, Watched};
use crate::machine::values;
use crate::presence::bearing::Bearing;
use crate::presence::contacts::Contacts;
use crate::presence::container::{Conflict, Containers, Network};
use crate::presence::delegate::Delegates;
use crate::presence::documents::Documents;
use crate::presence::endpoint::{Endpoint, Endpoints};
use crate::presence::enhanced::Enhanced;
use crate::presence::instance::Instances;
use crate::presence::presentity::Presentity;
use crate::presence::publication::{Content, EntityTag, Publication, Publications};
use crate::presence::rules::Admitted;
use crate::presence::subscriber::Subscribers;
use crate::slot::{Aor, Slot};
use crate::subscription::dialog::{Delivery, Dialog, DialogKey, Format, LocalTag, Package};
use crate::subscription::relay::Standing;
use crate::subscription::savers::Savers;
use crate::subscription::watch::{
    Batch, BatchMember, ClientId, List, ListMember, Origin, Scope, Watch,
};
use crate::time::Timestamp;

// What each thing takes at least, all its texts being empty: a count of more than fits is damage.
const PRESENTITY_BYTES_MIN: usize = 4 + 8 + 4 + 4 + 4 + 4;
const PUBLICATION_BYTES_MIN: usize = 1 + 14 + 8 + 4 + 8 + 4;
const ENDPOINT_BYTES_MIN: usize = 8 + 4 + 4 + 2 + 4 + 8 + 4 + 8 + 4;
const DIALOG_BYTES_MIN: usize = 16 + 4 + 1 + 1 + 8 + 4 + 4 + 8 + 8 + 4 + 4;
const OUTCOME_BYTES_MIN: usize = 16 + 1;
const PARCEL_BYTES_MIN: usize = 8 + 2 + 16 + 4;

/// In the byte of a publication's package: the name of its source stands behind it. A flag and no version,
/// so that a snapshot without sources is the same to an older release.
const SOURCE: u8 = 0x80;

/// Appends a slot's state.
pub(super) fn encode_slot(slot: Slot, table: &SlotTable, out: &mut Vec<u8>) {
    out.put_u16_le(slot.number());
    // Who is kept only because batched dialogs watch it is found again through those.
    let kept = || table.iter().filter(|watched| !watched.is_derived());
    out.put_u32_le(kept().count() as u32);
    for watched in kept() {
        let presentity = &watched.presentity;
        put_slice(presentity.aor.as_str().as_bytes(), out);
        out.put_u64_le(presentity.revision);
        out.put_u32_le(presentity.publications.next_number());
        out.put_u32_le(presentity.publications.len() as u32);
        for (package, publication) in presentity.publications.iter() {
            let named = if publication.source.is_empty() {
                0
            } else {
                SOURCE
            };
            out.put_u8(*package as u8 | named);
            encode_tag(publication.tag, out);
            out.put_u64_le(publication.expires_at.0);
            out.put_u32_le(publication.content.number);
            out.put_u64_le(publication.content.published_at.0);
            put_slice(&publication.content.stored, out);
            out.put_u64_le(publication.first_at.0);
            out.put_slice(&publication.content.bearing.numbers());
            if named != 0 {
                put_slice(publication.source.as_bytes(), out);
            }
        }
        encode_endpoints(presentity.endpoints.iter().as_slice(), out);
        out.put_u32_le(watched.watchers().len() as u32);
        for key in watched.watchers() {
            let dialog = table.dialog(*key).expect("a watcher is one of the dialogs");
            out.put_u128_le(key.0);
            encode_dialog(dialog, out);
        }
        values::put_option(presentity.enhanced.as_deref(), out, put_enhanced);
    }
    out.put_u64_le(table.parcels_made);
    values::put_list(table.parcels.iter(), out, |(number, parcel), out| {
        parcel::put(*number, parcel, out);
    });
    put_policy(table, out);
}

/// Appends a part that may be missing: its tag, its length, and what it says. What has nothing to say is
/// left out, so that a slot without it is the same to an older release.
fn put_part(tag: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut part = Vec::new();
    write(&mut part);
    out.put_u8(tag);
    put_slice(&part, out);
}

/// Documents of users, and what rules said to watchers.
fn put_policy(table: &SlotTable, out: &mut Vec<u8>) {
    let kept = |watched: &&Watched| watched.presentity.documents.is_some();
    let limited =
        |(_, held): &(&DialogKey, &Arc<Held>)| *held.dialog.admitted() != Admitted::default();
    let (documents, limits) = (
        table.iter().filter(kept).count(),
        table.dialogs.iter().filter(limited).count(),
    );
    if documents + limits == 0 {
        return;
    }
    put_part(policy_values::PART, out, |out| {
        out.put_u32_le(documents as u32);
        for watched in table.iter().filter(kept) {
            put_slice(watched.presentity.aor.as_str().as_bytes(), out);
            if let Some(documents) = &watched.presentity.documents {
                policy_values::put_documents(documents, out);
            }
        }
        out.put_u32_le(limits as u32);
        for (key, held) in table.dialogs.iter().filter(limited) {
            out.put_u128_le(key.0);
            policy_values::put_admitted(held.dialog.admitted(), out);
        }
    });
}

/// What [`put_policy`] has written.
#[derive(Default)]
struct Policy {
    documents: BTreeMap<Box<str>, Documents>,
    admitted: BTreeMap<DialogKey, Admitted>,
}

fn policy(cursor: &mut Cursor<'_>) -> Result<Policy, Unreadable> {
    let documents = values::list(cursor, 24, |cursor| {
        Ok((cursor.text()?.into(), policy_values::documents(cursor)?))
    })?;
    let admitted = values::list(cursor, 18, |cursor| {
        Ok((DialogKey(cursor.u128()?), policy_values::admitted(cursor)?))
    })?;
    Ok(Policy {
        documents: documents.into_iter().collect(),
        admitted: admitted.into_iter().collect(),
    })
}

fn put_enhanced(enhanced: &Enhanced, out: &mut Vec<u8>) {
    values::put_option(enhanced.profile.as_ref(), out, values::put_profile);
    values::put_list(enhanced.instances.iter(), out, |instance, out| {
        values::put_instance(instance, out);
    });
    values::put_list(enhanced.containers.iter(), out, values::put_container);
    values::put_list(enhanced.subscribers.iter(), out, values::put_subscriber);
    out.put_u32_le(enhanced.delegates.version);
    values::put_list(enhanced.delegates.iter(), out, values::put_delegate);
    values::put_option(enhanced.contacts.kept(), out, values::put_contacts);
}

fn enhanced(cursor: &mut Cursor<'_>) -> Result<Enhanced, Unreadable> {
    let profile = values::option(cursor, values::profile)?;
    let instances = values::list(cursor, 24, values::instance)?;
    if !Instances::are_ordered(&instances) {
        return cursor.wrong("instances in order");
    }
    let containers = values::list(cursor, 10, values::container)?;
    if !containers.is_sorted_by(|one, other| one.id < other.id) {
        return cursor.wrong("containers in order");
    }
    Ok(Enhanced {
        profile,
        instances: Instances::from_ordered(instances),
        containers: Containers::from_ordered(containers),
        subscribers: Subscribers::from_list(values::list(cursor, 15, values::subscriber)?),
        delegates: Delegates::from_parts(cursor.u32()?, values::list(cursor, 6, values::delegate)?),
        contacts: Contacts::from_list(values::option(cursor, values::contacts)?),
    })
}

/// The version of a snapshot that knows of enhanced presence.
pub(super) const ENHANCED: u16 = 2;

/// The version of a snapshot that knows of slots on their way, and whose outcomes are whose.
pub(super) const MOVES: u16 = 3;

/// The version of a snapshot that knows of parcels and relays between shards.
pub(super) const RELAYS: u16 = 3;

/// The version of a snapshot whose slots may have parts behind everything else.
pub(super) const PARTS: u16 = 4;

/// The newest version that this release reads.
pub(super) const NEWEST: u16 = PARTS;

/// The version that these tables are written as: the oldest that has all that is in them, so that an older
/// release reads what it can.
pub(super) fn version_of<'t>(mut tables: impl Iterator<Item = &'t SlotTable>) -> u16 {
    if tables.any(has_policy) {
        PARTS
    } else {
        RELAYS
    }
}

fn has_policy(table: &SlotTable) -> bool {
    let mut dialogs = table.dialogs.values();
    table
        .iter()
        .any(|watched| watched.presentity.documents.is_some())
        || dialogs.any(|held| *held.dialog.admitted() != Admitted::default())
}

/// Reads a slot's state, as a snapshot of `version` holds it, into an empty slot of `store`.
pub(super) fn decode_slot(
    cursor: &mut Cursor<'_>,
    version: u16,
    store: &mut Store,
) -> Result<Slot, Unreadable> {
    let Some(slot) = Slot::new(cursor.u16()?) else {
        return cursor.wrong("a slot's number");
    };
    let presentities = cursor.count(PRESENTITY_BYTES_MIN)?;
    let mut kept = Vec::new();
    for _ in 0..presentities {
        let aor = Aor::from_canonical(cursor.text()?);
        let revision = cursor.u64()?;
        let next_number = cursor.u32()?;
        let mut publications: Vec<(Package, Publication)> = Vec::new();
        for _ in 0..cursor.count(PUBLICATION_BYTES_MIN)? {
            publications.push(decode_publication(cursor, version)?);
        }
        let publications = Publications::from_parts(publications, next_number);
        let endpoints = Endpoints::from_ordered(decode_endpoints(cursor, version)?);
        let mut dialogs = Vec::new();
        for _ in 0..cursor.count(DIALOG_BYTES_MIN)? {
            let key = DialogKey(cursor.u128()?);
            dialogs.push((key, decode_dialog(cursor, version, slot, &aor)?));
        }
        let enhanced = match version {
            ENHANCED.. => values::option(cursor, enhanced)?.map(Box::new),
            _ => None,
        };
        let presentity = Presentity {
            aor,
            revision,
            publications,
            endpoints,
            enhanced,
            documents: None,
        };
        kept.push((presentity, dialogs));
    }
    let mut posted = None;
    if version >= RELAYS {
        let made = cursor.u64()?;
        posted = Some((made, values::list(cursor, PARCEL_BYTES_MIN, parcel::read)?));
    }
    let mut policy = Policy::default();
    while cursor.left() > 0 {
        match (cursor.u8()?, &mut cursor.part()?) {
            (policy_values::PART, part) => {
                policy = self::policy(part)?;
                part.end()?;
            }
            _ => return cursor.wrong("a part that is known"),
        }
    }
    for (mut presentity, mut dialogs) in kept {
        let documents = policy.documents.remove(presentity.aor.as_str());
        presentity.documents = documents.map(Box::new);
        for (key, dialog) in &mut dialogs {
            dialog.admit(policy.admitted.remove(key).unwrap_or_default());
        }
        if !store.restore(slot, presentity, dialogs) {
            return cursor.wrong("addresses and dialogs of this slot, in order");
        }
    }
    if !policy.documents.is_empty() || !policy.admitted.is_empty() {
        return cursor.wrong("documents and admissions of this slot");
    }
    if let Some((made, parcels)) = posted
        && !store.restore_parcels(slot, made, parcels)
    {
        return cursor.wrong("parcels of this slot, in order");
    }
    cursor.end()?;
    Ok(slot)
}

fn encode_tag(tag: EntityTag, out: &mut Vec<u8>) {
    out.put_u32_le(tag.salt);
    out.put_u64_le(tag.index);
    out.put_u16_le(tag.position);
}

fn decode_tag(cursor: &mut Cursor<'_>) -> Result<EntityTag, Unreadable> {
    Ok(EntityTag {
        salt: cursor.u32()?,
        index: cursor.u64()?,
        position: cursor.u16()?,
    })
}

fn decode_package(cursor: &mut Cursor<'_>) -> Result<Package, Unreadable> {
    match Package::from_number(cursor.u8()?) {
        Some(package) => Ok(package),
        None => cursor.wrong("a package's number"),
    }
}

fn decode_publication(
    cursor: &mut Cursor<'_>,
    version: u16,
) -> Result<(Package, Publication), Unreadable> {
    let first = cursor.u8()?;
    let Some(package) = Package::from_number(first & !SOURCE) else {
        return cursor.wrong("a package's number");
    };
    let tag = decode_tag(cursor)?;
    let expires_at = Timestamp(cursor.u64()?);
    let number = cursor.u32()?;
    let published_at = Timestamp(cursor.u64()?);
    let stored = cursor.slice()?.into();
    let (mut first_at, mut bearing) = (published_at, Bearing::default());
    if version >= ENHANCED {
        first_at = Timestamp(cursor.u64()?);
        bearing = match Bearing::from_numbers(cursor.u8()?, cursor.u8()?) {
            Some(bearing) => bearing,
            None => return cursor.wrong("a bearing's numbers"),
        };
    }
    let source = match first & SOURCE {
        0 => "",
        _ => cursor.text()?,
    };
    let content = Arc::new(Content {
        stored,
        published_at,
        number,
        bearing,
    });
    Ok((
        package,
        Publication {
            tag,
            expires_at,
            first_at,
            source: source.into(),
            content,
        },
    ))
}

pub(super) fn encode_endpoints(endpoints: &[Endpoint], out: &mut Vec<u8>) {
    out.put_u32_le(endpoints.len() as u32);
    for endpoint in endpoints {
        out.put_u64_le(endpoint.binding);
        put_slice(endpoint.contact.as_bytes(), out);
        put_slice(endpoint.instance.as_bytes(), out);
        out.put_u16_le(endpoint.q);
        put_slice(endpoint.path.as_bytes(), out);
        out.put_u64_le(endpoint.call_id);
        out.put_u32_le(endpoint.cseq);
        out.put_u64_le(endpoint.expires_at.0);
        put_slice(&endpoint.target, out);
        values::put_endpoint(endpoint.endpoint_id, out);
    }
}

pub(super) fn decode_endpoints(
    cursor: &mut Cursor<'_>,
    version: u16,
) -> Result<Vec<Endpoint>, Unreadable> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for _ in 0..cursor.count(ENDPOINT_BYTES_MIN)? {
        endpoints.push(Endpoint {
            binding: cursor.u64()?,
            contact: cursor.text()?.into(),
            instance: cursor.text()?.into(),
            q: cursor.u16()?,
            path: cursor.text()?.into(),
            call_id: cursor.u64()?,
            cseq: cursor.u32()?,
            expires_at: Timestamp(cursor.u64()?),
            target: cursor.slice()?.into(),
            endpoint_id: match version {
                ENHANCED.. => values::endpoint(cursor)?,
                _ => None,
            },
        });
    }
    if !endpoints.is_sorted_by(|a, b| a.binding < b.binding) {
        return cursor.wrong("endpoints in order");
    }
    Ok(endpoints)
}

/// In the byte of the delivery: what saves traffic stands at the end. So a dialog without it is written as it
/// was before there was any.
const SAVES: u8 = 0x80;

fn encode_dialog(dialog: &Dialog, out: &mut Vec<u8>) {
    put_slice(dialog.watcher.as_str().as_bytes(), out);
    out.put_u8(dialog.package as u8);
    out.put_u8(dialog.format as u8);
    out.put_u64_le(dialog.local_tag.chance());
    out.put_u32_le(dialog.local_cseq);
    out.put_u32_le(dialog.remote_cseq);
    out.put_u64_le(dialog.expires_at.0);
    out.put_u64_le(dialog.notified_at.0);
    put_slice(&dialog.route, out);
    put_slice(&dialog.target, out);
    out.put_u8(dialog.network as u8);
    let saves = if dialog.savers.is_some() { SAVES } else { 0 };
    out.put_u8(dialog.delivery as u8 | saves);
    values::put_option(dialog.resolved, out, |container, out| {
        out.put_u16_le(container)
    });
    values::put_option(dialog.watch.as_deref(), out, put_watch);
    out.put_u64_le(dialog.since().0);
    if let Some(savers) = &dialog.savers {
        values::put_terms(&savers.terms, out);
        values::put_flag(savers.waits, out);
        out.put_u64_le(savers.told_at.0);
    }
}

fn put_standing(relay: &Standing, out: &mut Vec<u8>) {
    out.put_u64_le(relay.generation);
    out.put_u32_le(relay.revision);
    values::put_option(relay.view.as_deref(), out, put_slice);
}

fn put_watch(watch: &Watch, out: &mut Vec<u8>) {
    match watch {
        Watch::Own { scope, endpoint } => {
            out.put_u8(1);
            out.put_u8(scope.0);
            values::put_endpoint(*endpoint, out);
        }
        Watch::Contacts { ucs, endpoint } => {
            out.put_u8(2);
            values::put_flag(*ucs, out);
            values::put_endpoint(*endpoint, out);
        }
        Watch::Batch(batch) => {
            out.put_u8(3);
            values::put_endpoint(batch.endpoint, out);
            values::put_list(batch.members.iter(), out, |(address, member), out| {
                values::put_text(address.as_str(), out);
                out.put_u64_le(member.notified_at.0);
                values::put_list(member.categories.iter(), out, |(category, seen), out| {
                    values::put_category(category, out);
                    values::put_option(*seen, out, |container, out| out.put_u16_le(container));
                });
                values::put_option(member.relay.as_deref(), out, put_standing);
            });
            out.put_u64_le(batch.renew_at.0);
        }
        Watch::List(list) => {
            out.put_u8(4);
            values::put_option(list.client, out, |client, out| out.put_u64_le(client.0));
            values::put_list(list.members.iter(), out, |(address, member), out| {
                values::put_text(address.as_str(), out);
                values::put_text(&member.uri, out);
                out.put_u8(member.origin as u8);
                out.put_u32_le(member.place);
                values::put_option(member.seen, out, |container, out| out.put_u16_le(container));
                values::put_option(member.relay.as_deref(), out, put_standing);
            });
            out.put_u64_le(list.renew_at.0);
        }
    }
}

fn standing(cursor: &mut Cursor<'_>) -> Result<Box<Standing>, Unreadable> {
    Ok(Box::new(Standing {
        generation: cursor.u64()?,
        revision: cursor.u32()?,
        view: values::option(cursor, |cursor| Ok(cursor.slice()?.into()))?,
    }))
}

fn watch(cursor: &mut Cursor<'_>, version: u16) -> Result<Watch, Unreadable> {
    Ok(match cursor.u8()? {
        1 => Watch::Own {
            scope: Scope(cursor.u8()?),
            endpoint: values::endpoint(cursor)?,
        },
        2 => Watch::Contacts {
            ucs: values::flag(cursor)?,
            endpoint: values::endpoint(cursor)?,
        },
        3 => {
            let endpoint = values::endpoint(cursor)?;
            let members = values::list(cursor, 16, |cursor| {
                let address = Aor::from_canonical(cursor.text()?);
                let notified_at = Timestamp(cursor.u64()?);
                let categories = values::list(cursor, 5, |cursor| {
                    Ok((
                        values::category(cursor)?,
                        values::option(cursor, Cursor::u16)?,
                    ))
                })?;
                let relay = match version {
                    RELAYS.. => values::option(cursor, standing)?,
                    _ => None,
                };
                Ok((
                    address,
                    BatchMember {
                        categories,
                        notified_at,
                        relay,
                    },
                ))
            })?;
            let mut batch = Batch {
                endpoint,
                members: members.into_iter().collect(),
                ..Batch::default()
            };
            if version >= RELAYS {
                batch.renew_at = Timestamp(cursor.u64()?);
            }
            Watch::Batch(batch)
        }
        4 => {
            let client = values::option(cursor, Cursor::u64)?.map(ClientId);
            let members = values::list(cursor, 14, |cursor| {
                let address = Aor::from_canonical(cursor.text()?);
                let member = ListMember {
                    uri: cursor.text()?.into(),
                    origin: values::numbered(cursor, "an origin", Origin::from_number)?,
                    place: cursor.u32()?,
                    seen: values::option(cursor, Cursor::u16)?,
                    relay: values::option(cursor, standing)?,
                };
                Ok((address, member))
            })?;
            Watch::List(List {
                client,
                members: members.into_iter().collect(),
                renew_at: Timestamp(cursor.u64()?),
            })
        }
        _ => return cursor.wrong("a watch's number"),
    })
}

fn decode_dialog(
    cursor: &mut Cursor<'_>,
    version: u16,
    slot: Slot,
    presentity: &Aor,
) -> Result<Dialog, Unreadable> {
    let watcher = Aor::from_canonical(cursor.text()?);
    let package = decode_package(cursor)?;
    let Some(format) = Format::from_number(cursor.u8()?) else {
        return cursor.wrong("a format's number");
    };
    let mut dialog = Dialog {
        presentity: presentity.clone(),
        watcher,
        package,
        format,
        local_tag: LocalTag::new(slot, cursor.u64()?),
        local_cseq: cursor.u32()?,
        remote_cseq: cursor.u32()?,
        expires_at: Timestamp(cursor.u64()?),
        notified_at: Timestamp(cursor.u64()?),
        route: cursor.slice()?.into(),
        target: cursor.slice()?.into(),
        network: Network::SameEnterprise,
        delivery: Delivery::Notify,
        resolved: None,
        admitted: None,
        watch: None,
        savers: None,
        since: [0; 6],
    };
    let mut saves = false;
    if version >= ENHANCED {
        dialog.network = values::network(cursor)?;
        let delivery = cursor.u8()?;
        saves = delivery & SAVES != 0;
        dialog.delivery = match Delivery::from_number(delivery & !SAVES) {
            Some(delivery) => delivery,
            None => return cursor.wrong("a delivery's number"),
        };
        dialog.resolved = values::option(cursor, Cursor::u16)?;
        let read = |cursor: &mut Cursor<'_>| watch(cursor, version);
        dialog.watch = values::option(cursor, read)?.map(Box::new);
    }
    if version >= RELAYS {
        let since = Timestamp(cursor.u64()?);
        dialog.set_since(since);
        if dialog.since() != since {
            return cursor.wrong("a time that is kept in six bytes");
        }
    }
    if saves {
        dialog.savers = Some(Box::new(Savers {
            terms: Arc::new(values::terms(cursor)?),
            waits: values::flag(cursor)?,
            told_at: Timestamp(cursor.u64()?),
        }));
    }
    Ok(dialog)
}

/// Appends an outcome.
pub(super) fn encode_outcome(outcome: &Outcome, out: &mut Vec<u8>) {
    match outcome {
        Outcome::Registered {
            endpoints,
            at,
            refreshed,
        } => {
            out.put_u8(1);
            out.put_u64_le(at.0);
            encode_endpoints(endpoints, out);
            values::put_flag(*refreshed, out);
        }
        Outcome::Published { tag, expires_s } => {
            out.put_u8(2);
            encode_tag(*tag, out);
            out.put_u32_le(*expires_s);
        }
        Outcome::Subscribed {
            local_tag,
            expires_s,
        } => {
            out.put_u8(3);
            out.put_u16_le(local_tag.slot().number());
            out.put_u64_le(local_tag.chance());
            out.put_u32_le(*expires_s);
        }
        Outcome::Ended => out.put_u8(4),
        Outcome::Refused(refusal) => {
            out.put_u8(5);
            out.put_u8(*refusal as u8);
        }
        Outcome::Piggybacked {
            local_tag,
            expires_s,
            dialog,
        } => {
            out.put_u8(6);
            out.put_u16_le(local_tag.slot().number());
            out.put_u64_le(local_tag.chance());
            out.put_u32_le(*expires_s);
            out.put_u128_le(dialog.0);
        }
        Outcome::InstancesPublished(categories) => {
            out.put_u8(7);
            values::put_list(categories.iter(), out, values::put_category);
        }
        Outcome::Conflict(conflicts) => {
            out.put_u8(8);
            values::put_list(conflicts.iter(), out, |conflict, out| {
                out.put_u32_le(conflict.index);
                out.put_u32_le(conflict.version);
                out.put_u32_le(conflict.current);
            });
        }
        Outcome::DelegatesSet => out.put_u8(9),
        Outcome::ContactsChanged(group) => {
            out.put_u8(10);
            values::put_option(*group, out, |group, out| out.put_u8(group));
        }
        Outcome::Done => out.put_u8(11),
        Outcome::DocumentSet { tag, created } => {
            out.put_u8(17);
            encode_tag(*tag, out);
            values::put_flag(*created, out);
        }
        Outcome::Unchanged {
            local_tag,
            expires_s,
        } => {
            out.put_u8(22);
            out.put_u16_le(local_tag.slot().number());
            out.put_u64_le(local_tag.chance());
            out.put_u32_le(*expires_s);
        }
        // 12 to 31 are left for answers to clients.
        Outcome::Moving => out.put_u8(32),
    }
}

fn local_tag(cursor: &mut Cursor<'_>) -> Result<LocalTag, Unreadable> {
    let Some(slot) = Slot::new(cursor.u16()?) else {
        return cursor.wrong("a slot's number");
    };
    Ok(LocalTag::new(slot, cursor.u64()?))
}

pub(super) fn decode_outcome(cursor: &mut Cursor<'_>, version: u16) -> Result<Outcome, Unreadable> {
    Ok(match cursor.u8()? {
        1 => {
            let at = Timestamp(cursor.u64()?);
            Outcome::Registered {
                endpoints: decode_endpoints(cursor, version)?.into(),
                at,
                refreshed: version >= ENHANCED && values::flag(cursor)?,
            }
        }
        2 => Outcome::Published {
            tag: decode_tag(cursor)?,
            expires_s: cursor.u32()?,
        },
        3 => Outcome::Subscribed {
            local_tag: local_tag(cursor)?,
            expires_s: cursor.u32()?,
        },
        4 => Outcome::Ended,
        5 => match Refusal::from_number(cursor.u8()?) {
            Some(refusal) => Outcome::Refused(refusal),
            None => return cursor.wrong("a refusal's number"),
        },
        6 => Outcome::Piggybacked {
            local_tag: local_tag(cursor)?,
            expires_s: cursor.u32()?,
            dialog: DialogKey(cursor.u128()?),
        },
        7 => Outcome::InstancesPublished(values::list(cursor, 4, values::category)?.into()),
        8 => {
            let conflicts = values::list(cursor, 12, |cursor| {
                Ok(Conflict {
                    index: cursor.u32()?,
                    version: cursor.u32()?,
                    current: cursor.u32()?,
                })
            })?;
            Outcome::Conflict(conflicts.into())
        }
        9 => Outcome::DelegatesSet,
        10 => Outcome::ContactsChanged(values::option(cursor, Cursor::u8)?),
        11 => Outcome::Done,
        17 => Outcome::DocumentSet {
            tag: decode_tag(cursor)?,
            created: values::flag(cursor)?,
        },
        22 => Outcome::Unchanged {
            local_tag: local_tag(cursor)?,
            expires_s: cursor.u32()?,
        },
        32 => Outcome::Moving,
        _ => return cursor.wrong("an outcome's number"),
    })
}

/// Appends a chunk of remembered outcomes.
pub(super) fn encode_chunk(chunk: &Chunk, out: &mut Vec<u8>) {
    out.put_u64_le(chunk.second);
    out.put_u32_le(chunk.given.len() as u32);
    for (key, outcome) in &chunk.given {
        out.put_u128_le(key.0);
        encode_outcome(outcome, out);
    }
    for home in &chunk.homes {
        out.put_u16_le(*home);
    }
}

/// Reads a chunk of remembered outcomes.
pub(super) fn decode_chunk(cursor: &mut Cursor<'_>, version: u16) -> Result<Chunk, Unreadable> {
    let second = cursor.u64()?;
    let count = cursor.count(OUTCOME_BYTES_MIN)?;
    let mut given = Vec::with_capacity(count);
    for _ in 0..count {
        let key = RequestKey(cursor.u128()?);
        given.push((key, decode_outcome(cursor, version)?));
    }
    let homes = match version {
        MOVES.. => (0..count).map(|_| cursor.u16()).collect::<Result<_, _>>()?,
        _ => vec![Chunk::ANY; count],
    };
    cursor.end()?;
    Ok(Chunk {
        second,
        given,
        homes,
    })
}
