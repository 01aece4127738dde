//! One connection between two nodes: who is at its ends, and frames over it.
//!
//! ```text
//! begin  := class:u8 (before TLS, so that the right runtime makes the handshake)
//! hello  := a frame: magic, version:u16 class:u8 node:u64 life:u64, the pool's name
//! frame  := length:u32, that many bytes
//! ```
//!
//! The one who opens says hello, the other answers with its own; then only the one who opened sends, but
//! for the one answer to a node that joins.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::NodeNumber;
use super::credentials::{self, Credentials};

/// Bytes of the longest frame: a chunk of a snapshot, or a full log entry, many times over.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// How long a connection may take until both sides know each other.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// How long what was sent may stay unacknowledged before the connection counts as broken.
const SILENCE: Duration = Duration::from_secs(3);

/// What every hello begins with.
const MAGIC: [u8; 4] = *b"LAMP";

/// The version of the frames that we speak. A node refuses a hello of another version until a release
/// speaks two.
pub const VERSION: u16 = 1;

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
}

impl Hello {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&MAGIC);
        out.put_u16_le(VERSION);
        out.put_u8(self.class as u8);
        out.put_u64_le(self.node);
        out.put_u64_le(self.life);
        out.put_slice(self.pool.as_bytes());
        out.freeze()
    }

    fn decode(mut bytes: &[u8]) -> Result<Hello, LinkError> {
        let stranger = |what: &str| Err(LinkError::Stranger(what.to_owned()));
        if bytes.len() < 23 || bytes[..4] != MAGIC {
            return stranger("it does not say hello");
        }
        bytes.advance(4);
        let version = bytes.get_u16_le();
        if version != VERSION {
            return stranger(&format!(
                "it speaks version {version} of the peer protocol, this node {VERSION}; upgrade one release at a time"
            ));
        }
        let Some(class) = Class::of(bytes.get_u8()) else {
            return stranger("its link is of no class that this node knows");
        };
        let (node, life) = (bytes.get_u64_le(), bytes.get_u64_le());
        let Ok(pool) = String::from_utf8(bytes.to_vec()) else {
            return stranger("its pool's name is no text");
        };
        Ok(Hello {
            class,
            node,
            life,
            pool,
        })
    }

    /// Whether the other end belongs to the same pool and speaks of the same class.
    fn agrees(&self, other: &Hello) -> Result<(), LinkError> {
        if other.pool != self.pool {
            return Err(LinkError::Stranger(format!(
                "it belongs to pool {:?}, this node to {:?}",
                other.pool, self.pool
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

/// Opens a link to node `target` (0: any node of the pool) and learns who it is.
///
/// # Errors
/// [`LinkError`].
pub async fn open(
    address: &str,
    target: NodeNumber,
    me: &Hello,
    credentials: &Credentials,
) -> Result<(Outgoing, Hello), LinkError> {
    let opening = async {
        let mut stream = TcpStream::connect(address).await?;
        make_impatient(&stream)?;
        stream.write_u8(me.class as u8).await?;
        let name = credentials::server_name(target);
        let connector = TlsConnector::from(std::sync::Arc::clone(&credentials.client));
        let mut stream = connector.connect(name, stream).await?;
        say(&mut stream, &me.encode()).await?;
        let theirs = Hello::decode(&read_frame(&mut stream).await?)?;
        me.agrees(&theirs)?;
        if target != 0 && theirs.node != target {
            return Err(LinkError::Stranger(format!(
                "it is node {}, not {target}",
                theirs.node
            )));
        }
        Ok((stream, theirs))
    };
    timeout(HANDSHAKE, opening)
        .await
        .map_err(|_| LinkError::Late)?
}

/// Takes a link that somebody opened, whose class was read.
///
/// # Errors
/// [`LinkError`].
pub async fn accept(
    stream: TcpStream,
    me: &Hello,
    credentials: &Credentials,
) -> Result<(Incoming, Hello), LinkError> {
    let accepting = async {
        make_impatient(&stream)?;
        let acceptor = TlsAcceptor::from(std::sync::Arc::clone(&credentials.server));
        let mut stream = acceptor.accept(stream).await?;
        let theirs = Hello::decode(&read_frame(&mut stream).await?)?;
        me.agrees(&theirs)?;
        let proven = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first())
            .is_some_and(|own| theirs.node == 0 || credentials::is_of(own, theirs.node));
        if !proven {
            return Err(LinkError::Stranger(format!(
                "it says that it is node {}, its certificate does not",
                theirs.node
            )));
        }
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
