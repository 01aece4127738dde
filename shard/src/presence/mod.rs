//! The rules of presence, on typed values: what is kept for one address and how it changes.

pub mod endpoint;
pub mod limits;
pub mod package;
pub mod presentity;
pub mod publication;
pub mod refusal;
