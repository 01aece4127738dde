//! One connection between two nodes: who is at its ends, and frames over it.
//!
//! ```text
//! begin  := class:u8 (before TLS, so that the right runtime makes the handshake)
//! hello  := a frame: magic, newest:u16 oldest:u16 class:u8 node:u64 life:u64 lineage:u64 length:u16 the pool's
//!           name; whatever a later release says behind it is left aside
//! frame  := length:u32, that many bytes
//! ```
//!
//! The one who opens says hello, the other answers with its own; then only the one who opened sends, but
//! for the one answer to a node that joins. Each says the newest and the oldest version of the frames that it
//! speaks, and both speak the newest that both know: so nodes of two releases are one pool while it is upgraded.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::NodeNumber;
use super::credentials::{Credentials, Proof};

/// Bytes of the longest frame: a chunk of a snapshot, or a full log entry, many times over.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// How long a connection may take until both sides know each other.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// How long what was sent may stay unacknowledged before the connection counts as broken.
const SILENCE: Duration = Duration::from_secs(3);

/// What every hello begins with.
const MAGIC: [u8; 4] = *b"LAMP";

/// The newest version of the frames that we speak. A release that changes a frame says a higher one, and goes
/// on to speak this one to those who do not know it.
pub const NEWEST: u16 = 3;

/// The oldest version that we speak. Version 1 knew one founding of a pool only, and was never released.
pub const OLDEST: u16 = 2;

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Consensus.
    Raft = b'R',
    /// Requests, answers, notifications.
    Traffic = b'T',
    /// One question of a node that joins, and the answer.
    Join = b'J',
}

impl Class {
    fn of(byte: u8) -> Option<Class> {
        match byte {
            b'R' => Some(Class::Raft),
            b'T' => Some(Class::Traffic),
            b'J' => Some(Class::Join),
            _ => None,
        }
    }
}

/// Who is at one end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What the link is for.
    pub class: Class,
    /// The node's number; 0 for one that joins.
    pub node: NodeNumber,
    /// Drawn at its start.
    pub life: u64,
    /// The pool's name: two pools may be wired to each other by mistake.
    pub pool: String,
    /// Which founding of the pool the node belongs to: one that was left behind when its pool was recovered
    /// without it must not speak to it again. Of no meaning for a node that joins.
    pub lineage: u64,
}

/// Why a link does not come up, or breaks.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The system, or TLS.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Too slow.
    #[error("no answer in time")]
    Late,
    /// The other end is something else.
    #[error("the other end is not a node of this pool: {0}")]
    Stranger(String),
    /// One of the certificates is not good.
    #[error("{0}")]
    Certificate(String),
}

impl Hello {
    fn encode(&self) -> Bytes {
        self.encode_as(NEWEST, OLDEST)
    }

    fn encode_as(&self, newest: u16, oldest: u16) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&MAGIC);
        out.put_u16_le(newest);
        out.put_u16_le(oldest);
        out.put_u8(self.class as u8);
        out.put_u64_le(self.node);
        out.put_u64_le(self.life);
        out.put_u64_le(self.lineage);
        out.put_u16_le(u16::try_from(self.pool.len()).expect("a pool's name has up to 64 letters"));
        out.put_slice(self.pool.as_bytes());
        out.freeze()
    }

    /// What the other end says, and the version that both speak.
    fn decode(mut bytes: &[u8]) -> Result<(Hello, u16), LinkError> {
        let stranger = |what: &str| Err(LinkError::Stranger(what.to_owned()));
        if bytes.len() < 8 || bytes[..4] != MAGIC {
            return stranger("it does not say hello");
        }
        bytes.advance(4);
        let newest = bytes.get_u16_le();
        // The first hello said one version only.
        let oldest = if newest == 1 { 1 } else { bytes.get_u16_le() };
        let speaks = newest.min(NEWEST);
        if speaks < oldest.max(OLDEST) {
            let (which, do_what) = if newest < OLDEST {
                ("older", "upgrade that node first")
            } else {
                ("newer", "upgrade this node first")
            };
            return stranger(&format!(
                "it runs a release that is too much {which}: it speaks versions {oldest} to {newest} of the peer \
                 protocol, this node {OLDEST} to {NEWEST}; {do_what}, one release at a time"
            ));
        }
        if bytes.len() < 27 {
            return stranger("its hello is cut short");
        }
        let Some(class) = Class::of(bytes.get_u8()) else {
            return stranger("its link is of no class that this node knows");
        };
        let (node, life, lineage) = (bytes.get_u64_le(), bytes.get_u64_le(), bytes.get_u64_le());
        let length = usize::from(bytes.get_u16_le());
        let Some(Ok(pool)) = bytes.get(..length).map(std::str::from_utf8) else {
            return stranger("its pool's name is no text");
        };
        let hello = Hello {
            class,
            node,
            life,
            pool: pool.to_owned(),
            lineage,
        };
        Ok((hello, speaks))
    }

    /// Whether the other end belongs to the same pool and speaks of the same class.
    fn agrees(&self, other: &Hello) -> Result<(), LinkError> {
        if other.pool != self.pool {
            return Err(LinkError::Stranger(format!(
                "it belongs to pool {:?}, this node to {:?}",
                other.pool, self.pool
            )));
        }
        let joins = self.node == 0 || other.node == 0;
        if !joins && other.lineage != self.lineage {
            return Err(LinkError::Stranger(format!(
                "pool {:?} was recovered, or founded anew, since one of the two belonged to it. The node that was \
                 left behind ({} of lineage {:016x}, or {} of {:016x}) is started with an empty data folder and --join",
                self.pool, self.node, self.lineage, other.node, other.lineage
            )));
        }
        if other.class != self.class {
            return Err(LinkError::Stranger("it speaks of another class".to_owned()));
        }
        Ok(())
    }
}

/// Reads one frame.
///
/// # Errors
/// What the system says; `InvalidData` for a frame that is too long.
pub async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let length = stream.read_u32_le().await? as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a frame of a peer is too long",
        ));
    }
    let mut frame = BytesMut::with_capacity(length);
    while frame.len() < length {
        let left = (length - frame.len()) as u64;
        if (&mut *stream).take(left).read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(frame.freeze())
}

/// Appends one frame to what is written next.
///
/// # Errors
/// What the system says.
pub async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).expect("frames are bounded");
    stream.write_u32_le(length).await?;
    stream.write_all(frame).await
}

/// Writes one frame at once.
///
/// # Errors
/// What the system says.
pub async fn say(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    write_frame(stream, frame).await?;
    stream.flush().await
}

/// A peer that does not acknowledge is gone: the kernel finds out, whatever the protocol above does.
pub(super) fn make_impatient(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(1))
        .with_interval(Duration::from_secs(1))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}

/// An established link, at the end that sends.
pub type Outgoing = tokio_rustls::client::TlsStream<TcpStream>;
/// The same, at the end that receives.
pub type Incoming = tokio_rustls::server::TlsStream<TcpStream>;

/// Opens a link to node `target` (0: any node of the pool) and learns who it is, and which version both speak.
///
/// # Errors
/// [`LinkError`].
pub async fn open(
    address: &str,
    target: NodeNumber,
    me: &Hello,
    credentials: &Credentials,
) -> Result<(Outgoing, Hello, u16), LinkError> {
    let opening = async {
        let mut stream = TcpStream::connect(address).await?;
        make_impatient(&stream)?;
        stream.write_u8(me.class as u8).await?;
        let name = credentials.name_of(address, target)?;
        let connector = TlsConnector::from(std::sync::Arc::clone(&credentials.client));
        let told = |error| credentials.explain(address, error);
        let mut stream = connector.connect(name, stream).await.map_err(told)?;
        say(&mut stream, &me.encode()).await.map_err(told)?;
        // Who is refused for its certificate reads of it here: TLS 1.3 lets a client finish first.
        let answer = read_frame(&mut stream).await.map_err(told)?;
        let (theirs, version) = Hello::decode(&answer)?;
        tracing::debug!(address, version, "the other end says hello");
        me.agrees(&theirs)?;
        if target != 0 && theirs.node != target {
            return Err(LinkError::Stranger(format!(
                "it is node {}, not {target}",
                theirs.node
            )));
        }
        Ok((stream, theirs, version))
    };
    timeout(HANDSHAKE, opening)
        .await
        .map_err(|_| LinkError::Late)?
}

/// Takes a link that somebody opened, whose class was read; `address_of` says where a node is known to be.
///
/// # Errors
/// [`LinkError`].
pub async fn accept(
    stream: TcpStream,
    me: &Hello,
    credentials: &Credentials,
    address_of: impl Fn(NodeNumber) -> Option<String>,
) -> Result<(Incoming, Hello), LinkError> {
    let accepting = async {
        make_impatient(&stream)?;
        let acceptor = TlsAcceptor::from(std::sync::Arc::clone(&credentials.server));
        let told = |error| credentials.explain("a node that opens a link", error);
        let mut stream = acceptor.accept(stream).await.map_err(told)?;
        let said = Hello::decode(&read_frame(&mut stream).await?);
        let agreed = said.and_then(|(theirs, _)| me.agrees(&theirs).map(|()| theirs));
        if agreed.is_err() {
            // The other end finds the same in what this node says, and can tell its operator.
            say(&mut stream, &me.encode()).await?;
            stream.shutdown().await?;
        }
        let theirs = agreed?;
        let proof = Proof::of(stream.get_ref().1);
        credentials.prove(&proof, theirs.node, address_of(theirs.node).as_deref())?;
        say(&mut stream, &me.encode()).await?;
        Ok((stream, theirs))
    };
    timeout(HANDSHAKE, accepting)
        .await
        .map_err(|_| LinkError::Late)?
}

/// Reads the class that a new connection begins with.
///
/// # Errors
/// [`LinkError`].
pub async fn class_of(stream: &mut TcpStream) -> Result<Class, LinkError> {
    let byte = timeout(HANDSHAKE, stream.read_u8())
        .await
        .map_err(|_| LinkError::Late)??;
    Class::of(byte).ok_or_else(|| LinkError::Stranger("it is no peer at all".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            class: Class::Traffic,
            node: 3,
            life: 0x0102_0304,
            pool: "lamplight".to_owned(),
            lineage: 0xa0b0,
        }
    }

    fn said(result: Result<(Hello, u16), LinkError>) -> String {
        result.expect_err("it is refused").to_string()
    }

    #[test]
    fn nodes_of_two_releases_speak_what_both_know() {
        let decode = |newest, oldest| Hello::decode(&hello().encode_as(newest, oldest));
        assert_eq!(
            decode(NEWEST, OLDEST).expect("this release"),
            (hello(), NEWEST)
        );
        let later = decode(NEWEST + 1, OLDEST).expect("the next one, which still speaks ours");
        assert_eq!(later, (hello(), NEWEST));
        let newer = said(decode(NEWEST + 2, NEWEST + 1));
        assert!(
            newer.contains("too much newer") && newer.contains("upgrade this node"),
            "{newer}"
        );
        // As the first development release said it.
        let mut first = BytesMut::from(&MAGIC[..]);
        first.put_u16_le(1);
        first.put_u8(b'T');
        first.put_u64_le(3);
        first.put_u64_le(9);
        first.put_slice(b"lamplight");
        let older = said(Hello::decode(&first));
        assert!(
            older.contains("too much older") && older.contains("upgrade that node"),
            "{older}"
        );
    }

    #[test]
    fn a_hello_is_read_for_ever() {
        let kept = crate::fixture::held("v2-hello", &hello().encode_as(2, 2));
        assert_eq!(Hello::decode(&kept).expect("read"), (hello(), 2));
        let kept = crate::fixture::held("v3-hello", &hello().encode());
        assert_eq!(Hello::decode(&kept).expect("read"), (hello(), NEWEST));
    }

    #[test]
    fn what_a_later_release_adds_is_left_aside_and_nonsense_refused() {
        let whole = hello().encode();
        let mut longer = BytesMut::from(&whole[..]);
        longer.put_slice(b"and more");
        assert_eq!(Hello::decode(&longer).expect("read").0, hello());
        for cut in 0..whole.len() {
            assert!(Hello::decode(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Hello::decode(&[b'x'; 80]).is_err());
    }

    #[test]
    fn a_node_of_an_earlier_founding_is_a_stranger() {
        let (now, mut before) = (hello(), hello());
        before.lineage += 1;
        let refused = now
            .agrees(&before)
            .expect_err("it was left behind")
            .to_string();
        assert!(refused.contains("--join"), "it says what to do: {refused}");
        before.node = 0;
        assert!(now.agrees(&before).is_ok(), "who joins has none yet");
    }
}
