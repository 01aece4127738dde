//! The client's side of Digest (RFC 7616, RFC 8760): a challenge, and its answer.

use std::fmt::Write as _;

use transport::sip::header::{Params, elements};

use crate::ingress::digest::Algorithm;

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// As it is written in the answer; none where the challenge did not name one.
    named: Option<String>,
    qop: bool,
    /// Whether the password was right, and only the nonce is not good any more.
    pub(super) stale: bool,
    /// How often the nonce was used.
    count: u32,
    proxy: bool,
}

impl Challenge {
    /// The strongest of these header values that we can answer.
    //= RFC 8760 2.4
    //# of several challenges the first is answered whose algorithm is known
    pub(super) fn choose<'v>(
        values: impl Iterator<Item = &'v str>,
        proxy: bool,
    ) -> Option<Challenge> {
        values
            .filter_map(|value| Challenge::read(value, proxy))
            .next()
    }

    fn read(value: &str, proxy: bool) -> Option<Challenge> {
        let (scheme, fields) = value.trim().split_once(char::is_whitespace)?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let fields: Vec<(&str, &str)> = elements(fields)
            .flat_map(|field| Params(field).iter().collect::<Vec<_>>())
            .collect();
        let get = |name: &str| {
            let mut fields = fields.iter();
            let found = fields.find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| *value)
        };
        let named = get("algorithm");
        let algorithm = Algorithm::parse(named.unwrap_or("MD5"))?;
        let qop = match get("qop") {
            None => false,
            Some(offers) => {
                let mut offers = offers.split(',');
                // Who offers no other than auth-int wants more than we do.
                offers.find(|offer| offer.trim().eq_ignore_ascii_case("auth"))?;
                true
            }
        };
        let quiet = |text: &&str| !text.contains(['"', '\r', '\n']);
        Some(Challenge {
            realm: get("realm").filter(quiet)?.to_owned(),
            nonce: get("nonce").filter(quiet)?.to_owned(),
            opaque: get("opaque").filter(quiet).map(str::to_owned),
            algorithm,
            named: named.map(|_| algorithm.as_str().to_owned()),
            qop,
            stale: get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            count: 0,
            proxy,
        })
    }

    /// The header line, with its end, that answers it for a request of this method and Request-URI.
    //= RFC 7616 3.4.1
    //# the response is the hash of the secret, the nonce, its count, a number of the client and the request
    pub(super) fn answer(
        &mut self,
        (user, password): (&str, &str),
        method: &str,
        uri: &str,
        chance: u64,
    ) -> String {
        self.count += 1;
        let secret = self.algorithm.hash(&[user, &self.realm, password]);
        let request = self.algorithm.hash(&[method, uri]);
        let name = match self.proxy {
            true => "Proxy-Authorization",
            false => "Authorization",
        };
        let (realm, nonce) = (&self.realm, &self.nonce);
        let mut line = format!(
            "{name}: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\""
        );
        let response = if self.qop {
            let (count, client) = (format!("{:08x}", self.count), format!("{chance:016x}"));
            let _ = write!(line, ", qop=auth, nc={count}, cnonce=\"{client}\"");
            let parts = [secret.as_str(), nonce, &count, &client, "auth", &request];
            self.algorithm.hash(&parts)
        } else {
            self.algorithm.hash(&[&secret, nonce, &request])
        };
        let _ = write!(line, ", response=\"{response}\"");
        if let Some(algorithm) = &self.named {
            let _ = write!(line, ", algorithm={algorithm}");
        }
        if let Some(opaque) = &self.opaque {
            let _ = write!(line, ", opaque=\"{opaque}\"");
        }
        line.push_str("\r\n");
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::digest::{Digest, Proof};
    use crate::ingress::users::Secrets;

    //= RFC 7616 3.4.1
    //= type=test
    #[test]
    fn the_answers_are_those_of_the_standards() {
        // RFC 2617 §3.5 without its count, and with it.
        let challenge = |qop: &str, algorithm: &str| {
            let value = format!(
                "Digest realm=\"testrealm@host.com\", {qop}nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", \
                 opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"{algorithm}"
            );
            Challenge::choose([&*value].into_iter(), false).expect("one that we know")
        };
        let me = ("Mufasa", "Circle Of Life");
        let line = challenge("", "").answer(me, "GET", "/dir/index.html", 1);
        assert!(
            line.starts_with("Authorization: Digest username=\"Mufasa\""),
            "{line}"
        );
        assert!(
            line.contains("response=\"670fd8c2df070c60b045671b8b24ff02\""),
            "{line}"
        );
        assert!(
            line.contains("opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"\r\n"),
            "{line}"
        );
        let mut with = challenge("qop=\"auth,auth-int\", ", "");
        let line = with.answer(me, "GET", "/dir/index.html", 0x0a);
        assert!(
            line.contains("nc=00000001, cnonce=\"000000000000000a\""),
            "{line}"
        );
        assert!(with.answer(me, "GET", "/", 2).contains("nc=00000002"));
    }

    #[test]
    fn our_own_server_takes_the_answer() {
        let realm = "example.com";
        let digest = Digest::new(realm, [7; 32]);
        let line = |algorithm: Algorithm| {
            let secret = algorithm.hash(&["me", realm, "secret"]);
            format!("me:{realm}:{}:{secret}\n", algorithm.as_str())
        };
        let known = [Algorithm::Sha256, Algorithm::Md5];
        let secrets = Secrets::parse(&known.map(line).concat(), realm).expect("two lines");
        for algorithm in known {
            let values = digest.challenges(&[algorithm], 1_000, false);
            let chosen = Challenge::choose(values.iter().map(String::as_str), false);
            let mut chosen = chosen.expect("one that we know");
            for (password, expected) in [
                ("secret", Proof::User("me".to_owned())),
                ("wrong", Proof::None),
                // The same nonce again, which is another count of it.
                ("secret", Proof::User("me".to_owned())),
            ] {
                let line = chosen.answer(("me", password), "SUBSCRIBE", "sip:200@x", 5);
                let (_, value) = line.trim_end().split_once(": ").expect("a header");
                let proof = digest.verify(&secrets, "SUBSCRIBE", "sip:200@x", value, 1_000);
                assert_eq!(proof, expected, "{line}");
            }
        }
    }

    //= RFC 8760 2.4
    //= type=test
    #[test]
    fn what_cannot_be_answered_is_left_alone() {
        for value in [
            "Basic realm=\"x\"",
            "Digest realm=\"x\", nonce=\"y\", algorithm=SHA3",
            "Digest realm=\"x\", nonce=\"y\", qop=\"auth-int\"",
            "Digest nonce=\"y\"",
            "NTLM",
        ] {
            assert_eq!(
                Challenge::choose([value].into_iter(), true),
                None,
                "{value}"
            );
        }
        let values = [
            "Digest realm=\"x\", nonce=\"y\", algorithm=SHA3",
            "Digest realm=\"x\", nonce=\"y\", algorithm=SHA-256, stale=TRUE",
            "Digest realm=\"x\", nonce=\"y\"",
        ];
        let mut chosen = Challenge::choose(values.into_iter(), true).expect("the second");
        assert!(chosen.stale);
        let line = chosen.answer(("me", "secret"), "SUBSCRIBE", "sip:x", 1);
        assert!(line.starts_with("Proxy-Authorization: "), "{line}");
        assert!(line.contains(", algorithm=SHA-256\r\n"), "{line}");
    }
}
