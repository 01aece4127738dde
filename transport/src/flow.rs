//! Flows: what a message came in by and its answers leave by.

use std::net::SocketAddr;

/// The transport of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Transport {
    /// Datagrams.
    Udp = 1,
    /// A stream.
    Tcp = 2,
    /// A stream inside TLS.
    Tls = 3,
}

impl Transport {
    /// As in a Via header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// Whether it delivers in order or not at all, so that nothing is retransmitted.
    #[must_use]
    pub fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }
}

/// Where a message came from, and where another one can be sent.
///
/// For datagrams the flow is our socket and the peer's address; for streams it is the connection,
/// whose number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The worker that owns it.
    pub worker: u8,
    /// Its transport.
    pub transport: Transport,
    /// Socket (datagrams) or connection (streams), unique in the life of the process.
    pub number: u64,
    /// The peer's address.
    pub peer: SocketAddr,
}

impl Flow {
    /// Appends its stored form, which later releases read too.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = out;
        todo!()
    }

    /// Reads a flow off the front of its stored form; `None` when it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Flow, &[u8])> {
        let _ = bytes;
        todo!()
    }
}
