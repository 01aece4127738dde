//! The client side: retransmit over UDP, give up after 64·T1.
