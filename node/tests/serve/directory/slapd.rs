//! A real slapd of a test: on a loopback port, with its data in a temporary folder.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SLAPD: &str = "/usr/sbin/slapd";

/// Eight users and one who is disabled; two entries that are no users of ours.
pub const PEOPLE: &str = "\
dn: dc=contoso,dc=com
objectClass: dcObject
objectClass: organization
dc: contoso
o: Contoso

dn: cn=reader,dc=contoso,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reader

dn: ou=people,dc=contoso,dc=com
objectClass: organizationalUnit
ou: people

dn: uid=alice,ou=people,dc=contoso,dc=com
objectClass: inetOrgPerson
objectClass: extensibleObject
uid: alice
cn: Alice
sn: Liddell
givenName: Alice
displayName: Alice Liddell
mail: Alice@Contoso.com
employeeNumber: 77
facsimileTelephoneNumber: +1 555 0199
l: Somewhere
c: us

dn: uid=erik,ou=people,dc=contoso,dc=com
objectClass: inetOrgPerson
uid: erik
cn:: RXJpayDDhXN0csO2bQ==
sn:: w4VzdHLDtm0=
givenName: Erik
mail: erik@contoso.com
title: Engineer
o: Contoso
roomNumber: 112
telephoneNumber: +1 555 0104
l: Somewhere

dn: uid=frank,ou=people,dc=contoso,dc=com
objectClass: inetOrgPerson
uid: frank
cn: Frank
sn: Frank
mail: frank@contoso.com
employeeType: disabled

dn: uid=nobody,ou=people,dc=contoso,dc=com
objectClass: inetOrgPerson
uid: nobody
cn: Nobody
sn: Nobody

dn: uid=mallory,ou=people,dc=contoso,dc=com
objectClass: inetOrgPerson
uid: mallory
cn: Mallory
sn: Mallory
mail: mallory@elsewhere.example

dn: uid=bob,ou=people,dc=contoso,dc=com
objectClass: inetOrgPerson
uid: bob
cn: Bob Kelly
sn: Kelly
mail: bob@contoso.com

dn: uid=user1,ou=people,dc=contoso,dc=com
objectClass: inetOrgPerson
uid: user1
cn: User One
sn: One
mail: user1@contoso.com

dn: uid=user2,ou=people,dc=contoso,dc=com
objectClass: inetOrgPerson
uid: user2
cn: User Two
sn: Two
mail: user2@contoso.com

dn: uid=user3,ou=people,dc=contoso,dc=com
objectClass: inetOrgPerson
uid: user3
cn: User Three
sn: Three
mail: user3@contoso.com

dn: uid=user4,ou=people,dc=contoso,dc=com
objectClass: inetOrgPerson
uid: user4
cn: User Four
sn: Four
mail: user4@contoso.com

dn: uid=user5,ou=people,dc=contoso,dc=com
objectClass: inetOrgPerson
uid: user5
cn: User Five
sn: Five
mail: user5@contoso.com
";

/// A running slapd; it ends with this value.
pub struct Slapd {
    child: Child,
    folder: TempDir,
    port: u16,
    tls_port: u16,
}

/// Starts one with these entries; `None`, and a word about it, where it is not installed.
pub fn start(entries: &str) -> Option<Slapd> {
    let installed =
        Path::new(SLAPD).exists() && Command::new("ldapmodify").arg("-VV").output().is_ok();
    if !installed {
        eprintln!("skipped: needs a real LDAP server: apt-get install slapd ldap-utils");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("db")).expect("made");
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(path("cert.pem"), pair.cert.pem()).expect("written");
    fs::write(path("key.pem"), pair.signing_key.serialize_pem()).expect("written");
    fs::write(path("people.ldif"), entries).expect("written");
    let at = folder.path().display();
    let config = format!(
        "include /etc/ldap/schema/core.schema\ninclude /etc/ldap/schema/cosine.schema\n\
         include /etc/ldap/schema/inetorgperson.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
         pidfile {at}/slapd.pid\nTLSCertificateFile {at}/cert.pem\nTLSCertificateKeyFile {at}/key.pem\n\
         sizelimit 5\n\
         database mdb\nsuffix \"dc=contoso,dc=com\"\nrootdn \"cn=admin,dc=contoso,dc=com\"\nrootpw admin\n\
         directory {at}/db\nmaxsize 16777216\nlimits dn.exact=\"cn=reader,dc=contoso,dc=com\" size.prtotal=unlimited\n\
         access to attrs=userPassword by anonymous auth\naccess to * by dn.exact=\"cn=reader,dc=contoso,dc=com\" read by * none\n"
    );
    fs::write(path("slapd.conf"), config).expect("written");
    let filled = Command::new(SLAPD)
        .args(["-T", "add", "-f"])
        .arg(path("slapd.conf"))
        .arg("-l")
        .arg(path("people.ldif"))
        .output()
        .expect("slapd runs");
    assert!(
        filled.status.success(),
        "{}",
        String::from_utf8_lossy(&filled.stderr)
    );
    let (port, tls_port) = (free_port(), free_port());
    let child = Command::new(SLAPD)
        .args(["-d", "0", "-h"])
        .arg(format!(
            "ldap://127.0.0.1:{port}/ ldaps://127.0.0.1:{tls_port}/"
        ))
        .arg("-f")
        .arg(path("slapd.conf"))
        .stderr(Stdio::null())
        .spawn()
        .expect("slapd runs");
    let slapd = Slapd {
        child,
        folder,
        port,
        tls_port,
    };
    let until = Instant::now() + super::PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "slapd does not answer");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(slapd)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

impl Slapd {
    pub fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    pub fn tls_url(&self) -> String {
        format!("ldaps://localhost:{}", self.tls_port)
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Changes entries, as `ldapmodify` takes it.
    pub fn modify(&self, ldif: &str) {
        let mut child = Command::new("ldapmodify")
            .args([
                "-x",
                "-D",
                "cn=admin,dc=contoso,dc=com",
                "-w",
                "admin",
                "-H",
                &self.url(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("ldapmodify runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(ldif.as_bytes()).expect("taken");
        drop(stdin);
        assert!(child.wait().expect("it ends").success(), "{ldif}");
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
