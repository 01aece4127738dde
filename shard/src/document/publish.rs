//! `application/msrtc-category-publish+xml` (MS-PRES 2.2.2.2.1): a batch of publications.

use std::ops::Range;

use super::{DocumentError, number};
use crate::category::{CATEGORIES, Category, Meaning, NAME_BYTES_MAX};
use crate::presence::instance::{Deed, Publication, Wished};
use crate::xml::{Document, Element};

/// The document's namespace.
const RICH_PRESENCE: &str = "http://schemas.microsoft.com/2006/09/sip/rich-presence";

/// Publications in one request: a client's whole sign-in is twenty.
const PUBLICATIONS_MAX: usize = 512;

/// A batch, read.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Whose, as it was written.
    pub uri: String,
    items: Vec<Item>,
}

#[derive(Clone, Debug)]
struct Item {
    category: Category,
    container: u16,
    number: u32,
    version: u32,
    /// How long, where the content stands in the buffer, and what it means; `None` removes.
    set: Option<(Wished, Range<usize>, Meaning)>,
}

/// Reads a batch; the contents are appended to `buffer`, each able to stand in a categories document.
///
/// # Errors
/// [`DocumentError`] for what the schema or 2.2.2.2.1 does not allow (400).
//= MS-PRES 3.2.5.1.2
//# every publication is validated before anything else is done
pub fn parse(body: &[u8], buffer: &mut Vec<u8>) -> Result<Publish, DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    if !root.is(RICH_PRESENCE, "publish") {
        return Err(document.error_at(root, "not a publish document"));
    }
    let mut lists = root
        .children()
        .filter(|child| child.is(RICH_PRESENCE, "publications"));
    let (Some(list), None) = (lists.next(), lists.next()) else {
        return Err(document.error_at(root, "a publish document holds one list of publications"));
    };
    let uri = list.attribute("uri");
    let uri = uri.ok_or_else(|| document.error_at(list, "publications without a uri"))?;
    let mut items: Vec<Item> = Vec::new();
    for child in list
        .children()
        .filter(|child| child.is(RICH_PRESENCE, "publication"))
    {
        let item = read(child, buffer).map_err(|what| document.error_at(child, what))?;
        //= MS-PRES 3.2.5.4
        //# several publications for the same instance are an error
        let same = |other: &Item| {
            (&other.category, other.container, other.number)
                == (&item.category, item.container, item.number)
        };
        if items.iter().any(same) {
            return Err(document.error_at(child, "a second publication for the same instance"));
        }
        if items.len() >= PUBLICATIONS_MAX {
            return Err(document.error_at(child, "too many publications"));
        }
        items.push(item);
    }
    if items.is_empty() {
        return Err(document.error_at(list, "no publication"));
    }
    Ok(Publish {
        uri: uri.trim().to_owned(),
        items,
    })
}

fn read(element: Element<'_, '_>, buffer: &mut Vec<u8>) -> Result<Item, &'static str> {
    let category = element
        .attribute("categoryName")
        .ok_or("a publication without categoryName")?;
    if category.is_empty() || category.len() > NAME_BYTES_MAX {
        return Err("a categoryName that is empty or too long");
    }
    let category = Category::named(&category);
    let expires: Option<u32> = match element.attribute("expires") {
        Some(text) => Some(
            text.trim()
                .parse()
                .map_err(|_| "expires is no number of seconds")?,
        ),
        None => None,
    };
    let wanted = element
        .attribute("expireType")
        .ok_or("a publication without expireType")?;
    let life = match (wanted.trim(), expires) {
        ("static" | "endpoint" | "user" | "time", Some(0)) => None,
        //= MS-PRES 3.2.5.1.2
        //# the expiry time is included if the expiry type is time
        ("time", None) => return Err("a time-bound publication without expires"),
        ("time", Some(seconds)) => Some(Wished::Seconds(seconds)),
        //= MS-PRES 2.2.2.2.1
        //# a nonzero expiry time is for time-bound publications only
        ("static" | "endpoint" | "user", Some(_)) => return Err("expires without expireType time"),
        ("static", None) => Some(Wished::Static),
        ("endpoint", None) => Some(Wished::Endpoint),
        ("user", None) => Some(Wished::User),
        _ => return Err("an unknown expireType"),
    };
    let mut contents = element.children();
    let (content, more) = (contents.next(), contents.next());
    if more.is_some() {
        return Err("a publication with several contents");
    }
    let set = match life {
        None => None,
        Some(life) => {
            let begin = buffer.len();
            let meaning = match content {
                Some(content) => {
                    content.write_standalone(&[("", CATEGORIES)], buffer);
                    Meaning::read(&category, content)?
                }
                None => Meaning::Opaque,
            };
            Some((life, begin..buffer.len(), meaning))
        }
    };
    Ok(Item {
        category,
        container: number(element, "container").ok_or("container is no number of 16 bits")?,
        number: number(element, "instance").ok_or("instance is no number of 32 bits")?,
        version: number(element, "version").ok_or("version is no number of 32 bits")?,
        set,
    })
}

impl Publish {
    /// Category and container of each publication, and the bytes of its content.
    pub fn places(&self) -> impl Iterator<Item = (&Category, u16, usize)> {
        self.items.iter().map(|item| {
            let bytes = item.set.as_ref().map_or(0, |(_, range, _)| range.len());
            (&item.category, item.container, bytes)
        })
    }

    /// The publications, with their contents in the buffer that [`parse`] filled.
    #[must_use]
    pub fn publications(self, buffer: &[u8]) -> Vec<Publication<'_>> {
        let each = self.items.into_iter().map(|item| Publication {
            category: item.category,
            container: item.container,
            number: item.number,
            version: item.version,
            deed: match item.set {
                None => Deed::Remove,
                Some((life, range, meaning)) => Deed::Set {
                    life,
                    xml: &buffer[range],
                    meaning,
                },
            },
        });
        each.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(publication: &str) -> String {
        format!(
            "<publish xmlns=\"{RICH_PRESENCE}\"><publications uri=\"sip:bob@contoso.com\">{publication}\
             </publications></publish>"
        )
    }

    const NOTE: &str = "<note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"><body type=\"personal\" uri=\"\">x</body></note>";

    //= MS-PRES 3.2.5.1.2
    //= type=test
    //= MS-PRES 2.2.2.2.1
    //= type=test
    //= MS-PRES 3.2.5.4
    //= type=test
    // proves: PRES-2.2.2.2.1-03 PRES-2.2.2.2.1-05 PRES-2.2.2.2.1-06 PRES-2.2.2.2.1-07 PRES-2.2.2.2.1-08
    // proves: PRES-2.2.2.2.1-09 PRES-2.2.2.2.1-10 PRES-2.2.2.1-19 PRES-3.2.5.1.2-03 PRES-3.2.5.4-05
    // proves: PRES-3.2.5.4-10
    #[test]
    fn a_publication_says_everything_the_schema_asks_for() {
        let attributes = [
            ("categoryName", "note"),
            ("instance", "7"),
            ("container", "200"),
            ("version", "3"),
            ("expireType", "static"),
        ];
        let with = |left_out: &str, replaced: &[(&str, &str)]| {
            let written = |(name, value): (&str, &str)| format!(" {name}=\"{value}\"");
            let own = attributes.iter().filter(|(name, _)| {
                *name != left_out && !replaced.iter().any(|(other, _)| other == name)
            });
            let all: String = own
                .copied()
                .chain(replaced.iter().copied())
                .map(written)
                .collect();
            body(&format!("<publication{all}>{NOTE}</publication>"))
        };
        for (name, text, expected) in [
            ("as it should be", with("", &[]), Ok(Some(Wished::Static))),
            ("endpoint", with("", &[("expireType", "endpoint")]), Ok(Some(Wished::Endpoint))),
            ("user", with("", &[("expireType", "user")]), Ok(Some(Wished::User))),
            ("time", with("", &[("expireType", "time"), ("expires", "86400")]), Ok(Some(Wished::Seconds(86_400)))),
            ("removed", with("", &[("expires", "0")]), Ok(None)),
            ("removed by time", with("", &[("expireType", "time"), ("expires", "0")]), Ok(None)),
            ("time without expires", with("", &[("expireType", "time")]), Err(())),
            ("expires without time", with("", &[("expires", "60")]), Err(())),
            ("an ISO time", with("", &[("expireType", "time"), ("expires", "2008-01-11T17:29:13Z")]), Err(())),
            ("no name", with("categoryName", &[]), Err(())),
            ("no instance", with("instance", &[]), Err(())),
            ("no container", with("container", &[]), Err(())),
            ("no version", with("version", &[]), Err(())),
            ("no type", with("expireType", &[]), Err(())),
            ("a type of its own", with("", &[("expireType", "forever")]), Err(())),
            ("a large container", with("", &[("container", "65536")]), Err(())),
            ("a negative instance", with("", &[("instance", "-1")]), Err(())),
            ("a state that is none", with("", &[("categoryName", "state")]), Err(())),
            ("twice", with("", &[]).replace("</publications>", &format!("<publication categoryName=\"note\" instance=\"7\" container=\"200\" version=\"3\" expireType=\"static\">{NOTE}</publication></publications>")), Err(())),
            ("nothing", body(""), Err(())),
            ("another root", "<publications/>".to_owned(), Err(())),
            ("no uri", format!("<publish xmlns=\"{RICH_PRESENCE}\"><publications/></publish>"), Err(())),
        ] {
            let mut buffer = Vec::new();
            let read = parse(text.as_bytes(), &mut buffer).map_err(drop).map(|publish| {
                assert_eq!(publish.uri, "sip:bob@contoso.com");
                let [only] = &publish.publications(&buffer)[..] else { panic!("{name}: one publication") };
                assert_eq!((only.container, only.number, only.version), (200, 7, 3), "{name}");
                match &only.deed {
                    Deed::Remove => None,
                    Deed::Set { life, xml, .. } => {
                        assert_eq!(*xml, NOTE.as_bytes(), "{name}");
                        Some(*life)
                    }
                }
            });
            assert_eq!(read, expected, "{name}");
        }
    }
}
