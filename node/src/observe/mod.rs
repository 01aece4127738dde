//! What an operator sees: metrics, health, the admin listener.

pub mod admin;
mod dashboard;
pub mod guard;
pub mod metrics;
pub mod refusals;
pub mod report;
pub mod tokens;
