//! The rules of presence, on typed values: what is kept for one address and how it changes.

pub mod aggregate;
pub mod bearing;
pub mod contacts;
pub mod container;
pub mod delegate;
pub mod endpoint;
pub mod endpoint_id;
pub mod enhanced;
pub mod instance;
pub mod limits;
pub mod package;
pub mod presentity;
pub mod publication;
pub mod refusal;
pub mod source;
pub mod subscriber;
