//! Rules and documents in bytes: of what log entries, snapshots and relayed views are made.
//!
//! ```text
//! document    := application:u8 name tag keeper:u8 content rule*
//! expected    := 0 anything | 1 nothing | 3 one of tag*
//! rule        := id [identity*] [(from:u64 until:u64)*] foreign:u8 [handling:u8] permissions
//! identity    := 1 address | 2 [domain] (1 address | 2 domain)*
//! permissions := which which which attributes:u32 user_input:u8 (namespace name)*
//! which       := 0 (kind:u8 text)* | 1 all
//! ```
//!
//! In a slot's section they stand behind everything else, as the part with the tag [`PART`].

use std::sync::Arc;

use bytes::BufMut;

use crate::machine::command::SetDocument;
use crate::machine::cursor::{Cursor, Unreadable, put_slice};
use crate::machine::values::{
    self, flag, list, numbered, option, put_flag, put_list, put_option, put_tag, put_text, tag,
};
use crate::presence::documents::{Application, Document, Documents, Expected, Keeper};
use crate::presence::rules::{
    Admitted, Except, Handling, Identity, Permissions, Rule, Rules, Selector, UserInput, Which,
};
use crate::time::Timestamp;

type Read<T> = Result<T, Unreadable>;

/// The tag of documents and admissions among the parts that stand behind a slot's section.
pub(super) const PART: u8 = 6;

pub(super) fn put_request(request: &SetDocument<'_>, out: &mut impl BufMut) {
    put_text(request.presentity, out);
    out.put_u8(request.application as u8);
    put_text(request.name, out);
    out.put_u8(request.keeper as u8);
    match &request.expected {
        Expected::Anything => out.put_u8(0),
        Expected::Nothing => out.put_u8(1),
        Expected::OneOf(tags) => {
            out.put_u8(3);
            put_list(tags.iter(), out, |tag, out| put_tag(*tag, out));
        }
    }
    put_option(request.content, out, put_slice);
    put_rules(&request.rules, out);
}

pub(super) fn request<'a>(cursor: &mut Cursor<'a>) -> Read<SetDocument<'a>> {
    Ok(SetDocument {
        presentity: cursor.text()?,
        application: application(cursor)?,
        name: cursor.text()?,
        keeper: keeper(cursor)?,
        expected: match cursor.u8()? {
            0 => Expected::Anything,
            1 => Expected::Nothing,
            3 => Expected::OneOf(list(cursor, 14, tag)?),
            _ => return cursor.wrong("what is expected of a document"),
        },
        content: option(cursor, Cursor::slice)?,
        rules: rules(cursor)?,
    })
}

pub(super) fn application(cursor: &mut Cursor<'_>) -> Read<Application> {
    numbered(cursor, "an application", Application::from_number)
}

fn keeper(cursor: &mut Cursor<'_>) -> Read<Keeper> {
    numbered(cursor, "a keeper", Keeper::from_number)
}

pub(super) fn put_documents(documents: &Documents, out: &mut impl BufMut) {
    let (at, due) = documents.span();
    out.put_u64_le(at.0);
    out.put_u64_le(due.0);
    put_list(documents.iter(), out, |document, out| {
        out.put_u8(document.application as u8);
        put_text(&document.name, out);
        put_tag(document.tag, out);
        out.put_u8(document.keeper as u8);
        put_slice(&document.content, out);
        put_rules(&document.rules, out);
    });
}

pub(super) fn documents(cursor: &mut Cursor<'_>) -> Read<Documents> {
    let (at, due) = (Timestamp(cursor.u64()?), Timestamp(cursor.u64()?));
    let held = list(cursor, 28, |cursor| {
        Ok(Document {
            application: application(cursor)?,
            name: cursor.text()?.into(),
            tag: tag(cursor)?,
            keeper: keeper(cursor)?,
            content: cursor.slice()?.into(),
            rules: Arc::new(rules(cursor)?),
        })
    })?;
    match Documents::from_parts(held, at, due) {
        Some(documents) if !documents.is_empty() => Ok(documents),
        _ => cursor.wrong("documents in order"),
    }
}

fn put_rules(rules: &Rules, out: &mut impl BufMut) {
    put_list(rules.0.iter(), out, |rule, out| {
        put_text(&rule.id, out);
        put_option(rule.identity.as_ref(), out, |identity, out| {
            put_list(identity.iter(), out, put_identity);
        });
        put_option(rule.validity.as_ref(), out, |spans, out| {
            put_list(spans.iter(), out, |(from, until), out| {
                out.put_u64_le(from.0);
                out.put_u64_le(until.0);
            });
        });
        put_flag(rule.foreign, out);
        put_option(rule.handling, out, |handling, out| {
            out.put_u8(handling as u8)
        });
        put_permissions(&rule.permissions, out);
    });
}

fn rules(cursor: &mut Cursor<'_>) -> Read<Rules> {
    let rules = list(cursor, 20, |cursor| {
        Ok(Rule {
            id: cursor.text()?.into(),
            identity: option(cursor, |cursor| list(cursor, 5, identity))?,
            validity: option(cursor, |cursor| {
                list(cursor, 16, |cursor| {
                    Ok((Timestamp(cursor.u64()?), Timestamp(cursor.u64()?)))
                })
            })?,
            foreign: flag(cursor)?,
            handling: option(cursor, handling)?,
            permissions: permissions(cursor)?,
        })
    })?;
    Ok(Rules(rules))
}

fn handling(cursor: &mut Cursor<'_>) -> Read<Handling> {
    numbered(cursor, "a handling", Handling::from_number)
}

fn put_identity(identity: &Identity, out: &mut impl BufMut) {
    match identity {
        Identity::One(address) => {
            out.put_u8(1);
            put_text(address, out);
        }
        Identity::Many { domain, except } => {
            out.put_u8(2);
            put_option(domain.as_deref(), out, put_text);
            put_list(except.iter(), out, |except, out| match except {
                Except::User(user) => {
                    out.put_u8(1);
                    put_text(user, out);
                }
                Except::Domain(domain) => {
                    out.put_u8(2);
                    put_text(domain, out);
                }
            });
        }
    }
}

fn identity(cursor: &mut Cursor<'_>) -> Read<Identity> {
    Ok(match cursor.u8()? {
        1 => Identity::One(cursor.text()?.into()),
        2 => Identity::Many {
            domain: option(cursor, |cursor| Ok(cursor.text()?.into()))?,
            except: list(cursor, 5, |cursor| {
                Ok(match cursor.u8()? {
                    1 => Except::User(cursor.text()?.into()),
                    2 => Except::Domain(cursor.text()?.into()),
                    _ => return cursor.wrong("an exception's number"),
                })
            })?,
        },
        _ => return cursor.wrong("an identity's number"),
    })
}

pub(super) fn put_permissions(permissions: &Permissions, out: &mut impl BufMut) {
    for which in [
        &permissions.services,
        &permissions.persons,
        &permissions.devices,
    ] {
        match which {
            Which::Some(selectors) => {
                out.put_u8(0);
                put_list(selectors.iter(), out, |selector, out| {
                    let (number, text) = match selector {
                        Selector::Uri(text) => (1, text),
                        Selector::Scheme(text) => (2, text),
                        Selector::Occurrence(text) => (3, text),
                        Selector::Class(text) => (4, text),
                        Selector::DeviceId(text) => (5, text),
                    };
                    out.put_u8(number);
                    put_text(text, out);
                });
            }
            Which::All => out.put_u8(1),
        }
    }
    out.put_u32_le(permissions.attributes);
    out.put_u8(permissions.user_input as u8);
    put_list(permissions.unknown.iter(), out, |(namespace, name), out| {
        put_text(namespace, out);
        put_text(name, out);
    });
}

fn which(cursor: &mut Cursor<'_>) -> Read<Which> {
    Ok(match cursor.u8()? {
        0 => Which::Some(list(cursor, 5, |cursor| {
            let number = cursor.u8()?;
            let text = cursor.text()?.into();
            Ok(match number {
                1 => Selector::Uri(text),
                2 => Selector::Scheme(text),
                3 => Selector::Occurrence(text),
                4 => Selector::Class(text),
                5 => Selector::DeviceId(text),
                _ => return cursor.wrong("a selector's number"),
            })
        })?),
        1 => Which::All,
        _ => return cursor.wrong("which are shown"),
    })
}

pub(super) fn permissions(cursor: &mut Cursor<'_>) -> Read<Permissions> {
    Ok(Permissions {
        services: which(cursor)?,
        persons: which(cursor)?,
        devices: which(cursor)?,
        attributes: cursor.u32()?,
        user_input: numbered(cursor, "an extent of user-input", UserInput::from_number)?,
        unknown: values::list(cursor, 8, |cursor| {
            Ok((cursor.text()?.into(), cursor.text()?.into()))
        })?,
    })
}

pub(super) fn put_admitted(admitted: &Admitted, out: &mut impl BufMut) {
    out.put_u8(admitted.handling as u8);
    put_option(admitted.permissions.as_deref(), out, put_permissions);
}

pub(super) fn admitted(cursor: &mut Cursor<'_>) -> Read<Admitted> {
    Ok(Admitted {
        handling: handling(cursor)?,
        permissions: option(cursor, permissions)?.map(Arc::new),
    })
}
