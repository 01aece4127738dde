//! The subscriber list (MS-PRES 3.6): who began to watch, so that the publisher can decide what they see.

use std::sync::Arc;

use crate::presence::container::Network;
use crate::presence::refusal::Refusal;
use crate::slot::Aor;

/// One who began to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Who.
    pub address: Aor,
    /// The name that was in the request; empty when there was none.
    pub display_name: Box<str>,
    /// From where.
    pub network: Network,
    /// Whether the publisher has seen it.
    pub acknowledged: bool,
    /// Whether it stays when it is acknowledged: a watcher of an older format would else come anew with
    /// every subscription.
    pub lasting: bool,
    /// What the request said about why, as XML that stands alone; empty when it said nothing.
    pub context: Box<[u8]>,
}

/// All of them, in the order in which they came. Replaced, never changed, so that a view only points to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribers(Option<Arc<[Subscriber]>>);

impl Subscribers {
    /// The list of these.
    pub(crate) fn from_list(list: Vec<Subscriber>) -> Subscribers {
        Subscribers((!list.is_empty()).then(|| list.into()))
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Subscriber> {
        self.0.as_deref().unwrap_or_default().iter()
    }

    /// Nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Somebody begins to watch; tells whether the list changed.
    ///
    /// # Errors
    /// [`Refusal::TooManySubscribers`], [`Refusal::ContextTooLarge`].
    //= MS-PRES 1.3.1.4
    //# who is in the list already changes nothing; who is not is added, not acknowledged
    pub fn add(
        &mut self,
        subscriber: Subscriber,
        max: usize,
        context_bytes_max: usize,
    ) -> Result<bool, Refusal> {
        if self.iter().any(|known| known.address == subscriber.address) {
            return Ok(false);
        }
        let contexts: usize = self.iter().map(|known| known.context.len()).sum();
        if contexts + subscriber.context.len() > context_bytes_max {
            return Err(Refusal::ContextTooLarge);
        }
        let mut list: Vec<Subscriber> = self.iter().cloned().collect();
        if list.len() >= max {
            return Err(Refusal::TooManySubscribers);
        }
        list.push(subscriber);
        *self = Subscribers::from_list(list);
        Ok(true)
    }

    /// The publisher has seen somebody, or has not after all.
    ///
    /// # Errors
    /// [`Refusal::UnknownSubscriber`].
    //= MS-PRES 3.6.5.1
    //# an acknowledged entry is removed, unless it is of an older format's watcher
    pub fn acknowledge(&mut self, address: &str, acknowledged: bool) -> Result<(), Refusal> {
        let mut list: Vec<Subscriber> = self.iter().cloned().collect();
        let place = list
            .iter()
            .position(|known| known.address.as_str() == address);
        let place = place.ok_or(Refusal::UnknownSubscriber)?;
        if acknowledged && !list[place].lasting {
            list.remove(place);
        } else {
            list[place].acknowledged = acknowledged;
        }
        *self = Subscribers::from_list(list);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber(user: &str, lasting: bool, context: &[u8]) -> Subscriber {
        Subscriber {
            address: Aor::sip(user, "x"),
            display_name: "".into(),
            network: Network::SameEnterprise,
            acknowledged: false,
            lasting,
            context: context.into(),
        }
    }

    //= MS-PRES 1.3.1.4
    //= type=test
    //= MS-PRES 3.6.5.1
    //= type=test
    // proves: PRES-3.6.5.1-03 PRES-3.6.5.1-04 PRES-3.6.5.1-05 PRES-3.6.5.1-06 PRES-3.6.5.1-08
    // proves: PRES-3.7.5.3-01 PRES-3.7.5.3-02 PRES-3.7.5.3-03
    #[test]
    fn a_list_grows_by_strangers_and_shrinks_by_acknowledgement() {
        let mut list = Subscribers::default();
        assert_eq!(list.add(subscriber("a", false, b""), 2, 4), Ok(true));
        assert_eq!(
            list.add(subscriber("a", true, b"xyz"), 2, 4),
            Ok(false),
            "already there"
        );
        assert_eq!(
            list.add(subscriber("b", true, b"12345"), 2, 4),
            Err(Refusal::ContextTooLarge)
        );
        assert_eq!(list.add(subscriber("b", true, b"1234"), 2, 4), Ok(true));
        assert_eq!(
            list.add(subscriber("c", false, b""), 2, 4),
            Err(Refusal::TooManySubscribers)
        );
        assert_eq!(
            list.acknowledge("z@x", true),
            Err(Refusal::UnknownSubscriber)
        );
        assert_eq!(list.acknowledge("a@x", true), Ok(()));
        assert_eq!(list.acknowledge("b@x", true), Ok(()));
        let left: Vec<(&str, bool)> = list
            .iter()
            .map(|s| (s.address.as_str(), s.acknowledged))
            .collect();
        assert_eq!(left, [("b@x", true)]);
        assert_eq!(list.acknowledge("b@x", false), Ok(()));
        assert!(!list.iter().next().expect("b stays").acknowledged);
    }
}
