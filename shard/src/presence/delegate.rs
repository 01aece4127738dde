//! Delegates (MS-PRES 3.9): who may act for a user.

use std::sync::Arc;

use crate::presence::container::{Conflict, Rejected};
use crate::presence::refusal::Refusal;

/// One who may act for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegate {
    /// Who, as a canonical address.
    pub address: Box<str>,
    /// Whether it may publish for the user.
    pub publish: bool,
    /// Whether it may name further delegates.
    pub redelegate: bool,
}

/// What to do with one delegate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DelegateAct {
    /// Add, or change who is there.
    Set = 1,
    /// Remove.
    Remove = 2,
}

/// The delegates of one user, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delegates {
    /// Grows with each change.
    pub version: u32,
    list: Option<Arc<[Delegate]>>,
}

impl Delegates {
    /// The list of these.
    pub(crate) fn from_parts(version: u32, list: Vec<Delegate>) -> Delegates {
        Delegates {
            version,
            list: (!list.is_empty()).then(|| list.into()),
        }
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Delegate> {
        self.list.as_deref().unwrap_or_default().iter()
    }

    /// Does what a request asks.
    ///
    /// # Errors
    /// [`Rejected::Conflicts`] (409); [`Refusal::UnknownDelegate`] (403), [`Refusal::TooManyDelegates`] (413).
    //= MS-PRES 3.9.5.2
    //# adding who is there updates, modifying who is not creates, removing who is not is rejected
    pub fn set(
        &mut self,
        version: u32,
        act: DelegateAct,
        delegate: Delegate,
        max: usize,
    ) -> Result<(), Rejected> {
        if version != self.version {
            let conflict = Conflict {
                index: 1,
                version,
                current: self.version,
            };
            return Err(Rejected::Conflicts(vec![conflict]));
        }
        let mut list: Vec<Delegate> = self.iter().cloned().collect();
        let place = list
            .iter()
            .position(|known| known.address == delegate.address);
        match (act, place) {
            (DelegateAct::Set, Some(place)) => list[place] = delegate,
            (DelegateAct::Set, None) if list.len() >= max => {
                return Err(Refusal::TooManyDelegates.into());
            }
            (DelegateAct::Set, None) => list.push(delegate),
            (DelegateAct::Remove, Some(place)) => drop(list.remove(place)),
            (DelegateAct::Remove, None) => return Err(Refusal::UnknownDelegate.into()),
        }
        *self = Delegates::from_parts(version.wrapping_add(1).max(1), list);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-PRES 3.9.5.2
    //= type=test
    // proves: PRES-3.9.5.2-03 PRES-3.9.5.2-08 PRES-3.9.5.2-09 PRES-3.9.5.2-10 PRES-3.9.5.2-11 PRES-3.9.5.2-12
    // proves: PRES-3.9.1-01
    #[test]
    fn delegates_change_by_version() {
        use DelegateAct::{Remove, Set};
        let delegate = |address: &str, publish| Delegate {
            address: address.into(),
            publish,
            redelegate: false,
        };
        let mut delegates = Delegates::default();
        let conflict = Rejected::Conflicts(vec![Conflict {
            index: 1,
            version: 4,
            current: 2,
        }]);
        for (name, version, act, who, expected, after) in [
            (
                "first",
                0,
                Set,
                delegate("a@x", false),
                Ok(()),
                vec![delegate("a@x", false)],
            ),
            (
                "update",
                1,
                Set,
                delegate("a@x", true),
                Ok(()),
                vec![delegate("a@x", true)],
            ),
            (
                "stale",
                4,
                Remove,
                delegate("a@x", true),
                Err(conflict),
                vec![delegate("a@x", true)],
            ),
            (
                "too many",
                2,
                Set,
                delegate("b@x", true),
                Err(Refusal::TooManyDelegates.into()),
                vec![delegate("a@x", true)],
            ),
            (
                "not there",
                2,
                Remove,
                delegate("b@x", true),
                Err(Refusal::UnknownDelegate.into()),
                vec![delegate("a@x", true)],
            ),
            ("remove", 2, Remove, delegate("a@x", false), Ok(()), vec![]),
        ] {
            assert_eq!(delegates.set(version, act, who, 1), expected, "{name}");
            assert!(delegates.iter().eq(&after), "{name}");
        }
        assert_eq!(delegates.version, 3);
    }
}
