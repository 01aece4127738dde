//! From effects to bytes: replies and notifications find the worker that sends them, and are written.

pub mod notify;
pub mod outbox;
pub mod render;
pub mod savers;
pub mod traffic;
