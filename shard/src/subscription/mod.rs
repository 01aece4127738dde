//! Who watches what, and what they may see.

pub mod dialog;
pub mod relay;
pub mod view;
pub mod watch;
