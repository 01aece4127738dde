//! The message grammar: no I/O, no clock.

pub mod frame;
pub mod gruu;
pub mod head;
pub mod header;
pub mod method;
pub mod multipart;
pub mod status;
pub mod uri;
pub mod write;

pub use head::{Message, ParseError, Request, Response};
pub use header::Name;
pub use method::Method;
pub use status::StatusCode;
