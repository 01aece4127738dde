//! An LDAP server (RFC 4511): everybody below a base, page by page.
//!
//! The connection lives for one reading. Between two readings there is none that could break unseen.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{LdapConn, LdapConnSettings, LdapError, Scope, SearchEntry};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::{Backend, Phones, ReadError, USERS_MAX, User, UserLine, UserLineType};
use crate::config::directory::{Attributes, Ldap, Names};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the next entry may take to come.
const ANSWER: Duration = Duration::from_secs(30);

/// An LDAP server.
pub(super) struct Server {
    pub(super) settings: Ldap,
    pub(super) domains: Vec<String>,
}

/// Whether somebody of this name has this password, as the server says. Blocks; the password goes nowhere else.
///
/// # Errors
/// Why the server cannot be asked.
//= BLUSTAR 2.10
//# the directory says whether the credentials are good
pub fn proves(settings: &Ldap, name: &str, password: &str) -> Result<bool, ReadError> {
    // RFC 4513 5.1.2: a server says yes to a name without a password, and means nobody by it.
    if name.is_empty() || password.is_empty() {
        return Ok(false);
    }
    let unreachable = |why: LdapError| ReadError::Unreachable {
        url: settings.url.clone(),
        why: why.to_string(),
    };
    let server = Server {
        settings: settings.clone(),
        domains: Vec::new(),
    };
    let mut connection = server.connect().map_err(|error| match error {
        Ok(read) => read,
        Err(ldap) => unreachable(ldap),
    })?;
    let bound = connection
        .with_timeout(ANSWER)
        .simple_bind(name, password)
        .map_err(unreachable)?;
    let _ = connection.unbind();
    /// What RFC 4511 A.1 calls invalidCredentials, noSuchObject, invalidDNSyntax, inappropriateAuthentication.
    const NO: [u32; 4] = [49, 32, 34, 48];
    match bound.rc {
        0 => Ok(true),
        rc if NO.contains(&rc) => Ok(false),
        _ => Err(ReadError::Refused {
            url: settings.url.clone(),
            dn: name.to_owned(),
            why: bound.to_string(),
        }),
    }
}

/// Whether the files that the settings name can be used.
pub(super) fn check(settings: &Ldap) -> Result<(), ReadError> {
    if let Some((_, path)) = &settings.bind {
        password(path)?;
    }
    trust(settings).map(drop)
}

fn beside(key: &'static str, path: &Path, why: impl ToString) -> ReadError {
    ReadError::Beside {
        key,
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// The password is the file's first line.
fn password(path: &Path) -> Result<String, ReadError> {
    let wrong = |why: &dyn ToString| beside("bind_password_file", path, why.to_string());
    let text = fs::read_to_string(path).map_err(|why| wrong(&why))?;
    let line = text.lines().next().unwrap_or_default();
    // An empty password is no proof to a server (RFC 4513 5.1.2), but it would say yes.
    if line.is_empty() {
        return Err(wrong(&"its first line is empty; expected the password"));
    }
    Ok(line.to_owned())
}

/// Whom we trust to say who the server is, when the operator names them.
fn trust(settings: &Ldap) -> Result<Option<Arc<ClientConfig>>, ReadError> {
    let Some(path) = &settings.ca else {
        return Ok(None);
    };
    let wrong = |why: &dyn ToString| beside("ca", path, why.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|why| wrong(&why))? {
        let certificate = certificate.map_err(|why| wrong(&why))?;
        roots.add(certificate).map_err(|why| wrong(&why))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"it holds no certificate; expected PEM"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| wrong(&why))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Some(Arc::new(config)))
}

impl Backend for Server {
    fn read(&mut self) -> Result<Vec<User>, ReadError> {
        let Ldap {
            url, base, filter, ..
        } = &self.settings;
        let unreachable = |why: LdapError| ReadError::Unreachable {
            url: url.clone(),
            why: why.to_string(),
        };
        let mut connection = self.connect().map_err(|error| match error {
            Ok(read) => read,
            Err(ldap) => unreachable(ldap),
        })?;
        self.bind(&mut connection)?;
        let unlisted = |why: LdapError| ReadError::Search {
            url: url.clone(),
            base: base.clone(),
            why: why.to_string(),
        };
        let adapters: Vec<Box<dyn Adapter<_, _>>> = vec![
            Box::new(EntriesOnly::new()),
            Box::new(PagedResults::new(i32::from(self.settings.page_size))),
        ];
        let attributes = self.settings.attributes.all();
        let mut stream = connection
            .with_timeout(ANSWER)
            .streaming_search_with(adapters, base, Scope::Subtree, filter, attributes)
            .map_err(unlisted)?;
        let mut gathered = Gathered::default();
        while let Some(entry) = stream.next().map_err(unlisted)? {
            let entry = SearchEntry::construct(entry);
            gathered.take(&entry, &self.settings.attributes, &self.domains);
            if gathered.users.len() > USERS_MAX {
                return Err(ReadError::TooMany(url.clone()));
            }
        }
        stream.result().success().map_err(unlisted)?;
        let _ = connection.unbind();
        gathered.finish(url, base)
    }
}

impl Server {
    fn connect(&self) -> Result<LdapConn, Result<ReadError, LdapError>> {
        let mut settings = LdapConnSettings::new()
            .set_conn_timeout(CONNECT)
            .set_starttls(self.settings.start_tls);
        if let Some(config) = trust(&self.settings).map_err(Ok)? {
            settings = settings.set_config(config);
        }
        LdapConn::with_settings(settings, &self.settings.url).map_err(Err)
    }

    fn bind(&self, connection: &mut LdapConn) -> Result<(), ReadError> {
        let Some((dn, file)) = &self.settings.bind else {
            return Ok(());
        };
        let secret = password(file)?;
        connection
            .with_timeout(ANSWER)
            .simple_bind(dn, &secret)
            .and_then(ldap3::LdapResult::success)
            .map(drop)
            .map_err(|why| ReadError::Refused {
                url: self.settings.url.clone(),
                dn: dn.clone(),
                why: why.to_string(),
            })
    }
}

/// Users so far, and those who are left out.
#[derive(Default)]
struct Gathered {
    users: Vec<User>,
    addresses: HashSet<String>,
    without_address: usize,
    unfit: usize,
    twice: usize,
    /// Why the first was unfit.
    because: String,
}

impl Gathered {
    fn take(&mut self, entry: &SearchEntry, attributes: &Attributes, domains: &[String]) {
        let mut user = user_of(&Values::of(entry), attributes);
        if user.address.is_empty() {
            self.without_address += 1;
            return;
        }
        // One bad value of one entry must not cost everybody the directory.
        if let Err(why) = user.settle(domains) {
            if self.unfit == 0 {
                self.because = format!("{}: {why}", entry.dn);
            }
            self.unfit += 1;
        } else if self.addresses.insert(user.address.clone()) {
            self.users.push(user);
        } else {
            self.twice += 1;
        }
    }

    fn finish(self, url: &str, base: &str) -> Result<Vec<User>, ReadError> {
        if self.without_address + self.unfit + self.twice > 0 {
            tracing::warn!(
                without_address = self.without_address,
                unfit = self.unfit,
                twice = self.twice,
                first = self.because,
                "entries of the directory are left out"
            );
        }
        if self.users.is_empty() {
            return Err(ReadError::Nobody(format!("{url} below {base:?}")));
        }
        Ok(self.users)
    }
}

/// The values of one entry; attribute names compare without regard to case (RFC 4512 2.5).
struct Values<'e>(HashMap<String, &'e [String]>);

impl<'e> Values<'e> {
    fn of(entry: &'e SearchEntry) -> Values<'e> {
        let lower = |(name, values): (&'e String, &'e Vec<String>)| {
            // An option such as ;lang-en is not a part of the name.
            let name = name.split(';').next().unwrap_or(name);
            (name.to_ascii_lowercase(), values.as_slice())
        };
        Values(entry.attrs.iter().map(lower).collect())
    }

    fn all(&self, name: &str) -> &'e [String] {
        self.0
            .get(&name.to_ascii_lowercase())
            .copied()
            .unwrap_or_default()
    }

    fn first(&self, names: &Names) -> String {
        names
            .iter()
            .flat_map(|name| self.all(name))
            .find(|value| !value.trim().is_empty())
            .map(|value| value.trim().to_owned())
            .unwrap_or_default()
    }

    fn is_one_of(&self, names: &Names, words: &[&str]) -> bool {
        let value = self.first(names);
        words.iter().any(|word| word.eq_ignore_ascii_case(&value))
    }
}

fn user_of(values: &Values<'_>, attributes: &Attributes) -> User {
    let first = |names| values.first(names);
    let country_code = first(&attributes.country_code);
    let uri = first(&attributes.line);
    let server = first(&attributes.line_server);
    let lines = (!uri.is_empty()).then_some(UserLine {
        uri,
        kind: if server.is_empty() {
            UserLineType::Uc
        } else {
            UserLineType::Rcc
        },
        server,
    });
    // What is not fit to be shown is not known, rather than a reason to do without the user.
    let lines = lines.into_iter().filter(|line| line.check().is_ok());
    User {
        address: first(&attributes.address),
        display_name: first(&attributes.display_name),
        given_name: first(&attributes.given_name),
        surname: first(&attributes.surname),
        mail: first(&attributes.mail),
        aliases: attributes
            .aliases
            .iter()
            .flat_map(|name| values.all(name))
            .cloned()
            .collect(),
        tel: attributes
            .tel
            .iter()
            .flat_map(|name| values.all(name))
            .cloned()
            .collect(),
        login: first(&attributes.login),
        title: first(&attributes.title),
        company: first(&attributes.company),
        department: first(&attributes.department),
        office: first(&attributes.office),
        fax: first(&attributes.fax),
        street: first(&attributes.street),
        city: first(&attributes.city),
        state: first(&attributes.state),
        country_code: if country_code.len() == 2 {
            country_code
        } else {
            String::new()
        },
        postal_code: first(&attributes.postal_code),
        home_page: first(&attributes.home_page),
        disabled: values.is_one_of(&attributes.enabled, &["false", "0", "no", "disabled"]),
        hidden: values.is_one_of(&attributes.hidden, &["true", "1", "yes"]),
        phones: Phones {
            work: first(&attributes.work_phone),
            mobile: first(&attributes.mobile_phone),
            home: first(&attributes.home_phone),
            other: first(&attributes.other_phone),
        },
        lines: lines.collect(),
        attributes: attributes
            .searched
            .iter()
            .filter_map(|name| {
                let all = values.all(name);
                (!all.is_empty()).then(|| (name.to_owned(), all.join("\n")))
            })
            .collect(),
    }
}
