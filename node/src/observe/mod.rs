//! What an operator sees: metrics, health, the admin listener.

pub mod admin;
pub mod metrics;
pub mod report;
