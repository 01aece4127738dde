//! The server side: absorb retransmissions, replay the stored answer.
