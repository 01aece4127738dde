//! Switchboards whose lines are watched.

use std::path::PathBuf;

use serde::Deserialize;
use transport::flow::Transport;

/// A switchboard (PBX) that is subscribed to for the state of its users' lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pbx {
    /// What the operator calls it; the source of what it says of a user bears its name.
    pub name: String,
    /// How it is spoken to.
    pub transport: Transport,
    /// Its host: an address or a name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The URI of a line, with `{tel}`, `{ext}` and `{user}`.
    pub line: String,
    /// A file of users with their numbers, where the directory is not to be asked.
    pub users: Option<PathBuf>,
    /// Only numbers that begin so; all where it is empty.
    pub numbers: Vec<String>,
    /// How many of a number's last digits `{ext}` is; 0 for all.
    pub extension_digits: usize,
    /// Who we say we are, as a SIP URI.
    pub from: String,
    /// The name and the file of the password, where it asks for one.
    pub login: Option<(String, PathBuf)>,
    /// Seconds that a subscription is asked to live.
    pub expires_s: u32,
    /// Seconds that a state outlives the subscription that told it.
    pub hold_s: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PbxSection {
    name: String,
    address: String,
    line: Option<String>,
    users: Option<PathBuf>,
    #[serde(default)]
    numbers: Vec<String>,
    #[serde(default)]
    extension_digits: usize,
    from: Option<String>,
    login: Option<String>,
    password: Option<PathBuf>,
    expires: Option<u32>,
    hold: Option<u32>,
}

/// Switchboards at most: each line's source bears the name of one.
const PBX_MAX: usize = 64;

/// Checks them against the transports that this node listens on and its first domain.
pub(super) fn check(
    sections: Vec<PbxSection>,
    listens: &[Transport],
    domain: &str,
) -> Result<Vec<Pbx>, String> {
    if sections.len() > PBX_MAX {
        return Err(format!("more than {PBX_MAX} [[pbx]]"));
    }
    let mut known: Vec<Pbx> = Vec::new();
    for section in sections {
        let pbx = section.check(domain)?;
        if known.iter().any(|other| other.name == pbx.name) {
            return Err(format!("two [[pbx]] have the name {:?}", pbx.name));
        }
        if !listens.contains(&pbx.transport) {
            return Err(format!(
                "pbx {:?} is spoken to over {}, and this node listens on no such address; its notifications \
                 could not come back",
                pbx.name,
                pbx.transport.as_str().to_ascii_lowercase()
            ));
        }
        known.push(pbx);
    }
    Ok(known)
}

impl PbxSection {
    fn check(self, domain: &str) -> Result<Pbx, String> {
        let name = self.name;
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 24 || !name.bytes().all(legal) {
            return Err(format!(
                "pbx.name = {name:?}; expected up to 24 small letters, digits or -"
            ));
        }
        let address = self.address;
        let expected = || {
            format!(
                "pbx.address = {address:?}; expected such as udp:pbx.example.com:5060 or tcp:192.0.2.9:5060"
            )
        };
        let (transport, place) = address.split_once(':').ok_or_else(expected)?;
        let transport = match transport {
            "udp" => Transport::Udp,
            "tcp" => Transport::Tcp,
            _ => return Err(expected()),
        };
        let (host, port) = place.rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(expected)?;
        let bare = host.trim_matches(['[', ']']);
        let is_name = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let is_address = bare.parse::<std::net::IpAddr>().is_ok();
        if bare.is_empty() || !(is_address || host.chars().all(is_name)) {
            return Err(expected());
        }
        let line = self.line.unwrap_or_else(|| "{tel}".to_owned());
        let line = match line.contains('@') || line.starts_with("tel:") {
            true => line,
            false => format!("{line}@{host}"),
        };
        let line = match line.contains(':')
            && ["sip:", "sips:", "tel:"]
                .iter()
                .any(|s| line.starts_with(s))
        {
            true => line,
            false => format!("sip:{line}"),
        };
        let unseen = |c: char| c.is_whitespace() || c.is_control() || "<>\"".contains(c);
        let varies = ["{tel}", "{ext}", "{user}"]
            .iter()
            .any(|of| line.contains(of));
        if !varies || line.contains(unseen) {
            return Err(format!(
                "pbx.line = {line:?}; expected such as sip:{{tel}}@pbx.example.com, with {{tel}}, {{ext}} or {{user}}"
            ));
        }
        let from = self
            .from
            .unwrap_or_else(|| format!("sip:lamplight@{domain}"));
        if !from.starts_with("sip:") || from.contains(unseen) {
            return Err(format!("pbx.from = {from:?}; expected a SIP URI"));
        }
        let login = match (self.login, self.password) {
            (None, None) => None,
            (Some(login), Some(file))
                if !login.is_empty() && !login.contains(['"', '\\', '\r', '\n']) =>
            {
                Some((login, file))
            }
            _ => {
                return Err(format!(
                    "pbx {name:?}: login is a name, and goes with password, a file"
                ));
            }
        };
        let expires_s = self.expires.unwrap_or(600);
        if !(2..=86_400).contains(&expires_s) {
            return Err(format!(
                "pbx.expires = {expires_s}; expected 2 to 86400 seconds"
            ));
        }
        let hold_s = self.hold.unwrap_or(300);
        if !(1..=86_400).contains(&hold_s) {
            return Err(format!("pbx.hold = {hold_s}; expected 1 to 86400 seconds"));
        }
        Ok(Pbx {
            name,
            transport,
            host: bare.to_owned(),
            port,
            line,
            users: self.users,
            numbers: self.numbers,
            extension_digits: self.extension_digits,
            from,
            login,
            expires_s,
            hold_s,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Pbx>, String> {
        #[derive(Deserialize)]
        struct File {
            pbx: Vec<PbxSection>,
        }
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        check(file.pbx, &[Transport::Udp], "example.com")
    }

    #[test]
    fn a_pbx_needs_a_name_and_an_address() {
        let read_one = |more: &str| {
            read(&format!(
                "[[pbx]]\nname = \"main\"\naddress = \"udp:pbx.example.com:5060\"\n{more}"
            ))
        };
        let all = read_one("").expect("sound");
        assert_eq!(all[0].line, "sip:{tel}@pbx.example.com");
        assert_eq!(all[0].from, "sip:lamplight@example.com");
        assert_eq!((all[0].expires_s, all[0].hold_s), (600, 300));
        for (more, line) in [
            ("line = \"{ext}\"", "sip:{ext}@pbx.example.com"),
            (
                "line = \"sip:{user}@x.example;user=phone\"",
                "sip:{user}@x.example;user=phone",
            ),
            ("line = \"tel:{tel}\"", "tel:{tel}"),
        ] {
            assert_eq!(read_one(more).expect("sound")[0].line, line);
        }
        for (more, what) in [
            ("line = \"200\"", "pbx.line"),
            ("line = \"{tel} x\"", "pbx.line"),
            ("login = \"me\"", "password"),
            ("password = \"file\"", "login"),
            ("expires = 1", "pbx.expires"),
            ("hold = 0", "pbx.hold"),
            ("from = \"me\"", "pbx.from"),
            ("other = 1", "other"),
        ] {
            let error = read_one(more).expect_err(more);
            assert!(error.contains(what), "{more}: {error}");
        }
        for (address, what) in [
            ("tls:pbx:5061", "pbx.address"),
            ("udp:pbx", "pbx.address"),
            ("udp::5060", "pbx.address"),
            ("udp:a b:5060", "pbx.address"),
            ("udp:pbx:0", "pbx.address"),
            ("tcp:pbx:5060", "listens on no such address"),
        ] {
            let text = format!("[[pbx]]\nname = \"main\"\naddress = \"{address}\"\n");
            let error = read(&text).expect_err(address);
            assert!(error.contains(what), "{address}: {error}");
        }
        let one = "[[pbx]]\nname = \"a\"\naddress = \"udp:[2001:db8::1]:5060\"\n";
        assert_eq!(read(one).expect("sound")[0].host, "2001:db8::1");
        assert_eq!(read(one).expect("sound")[0].line, "sip:{tel}@[2001:db8::1]");
        assert!(read(&format!("{one}{one}")).is_err(), "one name twice");
        assert!(
            read(&one.replace("\"a\"", "\"A B\"")).is_err(),
            "a bad name"
        );
    }
}
