//! What crosses between nodes: questions to a machine, answers, replies and notices.
//!
//! A request may come in on another node than the one that leads its shard, and a watcher's connection
//! may be there too. What the log says crosses as the log has it; this is the rest. But for views nothing
//! here is stored: the links between nodes say which version they speak. A view stands in logs and
//! snapshots too, where it is relayed between shards: its numbers are never used again for something else.
//!
//! ```text
//! question := 1 presentity package:u8 | 2 home watcher network:u8 format:u8 wish
//!           | 3 presentity package:u8 tag | 9 presentity application:u8 name
//!           | 10 presentity watcher network:u8 | 13 presentity package:u8 tag
//! answer   := 1 view | 2 shown | 3 flag | 9 [tag content] | 10 kept out | 13 option(stored form)
//!           | 32 its slot is on its way
//! reply    := ticket:u64 outcome option(shown)
//! notice   := dialog:u128 slot:u16 delivery:u8 cseq:u32 format:u8 (0 expires:u32 | 1 reason:u8 | 4 expires:u32)
//!             route target [terms cause:u8], the latter where 2 is added to the number of the state
//! ```

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::machine::Machine;
use crate::machine::codec_enhanced::{put_wish, wish};
use crate::machine::command::Ticket;
use crate::machine::cursor::{Cursor, Unreadable, put_slice};
use crate::machine::effect::{Notice, Shown, SubscriptionState};
use crate::machine::outcome::Outcome;
use crate::machine::policy_values;
use crate::machine::section;
use crate::machine::snapshot;
use crate::machine::values::{self, flag, list, option, put_flag, put_list, put_option, put_text};
use crate::presence::bearing::Bearing;
use crate::presence::contacts::{Delta, Done};
use crate::presence::container::{Network, Watcher};
use crate::presence::delegate::Delegates;
use crate::presence::documents::Application;
use crate::presence::endpoint::Unbinding;
use crate::presence::publication::{Content, EntityTag};
use crate::presence::rules::Handling;
use crate::presence::subscriber::Subscribers;
use crate::slot::{Aor, Slot};
use crate::subscription::dialog::{Delivery, DialogKey, EndReason, Format, Package};
use crate::subscription::savers::{Cause, Terms};
use crate::subscription::view::{
    Legacy, Own, Seen, View, WatcherEvent, WatcherLine, WatcherStatus,
};
use crate::subscription::watch::Wish;
use crate::time::Timestamp;

type Read<T> = Result<T, Unreadable>;

/// Something to be looked up, without a log entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Question<'q> {
    /// What a watcher of the composed document would see: a fetch.
    View {
        /// Whose state.
        presentity: &'q str,
        /// Of which package.
        package: Package,
    },
    /// What an enhanced client would be shown: a poll.
    Look {
        /// Whose, or the home that a dialog would have.
        home: &'q str,
        /// Who looks.
        watcher: &'q str,
        /// From where.
        network: Network,
        /// Which document.
        format: Format,
        /// At what.
        wish: Wish<'q>,
    },
    /// Whether a publication with this tag lives.
    Holds {
        /// Whose.
        presentity: &'q str,
        /// Of which package.
        package: Package,
        /// Which version.
        tag: EntityTag,
    },
    /// What the publication with this tag says.
    Content {
        /// Whose.
        presentity: &'q str,
        /// Of which package.
        package: Package,
        /// Which version.
        tag: EntityTag,
    },
    /// A document that a user keeps.
    Document {
        /// Whose.
        presentity: &'q str,
        /// What for.
        application: Application,
        /// Its name.
        name: &'q str,
    },
    /// What a watcher of the composed document would see, where its rules let it in: a fetch.
    Sight {
        /// Whose state.
        presentity: &'q str,
        /// Who looks.
        watcher: &'q str,
        /// From where.
        network: Network,
    },
}

/// A document that a user keeps, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its version.
    pub tag: EntityTag,
    /// The text.
    pub content: Arc<[u8]>,
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The composed document.
    View(Arc<View>),
    /// What an enhanced client is shown.
    Shown(Box<Shown>),
    /// Whether it lives.
    Holds(bool),
    /// The document, if there is one.
    Document(Option<Held>),
    /// The presentity's rules keep the watcher out.
    KeptOut,
    /// The slot is on its way to another shard: to be asked there, in a moment.
    Moving,
    /// The stored form of a publication; `None` where there is none of that tag.
    Content(Option<Box<[u8]>>),
}

impl Machine {
    /// Looks something up.
    #[must_use]
    pub fn look_up(&self, question: &Question<'_>) -> Answer {
        let (home, wish) = match question {
            Question::View { presentity, .. }
            | Question::Holds { presentity, .. }
            | Question::Document { presentity, .. }
            | Question::Content { presentity, .. }
            | Question::Sight { presentity, .. } => (presentity, None),
            Question::Look { home, wish, .. } => (home, Some(wish)),
        };
        if self.looks_away(home, wish) {
            return Answer::Moving;
        }
        match question {
            Question::View {
                presentity,
                package,
            } => Answer::View(self.fetch(presentity, *package)),
            Question::Content {
                presentity,
                package,
                tag,
            } => Answer::Content(self.content(presentity, *package, *tag)),
            Question::Look {
                home,
                watcher,
                network,
                format,
                wish,
            } => {
                let watcher = Watcher {
                    address: watcher,
                    network: *network,
                };
                Answer::Shown(Box::new(self.look(home, watcher, *format, wish)))
            }
            Question::Holds {
                presentity,
                package,
                tag,
            } => Answer::Holds(self.holds(presentity, *package, *tag)),
            Question::Document {
                presentity,
                application,
                name,
            } => Answer::Document(self.kept(presentity, *application, name)),
            //= RFC 5025 3.2.1
            //# who only fetches is refused, and shown, as who subscribes
            Question::Sight {
                presentity,
                watcher,
                network,
            } => {
                let watcher = Watcher {
                    address: watcher,
                    network: *network,
                };
                let (view, sight) = self.document(presentity, watcher);
                match sight.admitted.handling {
                    Handling::Block => Answer::KeptOut,
                    _ => Answer::View(Arc::new(view)),
                }
            }
        }
    }
}

/// Appends a question.
pub fn encode_question(question: &Question<'_>, out: &mut BytesMut) {
    match question {
        Question::View {
            presentity,
            package,
        } => {
            out.put_u8(1);
            put_text(presentity, out);
            out.put_u8(*package as u8);
        }
        Question::Look {
            home,
            watcher,
            network,
            format,
            wish,
        } => {
            out.put_u8(2);
            put_text(home, out);
            put_text(watcher, out);
            out.put_u8(*network as u8);
            out.put_u8(*format as u8);
            put_wish(wish, out);
        }
        Question::Holds {
            presentity,
            package,
            tag,
        } => {
            out.put_u8(3);
            put_text(presentity, out);
            out.put_u8(*package as u8);
            put_tag(*tag, out);
        }
        Question::Document {
            presentity,
            application,
            name,
        } => {
            out.put_u8(9);
            put_text(presentity, out);
            out.put_u8(*application as u8);
            put_text(name, out);
        }
        Question::Sight {
            presentity,
            watcher,
            network,
        } => {
            out.put_u8(10);
            put_text(presentity, out);
            put_text(watcher, out);
            out.put_u8(*network as u8);
        }
        Question::Content {
            presentity,
            package,
            tag,
        } => {
            out.put_u8(13);
            put_text(presentity, out);
            out.put_u8(*package as u8);
            put_tag(*tag, out);
        }
    }
}

/// Reads a question; `None` for anything else.
#[must_use]
pub fn decode_question(bytes: &[u8]) -> Option<Question<'_>> {
    whole(bytes, |cursor| {
        Ok(match cursor.u8()? {
            1 => Question::View {
                presentity: cursor.text()?,
                package: package(cursor)?,
            },
            2 => Question::Look {
                home: cursor.text()?,
                watcher: cursor.text()?,
                network: values::network(cursor)?,
                format: values::numbered(cursor, "a format", Format::from_number)?,
                wish: wish(cursor)?,
            },
            3 => Question::Holds {
                presentity: cursor.text()?,
                package: package(cursor)?,
                tag: tag(cursor)?,
            },
            9 => Question::Document {
                presentity: cursor.text()?,
                application: policy_values::application(cursor)?,
                name: cursor.text()?,
            },
            10 => Question::Sight {
                presentity: cursor.text()?,
                watcher: cursor.text()?,
                network: values::network(cursor)?,
            },
            13 => Question::Content {
                presentity: cursor.text()?,
                package: package(cursor)?,
                tag: tag(cursor)?,
            },
            _ => return cursor.wrong("a question's number"),
        })
    })
}

/// Appends an answer.
pub fn encode_answer(answer: &Answer, out: &mut Vec<u8>) {
    match answer {
        Answer::View(view) => {
            out.put_u8(1);
            put_view(view, out);
        }
        Answer::Shown(shown) => {
            out.put_u8(2);
            put_shown(shown, out);
        }
        Answer::Holds(lives) => {
            out.put_u8(3);
            put_flag(*lives, out);
        }
        Answer::Document(held) => {
            out.put_u8(9);
            put_option(held.as_ref(), out, |held, out| {
                put_tag(held.tag, out);
                put_slice(&held.content, out);
            });
        }
        Answer::KeptOut => out.put_u8(10),
        Answer::Content(content) => {
            out.put_u8(13);
            put_option(content.as_deref(), out, put_slice);
        }
        Answer::Moving => out.put_u8(32),
    }
}

/// Reads an answer; `None` for anything else.
#[must_use]
pub fn decode_answer(bytes: &[u8]) -> Option<Answer> {
    whole(bytes, |cursor| {
        Ok(match cursor.u8()? {
            1 => Answer::View(view(cursor)?),
            2 => Answer::Shown(Box::new(shown(cursor)?)),
            3 => Answer::Holds(flag(cursor)?),
            9 => Answer::Document(option(cursor, |cursor| {
                Ok(Held {
                    tag: tag(cursor)?,
                    content: cursor.slice()?.into(),
                })
            })?),
            10 => Answer::KeptOut,
            13 => Answer::Content(option(cursor, |cursor| Ok(cursor.slice()?.into()))?),
            32 => Answer::Moving,
            _ => return cursor.wrong("an answer's number"),
        })
    })
}

/// A reply that crossed: who waits, what to tell, what to show with it.
pub type Reply = (Ticket, Outcome, Option<Box<Shown>>);

/// Appends a reply.
pub fn encode_reply(ticket: Ticket, outcome: &Outcome, shown: Option<&Shown>, out: &mut Vec<u8>) {
    out.put_u64_le(ticket.0);
    section::encode_outcome(outcome, out);
    put_option(shown, out, put_shown);
}

/// Reads replies, one behind the other; `None` for anything else.
#[must_use]
pub fn decode_replies(bytes: &[u8]) -> Option<Vec<Reply>> {
    each(bytes, |cursor| {
        let ticket = Ticket(cursor.u64()?);
        let outcome = section::decode_outcome(cursor, snapshot::VERSION)?;
        Ok((ticket, outcome, option(cursor, shown)?.map(Box::new)))
    })
}

/// Appends a notice.
pub fn encode_notice(notice: &Notice, out: &mut Vec<u8>) {
    // Why it is told matters only to who agreed on something, or set a condition.
    let nothing = Terms::default();
    let suppressed = (notice.cause == Cause::Suppressed).then_some(&nothing);
    write_notice(notice, notice.terms.as_deref().or(suppressed), out);
}

/// Appends a notice for a node that does not know of saving traffic: it tells everything, in full.
pub fn encode_plain_notice(notice: &Notice, out: &mut Vec<u8>) {
    write_notice(notice, None, out);
}

fn write_notice(notice: &Notice, terms: Option<&Terms>, out: &mut Vec<u8>) {
    let saves = if terms.is_some() { 2 } else { 0 };
    out.put_u128_le(notice.dialog.0);
    out.put_u16_le(notice.slot.number());
    out.put_u8(notice.delivery as u8);
    out.put_u32_le(notice.cseq);
    out.put_u8(notice.format as u8);
    match notice.state {
        SubscriptionState::Active { expires_s } => {
            out.put_u8(saves);
            out.put_u32_le(expires_s);
        }
        SubscriptionState::Terminated(reason) => {
            out.put_u8(saves | 1);
            out.put_u8(reason as u8);
        }
        SubscriptionState::Pending { expires_s } => {
            out.put_u8(saves | 4);
            out.put_u32_le(expires_s);
        }
    }
    put_slice(&notice.route, out);
    put_slice(&notice.target, out);
    if let Some(terms) = terms {
        values::put_terms(terms, out);
        out.put_u8(notice.cause as u8);
    }
}

/// Reads notices, one behind the other; `None` for anything else.
#[must_use]
pub fn decode_notices(bytes: &[u8]) -> Option<Vec<Notice>> {
    each(bytes, |cursor| {
        let dialog = DialogKey(cursor.u128()?);
        let slot = match Slot::new(cursor.u16()?) {
            Some(slot) => slot,
            None => return cursor.wrong("a slot's number"),
        };
        let delivery = values::numbered(cursor, "a delivery", Delivery::from_number)?;
        let cseq = cursor.u32()?;
        let format = values::numbered(cursor, "a format", Format::from_number)?;
        let number = cursor.u8()?;
        let state = match number {
            0 | 2 => SubscriptionState::Active {
                expires_s: cursor.u32()?,
            },
            1 | 3 => SubscriptionState::Terminated(values::numbered(
                cursor,
                "a reason",
                EndReason::from_number,
            )?),
            4 | 6 => SubscriptionState::Pending {
                expires_s: cursor.u32()?,
            },
            _ => return cursor.wrong("a subscription's state"),
        };
        let (route, target) = (cursor.slice()?.into(), cursor.slice()?.into());
        let (terms, cause) = if number & 2 == 0 {
            (None, Cause::Asked)
        } else {
            let terms = Arc::new(values::terms(cursor)?);
            let cause = values::numbered(cursor, "a cause", Cause::from_number)?;
            (Some(terms), cause)
        };
        Ok(Notice {
            dialog,
            slot,
            delivery,
            cseq,
            format,
            state,
            route,
            target,
            terms,
            cause,
        })
    })
}

fn whole<'a, T>(bytes: &'a [u8], read: impl FnOnce(&mut Cursor<'a>) -> Read<T>) -> Option<T> {
    let mut cursor = Cursor::new(bytes);
    let value = read(&mut cursor).ok()?;
    cursor.end().ok()?;
    Some(value)
}

fn each<'a, T>(
    bytes: &'a [u8],
    mut read: impl FnMut(&mut Cursor<'a>) -> Read<T>,
) -> Option<Vec<T>> {
    let mut cursor = Cursor::new(bytes);
    let mut all = Vec::new();
    while cursor.left() > 0 {
        all.push(read(&mut cursor).ok()?);
    }
    Some(all)
}

fn package(cursor: &mut Cursor<'_>) -> Read<Package> {
    values::numbered(cursor, "a package", Package::from_number)
}

fn put_tag(tag: EntityTag, out: &mut impl BufMut) {
    out.put_u32_le(tag.salt);
    out.put_u64_le(tag.index);
    out.put_u16_le(tag.position);
}

fn tag(cursor: &mut Cursor<'_>) -> Read<EntityTag> {
    Ok(EntityTag {
        salt: cursor.u32()?,
        index: cursor.u64()?,
        position: cursor.u16()?,
    })
}

fn put_shown(shown: &Shown, out: &mut Vec<u8>) {
    out.put_u32_le(shown.cseq);
    put_list(shown.views.iter(), out, |view, out| put_view(view, out));
    put_list(shown.over_quota.iter(), out, |aor, out| {
        put_text(aor.as_str(), out);
    });
    put_list(shown.current.iter(), out, |instance, out| {
        put_option(instance.as_deref(), out, |instance, out| {
            values::put_instance(instance, out);
        });
    });
}

fn shown(cursor: &mut Cursor<'_>) -> Read<Shown> {
    Ok(Shown {
        cseq: cursor.u32()?,
        views: list(cursor, 22, view)?,
        over_quota: list(cursor, 4, aor)?,
        current: list(cursor, 1, |cursor| option(cursor, values::instance))?,
    })
}

fn aor(cursor: &mut Cursor<'_>) -> Read<Aor> {
    Ok(Aor::from_canonical(cursor.text()?))
}

/// Appends a view, as relays hold it.
pub fn encode_view(view: &View, out: &mut Vec<u8>) {
    put_view(view, out);
}

/// Reads a view; `None` for anything else.
#[must_use]
pub fn decode_view(bytes: &[u8]) -> Option<View> {
    let view = whole(bytes, view)?;
    Some(Arc::unwrap_or_clone(view))
}

fn put_view(view: &View, out: &mut Vec<u8>) {
    put_text(view.presentity.as_str(), out);
    out.put_u8(view.package as u8);
    out.put_u64_le(view.revision);
    out.put_u64_le(view.taken_at.0);
    match &view.seen {
        Seen::Publications(contents) => {
            out.put_u8(1);
            put_contents(contents, out);
        }
        Seen::Permitted {
            contents,
            permissions,
        } => {
            out.put_u8(16);
            put_contents(contents, out);
            policy_values::put_permissions(permissions, out);
        }
        Seen::Watchers { full, watchers } => {
            out.put_u8(17);
            put_flag(*full, out);
            put_list(watchers.iter(), out, |line, out| {
                out.put_u128_le(line.dialog.0);
                put_text(line.address.as_str(), out);
                out.put_u8(line.status as u8);
                out.put_u8(line.event as u8);
                out.put_u32_le(line.expires_s);
            });
        }
        Seen::Legacy(legacy) => {
            out.put_u8(2);
            put_option(legacy.interop.as_ref(), out, values::put_interop);
            values::put_profile(&legacy.profile, out);
        }
        Seen::Categories(categories) => {
            out.put_u8(3);
            put_list(categories.iter(), out, |(category, instances), out| {
                values::put_category(category, out);
                put_list(instances.iter(), out, |instance, out| {
                    values::put_instance(instance, out);
                });
            });
        }
        Seen::Own(own) => {
            out.put_u8(4);
            put_own(own, out);
        }
        Seen::Contacts { list, ucs } => {
            out.put_u8(5);
            values::put_contacts(list, out);
            put_flag(*ucs, out);
        }
        Seen::ContactStep {
            delta,
            custody,
            ucs,
        } => {
            out.put_u8(6);
            put_delta(delta, out);
            out.put_u8(*custody as u8);
            put_flag(*ucs, out);
        }
        Seen::Waiting(waiting) => {
            out.put_u8(11);
            put_option(waiting.as_ref(), out, |waiting, out| {
                values::put_waiting(waiting, out);
            });
        }
        Seen::Registrations { bound, unbound } => {
            out.put_u8(12);
            section::encode_endpoints(bound, out);
            put_list(unbound.iter(), out, |(gone, how), out| {
                section::encode_endpoints(std::slice::from_ref(gone), out);
                out.put_u8(*how as u8);
            });
        }
        Seen::Nothing => out.put_u8(7),
        Seen::Unknown => out.put_u8(8),
        Seen::Rendered(document) => {
            out.put_u8(9);
            put_slice(document, out);
        }
        Seen::List { full, members } => {
            out.put_u8(10);
            put_flag(*full, out);
            put_list(members.iter(), out, |(uri, view), out| {
                put_text(uri, out);
                put_view(view, out);
            });
        }
    }
}

fn view(cursor: &mut Cursor<'_>) -> Read<Arc<View>> {
    view_of(cursor, true)
}

/// A view; one in a list is no list, so nothing that a peer sends goes deeper than that.
fn view_of(cursor: &mut Cursor<'_>, may_be_list: bool) -> Read<Arc<View>> {
    Ok(Arc::new(View {
        presentity: aor(cursor)?,
        package: package(cursor)?,
        revision: cursor.u64()?,
        taken_at: Timestamp(cursor.u64()?),
        seen: match cursor.u8()? {
            1 => Seen::Publications(list(cursor, 18, content)?.into()),
            2 => Seen::Legacy(Box::new(Legacy {
                interop: option(cursor, values::interop)?,
                profile: values::profile(cursor)?,
            })),
            3 => Seen::Categories(list(cursor, 8, |cursor| {
                let category = values::category(cursor)?;
                Ok((category, list(cursor, 24, values::instance)?.into()))
            })?),
            4 => Seen::Own(Box::new(own(cursor)?)),
            5 => Seen::Contacts {
                list: Arc::new(values::contacts(cursor)?),
                ucs: flag(cursor)?,
            },
            6 => Seen::ContactStep {
                delta: Box::new(delta(cursor)?),
                custody: values::custody(cursor)?,
                ucs: flag(cursor)?,
            },
            7 => Seen::Nothing,
            8 => Seen::Unknown,
            9 => Seen::Rendered(cursor.slice()?.into()),
            11 => Seen::Waiting(option(cursor, values::waiting)?),
            12 => Seen::Registrations {
                bound: section::decode_endpoints(cursor, snapshot::VERSION)?.into(),
                unbound: list(cursor, 5, |cursor| {
                    let gone = section::decode_endpoints(cursor, snapshot::VERSION)?.pop();
                    let how = values::numbered(cursor, "an end", Unbinding::from_number)?;
                    match gone {
                        Some(gone) => Ok((gone, how)),
                        None => cursor.wrong("an endpoint that has gone"),
                    }
                })?,
            },
            10 if may_be_list => Seen::List {
                full: flag(cursor)?,
                members: list(cursor, 26, |cursor| {
                    let uri = cursor.text()?.into();
                    Ok((uri, view_of(cursor, false)?))
                })?,
            },
            16 => Seen::Permitted {
                contents: list(cursor, 18, content)?.into(),
                permissions: Arc::new(policy_values::permissions(cursor)?),
            },
            17 => Seen::Watchers {
                full: flag(cursor)?,
                watchers: list(cursor, 26, watcher_line)?,
            },
            _ => return cursor.wrong("what is seen"),
        },
    }))
}

fn put_contents(contents: &[Arc<Content>], out: &mut Vec<u8>) {
    put_list(contents.iter(), out, |content, out| {
        put_slice(&content.stored, out);
        out.put_u64_le(content.published_at.0);
        out.put_u32_le(content.number);
        out.put_slice(&content.bearing.numbers());
    });
}

fn watcher_line(cursor: &mut Cursor<'_>) -> Read<WatcherLine> {
    Ok(WatcherLine {
        dialog: DialogKey(cursor.u128()?),
        address: aor(cursor)?,
        status: values::numbered(cursor, "a watcher's status", WatcherStatus::from_number)?,
        event: values::numbered(cursor, "a watcher's event", WatcherEvent::from_number)?,
        expires_s: cursor.u32()?,
    })
}

fn content(cursor: &mut Cursor<'_>) -> Read<Arc<Content>> {
    Ok(Arc::new(Content {
        stored: cursor.slice()?.into(),
        published_at: Timestamp(cursor.u64()?),
        number: cursor.u32()?,
        bearing: match Bearing::from_numbers(cursor.u8()?, cursor.u8()?) {
            Some(bearing) => bearing,
            None => return cursor.wrong("a bearing"),
        },
    }))
}

fn put_own(own: &Own, out: &mut Vec<u8>) {
    put_option(own.categories.as_ref(), out, |instances, out| {
        put_list(instances.iter(), out, |instance, out| {
            values::put_instance(instance, out);
        });
    });
    put_list(own.cleared.iter(), out, |(category, container), out| {
        values::put_category(category, out);
        out.put_u16_le(*container);
    });
    put_option(own.containers.as_ref(), out, |containers, out| {
        put_list(containers.iter(), out, |(id, version, members), out| {
            out.put_u16_le(*id);
            out.put_u32_le(*version);
            put_list(members.iter(), out, |member, out| {
                values::put_member(member, out);
            });
        });
    });
    put_option(own.subscribers.as_ref(), out, |subscribers, out| {
        put_list(subscribers.iter(), out, values::put_subscriber);
    });
    put_option(own.delegates.as_ref(), out, |delegates, out| {
        out.put_u32_le(delegates.version);
        put_list(delegates.iter(), out, values::put_delegate);
    });
}

fn own(cursor: &mut Cursor<'_>) -> Read<Own> {
    Ok(Own {
        categories: option(cursor, |cursor| list(cursor, 24, values::instance))?,
        cleared: list(cursor, 6, |cursor| {
            Ok((values::category(cursor)?, cursor.u16()?))
        })?,
        containers: option(cursor, |cursor| {
            list(cursor, 10, |cursor| {
                let (id, version) = (cursor.u16()?, cursor.u32()?);
                Ok((id, version, list(cursor, 1, values::member)?))
            })
        })?,
        subscribers: option(cursor, |cursor| {
            Ok(Subscribers::from_list(list(
                cursor,
                15,
                values::subscriber,
            )?))
        })?,
        delegates: option(cursor, |cursor| {
            let version = cursor.u32()?;
            Ok(Delegates::from_parts(
                version,
                list(cursor, 6, values::delegate)?,
            ))
        })?,
    })
}

fn put_delta(delta: &Delta, out: &mut Vec<u8>) {
    out.put_u32_le(delta.from);
    out.put_u32_le(delta.to);
    match &delta.done {
        Done::AddedContact(contact) => {
            out.put_u8(1);
            values::put_contact(contact, out);
        }
        Done::ModifiedContact(contact) => {
            out.put_u8(2);
            values::put_contact(contact, out);
        }
        Done::DeletedContact(uri) => {
            out.put_u8(3);
            put_text(uri, out);
        }
        Done::AddedGroup(group) => {
            out.put_u8(4);
            values::put_group(group, out);
        }
        Done::ModifiedGroup(group) => {
            out.put_u8(5);
            values::put_group(group, out);
        }
        Done::DeletedGroup(id) => {
            out.put_u8(6);
            out.put_u8(*id);
        }
    }
}

fn delta(cursor: &mut Cursor<'_>) -> Read<Delta> {
    Ok(Delta {
        from: cursor.u32()?,
        to: cursor.u32()?,
        done: match cursor.u8()? {
            1 => Done::AddedContact(values::contact(cursor)?),
            2 => Done::ModifiedContact(values::contact(cursor)?),
            3 => Done::DeletedContact(cursor.text()?.into()),
            4 => Done::AddedGroup(values::group(cursor)?),
            5 => Done::ModifiedGroup(values::group(cursor)?),
            6 => Done::DeletedGroup(cursor.u8()?),
            _ => return cursor.wrong("what was done to contacts"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::category::mwi::Waiting;
    use crate::presence::contacts::{Contact, Custody, Group, List};
    use crate::presence::endpoint::Endpoint;

    const CUSTODIES: [Custody; 6] = [
        Custody::Here,
        Custody::Migrating,
        Custody::Elsewhere,
        Custody::Queued,
        Custody::Returning,
        Custody::Kept,
    ];

    fn contact() -> Contact {
        Contact {
            uri: "bob@x".into(),
            name: "Bob".into(),
            groups: [1, 7].into(),
            subscribed: true,
            external_uri: "urn:x".into(),
            extension: "<contactExtension/>".into(),
        }
    }

    fn group() -> Group {
        Group {
            id: 7,
            name: "Team".into(),
            external_uri: "".into(),
        }
    }

    fn shown(seen: Seen) -> Shown {
        let view = View {
            presentity: Aor::from_canonical("alice@x"),
            package: Package::RoamingContacts,
            revision: 5,
            taken_at: Timestamp(9),
            seen,
        };
        Shown {
            cseq: 3,
            views: vec![Arc::new(view)],
            ..Shown::default()
        }
    }

    /// What rules have brought: each is read as it was written, and none that is cut short is read at all.
    #[test]
    fn rules_documents_and_watchers_cross() {
        use crate::presence::rules::{Permissions, Selector, Which};
        let content = Arc::new(Content {
            stored: b"\x01"[..].into(),
            published_at: Timestamp(4),
            number: 2,
            bearing: Bearing::default(),
        });
        let permissions = Permissions {
            services: Which::Some(vec![Selector::Class("work".into())]),
            attributes: 9,
            ..Permissions::default()
        };
        let line = WatcherLine {
            dialog: DialogKey(7),
            address: Aor::from_canonical("bob@x"),
            status: WatcherStatus::Pending,
            event: WatcherEvent::Subscribe,
            expires_s: 60,
        };
        let seen = [
            Seen::Permitted {
                contents: [content].into_iter().collect(),
                permissions: Arc::new(permissions),
            },
            Seen::Watchers {
                full: false,
                watchers: vec![line],
            },
        ];
        let held = Held {
            tag: EntityTag::FOREIGN,
            content: b"<a/>"[..].into(),
        };
        let mut answers: Vec<Answer> = seen
            .into_iter()
            .map(|seen| Answer::Shown(Box::new(shown(seen))))
            .collect();
        answers.extend([
            Answer::Document(None),
            Answer::Document(Some(held)),
            Answer::KeptOut,
        ]);
        for answer in answers {
            let mut bytes = Vec::new();
            encode_answer(&answer, &mut bytes);
            let read = decode_answer(&bytes).expect("read");
            assert_eq!(format!("{read:?}"), format!("{answer:?}"));
            for length in 0..bytes.len() {
                assert!(decode_answer(&bytes[..length]).is_none(), "{answer:?}");
            }
        }
        for question in [
            Question::Document {
                presentity: "alice@x",
                application: Application::Lists,
                name: "index",
            },
            Question::Sight {
                presentity: "alice@x",
                watcher: "bob@x",
                network: Network::Federated,
            },
        ] {
            let mut bytes = BytesMut::new();
            encode_question(&question, &mut bytes);
            assert_eq!(decode_question(&bytes).as_ref(), Some(&question));
            for length in 0..bytes.len() {
                assert_eq!(decode_question(&bytes[..length]), None, "{question:?}");
            }
        }
    }

    /// All that may be shown of contacts.
    fn all() -> Vec<Shown> {
        let mut all = Vec::new();
        for (custody, ucs) in CUSTODIES
            .into_iter()
            .flat_map(|custody| [(custody, false), (custody, true)])
        {
            let list = Arc::new(List {
                delta_num: 9,
                custody,
                groups: vec![group()],
                contacts: vec![contact()],
            });
            all.push(shown(Seen::Contacts { list, ucs }));
            for done in [
                Done::AddedContact(contact()),
                Done::ModifiedContact(contact()),
                Done::DeletedContact("bob@x".into()),
                Done::AddedGroup(group()),
                Done::ModifiedGroup(group()),
                Done::DeletedGroup(7),
            ] {
                let (from, to) = (8, 9);
                let delta = Box::new(Delta { from, to, done });
                all.push(shown(Seen::ContactStep {
                    delta,
                    custody,
                    ucs,
                }));
            }
        }
        all
    }

    #[test]
    fn contacts_in_an_answer_are_read_as_they_were_written() {
        for shown in all() {
            let answer = Answer::Shown(Box::new(shown));
            let mut out = Vec::new();
            encode_answer(&answer, &mut out);
            let read = decode_answer(&out).expect("an answer");
            assert_eq!(format!("{read:?}"), format!("{answer:?}"));
            for length in 0..out.len() {
                assert!(decode_answer(&out[..length]).is_none(), "cut to {length}");
            }
        }
    }

    #[test]
    fn mail_and_registrations_are_read_as_they_were_written() {
        let endpoint = |binding| Endpoint {
            binding,
            contact: "sip:phone@192.0.2.7".into(),
            instance: "urn:uuid:1".into(),
            q: 500,
            path: "".into(),
            call_id: 1,
            cseq: 2,
            expires_at: Timestamp(9),
            target: b"target"[..].into(),
            endpoint_id: None,
        };
        let waiting = |unread| Waiting {
            waiting: true,
            unread,
            read: Some(1),
        };
        for seen in [
            Seen::Waiting(None),
            Seen::Waiting(Some(waiting(None))),
            Seen::Waiting(Some(waiting(Some(3)))),
            Seen::Registrations {
                bound: Arc::new([]),
                unbound: Vec::new(),
            },
            Seen::Registrations {
                bound: [endpoint(1), endpoint(2)].into(),
                unbound: vec![
                    (endpoint(9), Unbinding::Expired),
                    (endpoint(3), Unbinding::Unregistered),
                    (endpoint(3), Unbinding::Deactivated),
                ],
            },
        ] {
            let answer = Answer::View(Arc::clone(&shown(seen).views[0]));
            let mut out = Vec::new();
            encode_answer(&answer, &mut out);
            let read = decode_answer(&out).expect("an answer");
            assert_eq!(format!("{read:?}"), format!("{answer:?}"));
            for length in 0..out.len() {
                assert!(decode_answer(&out[..length]).is_none(), "cut to {length}");
            }
        }
    }

    #[test]
    fn contacts_in_replies_are_read_as_they_were_written() {
        let all = all();
        let outcome = Outcome::ContactsChanged(Some(7));
        let mut out = Vec::new();
        for (number, shown) in (1..).zip(&all) {
            encode_reply(Ticket(number), &outcome, Some(shown), &mut out);
        }
        let read = decode_replies(&out).expect("replies");
        assert_eq!(read.len(), all.len());
        for (number, (read, shown)) in (1..).zip(read.into_iter().zip(&all)) {
            let (ticket, told, seen) = read;
            assert_eq!((ticket, &told), (Ticket(number), &outcome));
            let seen = seen.expect("something to show");
            assert_eq!(format!("{seen:?}"), format!("{shown:?}"));
        }
    }
}
