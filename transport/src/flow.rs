//! Flows: what a message came in by and its answers leave by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The transport of a flow. The numbers are stored, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Transport {
    /// Datagrams.
    Udp = 1,
    /// A stream.
    Tcp = 2,
    /// A stream inside TLS.
    Tls = 3,
    /// A WebSocket.
    Ws = 4,
    /// A WebSocket inside TLS.
    Wss = 5,
}

impl Transport {
    /// As in a Via header.
    //= RFC 7118 5.2.1
    //# WS and WSS in Via
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// The parameter of a SIP URI that names it, with its semicolon; empty for the one that needs none.
    //= RFC 7118 5.2.2
    //# in a URI both are transport=ws
    #[must_use]
    pub fn uri_parameter(self) -> &'static str {
        match self {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            Transport::Ws | Transport::Wss => ";transport=ws",
        }
    }

    /// Whether it carries WebSocket frames.
    #[must_use]
    pub fn is_websocket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// Whether its listener shows a certificate.
    #[must_use]
    pub fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// Whether a peer whose flow is gone may be reached anew at its address. Under TLS we do not know whom to
    /// expect there; a browser listens nowhere. They come back by themselves.
    //= RFC 7118 5.1
    //# a client that cannot take connections is reached by the one that it opened
    #[must_use]
    pub fn can_be_opened(self) -> bool {
        matches!(self, Transport::Udp | Transport::Tcp)
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
/// whose number is never used again, not even by the process after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The worker that owns it.
    pub worker: u8,
    /// Its transport.
    pub transport: Transport,
    /// Socket (datagrams) or connection (streams).
    pub number: u64,
    /// The peer's address: where datagrams go, and where a stream is opened anew.
    pub peer: SocketAddr,
}

impl Flow {
    /// Appends its stored form, which later releases read too: worker, transport, number, port, the
    /// length of the address and the address.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.worker);
        out.push(self.transport as u8);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.peer.port().to_le_bytes());
        match self.peer.ip() {
            IpAddr::V4(address) => {
                out.push(4);
                out.extend_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                out.push(16);
                out.extend_from_slice(&address.octets());
            }
        }
    }

    /// Reads a flow off the front of its stored form, and what follows; `None` when it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Flow, &[u8])> {
        let (&[worker, transport], bytes) = bytes.split_first_chunk::<2>()?;
        let (number, bytes) = bytes.split_first_chunk::<8>()?;
        let (port, bytes) = bytes.split_first_chunk::<2>()?;
        let transport = match transport {
            1 => Transport::Udp,
            2 => Transport::Tcp,
            3 => Transport::Tls,
            4 => Transport::Ws,
            5 => Transport::Wss,
            _ => return None,
        };
        let (ip, bytes) = match bytes.split_first()? {
            (4, bytes) => {
                let (octets, bytes) = bytes.split_first_chunk::<4>()?;
                (IpAddr::V4(Ipv4Addr::from(*octets)), bytes)
            }
            (16, bytes) => {
                let (octets, bytes) = bytes.split_first_chunk::<16>()?;
                (IpAddr::V6(Ipv6Addr::from(*octets)), bytes)
            }
            _ => return None,
        };
        let peer = SocketAddr::new(ip, u16::from_le_bytes(*port));
        Some((
            Flow {
                worker,
                transport,
                number: u64::from_le_bytes(*number),
                peer,
            },
            bytes,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 7118 5.2.1
    //= type=test
    //= RFC 7118 5.2.2
    //= type=test
    //= RFC 7118 5.1
    //= type=test
    #[test]
    fn each_transport_has_its_names() {
        for (transport, via, parameter, opened) in [
            (Transport::Udp, "UDP", "", true),
            (Transport::Tcp, "TCP", ";transport=tcp", true),
            (Transport::Tls, "TLS", ";transport=tls", false),
            (Transport::Ws, "WS", ";transport=ws", false),
            (Transport::Wss, "WSS", ";transport=ws", false),
        ] {
            assert_eq!(transport.as_str(), via);
            assert_eq!(transport.uri_parameter(), parameter);
            assert_eq!(transport.can_be_opened(), opened);
        }
    }

    #[test]
    fn a_flow_is_read_as_it_was_written() {
        for (transport, peer) in [
            (Transport::Udp, "192.0.2.1:5060"),
            (Transport::Tcp, "[2001:db8::1]:5061"),
            (Transport::Tls, "127.0.0.1:1"),
            (Transport::Ws, "127.0.0.1:2"),
            (Transport::Wss, "[::1]:3"),
        ] {
            let flow = Flow {
                worker: 3,
                transport,
                number: u64::MAX - 1,
                peer: peer.parse().expect("an address"),
            };
            let mut stored = Vec::new();
            flow.encode(&mut stored);
            stored.push(7);
            assert_eq!(Flow::decode(&stored), Some((flow, &[7][..])));
            for cut in 0..stored.len() - 1 {
                assert_eq!(Flow::decode(&stored[..cut]), None, "cut at {cut}");
            }
        }
    }
}
