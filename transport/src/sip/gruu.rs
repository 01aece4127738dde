//! Globally routable URIs of Microsoft's kind (MS-SIPRE 2.2.3), and the identity of an endpoint that they
//! are made of.
//!
//! An endpoint is named by its epid, by the UUID of its `+sip.instance`, or by its GRUU; each can be had
//! from the one before. The UUID is a name-based one (SHA-1) over bytes in the order in which a GUID lies
//! in memory, which a stock routine for version 5 does not give.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha1::{Digest as _, Sha1};

use super::uri::Uri;

/// The namespace of endpoint UUIDs, as a GUID lies in memory.
const NAMESPACE: [u8; 16] = [
    0x03, 0xfb, 0xac, 0xfc, 0x73, 0x8a, 0xef, 0x46, 0x91, 0xb1, 0xe5, 0xeb, 0xee, 0xab, 0xa4, 0xfe,
];

/// What an endpoint's GRUU begins its `opaque` with.
const USER: &str = "user:epid:";
/// What a server's GRUU begins its `opaque` with.
const SERVER: &str = "srvr:HomeServer:";

/// The UUID of an endpoint with this epid, its bytes in the order in which they are written.
//= MS-SIPRE 2.2.5
//# SHA-1 over the namespace and the epid's text; version 5; fields in little-endian order
#[must_use]
pub fn instance_of_epid(epid: &str) -> [u8; 16] {
    let mut hash = Sha1::new();
    hash.update(NAMESPACE);
    hash.update(epid.as_bytes());
    let mut memory = [0; 16];
    memory.copy_from_slice(&hash.finalize()[..16]);
    memory[7] = memory[7] & 0x0f | 0x50;
    memory[8] = memory[8] & 0x3f | 0x80;
    swapped(memory)
}

/// From the order of memory to that of writing, and back.
fn swapped(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

/// The GRUU of an endpoint: its user's address, with the endpoint in `opaque`.
#[must_use]
pub fn of_endpoint(address: &str, instance: [u8; 16]) -> String {
    let mut opaque = [0; 18];
    opaque[..16].copy_from_slice(&swapped(instance));
    format!(
        "sip:{address};opaque={USER}{};gruu",
        URL_SAFE_NO_PAD.encode(opaque)
    )
}

/// The endpoint that a GRUU names; `None` for any other URI.
#[must_use]
pub fn endpoint(uri: &Uri<'_>) -> Option<[u8; 16]> {
    let opaque = uri.params.get("opaque")?.strip_prefix(USER)?;
    let memory = URL_SAFE_NO_PAD.decode(opaque).ok()?;
    let memory: [u8; 16] = memory.get(..16)?.try_into().ok()?;
    (memory.len() <= 18).then(|| swapped(memory))
}

/// The GRUU of a shard of a pool: batches for its resources go there (house D6).
#[must_use]
pub fn of_shard(pool: &str, domain: &str, shard: u16) -> String {
    format!("sip:{pool}@{domain};gruu;opaque={SERVER}s{shard:02}")
}

/// The shard that a server's GRUU names, if it is one of this pool's.
#[must_use]
pub fn shard(uri: &Uri<'_>, pool: &str) -> Option<u16> {
    let name = uri.params.get("opaque")?.strip_prefix(SERVER)?;
    let own = uri.user.eq_ignore_ascii_case(pool);
    own.then(|| name.strip_prefix('s')?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: [u8; 16]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ]
        .join("-")
    }

    //= MS-SIPRE 2.2.5
    //= type=test
    #[test]
    fn an_epid_gives_the_uuid_and_the_gruu_of_published_messages() {
        for (epid, uuid, opaque) in [
            (
                "01010101",
                "4b1682a8-f968-5701-83fc-7c6741dc6697",
                "qIIWS2j5AVeD_HxnQdxmlwAA",
            ),
            (
                "c8ca638a15",
                "34d859db-6585-5f91-a3b4-de853c15347d",
                "21nYNIVlkV-jtN6FPBU0fQAA",
            ),
            (
                "a0ae9e6cb0",
                "c1589240-e660-594f-a8b3-4b55f358cbc1",
                "QJJYwWDmT1mos0tV81jLwQAA",
            ),
            (
                "84d3db8c23",
                "221ef77e-3a68-5570-86ed-6ea5bd4b7ff8",
                "fvceImg6cFWG7W6lvUt_-AAA",
            ),
            (
                "0199305c6d",
                "139b8613-5148-50e5-9dbe-119c03bb212d",
                "E4abE0hR5VCdvhGcA7shLQAA",
            ),
            (
                "2be779d608",
                "bd2807c7-8590-530e-b54c-93c749f2e470",
                "xwcovZCFDlO1TJPHSfLkcAAA",
            ),
            (
                "3b09add8bc",
                "b7d9fc43-19d7-5311-9e00-c6c5b1d81bfb",
                "Q_zZt9cZEVOeAMbFsdgb-wAA",
            ),
            (
                "ffad8b59dc",
                "a8f9a3a8-ee61-56d7-b306-c67b08fb28d8",
                "qKP5qGHu11azBsZ7CPso2AAA",
            ),
            (
                "5e434f57d3",
                "3e778162-2304-565c-8477-1a5f1257eeb7",
                "YoF3PgQjXFaEdxpfElfutwAA",
            ),
            (
                "0b85fd1bd6",
                "74e130b4-9f0c-5ab0-bfac-65ef9716522d",
                "tDDhdAyfsFq_rGXvlxZSLQAA",
            ),
            (
                "c05eb044ab",
                "c810d67d-1de7-5a67-adfd-80056c572aa3",
                "fdYQyOcdZ1qt_YAFbFcqowAA",
            ),
        ] {
            let instance = instance_of_epid(epid);
            assert_eq!(written(instance), uuid, "{epid}");
            let gruu = of_endpoint("bob@contoso.com", instance);
            assert_eq!(
                gruu,
                format!("sip:bob@contoso.com;opaque=user:epid:{opaque};gruu")
            );
            let uri = Uri::parse(&gruu).expect("a URI");
            assert!(uri.is_gruu());
            assert_eq!(endpoint(&uri), Some(instance));
        }
    }

    #[test]
    fn other_uris_name_no_endpoint_and_no_shard() {
        for text in [
            "sip:bob@contoso.com",
            "sip:bob@contoso.com;opaque=app:voicemail;gruu",
            "sip:bob@contoso.com;opaque=user:epid:;gruu",
            "sip:bob@contoso.com;opaque=user:epid:fvce*;gruu",
            "sip:other@contoso.com;gruu;opaque=srvr:HomeServer:s01",
            "sip:pool@contoso.com;gruu;opaque=srvr:HomeServer:dL8cwxBrTuG8eC4-Q_GNGAAA",
        ] {
            let uri = Uri::parse(text).expect(text);
            assert_eq!(
                (endpoint(&uri), shard(&uri, "pool")),
                (None, None),
                "{text}"
            );
        }
        let gruu = of_shard("pool", "contoso.com", 7);
        assert_eq!(gruu, "sip:pool@contoso.com;gruu;opaque=srvr:HomeServer:s07");
        assert_eq!(shard(&Uri::parse(&gruu).expect("a URI"), "POOL"), Some(7));
    }
}
