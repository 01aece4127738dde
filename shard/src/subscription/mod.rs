//! Who watches what, and what they may see.

pub mod dialog;
pub mod filter;
pub mod relay;
pub mod savers;
pub mod view;
pub mod watch;
