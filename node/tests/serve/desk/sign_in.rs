//! How BluStar's clients sign in (section 2.10), against a real LDAP server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};
use transport::sip::{Name, Response};

use super::{Client, configured, document, printed, send};
use crate::directory::slapd::{self, Slapd};
use crate::phone::{Phone, fresh};

/// A directory with these users: name, address, password.
fn directory(users: &[(&str, &str, &str)]) -> Option<Slapd> {
    let mut entries = String::from(
        "dn: dc=contoso,dc=com\nobjectClass: dcObject\nobjectClass: organization\ndc: contoso\no: Contoso\n\n\
         dn: cn=reader,dc=contoso,dc=com\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n\
         cn: reader\nuserPassword: reader\n\n",
    );
    for (user, address, password) in users {
        entries += &format!(
            "dn: uid={user},dc=contoso,dc=com\nobjectClass: inetOrgPerson\nuid: {user}\ncn: {user}\nsn: {user}\n\
             mail: {address}\nuserPassword: {password}\n\n"
        );
    }
    slapd::start(&entries)
}

/// Settings that read it, and these.
fn settings(slapd: &Slapd, data: &std::path::Path, blustar: &str) -> String {
    let password = data.join("reader");
    std::fs::write(&password, "reader\n").expect("written");
    format!(
        "[directory]\nurl = {:?}\nbase = \"dc=contoso,dc=com\"\nbind_dn = \"cn=reader,dc=contoso,dc=com\"\n\
         bind_password_file = {password:?}\nfilter = \"(uid=*)\"\n[directory.attributes]\naddress = \"mail\"\n\
         [blustar]\nbind_as = \"uid={{user}},dc=contoso,dc=com\"\n{blustar}",
        slapd.url(),
    )
}

/// The client's side of the cipher: AES-256-GCM under the SHA-256 of the key, twelve random bytes first.
fn seal(key: &str, text: &str) -> String {
    let nonce: [u8; NONCE_LEN] = Sha256::digest(format!("{text}{}", fresh()))[..NONCE_LEN]
        .try_into()
        .expect("twelve bytes");
    let cipher = UnboundKey::new(&AES_256_GCM, &Sha256::digest(key)).expect("a key");
    let mut sealed = text.as_bytes().to_vec();
    LessSafeKey::new(cipher)
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut sealed,
        )
        .expect("sealed");
    STANDARD.encode([nonce.as_slice(), &sealed].concat())
}

fn key_of(answer: &Response) -> String {
    assert_eq!(answer.status().number(), 401);
    let key = answer
        .other_headers("X-BSS-auth")
        .next()
        .expect("a key")
        .to_owned();
    assert_eq!(key.len(), 56, "{key}");
    key
}

/// SUBSCRIBE to oneself with these header lines.
fn subscribe(client: &mut Client, lines: &str) -> Response {
    let to = format!("<{}>", client.user);
    let head = client.head("SUBSCRIBE", &to, &format!("auth-{}", fresh()), 1);
    let lines = format!("Event: presence\r\nExpires: 300\r\n{lines}");
    client.phone.ask(head, &lines, "")
}

fn rauth(key: &str, credentials: &str) -> String {
    format!("X-BSS-rauth: {}\r\n", seal(key, credentials))
}

//= BLUSTAR 2.10
//= type=test
//= BLUSTAR 2.11
//= type=test
// proves: BLU-2.10-01 BLU-2.10-02 BLU-2.10-03 BLU-2.10-04 BLU-2.10-05 BLU-2.10-06 BLU-2.10-07 BLU-2.10-08
// proves: BLU-2.11-01
#[test]
fn credentials_are_looked_at_by_the_directory_and_kept_by_nobody() {
    let Some(slapd) = directory(&[
        ("alice", "alice@aastra.com", "wonder-1865"),
        ("bob", "bob@aastra.com", "builder-1998"),
    ]) else {
        return;
    };
    for mode in ["off", "optional", "required"] {
        let data = tempfile::tempdir().expect("a folder");
        let controllers = data.path().join("controllers");
        let made = std::process::Command::new(env!("CARGO_BIN_EXE_lamplight"))
            .args([
                "user",
                "add",
                "--realm",
                "example.com",
                "--password-stdin",
                "--users",
            ])
            .arg(&controllers)
            .arg("amcc")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .and_then(|mut child| {
                use std::io::Write as _;
                child
                    .stdin
                    .take()
                    .expect("piped")
                    .write_all(b"controller-7\n")?;
                child.wait()
            });
        assert!(made.expect("it runs").success());
        let blustar = format!("authentication = {mode:?}\nmobile_controllers = {controllers:?}\n");
        let settings = settings(&slapd, data.path(), &blustar);
        let server = configured(data.path(), &settings, &[]);
        let mut alice = Client::new(&server, "alice", "desk");
        let old = subscribe(&mut alice, "");
        assert_eq!(
            old.status().number(),
            if mode == "required" { 401 } else { 200 },
            "3.0.0, {mode}"
        );
        alice.agent = "Aastra BluStar Client/3.0.1.0".to_owned();
        let new = subscribe(&mut alice, "");
        if mode == "off" {
            assert_eq!(new.status().number(), 200, "nobody is asked");
            continue;
        }
        let key = key_of(&new);
        assert!(new.header(Name::Contact).is_some());
        assert_eq!(new.header(Name::Expires), Some("300"));
        let good = "de\\alice:wonder-1865";
        assert_eq!(
            subscribe(&mut alice, &rauth(&key, good)).status().number(),
            200,
            "{mode}"
        );
        assert_eq!(
            subscribe(&mut alice, &rauth(&key, good)).status().number(),
            200,
            "the key stays good"
        );

        let second = key_of(&subscribe(&mut alice, &rauth(&key, "de\\alice:wrong")));
        assert_ne!(second, key);
        let third = key_of(&subscribe(&mut alice, &rauth(&key, good)));
        assert_ne!(third, second, "the key before is not good any more");
        for (name, lines) in [
            ("no base64", "X-BSS-rauth: ???\r\n".to_owned()),
            ("another's key", rauth(&"x".repeat(56), good)),
            ("no colon", rauth(&third, "alice")),
        ] {
            let answer = subscribe(&mut alice, &lines);
            assert_eq!(answer.status().number(), 401, "{name}");
        }
        let key = key_of(&subscribe(&mut alice, ""));
        assert_eq!(
            subscribe(&mut alice, &rauth(&key, "de\\bob:builder-1998"))
                .status()
                .number(),
            403,
            "Bob is not Alice"
        );
        assert_eq!(
            subscribe(&mut alice, &rauth(&key, "de\\x,uid=alice:wonder-1865"))
                .status()
                .number(),
            401
        );

        // The same for PUBLISH.
        let key = key_of(&alice.publish("busy", "x"));
        let answer = alice.publish_with(
            &format!("Expires: 600\r\n{}", rauth(&key, good)),
            &document("busy", "x", ""),
        );
        assert_eq!(answer.status().number(), 200, "{mode}");
        assert!(alice.tag.is_some());

        // A controller of mobile clients signs in by an account of ours, and speaks for all of them.
        let mut mobile = Client::new(&server, "bob", "fmc");
        mobile.agent = "Aastra BluStar Client/3.0.1.0".to_owned();
        let key = key_of(&subscribe(&mut mobile, ""));
        let again = key_of(&subscribe(&mut mobile, &rauth(&key, "amcc:wrong")));
        assert_eq!(
            subscribe(&mut mobile, &rauth(&again, "amcc:controller-7"))
                .status()
                .number(),
            200
        );

        // Nothing of the credentials is kept.
        drop(server);
        let mut files = vec![data.path().to_owned()];
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(
                    std::fs::read_dir(&path)
                        .expect("readable")
                        .flatten()
                        .map(|entry| entry.path()),
                );
                continue;
            }
            let bytes = std::fs::read(&path).expect("readable");
            for secret in ["wonder-1865", "builder-1998", "controller-7"] {
                let found = bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes());
                assert!(!found, "{secret} in {}", path.display());
            }
        }
    }
}

/// The printed exchange of section 2.10: the request without credentials, and one with credentials that no
/// key of ours has sealed.
// proves: BLU-2.10-03
#[test]
fn the_printed_requests_are_challenged_as_printed() {
    let Some(slapd) = directory(&[("bill", "bill@aastra.com", "x-1")]) else {
        return;
    };
    let data = tempfile::tempdir().expect("a folder");
    let settings = settings(&slapd, data.path(), "authentication = \"optional\"\n");
    let server = configured(data.path(), &settings, &[]);
    for name in [
        "blu-2.10-subscribe-list.request.sip",
        "blu-2.10-subscribe-list-auth.request.sip",
    ] {
        let mut phone = Phone::tcp(server.tcp);
        let Some(request) = printed(name, &[]) else {
            return;
        };
        let answer = send(&mut phone, &request);
        key_of(&answer);
        assert_eq!(answer.header(Name::Expires), Some("300"), "{name}");
        assert!(answer.header(Name::WwwAuthenticate).is_none(), "{name}");
        assert!(answer.header(Name::Contact).is_some(), "{name}");
    }
}
