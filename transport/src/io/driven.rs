//! A worker without a thread and without sockets: whoever drives it says what arrives, and takes what
//! leaves. For simulations; it speaks datagrams only, and does everything else as a worker does.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::mailbox::Mailbox;
use super::websocket::WebSockets;
use super::wire::{SendDatagrams, Wire};
use super::worker::{Core, Counters, Shared, TransactionUser};

/// What leaves, until it is taken.
#[derive(Default)]
struct Leaving(RefCell<Vec<(SocketAddr, Bytes)>>);

impl SendDatagrams for Leaving {
    fn send(&self, batch: &[(SocketAddr, Bytes)]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(batch);
        Ok(batch.len())
    }
}

/// A worker that is driven.
pub struct Driven<U: TransactionUser> {
    core: Shared<U>,
    mailbox: Mailbox<U::Mail>,
    leaving: Rc<Leaving>,
}

impl<U: TransactionUser> Driven<U> {
    /// Worker `number` with one datagram socket, as it seems, at `local`.
    #[must_use]
    pub fn new(number: u8, local: SocketAddr, user: U) -> Driven<U> {
        let leaving = Rc::<Leaving>::default();
        let mut wire = Wire::new(number, Arc::new(Counters::default()), WebSockets::default());
        wire.add_datagrams(Rc::<Leaving>::clone(&leaving), local);
        Driven {
            core: Core::shared(user, wire),
            mailbox: Mailbox::new(),
            leaving,
        }
    }

    /// Where others post.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox<U::Mail> {
        self.mailbox.clone()
    }

    /// A datagram arrives.
    pub fn arrive(&self, peer: SocketAddr, bytes: Bytes) {
        Core::turn(&self.core, |core| core.datagram(bytes, peer, 0));
    }

    /// Reads a batch of mail; `false` when there was none.
    pub fn read_mail(&self) -> bool {
        let first = self.mailbox.take();
        first
            .map(|first| Core::turn(&self.core, |core| core.mail(first, &self.mailbox)))
            .is_some()
    }

    /// Does what is due; `false` when nothing was.
    pub fn expire(&self) -> bool {
        let due = self.core.borrow().is_due();
        if due {
            Core::turn(&self.core, Core::expire);
        }
        due
    }

    /// How long until something is due; `None` while nothing is to come.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        self.core.borrow().patience()
    }

    /// What has left since this was asked last, in order, with where it goes.
    pub fn take(&self) -> Vec<(SocketAddr, Bytes)> {
        std::mem::take(&mut *self.leaving.0.borrow_mut())
    }
}
