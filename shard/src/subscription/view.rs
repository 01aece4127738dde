//! What one class of watchers may see of one presentity.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::presence::presentity::Presentity;
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
    /// Grows with each visible change of the presentity: the log index of the entry that made it, 0
    /// when there is nothing to see. Equal revisions compose to equal documents.
    pub revision: u64,
    /// Entry time at which it was taken.
    pub taken_at: Timestamp,
    /// The live publications, oldest first.
    pub contents: SmallVec<[Arc<Content>; 2]>,
}

impl View {
    /// What is to be seen of `presentity` at `now`.
    #[must_use]
    pub fn of(presentity: &Presentity, package: Package, now: Timestamp) -> View {
        let shown = presentity
            .publications
            .iter()
            .filter(|(of, _)| *of == package);
        View {
            presentity: presentity.aor.clone(),
            package,
            revision: presentity.revision,
            taken_at: now,
            contents: shown
                .map(|(_, publication)| Arc::clone(&publication.content))
                .collect(),
        }
    }

    /// What is to be seen of an address of which nothing is kept.
    #[must_use]
    pub fn of_nothing(presentity: Aor, package: Package, now: Timestamp) -> View {
        let contents = SmallVec::new();
        View {
            presentity,
            package,
            revision: 0,
            taken_at: now,
            contents,
        }
    }
}
