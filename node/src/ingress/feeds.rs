//! The publish API: who may call, what is asked, and what is answered. The words are the JSON dialect's
//! (`dialect/feed.rs`), the way to the machine is the clerk's.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use roxmltree::Document;
use serde_json::{Value, json};
use shard::document::pidf;
use shard::machine::crossing::{Answer as Found, Question};
use shard::presence::container::Network;
use shard::slot::Slot;
use shard::subscription::dialog::Format;
use shard::subscription::watch::Wish;
use transport::sip::uri::{Scheme, Uri};

use super::clerk::{Clerk, NoOutcome};
use super::endpoint::Shared;
use crate::config::{Loopback, PublishApi};
use crate::dialect::feed::{Feed, said};
use crate::dialect::{self, Answer, refusal};
use crate::observe::report::{FeedAct, FeedAnswer, FeedCall};
use crate::observe::tokens::Tokens;

/// Calls under way at once: each has a thread that waits. More are told to come back.
const CALLS_MAX: usize = 128;

/// Bytes of an address in a question.
const ADDRESS_BYTES_MAX: usize = 1_024;

/// The namespaces that a document's parts are of.
const PIDF: &str = "urn:ietf:params:xml:ns:pidf";
const DATA_MODEL: &str = "urn:ietf:params:xml:ns:pidf:data-model";
const RPID: &str = "urn:ietf:params:xml:ns:pidf:rpid";

/// The publish API of a node.
pub struct Feeds {
    shared: Arc<Shared>,
    clerk: Arc<Clerk>,
    settings: PublishApi,
    tokens: RwLock<Option<Tokens>>,
    calls: AtomicUsize,
}

/// A call that is under way.
struct Call<'f>(&'f AtomicUsize);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn answer(status: u16, body: Value) -> FeedAnswer {
    FeedAnswer {
        status,
        headers: Vec::new(),
        body,
    }
}

impl Feeds {
    /// The API as the operator wants it.
    ///
    /// # Errors
    /// What is wrong with the file of tokens, in a sentence.
    pub fn new(
        settings: &PublishApi,
        shared: Arc<Shared>,
        clerk: Arc<Clerk>,
    ) -> Result<Feeds, String> {
        let tokens = settings.tokens.as_deref().map(Tokens::read).transpose()?;
        Ok(Feeds {
            shared,
            clerk,
            settings: settings.clone(),
            tokens: RwLock::new(tokens),
            calls: AtomicUsize::new(0),
        })
    }

    /// Reads the tokens again. What is bad stays as it was.
    pub fn reload(&self) {
        match self.settings.tokens.as_deref().map(Tokens::read) {
            None => {}
            Some(Ok(read)) => {
                *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Some(read);
            }
            Some(Err(error)) => tracing::error!(%error, "the tokens stay as they were"),
        }
    }

    /// Whether there is room for one more call, which then counts until it is dropped.
    fn enter(&self) -> Option<Call<'_>> {
        let call = Call(&self.calls);
        (self.calls.fetch_add(1, Relaxed) < CALLS_MAX).then_some(call)
    }

    /// Who calls.
    ///
    /// # Errors
    /// The answer for who may not.
    fn known(&self, call: &FeedCall) -> Result<String, FeedAnswer> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let shown = call.authorization.as_deref();
        if let (Some(tokens), Some(shown)) = (&*tokens, shown)
            && let Some(name) = tokens.name(shown)
        {
            return Ok(name.to_owned());
        }
        // A wrong token is a mistake, wherever it comes from.
        if shown.is_none() && call.loopback && self.settings.loopback == Loopback::Open {
            return Ok("loopback".to_owned());
        }
        if tokens.is_none() {
            let error = "nobody may publish here: [publish] in node.toml names no file of tokens";
            return Err(answer(403, json!({ "error": error })));
        }
        let error = "a bearer token of this pool is needed";
        Err(FeedAnswer {
            headers: vec![("WWW-Authenticate", "Bearer realm=\"lamplight\"".to_owned())],
            ..answer(401, json!({ "error": error }))
        })
    }

    /// Does what a call asks for; blocks.
    pub fn call(&self, call: &FeedCall) -> FeedAnswer {
        let who = match self.known(call) {
            Ok(who) => who,
            Err(answer) => {
                self.shared.metrics.rejected("publish-token");
                return answer;
            }
        };
        let Some(_under_way) = self.enter() else {
            return too_many();
        };
        let policy = &self.shared.policy;
        let feed = match Feed::read(call, policy, &*self.shared.users) {
            Ok(feed) => feed,
            Err(refused) => return said(&refused),
        };
        let (slot, grace) = (feed.slot(), feed.grace());
        let done = feed.perform(policy, |command| self.clerk.perform(slot, grace, command));
        let answer = match done {
            Ok((outcome, _)) => feed.answer(&outcome),
            Err(error) => unavailable(error),
        };
        let act = match call.act {
            FeedAct::Put => "publishes",
            FeedAct::Delete => "removes",
        };
        tracing::debug!(
            who,
            presentity = call.uri,
            source = call.source,
            status = answer.status,
            act
        );
        answer
    }

    /// The composed document of an address; blocks.
    pub fn presence(&self, uri: &str, watcher: Option<&str>) -> FeedAnswer {
        let Some(_under_way) = self.enter() else {
            return too_many();
        };
        let address = |text: &str| {
            let uri = Uri::parse(text)
                .ok()
                .filter(|_| text.len() <= ADDRESS_BYTES_MAX)?;
            Some((dialect::address_of(&uri), uri.scheme == Scheme::Tel))
        };
        let policy = &self.shared.policy;
        let ours =
            Uri::parse(uri).is_ok_and(|uri| uri.scheme == Scheme::Tel || policy.serves(uri.host));
        let (Some((presentity, _)), Some(watcher)) = (
            address(uri),
            watcher.map_or(Some(None), |text| address(text).map(Some)),
        ) else {
            let error = "an address is written as sip:alice@example.com";
            return answer(400, json!({ "error": error }));
        };
        if !ours || !self.shared.users.knows(&presentity) {
            return said(&Answer::of(refusal::NO_SUCH_USER));
        }
        // A colleague of whom nothing more is known, if nobody is named.
        let watcher = watcher.map_or_else(
            || format!("somebody@{}", policy.domains[0]),
            |(watcher, _)| watcher,
        );
        let question = Question::Look {
            home: &presentity,
            watcher: &watcher,
            network: Network::SameEnterprise,
            format: Format::Pidf,
            wish: Wish::Document,
        };
        let shown = match self.clerk.ask(Slot::of(&presentity), &question) {
            Ok(Found::Shown(shown)) => shown,
            Ok(_) => return unavailable(NoOutcome::Silent),
            Err(error) => return unavailable(error),
        };
        let Some(view) = shown.views.first() else {
            return unavailable(NoOutcome::Silent);
        };
        let mut document = Vec::new();
        pidf::compose(view, &mut document);
        let text = String::from_utf8_lossy(&document);
        answer(200, parts(&view.presentity.to_string(), &text))
    }
}

fn too_many() -> FeedAnswer {
    let error = "too many calls at once";
    FeedAnswer {
        headers: vec![("Retry-After", "1".to_owned())],
        ..answer(429, json!({ "error": error }))
    }
}

fn unavailable(error: NoOutcome) -> FeedAnswer {
    let after = match error {
        NoOutcome::Busy => "5",
        NoOutcome::Silent => "2",
    };
    FeedAnswer {
        headers: vec![("Retry-After", after.to_owned())],
        ..answer(503, json!({ "error": error.to_string() }))
    }
}

/// A presence document in the parts that a script asks for.
fn parts(presentity: &str, text: &str) -> Value {
    let document = Document::parse(text);
    let nodes = || {
        document
            .iter()
            .flat_map(|document| document.root_element().children())
    };
    let written = |node: roxmltree::Node<'_, '_>, namespace: &str, name: &str| {
        let mut all = node.descendants();
        let found = all.find(|node| node.has_tag_name((namespace, name)))?;
        Some(found.text().unwrap_or_default().trim().to_owned())
    };
    let tuples = nodes().filter(|node| node.has_tag_name((PIDF, "tuple")));
    let tuples = tuples.map(|tuple| {
        json!({
            "id": tuple.attribute("id"),
            "basic": written(tuple, PIDF, "basic"),
            "note": written(tuple, PIDF, "note"),
            "contact": written(tuple, PIDF, "contact"),
        })
    });
    let tuples: Vec<Value> = tuples.collect();
    let open = tuples.iter().any(|tuple| tuple["basic"] == "open");
    let activities = nodes()
        .filter(|node| node.has_tag_name((DATA_MODEL, "person")))
        .flat_map(|person| person.children())
        .filter(|node| node.has_tag_name((RPID, "activities")))
        .flat_map(|activities| activities.children())
        .filter(|node| node.is_element())
        .map(|activity| activity.tag_name().name().to_owned());
    let notes = nodes().filter(|node| node.has_tag_name((PIDF, "note")));
    let notes = notes.filter_map(|note| note.text().map(str::to_owned));
    json!({
        "presentity": presentity,
        "open": open,
        "activities": activities.collect::<Vec<_>>(),
        "notes": notes.collect::<Vec<_>>(),
        "tuples": tuples,
        "document": text,
    })
}
