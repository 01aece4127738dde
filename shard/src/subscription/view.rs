//! What one class of watchers may see of one presentity.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::presence::publication::Content;
use crate::slot::Aor;
use crate::subscription::dialog::Package;
use crate::time::Timestamp;

/// What one class of watchers may see of one presentity, at one revision. Cheap to make: it points to
/// what the store holds, and is composed into a document only when somebody needs the text.
#[derive(Clone, Debug)]
pub struct View {
    /// Whose state it is.
    pub presentity: Aor,
    /// Of which package.
    pub package: Package,
    /// Counts the presentity's visible changes; equal revisions compose to equal documents.
    pub revision: u64,
    /// Entry time at which it was taken.
    pub taken_at: Timestamp,
    /// The live publications, oldest first.
    pub contents: SmallVec<[Arc<Content>; 2]>,
}
