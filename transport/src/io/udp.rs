//! Datagrams, many per system call.
//!
//! The kernel is nine tenths of a datagram's cost; recvmmsg and sendmmsg take a tenth off. All unsafe
//! code of the crate is here.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};

/// Datagrams per system call.
pub(super) const BATCH: usize = 64;

/// Room for the largest datagram.
const DATAGRAM_BYTES: usize = 65_536;

/// Kernel buffer per socket and direction, for bursts: some 3,000 datagrams of 1.3 kB.
const KERNEL_BYTES: usize = 4 << 20;

/// Opens a datagram socket that other workers may share.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    // The kernel grants what it is allowed to; less is not an error.
    let _ = socket.set_recv_buffer_size(KERNEL_BYTES);
    let _ = socket.set_send_buffer_size(KERNEL_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Buffers to receive a batch into, used again for each.
pub(super) struct Arena {
    bytes: Box<[MaybeUninit<u8>]>,
    peers: Box<[libc::sockaddr_storage; BATCH]>,
}

impl Arena {
    pub(super) fn new() -> Arena {
        // SAFETY: all-zero bytes are a valid sockaddr_storage.
        let peers = Box::new([unsafe { zeroed::<libc::sockaddr_storage>() }; BATCH]);
        // 4 MiB of address space; only pages that datagrams touch become memory.
        Arena {
            bytes: Box::new_uninit_slice(BATCH * DATAGRAM_BYTES),
            peers,
        }
    }

    /// Receives up to [`BATCH`] datagrams; each is copied into a buffer of its own size, because a
    /// slice of a shared one would keep all of it alive.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` when there is none.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        mut take: impl FnMut(Bytes, SocketAddr),
    ) -> io::Result<usize> {
        // SAFETY: all-zero bytes are valid iovec and mmsghdr values (null pointers, zero lengths).
        let mut parts: [libc::iovec; BATCH] = unsafe { zeroed() };
        let mut heads: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        for (place, chunk) in self.bytes.chunks_exact_mut(DATAGRAM_BYTES).enumerate() {
            parts[place] = libc::iovec {
                iov_base: chunk.as_mut_ptr().cast(),
                iov_len: DATAGRAM_BYTES,
            };
            let head = &mut heads[place].msg_hdr;
            head.msg_name = (&raw mut self.peers[place]).cast();
            head.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            head.msg_iov = &raw mut parts[place];
            head.msg_iovlen = 1;
        }
        // SAFETY: every head points to a live address and iovec, every iovec to DATAGRAM_BYTES of our
        // own arena, and the count is the length of the array.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                heads.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (place, head) in heads[..received].iter().enumerate() {
            let length = (head.msg_len as usize).min(DATAGRAM_BYTES);
            let begin = place * DATAGRAM_BYTES;
            // SAFETY: the kernel has written the first `msg_len` bytes of this chunk.
            let datagram = unsafe { self.bytes[begin..begin + length].assume_init_ref() };
            if let Some(peer) = read_address(&self.peers[place]) {
                take(Bytes::copy_from_slice(datagram), peer);
            }
        }
        Ok(received)
    }
}

/// Sends from the front of `queue`; returns how many left.
///
/// # Errors
/// What the kernel says about the first one; `WouldBlock` when its buffer is full.
pub(super) fn send(socket: BorrowedFd<'_>, queue: &[(SocketAddr, Bytes)]) -> io::Result<usize> {
    // SAFETY: all-zero bytes are valid iovec, mmsghdr and sockaddr_storage values.
    let mut parts: [libc::iovec; BATCH] = unsafe { zeroed() };
    let mut heads: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
    let mut peers: [libc::sockaddr_storage; BATCH] = unsafe { zeroed() };
    let count = queue.len().min(BATCH);
    for (place, (peer, message)) in queue[..count].iter().enumerate() {
        let peer_length = write_address(*peer, &mut peers[place]);
        parts[place] = libc::iovec {
            iov_base: message.as_ptr().cast_mut().cast(),
            iov_len: message.len(),
        };
        let head = &mut heads[place].msg_hdr;
        head.msg_name = (&raw mut peers[place]).cast();
        head.msg_namelen = peer_length;
        head.msg_iov = &raw mut parts[place];
        head.msg_iovlen = 1;
    }
    // SAFETY: every head points to a live address and iovec, every iovec to a message that outlives the
    // call and is only read, and `count` is at most the length of the array.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            heads.as_mut_ptr(),
            count as u32,
            libc::MSG_DONTWAIT as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn read_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let storage = &raw const *storage;
    // SAFETY: the kernel wrote an address of the family it names, and sockaddr_storage has room and
    // alignment for every family.
    match i32::from(unsafe { (*storage).ss_family }) {
        libc::AF_INET => {
            let address = unsafe { &*storage.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into())
        }
        libc::AF_INET6 => {
            let address = unsafe { &*storage.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            Some(
                SocketAddrV6::new(
                    ip,
                    u16::from_be(address.sin6_port),
                    0,
                    address.sin6_scope_id,
                )
                .into(),
            )
        }
        _ => None,
    }
}

fn write_address(address: SocketAddr, storage: &mut libc::sockaddr_storage) -> libc::socklen_t {
    let storage = &raw mut *storage;
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: sockaddr_storage has room and alignment for every family.
            let address = unsafe { &mut *storage.cast::<libc::sockaddr_in>() };
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_port = v4.port().to_be();
            address.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above.
            let address = unsafe { &mut *storage.cast::<libc::sockaddr_in6>() };
            address.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            address.sin6_port = v6.port().to_be();
            address.sin6_addr.s6_addr = v6.ip().octets();
            address.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_batch_arrives_as_it_was_sent() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let host: SocketAddr = host.parse().expect("an address");
            let Ok(receiver) = bind(host) else {
                println!("skipped: no {host} on this machine");
                continue;
            };
            let sender = bind(host).expect("a socket");
            let to = receiver.local_addr().expect("bound");
            let queue: Vec<_> = (0..100u8)
                .map(|n| (to, Bytes::from(vec![n; 1 + usize::from(n) * 600])))
                .collect();
            let mut sent = 0;
            let mut received = Vec::new();
            let mut arena = Arena::new();
            while received.len() < queue.len() {
                if sent < queue.len() {
                    sent += send(sender.as_fd(), &queue[sent..]).expect("room in the kernel");
                }
                arena
                    .receive(receiver.as_fd(), |bytes, peer| {
                        assert_eq!(Ok(peer), sender.local_addr().map_err(|_| ()));
                        received.push((to, bytes));
                    })
                    .expect("datagrams");
            }
            assert_eq!(received, queue);
        }
    }
}
