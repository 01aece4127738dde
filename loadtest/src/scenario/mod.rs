//! The scenarios, one file each.

pub mod churn;
pub mod faults;
pub mod fill;
pub mod survive;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for a phase; nothing is drawn where nobody looks.
fn bar(what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} [{bar:40}] {pos}/{len} {per_sec} {eta}")
        .expect("the template is our own")
        .progress_chars("=> ");
    ProgressBar::new(length)
        .with_style(style)
        .with_message(what)
}
