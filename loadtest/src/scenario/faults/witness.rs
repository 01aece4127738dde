//! What is checked of every answer and every notification, when it comes. It knows no sockets and no
//! clock; what it finds is named and counted.

use std::collections::{HashMap, VecDeque};

use crate::check::Faults;

/// Notifications of one dialog that are remembered, to know a repetition when it comes.
const RECENT_MAX: usize = 16;

/// What one dialog was told.
#[derive(Clone, Debug, Default)]
pub struct Dialog {
    cseq: u32,
    /// CSeq and state of the last ones.
    recent: VecDeque<(u32, u64)>,
    /// The newest state it was told; 0 for none.
    pub state: u64,
    /// Whether it was told that it is over.
    pub ended: bool,
}

/// What a notification brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// A state that it did not know.
    State(u64),
    /// The state that it knew, in a notification of its own.
    Known,
    /// It is known: sent again.
    Again,
    /// One was overtaken on its way by the next.
    Late,
}

/// What may be believed of a user at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// The newest state that was ever sent to be published.
    pub newest: u64,
    /// How many publications there may be: one more for each whose fate nobody knows.
    pub at_most: usize,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Witness {
    pub dialogs: Vec<Dialog>,
    /// Who got which tag with which request.
    tags: HashMap<String, (usize, u32)>,
    pub faults: Faults,
}

impl Witness {
    /// Nothing was seen yet, by so many watchers.
    pub fn of(watchers: usize) -> Witness {
        Witness {
            dialogs: vec![Dialog::default(); watchers],
            ..Witness::default()
        }
    }

    /// Takes a notification of a dialog with every state that its document shows.
    pub fn notified(
        &mut self,
        watcher: usize,
        cseq: u32,
        states: &[u64],
        published: Published,
    ) -> News {
        let state = self.judge(&format!("watcher {watcher}"), states, published);
        let dialog = &mut self.dialogs[watcher];
        let before = dialog.recent.iter().find(|(known, _)| *known == cseq);
        match before {
            Some((_, known)) if *known == state => return News::Again,
            Some((_, known)) => {
                let example = format!("watcher {watcher}: CSeq {cseq} with {known} and {state}");
                self.faults
                    .add("one CSeq with two notifications (repeated)", example);
                return News::Again;
            }
            None => {}
        }
        if cseq < dialog.cseq {
            // What is repeated may be overtaken; what is newer than its successor was numbered wrongly.
            if state > dialog.state {
                let example = format!("watcher {watcher}: from {} to {cseq}", dialog.cseq);
                self.faults.add("a CSeq that goes back", example);
            }
            return News::Late;
        }
        if state < dialog.state && published.at_most == 1 {
            let example = format!("watcher {watcher}: from {} to {state}", dialog.state);
            self.faults.add("a state that goes back", example);
        }
        let known = std::mem::replace(&mut dialog.state, state);
        dialog.cseq = cseq;
        dialog.recent.push_back((cseq, state));
        if dialog.recent.len() > RECENT_MAX {
            dialog.recent.pop_front();
        }
        if state > known {
            News::State(state)
        } else {
            News::Known
        }
    }

    /// The state that a document shows, after a look whether it may.
    pub fn judge(&mut self, who: &str, states: &[u64], published: Published) -> u64 {
        if states.len() > published.at_most {
            let example = format!("{who}: {states:?}");
            self.faults
                .add("a publication that was made twice", example);
        }
        let state = states.last().copied().unwrap_or(0);
        if state > published.newest {
            let example = format!("{who}: {state} after {}", published.newest);
            self.faults.add("a state that nobody published", example);
        }
        state
    }

    /// Takes the tag that a request brought.
    pub fn tagged(&mut self, user: usize, cseq: u32, tag: &str) {
        let by = self.tags.insert(tag.to_owned(), (user, cseq));
        if by.is_some_and(|by| by != (user, cseq)) {
            let example = format!("{tag}: {by:?} and {:?}", (user, cseq));
            self.faults.add("an entity-tag that is used again", example);
        }
    }

    /// A request that was answered already is answered once more.
    pub fn answered_again(&mut self, user: usize, cseq: u32, tag: &str) {
        if self.tags.get(tag) != Some(&(user, cseq)) {
            let example = format!("u{user}, CSeq {cseq}: {tag} is another tag than before");
            self.faults.add("one request with two effects", example);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Published = Published {
        newest: 9,
        at_most: 1,
    };

    fn told(rows: &[(u32, &[u64])]) -> (Vec<News>, String) {
        let mut witness = Witness::of(1);
        let news = rows
            .iter()
            .map(|(cseq, states)| witness.notified(0, *cseq, states, ONE))
            .collect();
        (news, witness.faults.verdict().err().unwrap_or_default())
    }

    #[test]
    fn what_is_wrong_with_a_notification_is_named() {
        #[allow(clippy::type_complexity)] // a table of cases
        let rows: &[(&str, &[(u32, &[u64])])] = &[
            ("", &[(1, &[]), (2, &[1]), (3, &[1]), (4, &[2])]),
            ("", &[(1, &[1]), (1, &[1])]),
            ("", &[(2, &[2]), (1, &[1])]),
            ("one CSeq with two", &[(1, &[1]), (1, &[2])]),
            ("a CSeq that goes back", &[(5, &[1]), (4, &[2])]),
            ("a state that goes back", &[(1, &[2]), (2, &[1])]),
            ("a state that nobody published", &[(1, &[10])]),
            ("a publication that was made twice", &[(1, &[1, 2])]),
        ];
        for (expected, notifications) in rows {
            let (_, said) = told(notifications);
            assert!(said.starts_with(expected), "{expected}: {said}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
        }
        assert_eq!(
            told(&[(2, &[2]), (2, &[2]), (1, &[1]), (3, &[2])]).0,
            [News::State(2), News::Again, News::Late, News::Known]
        );
    }

    #[test]
    fn a_tag_belongs_to_one_request() {
        let mut witness = Witness::default();
        witness.tagged(1, 1, "a");
        witness.tagged(1, 2, "b");
        witness.answered_again(1, 2, "b");
        assert_eq!(witness.faults.verdict(), Ok(()));
        witness.answered_again(1, 2, "a");
        witness.tagged(2, 1, "a");
        let said = witness.faults.verdict().expect_err("two faults");
        assert!(said.contains("used again") && said.contains("two effects"));
    }
}
