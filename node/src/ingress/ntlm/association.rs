//! A security association: the keys agreed on with one endpoint, and what was signed with them.

use std::sync::Arc;

use super::crypto::{SessionKey, Signer, unhex};
use super::header::{Credentials, Target};
use super::signature::{Fields, Stamp, Version, signature_text};
use super::window::Window;
use super::{Endpoint, Opaque, Refusal};

/// The keys and counters shared with an endpoint that proved who it is.
pub struct Association {
    target: Arc<Target>,
    opaque: Opaque,
    endpoint: Endpoint,
    version: Version,
    client: Signer,
    server: Signer,
    /// The count of our last signature.
    snum: u32,
    used: Window,
}

impl std::fmt::Debug for Association {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the keys.
        f.debug_struct("Association")
            .field("opaque", &self.opaque)
            .field("endpoint", &self.endpoint)
            .field("version", &self.version)
            .field("snum", &self.snum)
            .finish_non_exhaustive()
    }
}

impl Association {
    pub(super) fn new(
        target: Arc<Target>,
        opaque: Opaque,
        endpoint: Endpoint,
        version: Version,
        key: &SessionKey,
    ) -> Association {
        Association {
            target,
            opaque,
            endpoint,
            version,
            client: key.client(),
            server: key.server(),
            snum: 0,
            used: Window::new(),
        }
    }

    /// Its name in headers.
    #[must_use]
    pub fn opaque(&self) -> Opaque {
        self.opaque
    }

    /// Who proved to be at the other end.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Checks the client's signature of a message, and uses up its count.
    ///
    /// # Errors
    /// Why the message cannot be taken for the client's; then its count is not used up.
    //= MS-SIP 3.1.5.1
    //# the signature first, so that nobody else can use the client's counts up
    pub fn verify(
        &mut self,
        credentials: &Credentials<'_>,
        fields: &Fields<'_>,
    ) -> Result<(), Refusal> {
        if credentials.opaque != Some(self.opaque) {
            return Err(Refusal::Unknown);
        }
        if credentials.realm != self.target.realm() || credentials.targetname != self.target.name()
        {
            return Err(Refusal::WrongTarget);
        }
        let (Some(salt), Some(count), Some(response)) =
            (credentials.crand, credentials.cnum, credentials.response)
        else {
            return Err(Refusal::Unsigned);
        };
        let (Some(number), Some(signature)) = (decimal(count), unhex(response)) else {
            return Err(Refusal::Malformed);
        };
        let stamp = Stamp {
            salt,
            count,
            realm: credentials.realm,
            targetname: credentials.targetname,
        };
        let text = signature_text(&stamp, fields, self.version);
        if !self.client.verify(&text, &signature) {
            return Err(Refusal::BadSignature);
        }
        if !self.used.take(number) {
            return Err(Refusal::Replayed);
        }
        Ok(())
    }

    /// The value of the Authentication-Info header for a message of ours, with four random bytes.
    ///
    /// Each call counts: one per message, and the header goes out with no other.
    //= MS-SIPAE 3.3.4.1
    //# the server's salt, its count up by one, and the signature over both and the message
    pub fn sign(&mut self, fields: &Fields<'_>, srand: u32) -> String {
        self.snum += 1;
        let (salt, count) = (format!("{srand:08X}"), self.snum.to_string());
        let (realm, targetname) = (self.target.realm(), self.target.name());
        let stamp = Stamp {
            salt: &salt,
            count: &count,
            realm,
            targetname,
        };
        let text = signature_text(&stamp, fields, self.version);
        let signature = u128::from_be_bytes(self.server.sign(&text));
        let version = match self.version {
            Version::Two | Version::Three => "",
            Version::Four => ", version=4",
        };
        format!(
            "NTLM rspauth=\"{signature:032X}\", srand=\"{salt}\", snum=\"{count}\", \
             opaque=\"{}\", qop=\"auth\", targetname=\"{targetname}\", realm=\"{realm}\"{version}",
            self.opaque
        )
    }
}

/// A number of digits alone.
fn decimal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
