//! Who may see what, on the machine: documents of users, who is let in, and who is told who watches.
//!
//! What a watcher sees is decided in one place ([`crate::presence::presentity::Presentity::sight`]); here is
//! what follows from it for dialogs, and the explanation for an operator.

use crate::category::Category;
use crate::machine::apply::Machine;
use crate::machine::command::SetDocument;
use crate::machine::crossing::Held;
use crate::machine::notices::{watcher_line, watcher_lines};
use crate::machine::outcome::{Outcome, Refusal};
use crate::machine::table::Watched;
use crate::presence::container::Watcher;
use crate::presence::documents::{Application, Keeper};
use crate::presence::enhanced::Changes;
use crate::presence::package::Package;
use crate::presence::publication::EntityTag;
use crate::presence::rules::{Handling, Sight};
use crate::slot::{Aor, Slot};
use crate::subscription::dialog::{Dialog, DialogKey, EndReason};
use crate::subscription::view::{View, WatcherEvent, WatcherLine, WatcherStatus};
use crate::subscription::watch::Watch;

/// Why a watcher sees what it sees.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What was decided.
    pub sight: Sight,
    /// Whether the presentity has rules.
    pub ruled: bool,
    /// Each of its rules.
    pub rules: Vec<RuleTold>,
    /// Whether containers rule what is seen of it.
    pub claimed: bool,
    /// Each category that it publishes, and the container that the watcher sees of it.
    pub categories: Vec<CategoryTold>,
    /// What the watcher sees of the document.
    pub view: View,
}

/// What one rule says of a watcher.
#[derive(Clone, Debug)]
pub struct RuleTold {
    /// The document that it stands in.
    pub document: Box<str>,
    /// Who keeps that.
    pub keeper: Keeper,
    /// Its name.
    pub id: Box<str>,
    /// What it says, of whom it is about.
    pub handling: Option<Handling>,
    /// Why it is not about this watcher now; `None` when it is.
    pub fails: Option<&'static str>,
}

/// What a watcher sees of one category.
#[derive(Clone, Debug)]
pub struct CategoryTold {
    /// Which.
    pub category: Category,
    /// In which container; `None` for nothing.
    pub container: Option<u16>,
    /// What put the watcher there, in words.
    pub why: &'static str,
}

impl Machine {
    /// Keeps or removes a document of a user. Watchers hear of new rules when the entry is done.
    pub(super) fn set_document(
        &mut self,
        request: &SetDocument<'_>,
        fresh: EntityTag,
    ) -> Result<Outcome, Refusal> {
        let (now, notices) = (self.now, &mut self.notices);
        self.store.change(request.presentity, |presentity, _| {
            let mut changes = Changes::default();
            let kept = presentity.set_document(request, fresh, now, &mut changes)?;
            //= RFC 5025 3.2.1
            //# a change of rules takes effect at once, for running subscriptions too
            notices.changed(&presentity.aor, changes);
            Ok(Outcome::DocumentSet {
                tag: kept.tag,
                created: kept.created,
            })
        })
    }

    /// Whether the presentity's rules let a new watcher of its document in, which it is marked with.
    ///
    /// # Errors
    /// [`Refusal::NotAllowed`] (403).
    //= RFC 5025 3.2.1
    //# block refuses the subscription
    pub(super) fn admit(&self, dialog: &mut Dialog) -> Result<(), Refusal> {
        if dialog.package != Package::Presence {
            return Ok(());
        }
        if let Some(watched) = self.store.watched(dialog.presentity.as_str()) {
            dialog.admit(watched.presentity.admits(dialog.watching()));
        }
        match dialog.admitted().handling {
            Handling::Block => Err(Refusal::NotAllowed),
            Handling::Confirm | Handling::PoliteBlock | Handling::Allow => Ok(()),
        }
    }

    /// A dialog begins: its presentity may want to know who watches.
    pub(super) fn begins(&mut self, slot: Slot, key: DialogKey) {
        let Some(dialog) = self.store.dialog(slot, key) else {
            return;
        };
        if dialog.package == Package::Presence && self.store.is_observed(&dialog.presentity) {
            let line = watcher_line(key, dialog, WatcherEvent::Subscribe, self.now);
            let presentity = dialog.presentity.clone();
            self.notices.watcher(&presentity, line);
        }
    }

    /// A dialog of many begins to watch one more.
    pub(super) fn watches(&mut self, slot: Slot, key: DialogKey, address: &Aor) {
        if !self.store.is_observed(address) {
            return;
        }
        if let Some(dialog) = self.store.dialog(slot, key) {
            let line = watcher_line(key, dialog, WatcherEvent::Subscribe, self.now);
            self.notices.watcher(address, line);
        }
    }

    /// The contrary.
    pub(super) fn watches_no_more(
        &mut self,
        slot: Slot,
        key: DialogKey,
        address: &Aor,
        reason: EndReason,
    ) {
        if !self.store.is_observed(address) {
            return;
        }
        if let Some(dialog) = self.store.dialog(slot, key) {
            let line = ended(key, dialog, reason);
            self.notices.watcher(address, line);
        }
    }

    /// A dialog is over, and was taken out of the store.
    pub(super) fn ends(&mut self, key: DialogKey, dialog: &Dialog, reason: EndReason) {
        let own = (dialog.package == Package::Presence).then_some(&dialog.presentity);
        let many = dialog.watch.as_deref().into_iter().flat_map(Watch::members);
        for address in own.into_iter().chain(many) {
            if self.store.is_observed(address) {
                self.notices.watcher(address, ended(key, dialog, reason));
            }
        }
    }

    /// Who watches, for who asks once.
    pub(super) fn watchers_of(&self, watched: &Watched) -> View {
        let lines = watcher_lines(&self.store, watched, self.now);
        let presentity = &watched.presentity;
        View::watchers(
            presentity.aor.clone(),
            presentity.revision,
            true,
            lines,
            self.now,
        )
    }

    /// A document of a user.
    pub(super) fn kept(
        &self,
        presentity: &str,
        application: Application,
        name: &str,
    ) -> Option<Held> {
        let watched = self.store.watched(presentity)?;
        let documents = watched.presentity.documents.as_deref()?;
        let document = documents.get(application, name)?;
        Some(Held {
            tag: document.tag,
            content: document.content.clone(),
        })
    }

    /// Documents that an operator's files put here, of the addresses of one slot.
    #[must_use]
    pub fn kept_files(&self, slot: Slot) -> Vec<(Aor, Box<str>)> {
        let mut kept = Vec::new();
        for watched in self.store.table(slot).iter() {
            let presentity = &watched.presentity;
            let documents = presentity.documents.iter().flat_map(|all| all.iter());
            for document in documents.filter(|document| document.keeper == Keeper::File) {
                kept.push((presentity.aor.clone(), document.name.clone()));
            }
        }
        kept
    }

    /// Whether a document of this text is kept, by the operator.
    #[must_use]
    pub fn holds_file(&self, presentity: &str, name: &str, content: &[u8]) -> bool {
        let watched = self.store.watched(presentity);
        let documents = watched.and_then(|watched| watched.presentity.documents.as_deref());
        let document = documents.and_then(|all| all.get(Application::Rules, name));
        document.is_some_and(|held| held.keeper == Keeper::File && *held.content == *content)
    }

    /// What a watcher sees of a presentity, and why.
    #[must_use]
    pub fn explain(&self, presentity: &str, watcher: Watcher<'_>) -> Explanation {
        let nobody = crate::presence::presentity::Presentity::new(Aor::from_canonical(presentity));
        let watched = self.store.watched(presentity);
        let here = watched.map_or(&nobody, |watched| &watched.presentity);
        let documents = here.documents.as_deref();
        let mut rules = Vec::new();
        for document in documents.into_iter().flat_map(|all| all.iter()) {
            let (at, _) = documents.map(|all| all.span()).unwrap_or_default();
            for rule in &document.rules.0 {
                rules.push(RuleTold {
                    document: document.name.clone(),
                    keeper: document.keeper,
                    id: rule.id.clone(),
                    handling: rule.handling,
                    fails: rule.holds(watcher.address, at).err(),
                });
            }
        }
        let (view, sight) = self.document(presentity, watcher);
        let mut categories = Vec::new();
        if let Some(enhanced) = here.claimed() {
            let published = enhanced.instances.iter();
            let mut each: Vec<Category> = published.map(|held| held.category.clone()).collect();
            each.sort_unstable();
            each.dedup();
            for category in each {
                let container = here.sight(watcher, &category).container;
                let why = match sight.admitted.handling {
                    Handling::Allow => enhanced.containers.why(watcher, container),
                    _ => "the rules keep the watcher out, as members of container 32000 are",
                };
                categories.push(CategoryTold {
                    category,
                    container,
                    why,
                });
            }
        }
        Explanation {
            sight,
            ruled: documents.is_some_and(|all| all.rules().is_some()),
            rules,
            claimed: here.claimed().is_some(),
            categories,
            view,
        }
    }
}

/// The last that is told of a watcher.
//= RFC 3857 4.7.1
//# a watcher whose subscription is over is terminated, by the event that ended it
fn ended(key: DialogKey, dialog: &Dialog, reason: EndReason) -> WatcherLine {
    let event = match reason {
        EndReason::Timeout | EndReason::Unreachable | EndReason::Deregistered => {
            WatcherEvent::Timeout
        }
        EndReason::Deactivated | EndReason::Superseded | EndReason::Migrated => {
            WatcherEvent::Deactivated
        }
        EndReason::Rejected => WatcherEvent::Rejected,
        EndReason::Noresource => WatcherEvent::Noresource,
    };
    WatcherLine {
        dialog: key,
        address: dialog.watcher.clone(),
        status: WatcherStatus::Terminated,
        event,
        expires_s: 0,
    }
}
