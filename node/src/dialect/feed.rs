//! The JSON dialect: what a switchboard, a calendar or a script says of a user in one HTTP call.
//!
//! Each source of a user has one publication under its name. It is a presence document like a phone's, so that
//! all watchers are shown it; what a document cannot say to watchers of enhanced presence goes beside it as
//! category instances of a number that belongs to the source. Documents are taken as they are, too, in PIDF, and
//! batches of categories, with their versions.
//!
//! Statuses are those of SIP's table where HTTP has them, so that one page of documentation serves both.

use serde::Deserialize;
use serde_json::{Value, json};
use shard::category::{Category, Meaning};
use shard::document::{pidf, publish};
use shard::machine::command::{Command, PublishInstances, PublishSource};
use shard::machine::outcome::{Outcome, Refusal};
use shard::presence::bearing::Bearing;
use shard::presence::instance::{Deed, Publication, Wished};
use shard::presence::publication::EntityTag;
use shard::presence::source::{Condition, SOURCE_BYTES_MAX};
use shard::slot::Slot;
use shard::xml::{Document, escape};
use transport::sip::{Method, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

use super::simple::PIDF;
use super::{Answer, Grace, Policy, address, refusal};
use crate::directory::Users;
use crate::observe::report::{FeedAct, FeedAnswer, FeedCall};

/// A batch of category publications.
const CATEGORIES: &str = "application/msrtc-category-publish+xml";

/// The source of the connector that reads calendars: nobody else speaks for it.
pub const CALENDAR: &str = "caldav";

/// Letters of a note.
const NOTE_BYTES_MAX: usize = 4_096;

/// Where a note of a source is shown: to colleagues, the workgroup and the personal contacts.
const NOTE_CONTAINERS: [u16; 3] = [200, 300, 400];

/// Where states are aggregated.
pub const STATE_CONTAINERS: [u16; 2] = [2, 3];

/// What a person does, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Status {
    Available,
    Busy,
    OnThePhone,
    #[serde(alias = "meeting")]
    InAMeeting,
    Presenting,
    DoNotDisturb,
    Away,
    Offline,
}

impl Status {
    /// The status of the tuple, and the activity of the person.
    fn spoken(self) -> (&'static str, &'static str) {
        match self {
            Status::Available => ("open", ""),
            Status::Busy | Status::DoNotDisturb => ("open", "busy"),
            Status::OnThePhone => ("open", "on-the-phone"),
            Status::InAMeeting => ("open", "meeting"),
            Status::Presenting => ("open", "presentation"),
            Status::Away => ("open", "away"),
            Status::Offline => ("closed", ""),
        }
    }
}

/// The body of a call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    status: Status,
    #[serde(default)]
    note: String,
    expires: Option<u32>,
}

/// A category instance of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    category: Category,
    container: u16,
    number: u32,
    /// Seconds, XML and what it means; `None` removes.
    set: Option<(u32, Vec<u8>, Meaning)>,
}

impl Instance {
    /// An instance with this XML, which is of our own making and sound, for so many seconds.
    #[must_use]
    pub fn set(
        category: Category,
        container: u16,
        number: u32,
        life_s: u32,
        xml: Vec<u8>,
    ) -> Instance {
        let document = Document::parse(&xml).ok();
        let meaning = document.and_then(|read| Meaning::read(&category, read.root()).ok());
        Instance {
            category,
            container,
            number,
            set: Some((life_s, xml, meaning.unwrap_or_default())),
        }
    }

    /// The same place without anything in it.
    #[must_use]
    pub fn removed(category: Category, container: u16, number: u32) -> Instance {
        Instance {
            category,
            container,
            number,
            set: None,
        }
    }

    fn publication(&self) -> Publication<'_> {
        Publication {
            category: self.category.clone(),
            container: self.container,
            number: self.number,
            version: 0,
            deed: match &self.set {
                None => Deed::Remove,
                Some((seconds, xml, meaning)) => Deed::Set {
                    life: Wished::Seconds(*seconds),
                    xml,
                    meaning: meaning.clone(),
                },
            },
        }
    }
}

/// The number of a source's category instances. Its two highest bits are zero, as the encoding of free and busy
/// wants them.
#[must_use]
pub fn number_of(source: &str) -> u32 {
    (xxh3_64(source.as_bytes()) >> 34) as u32
}

/// What a source says of a user, read.
#[derive(Debug)]
pub struct Feed {
    presentity: String,
    source: String,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Its publication, and what goes beside it.
    Source {
        condition: Condition,
        content: Option<Vec<u8>>,
        expires_s: u32,
        bearing: Bearing,
        instances: Vec<Instance>,
    },
    /// Category instances with their versions.
    Categories {
        batch: publish::Publish,
        buffer: Vec<u8>,
    },
}

impl Feed {
    /// What a connector says: a document, or none, and instances. `presentity` is canonical.
    #[must_use]
    pub fn of_connector(
        presentity: &str,
        source: &str,
        content: Option<Vec<u8>>,
        expires_s: u32,
        instances: Vec<Instance>,
    ) -> Feed {
        let bearing = content.as_deref().map(pidf::bearing);
        Feed {
            presentity: presentity.to_owned(),
            source: source.to_owned(),
            what: What::Source {
                condition: Condition::Any,
                content,
                expires_s,
                bearing: bearing.unwrap_or_default(),
                instances,
            },
        }
    }

    /// Reads a call. The checks come in the order of RFC 3903 §6.
    ///
    /// # Errors
    /// The answer, as SIP has it.
    //= RFC 3903 6
    //# 404 before 400 before 423 before 415
    pub fn read(call: &FeedCall, policy: &Policy, users: &dyn Users) -> Result<Feed, Answer> {
        let mut presentity = String::new();
        address(&call.uri, policy, &mut presentity)?;
        if !users.knows(&presentity) {
            return Err(Answer::of(refusal::NO_SUCH_USER));
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let source = call.source.as_str();
        if source.is_empty() || source.len() > SOURCE_BYTES_MAX || !source.bytes().all(legal) {
            return Err(wrong(
                "a source is named by up to 64 letters, digits, -, . or _",
            ));
        }
        if source == CALENDAR {
            return Err(Answer::of(refusal::NOT_YOURS));
        }
        let condition = condition(call)?;
        let what = match call.act {
            FeedAct::Delete => What::Source {
                condition: match condition {
                    Condition::Any => Condition::Lives,
                    other => other,
                },
                content: None,
                expires_s: 0,
                bearing: Bearing::default(),
                instances: beside(source, None, "", 0),
            },
            FeedAct::Put => put(call, policy, condition)?,
        };
        Ok(Feed {
            presentity,
            source: source.to_owned(),
            what,
        })
    }

    /// Whose.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot::of(&self.presentity)
    }

    /// How gladly it is done under load.
    #[must_use]
    pub fn grace(&self) -> Grace {
        match &self.what {
            What::Source { expires_s: 0, .. } => Grace::End,
            What::Source { .. } | What::Categories { .. } => Grace::Refresh,
        }
    }

    /// Lets `perform` have the command.
    pub fn perform<R>(&self, policy: &Policy, perform: impl FnOnce(Command<'_>) -> R) -> R {
        let category_bytes_max = policy.enhanced.category_bytes;
        match &self.what {
            What::Source {
                condition,
                content,
                expires_s,
                bearing,
                instances,
            } => perform(Command::PublishSource(PublishSource {
                presentity: &self.presentity,
                source: &self.source,
                condition: *condition,
                content: content.as_deref(),
                expires_s: *expires_s,
                bearing: *bearing,
                instances: instances.iter().map(Instance::publication).collect(),
                category_bytes_max,
            })),
            What::Categories { batch, buffer } => {
                perform(Command::PublishInstances(PublishInstances {
                    presentity: &self.presentity,
                    endpoint: None,
                    category_bytes_max,
                    publications: batch.clone().publications(buffer),
                }))
            }
        }
    }

    /// What the call is answered when the machine has done, or refused, what it asked for.
    #[must_use]
    pub fn answer(&self, outcome: &Outcome) -> FeedAnswer {
        let told = |status, body| FeedAnswer {
            status,
            headers: Vec::new(),
            body,
        };
        match (outcome, &self.what) {
            (Outcome::Published { expires_s: 0, .. }, _) => told(204, Value::Null),
            (Outcome::Published { tag, expires_s }, _) => FeedAnswer {
                status: 200,
                headers: vec![("ETag", format!("\"{tag}\""))],
                body: json!({
                    "presentity": uri(&self.presentity),
                    "source": self.source,
                    "etag": tag.to_string(),
                    "expires": expires_s,
                }),
            },
            (Outcome::InstancesPublished(_), What::Categories { batch, buffer }) => {
                let each = batch.clone().publications(buffer).into_iter();
                let versions = each.map(|publication| {
                    let version = match publication.deed {
                        //= MS-PRES 3.2.5.1.2
                        //# each success makes the version one greater
                        Deed::Set { .. } => publication.version.wrapping_add(1).max(1),
                        Deed::Remove => 0,
                    };
                    json!({
                        "category": publication.category.as_str(),
                        "container": publication.container,
                        "instance": publication.number,
                        "version": version,
                    })
                });
                let presentity = uri(&self.presentity);
                told(
                    200,
                    json!({ "presentity": presentity, "published": versions.collect::<Vec<_>>() }),
                )
            }
            //= MS-PRES 3.2.5.4
            //# 409 names each publication whose version is not the current one
            (Outcome::Conflict(conflicts), _) => {
                let each = conflicts.iter().map(|conflict| {
                    json!({
                        "index": conflict.index,
                        "version": conflict.version,
                        "current": conflict.current,
                    })
                });
                let conflicts: Vec<Value> = each.collect();
                let error = "versions are not those there are";
                told(409, json!({ "error": error, "conflicts": conflicts }))
            }
            // Who named no version wanted to remove what is not there.
            (
                Outcome::Refused(Refusal::NoMatch),
                What::Source {
                    condition: Condition::Lives,
                    expires_s: 0,
                    ..
                },
            ) => told(404, json!({ "error": "this source has published nothing" })),
            (Outcome::Refused(refused), _) => {
                said(&Answer::of(refusal::of(*refused, &Method::Service)))
            }
            _ => told(500, json!({ "error": "the shard answered something else" })),
        }
    }
}

/// The address as a URI.
fn uri(presentity: &str) -> String {
    match presentity.starts_with("tel:") {
        true => presentity.to_owned(),
        false => format!("sip:{presentity}"),
    }
}

/// A refusal of SIP's table, over HTTP.
#[must_use]
pub fn said(answer: &Answer) -> FeedAnswer {
    let status = match answer.row.status {
        // HTTP has other words behind these numbers.
        StatusCode::UNSUPPORTED_URI_SCHEME => 400,
        StatusCode::NOT_ACCEPTABLE_HERE => 409,
        other => other.number(),
    };
    let mut body = json!({ "error": answer.row.reason });
    if let Some(detail) = answer.header("Warning") {
        body["detail"] = detail.into();
    }
    let passed = ["Min-Expires", "Retry-After", "Accept"].into_iter();
    let headers = passed.filter_map(|name| Some((name, answer.header(name)?.to_owned())));
    FeedAnswer {
        status,
        headers: headers.collect(),
        body,
    }
}

/// 400 with a sentence of its own.
fn wrong(detail: &str) -> Answer {
    Answer::of(refusal::BAD_CALL).with("Warning", detail.to_owned())
}

/// What must be true of the publication, by If-Match and If-None-Match (RFC 9110 §13.1).
fn condition(call: &FeedCall) -> Result<Condition, Answer> {
    match (call.if_match.as_deref(), call.if_none_match.as_deref()) {
        (None, None) => Ok(Condition::Any),
        (Some("*"), None) => Ok(Condition::Lives),
        (None, Some("*")) => Ok(Condition::Absent),
        (Some(tag), None) => {
            let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            // A tag that was never ours matches nothing; so does a weak one.
            let tag = tag.and_then(EntityTag::parse);
            tag.map(Condition::Tag)
                .ok_or_else(|| Answer::of(refusal::NO_MATCH))
        }
        _ => Err(wrong(
            "either If-Match with one entity-tag or *, or If-None-Match with *",
        )),
    }
}

fn put(call: &FeedCall, policy: &Policy, condition: Condition) -> Result<What, Answer> {
    let essence = call.media.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    let granted = |asked: Option<u32>| {
        let expires_s = policy.publication.grant(asked)?;
        // Nothing lives for no time: DELETE is for that.
        (expires_s > 0)
            .then_some(expires_s)
            .ok_or_else(|| wrong("expires is a number of seconds; DELETE removes"))
    };
    let asked = match call.expires.as_deref() {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| wrong("expires is a number of seconds"))?,
        ),
    };
    if is(CATEGORIES) {
        if condition != Condition::Any {
            return Err(wrong("categories have versions, not entity-tags"));
        }
        return categories(call, policy);
    }
    if is(PIDF) {
        let expires_s = granted(asked)?;
        let content = pidf::parse(&call.body).map_err(|error| wrong(&error.to_string()))?;
        return Ok(What::Source {
            condition,
            expires_s,
            bearing: pidf::bearing(&content),
            content: Some(content),
            instances: beside(&call.source, None, "", 0),
        });
    }
    if !is("application/json") {
        let known = format!("application/json, {PIDF}, {CATEGORIES}");
        return Err(Answer::of(refusal::UNSUPPORTED_TYPE).with("Accept", known));
    }
    let said: Said =
        serde_json::from_slice(&call.body).map_err(|error| wrong(&error.to_string()))?;
    let illegal =
        |c: char| c.is_control() && !"\t\r\n".contains(c) || "\u{fffe}\u{ffff}".contains(c);
    if said.note.len() > NOTE_BYTES_MAX || said.note.chars().any(illegal) {
        return Err(wrong("a note is text of up to 4096 bytes"));
    }
    let expires_s = granted(said.expires.or(asked))?;
    let (basic, activity) = said.status.spoken();
    let content = document(&call.source, Some((basic, &said.note)), activity, None, "")
        .map_err(|error| wrong(&error))?;
    Ok(What::Source {
        condition,
        expires_s,
        bearing: pidf::bearing(&content),
        content: Some(content),
        instances: beside(&call.source, Some(said.status), &said.note, expires_s),
    })
}

/// The stored form of a document of our own: a tuple with its status and note, where there is one to tell of,
/// and what the person does, until when it is known. `more` is XML that stands behind that.
///
/// # Errors
/// What is wrong with the parts.
pub fn document(
    source: &str,
    tuple: Option<(&str, &str)>,
    activity: &str,
    until: Option<&str>,
    more: &str,
) -> Result<Vec<u8>, String> {
    // The composed document has the presentity's own address.
    let mut xml = b"<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:nobody.invalid\" \
        xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
        xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\">"
        .to_vec();
    let mut put = |parts: &[&str]| {
        parts
            .iter()
            .for_each(|part| xml.extend_from_slice(part.as_bytes()))
    };
    if let Some((basic, note)) = tuple {
        put(&[
            "<tuple id=\"",
            source,
            "\"><status><basic>",
            basic,
            "</basic></status>",
        ]);
        if !note.is_empty() {
            let mut escaped = Vec::new();
            escape(note, &mut escaped);
            put(&["<note>", &String::from_utf8_lossy(&escaped), "</note>"]);
        }
        put(&["</tuple>"]);
    }
    if !activity.is_empty() {
        put(&["<dm:person id=\"", source, "-person\"><rpid:activities"]);
        if let Some(until) = until {
            put(&[" until=\"", until, "\""]);
        }
        put(&[
            "><rpid:",
            activity,
            "/></rpid:activities>",
            more,
            "</dm:person>",
        ]);
    }
    put(&["</presence>"]);
    pidf::parse(&xml).map_err(|error| error.to_string())
}

/// What watchers of enhanced presence are shown beside the document: the note, and that the person is not to be
/// disturbed, for which PIDF has no word. Whatever is not said is removed.
fn beside(source: &str, status: Option<Status>, note: &str, expires_s: u32) -> Vec<Instance> {
    let number = number_of(source);
    let mut instances = Vec::new();
    for container in NOTE_CONTAINERS {
        instances.push(if note.is_empty() {
            Instance::removed(Category::Note, container, number)
        } else {
            let mut xml = b"<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\">\
                <body type=\"personal\" uri=\"\">"
                .to_vec();
            escape(note, &mut xml);
            xml.extend_from_slice(b"</body></note>");
            Instance::set(Category::Note, container, number, expires_s, xml)
        });
    }
    for container in STATE_CONTAINERS {
        instances.push(if status == Some(Status::DoNotDisturb) {
            let xml = b"<state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
                xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" manual=\"true\" \
                xsi:type=\"userState\"><availability>9500</availability></state>";
            Instance::set(Category::State, container, number, expires_s, xml.to_vec())
        } else {
            Instance::removed(Category::State, container, number)
        });
    }
    instances
}

/// A batch of categories, as a client of enhanced presence sends it.
fn categories(call: &FeedCall, policy: &Policy) -> Result<What, Answer> {
    let mut buffer = Vec::new();
    let batch =
        publish::parse(&call.body, &mut buffer).map_err(|error| wrong(&error.to_string()))?;
    let mut own = String::new();
    let mut named = String::new();
    address(&call.uri, policy, &mut own)?;
    address(&batch.uri, policy, &mut named)?;
    if own != named {
        return Err(Answer::of(refusal::OTHER_PUBLISHER));
    }
    for (category, container, bytes) in batch.places() {
        if category.is_read_only(container) {
            return Err(Answer::of(refusal::READ_ONLY));
        }
        if !policy.enhanced.admits(category) {
            return Err(Answer::of(refusal::UNREGISTERED_CATEGORY));
        }
        if bytes > policy.enhanced.publication_bytes {
            return Err(Answer::of(refusal::TOO_MUCH));
        }
    }
    Ok(What::Categories { batch, buffer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Everybody;

    fn call(act: FeedAct, media: &str, body: &str) -> FeedCall {
        FeedCall {
            uri: "sip:alice@localhost".to_owned(),
            source: "pbx".to_owned(),
            act,
            media: media.to_owned(),
            if_match: None,
            if_none_match: None,
            expires: None,
            authorization: None,
            loopback: true,
            body: body.as_bytes().to_vec(),
        }
    }

    fn read(call: &FeedCall) -> Result<Feed, FeedAnswer> {
        Feed::read(call, &Policy::default(), &Everybody).map_err(|answer| said(&answer))
    }

    const JSON: &str = "application/json";

    //= RFC 3903 6
    //= type=test
    #[test]
    fn calls_that_cannot_be_done_say_why() {
        let good = call(FeedAct::Put, JSON, r#"{"status":"busy"}"#);
        assert!(read(&good).is_ok());
        let with = |change: fn(&mut FeedCall)| {
            let mut call = good.clone();
            change(&mut call);
            read(&call).err().map(|answer| answer.status)
        };
        for (name, status, change) in [
            (
                "no URI",
                400,
                (|call| call.uri = "nobody".to_owned()) as fn(&mut FeedCall),
            ),
            ("a foreign domain", 404, |call| {
                call.uri = "sip:a@x.example".to_owned()
            }),
            ("no source", 400, |call| call.source = String::new()),
            ("a source of blanks", 400, |call| {
                call.source = "a b".to_owned()
            }),
            ("a long source", 400, |call| call.source = "a".repeat(65)),
            ("the connector's", 403, |call| {
                call.source = CALENDAR.to_owned()
            }),
            ("no JSON", 400, |call| call.body = b"{".to_vec()),
            ("no status", 400, |call| call.body = b"{}".to_vec()),
            ("another status", 400, |call| {
                call.body = br#"{"status":"x"}"#.to_vec()
            }),
            ("more than is known", 400, |call| {
                call.body = br#"{"status":"busy","x":1}"#.to_vec()
            }),
            ("a note that XML cannot hold", 400, |call| {
                call.body = br#"{"status":"busy","note":"\u0001"}"#.to_vec();
            }),
            ("a long note", 400, |call| {
                call.body = format!(r#"{{"status":"busy","note":"{}"}}"#, "x".repeat(4_097)).into();
            }),
            ("too brief", 423, |call| {
                call.body = br#"{"status":"busy","expires":5}"#.to_vec()
            }),
            ("for no time", 400, |call| {
                call.body = br#"{"status":"busy","expires":0}"#.to_vec()
            }),
            ("no number", 400, |call| {
                call.expires = Some("soon".to_owned())
            }),
            ("a picture", 415, |call| call.media = "image/png".to_owned()),
            ("no PIDF", 400, |call| call.media = PIDF.to_owned()),
            ("a weak tag", 412, |call| {
                call.if_match = Some("W/\"x\"".to_owned())
            }),
            ("a tag of others", 412, |call| {
                call.if_match = Some("\"x\"".to_owned())
            }),
            ("a tag to be absent", 400, |call| {
                call.if_none_match = Some("\"x\"".to_owned())
            }),
            ("both", 400, |call| {
                call.if_match = Some("*".to_owned());
                call.if_none_match = Some("*".to_owned());
            }),
        ] {
            assert_eq!(with(change), Some(status), "{name}");
        }
        let brief = call(FeedAct::Put, JSON, r#"{"status":"busy","expires":5}"#);
        let answer = read(&brief).expect_err("too brief");
        assert_eq!(answer.headers, [("Min-Expires", "60".to_owned())]);
    }

    #[test]
    fn each_status_means_something_to_both_kinds_of_watchers() {
        use shard::presence::bearing::{Device, Doing};
        for (status, device, doing) in [
            ("available", Device::Online, Doing::Nothing),
            ("busy", Device::Online, Doing::Busy),
            ("on-the-phone", Device::Online, Doing::OnThePhone),
            ("in-a-meeting", Device::Online, Doing::Meeting),
            ("meeting", Device::Online, Doing::Meeting),
            ("presenting", Device::Online, Doing::Presentation),
            ("do-not-disturb", Device::Online, Doing::Busy),
            ("away", Device::Away, Doing::Nothing),
            ("offline", Device::Absent, Doing::Nothing),
        ] {
            let body = format!(r#"{{"status":"{status}","note":"a & <b>","expires":600}}"#);
            let feed = read(&call(FeedAct::Put, JSON, &body)).expect("sound");
            let What::Source {
                bearing,
                expires_s,
                content: Some(content),
                instances,
                ..
            } = &feed.what
            else {
                panic!("a publication");
            };
            assert_eq!((bearing.device, bearing.doing), (device, doing), "{status}");
            assert_eq!(*expires_s, 600);
            let text = String::from_utf8_lossy(content);
            assert!(text.contains("<note>a &amp; &lt;b&gt;</note>"), "{text}");
            let set = |of: &Category| {
                let mut all = instances.iter().filter(|instance| instance.category == *of);
                all.all(|instance| instance.set.is_some())
            };
            assert!(set(&Category::Note), "{status}");
            assert_eq!(
                set(&Category::State),
                status == "do-not-disturb",
                "{status}"
            );
        }
    }

    #[test]
    fn a_removal_needs_something_to_remove() {
        let feed = read(&call(FeedAct::Delete, "", "")).expect("sound");
        assert_eq!(feed.grace(), Grace::End);
        let answer = feed.answer(&Outcome::Refused(Refusal::NoMatch));
        assert_eq!(answer.status, 404);
        let mut named = call(FeedAct::Delete, "", "");
        named.if_match = Some("\"00000abc-1f-3\"".to_owned());
        let feed = read(&named).expect("sound");
        let answer = feed.answer(&Outcome::Refused(Refusal::NoMatch));
        assert_eq!(answer.status, 412);
    }

    //= MS-PRES 3.2.5.4
    //= type=test
    #[test]
    fn categories_are_those_of_the_user_and_have_versions() {
        let publish = |uri: &str, category: &str, container: u16| {
            format!(
                "<publish xmlns=\"http://schemas.microsoft.com/2006/09/sip/rich-presence\"><publications uri=\"{uri}\">\
                 <publication categoryName=\"{category}\" instance=\"1\" container=\"{container}\" version=\"4\" \
                 expireType=\"static\"><x xmlns=\"urn:x\"/></publication></publications></publish>"
            )
        };
        let own = "sip:alice@localhost";
        for (name, body, expected) in [
            ("good", publish(own, "note", 300), None),
            (
                "another's",
                publish("sip:bob@localhost", "note", 300),
                Some(400),
            ),
            ("the server's", publish(own, "userProperties", 1), Some(403)),
            ("unknown", publish(own, "colour", 1), Some(403)),
            ("none", "<publish/>".to_owned(), Some(400)),
        ] {
            let read = read(&call(FeedAct::Put, CATEGORIES, &body));
            assert_eq!(
                read.as_ref().err().map(|answer| answer.status),
                expected,
                "{name}"
            );
            if let Ok(feed) = read {
                let answer = feed.answer(&Outcome::InstancesPublished([].into()));
                assert_eq!(answer.body["published"][0]["version"], 5);
            }
        }
    }

    #[test]
    fn the_number_of_a_source_leaves_the_encoding_of_free_and_busy_alone() {
        for source in ["pbx", CALENDAR, "", "x"] {
            assert_eq!(number_of(source) >> 30, 0, "{source}");
        }
        assert_ne!(number_of("pbx"), number_of(CALENDAR));
    }
}
