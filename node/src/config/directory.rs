//! `[directory]` of node.toml: where the users of this deployment are kept.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Rows of one answer to a search, unless the operator says otherwise.
const RESULTS: usize = 100;

/// The most an operator may allow: 1,000 rows of some 300 bytes are what a client's window can show.
const RESULTS_MAX: usize = 1_000;

/// Seconds between two readings.
const REFRESH_S: u64 = 300;

/// Entries of one page of an LDAP answer; what Active Directory gives at most.
const PAGE: u16 = 1_000;

/// What kind of directory there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Every address of the domains is a user.
    #[default]
    Open,
    /// A TOML file.
    File,
    /// An LDAP server.
    Ldap,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Section {
    kind: Option<Kind>,
    max_results: Option<usize>,
    refresh_s: Option<u64>,
    path: Option<PathBuf>,
    url: Option<String>,
    start_tls: Option<bool>,
    ca: Option<PathBuf>,
    bind_dn: Option<String>,
    bind_password_file: Option<PathBuf>,
    base: Option<String>,
    filter: Option<String>,
    page_size: Option<u16>,
    attributes: Option<Attributes>,
}

/// Who is a user of this deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Where that is written; `None`: every address of the domains is a user.
    pub source: Option<Source>,
    /// Rows of one answer to a search.
    pub max_results: usize,
    /// How often a server is read anew, and the server's own publications are looked over.
    pub refresh: Duration,
}

/// Nobody said: everybody is a user.
impl Default for Directory {
    fn default() -> Directory {
        Directory {
            source: None,
            max_results: RESULTS,
            refresh: Duration::from_secs(REFRESH_S),
        }
    }
}

/// Where the users are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a TOML file.
    File(PathBuf),
    /// At an LDAP server.
    Ldap(Box<Ldap>),
}

/// An LDAP server and what to read there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ldap {
    /// `ldap://…` or `ldaps://…`
    pub url: String,
    /// Whether to begin TLS on a plain connection.
    pub start_tls: bool,
    /// PEM file of the authorities trusted for its certificate; those of the system if none.
    pub ca: Option<PathBuf>,
    /// Who we say we are: name and the file of the password; nobody if none.
    pub bind: Option<(String, PathBuf)>,
    /// The entry below which users are.
    pub base: String,
    /// Which entries are users.
    pub filter: String,
    /// Entries of one page.
    pub page_size: u16,
    /// What is taken from where.
    pub attributes: Attributes,
}

/// One attribute name, or some of which the first that has a value counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Names {
    /// Nothing is read.
    #[default]
    None,
    /// One.
    One(String),
    /// The first that has a value.
    Some(Vec<String>),
}

impl Names {
    fn of(names: &[&str]) -> Names {
        Names::Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// The names, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let names: &[String] = match self {
            Names::None => &[],
            Names::One(name) => std::slice::from_ref(name),
            Names::Some(names) => names,
        };
        names
            .iter()
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }
}

/// Which attribute holds what. The defaults are those of inetOrgPerson (RFC 2798), with what Active
/// Directory has in its place behind them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the fields are named as those of a user are")]
pub struct Attributes {
    pub address: Names,
    pub display_name: Names,
    pub given_name: Names,
    pub surname: Names,
    pub mail: Names,
    pub aliases: Names,
    /// Telephone numbers that a user is found by.
    pub tel: Names,
    /// The name that a user signs in by.
    pub login: Names,
    pub title: Names,
    pub company: Names,
    pub department: Names,
    pub office: Names,
    pub work_phone: Names,
    pub mobile_phone: Names,
    pub home_phone: Names,
    pub other_phone: Names,
    pub fax: Names,
    pub street: Names,
    pub city: Names,
    pub state: Names,
    pub country_code: Names,
    pub postal_code: Names,
    pub home_page: Names,
    pub line: Names,
    pub line_server: Names,
    /// False, 0, no or disabled: not a user.
    pub enabled: Names,
    /// True, 1 or yes: a user whom no search finds.
    pub hidden: Names,
    /// Read besides, to be searched by under their own names.
    pub searched: Names,
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes {
            address: Names::of(&["msRTCSIP-PrimaryUserAddress", "mail"]),
            display_name: Names::of(&["displayName", "cn"]),
            given_name: Names::of(&["givenName"]),
            surname: Names::of(&["sn"]),
            mail: Names::of(&["mail"]),
            aliases: Names::of(&["proxyAddresses", "mailAlternateAddress"]),
            tel: Names::of(&["telephoneNumber"]),
            login: Names::of(&["sAMAccountName", "uid"]),
            title: Names::of(&["title"]),
            company: Names::of(&["company", "o"]),
            department: Names::of(&["department", "departmentNumber", "ou"]),
            office: Names::of(&["physicalDeliveryOfficeName", "roomNumber"]),
            work_phone: Names::of(&["telephoneNumber"]),
            mobile_phone: Names::of(&["mobile"]),
            home_phone: Names::of(&["homePhone"]),
            other_phone: Names::of(&["otherTelephone"]),
            fax: Names::of(&["facsimileTelephoneNumber"]),
            street: Names::of(&["streetAddress", "street"]),
            city: Names::of(&["l"]),
            state: Names::of(&["st"]),
            country_code: Names::of(&["c"]),
            postal_code: Names::of(&["postalCode"]),
            home_page: Names::of(&["wWWHomePage", "labeledURI"]),
            line: Names::of(&["msRTCSIP-Line"]),
            line_server: Names::of(&["msRTCSIP-LineServer"]),
            enabled: Names::of(&["msRTCSIP-UserEnabled"]),
            hidden: Names::of(&["msExchHideFromAddressLists"]),
            searched: Names::None,
        }
    }
}

impl Attributes {
    /// Every name, so that only these are asked for.
    pub fn all(&self) -> Vec<&str> {
        let mut all: Vec<&str> = [
            &self.address,
            &self.display_name,
            &self.given_name,
            &self.surname,
            &self.mail,
            &self.aliases,
            &self.tel,
            &self.login,
            &self.title,
            &self.company,
            &self.department,
            &self.office,
            &self.work_phone,
            &self.mobile_phone,
            &self.home_phone,
            &self.other_phone,
            &self.fax,
            &self.street,
            &self.city,
            &self.state,
            &self.country_code,
            &self.postal_code,
            &self.home_page,
            &self.line,
            &self.line_server,
            &self.enabled,
            &self.hidden,
            &self.searched,
        ]
        .into_iter()
        .flat_map(Names::iter)
        .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The section, checked.
///
/// # Errors
/// One line that says which key is wrong and what was expected.
pub(super) fn check(section: Section) -> Result<Directory, String> {
    let max_results = section.max_results.unwrap_or(RESULTS);
    if !(1..=RESULTS_MAX).contains(&max_results) {
        return Err(format!(
            "directory.max_results = {max_results}; expected 1 to {RESULTS_MAX}"
        ));
    }
    let refresh_s = section.refresh_s.unwrap_or(REFRESH_S);
    if !(1..=86_400).contains(&refresh_s) {
        return Err(format!(
            "directory.refresh_s = {refresh_s}; expected 1 to 86400"
        ));
    }
    let kind = match (section.kind, &section.path, &section.url) {
        (Some(kind), _, _) => kind,
        (None, Some(_), None) => Kind::File,
        (None, None, Some(_)) => Kind::Ldap,
        (None, None, None) => Kind::Open,
        (None, Some(_), Some(_)) => {
            return Err(
                "directory has both path and url; say kind = \"file\" or kind = \"ldap\""
                    .to_owned(),
            );
        }
    };
    let only_ldap = [
        ("url", section.url.is_some()),
        ("start_tls", section.start_tls.is_some()),
        ("ca", section.ca.is_some()),
        ("bind_dn", section.bind_dn.is_some()),
        ("bind_password_file", section.bind_password_file.is_some()),
        ("base", section.base.is_some()),
        ("filter", section.filter.is_some()),
        ("page_size", section.page_size.is_some()),
        ("attributes", section.attributes.is_some()),
    ];
    if kind != Kind::Ldap
        && let Some((key, _)) = only_ldap.iter().find(|(_, said)| *said)
    {
        return Err(format!(
            "directory.{key} is for kind = \"ldap\"; take it away, or change the kind"
        ));
    }
    if kind != Kind::File && section.path.is_some() {
        return Err(
            "directory.path is for kind = \"file\"; take it away, or change the kind".to_owned(),
        );
    }
    let source = match kind {
        Kind::Open => None,
        Kind::File => Some(Source::File(section.path.ok_or(
            "directory.kind = \"file\" needs path = \"users.toml\", the file of the users",
        )?)),
        Kind::Ldap => Some(Source::Ldap(Box::new(ldap(section)?))),
    };
    Ok(Directory {
        source,
        max_results,
        refresh: Duration::from_secs(refresh_s),
    })
}

fn ldap(section: Section) -> Result<Ldap, String> {
    let url = section
        .url
        .ok_or("directory.kind = \"ldap\" needs url = \"ldap://host\" or \"ldaps://host\"")?;
    let plain = url.starts_with("ldap://");
    if !plain && !url.starts_with("ldaps://") {
        return Err(format!(
            "directory.url = {url:?}; expected ldap://HOST[:PORT] or ldaps://HOST[:PORT]"
        ));
    }
    let start_tls = section.start_tls.unwrap_or(false);
    if start_tls && !plain {
        return Err("directory.start_tls is for ldap://; ldaps:// is TLS already".to_owned());
    }
    let bind = match (section.bind_dn, section.bind_password_file) {
        (Some(dn), Some(file)) => Some((dn, file)),
        (None, None) => None,
        _ => {
            return Err(
                "directory.bind_dn and directory.bind_password_file go together".to_owned(),
            );
        }
    };
    let page_size = section.page_size.unwrap_or(PAGE);
    if page_size == 0 {
        return Err("directory.page_size = 0; expected 1 to 65535".to_owned());
    }
    let attributes = section.attributes.unwrap_or_default();
    if attributes.address.iter().next().is_none() {
        return Err(
            "directory.attributes.address is empty; expected the attribute of the SIP address"
                .to_owned(),
        );
    }
    Ok(Ldap {
        url,
        start_tls,
        ca: section.ca,
        bind,
        base: section.base.ok_or(
            "directory.kind = \"ldap\" needs base = \"ou=people,dc=example,dc=com\", below which users are",
        )?,
        filter: section
            .filter
            .unwrap_or_else(|| "(objectClass=person)".to_owned()),
        page_size,
        attributes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Directory, String> {
        let section: Section = toml::from_str(text).map_err(|error| error.to_string())?;
        check(section)
    }

    #[test]
    fn nothing_said_is_everybody() {
        assert_eq!(read("").expect("sound"), Directory::default());
        assert_eq!(read("kind = 'open'").expect("sound"), Directory::default());
    }

    #[test]
    fn a_path_or_a_url_says_the_kind() {
        let file = read("path = 'u.toml'\nmax_results = 7\nrefresh_s = 60").expect("sound");
        assert_eq!(file.source, Some(Source::File("u.toml".into())));
        assert_eq!(
            (file.max_results, file.refresh),
            (7, Duration::from_secs(60))
        );
        let text = "url = 'ldap://h'\nbase = 'dc=x'\n[attributes]\naddress = 'uid'\nline = ''\nmail = ['a', 'b']";
        let Some(Source::Ldap(ldap)) = read(text).expect("sound").source else {
            panic!("a server");
        };
        assert_eq!(ldap.filter, "(objectClass=person)");
        assert_eq!(
            (ldap.bind, ldap.start_tls, ldap.page_size),
            (None, false, PAGE)
        );
        let names = |names: &Names| names.iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(&ldap.attributes.address), ["uid"]);
        assert_eq!(names(&ldap.attributes.mail), ["a", "b"]);
        assert!(names(&ldap.attributes.line).is_empty());
        assert_eq!(names(&ldap.attributes.surname), ["sn"]);
        assert!(ldap.attributes.all().contains(&"uid"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let ldap = "url = 'ldap://h'\nbase = 'dc=x'\n";
        let and = |more: &str| format!("{ldap}{more}");
        for (text, expected) in [
            ("max_results = 0".to_owned(), "expected 1 to 1000"),
            ("refresh_s = 0".to_owned(), "expected 1 to 86400"),
            ("kind = 'file'".to_owned(), "needs path"),
            ("kind = 'ldap'".to_owned(), "needs url"),
            ("url = 'ldap://h'".to_owned(), "needs base"),
            (
                "url = 'http://h'\nbase = 'x'".to_owned(),
                "expected ldap://HOST[:PORT]",
            ),
            (
                "path = 'u'\nurl = 'ldap://h'".to_owned(),
                "has both path and url",
            ),
            (
                "path = 'u'\nbase = 'x'".to_owned(),
                "directory.base is for kind = \"ldap\"",
            ),
            (
                "kind = 'open'\npath = 'x'".to_owned(),
                "directory.path is for kind = \"file\"",
            ),
            (and("bind_dn = 'cn=x'"), "go together"),
            (and("page_size = 0"), "expected 1 to 65535"),
            (
                "url = 'ldaps://h'\nbase = 'x'\nstart_tls = true".to_owned(),
                "ldaps:// is TLS already",
            ),
            (
                and("[attributes]\naddress = ''"),
                "attributes.address is empty",
            ),
            (and("[attributes]\nshoe = 'x'"), "unknown field `shoe`"),
            (
                "kind = 'sql'".to_owned(),
                "expected one of `open`, `file`, `ldap`",
            ),
        ] {
            let why = read(&text).expect_err(&text);
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    /// What the example shows as defaults are the defaults.
    #[test]
    fn the_example_shows_the_defaults() {
        let example = include_str!("../../../deploy/node.toml");
        let shown: String = example
            .lines()
            .skip_while(|line| *line != "# [directory.attributes]")
            .skip(1)
            .map_while(|line| line.strip_prefix("# "))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(shown.lines().count() > 20, "{shown}");
        let shown: Attributes = toml::from_str(&shown).expect("sound");
        let names = |of: &Attributes| of.all().into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(names(&shown), names(&Attributes::default()));
    }
}
