//! Registered endpoints of an address (RFC 3261 §10): which contacts reach it, until when.
//!
//! Registration is the machine's state, because publications and dialogs can be bound to an endpoint
//! and end with it.

use std::sync::Arc;

use crate::presence::endpoint_id::EndpointId;
use crate::presence::enhanced::{Changes, Profile};
use crate::presence::limits::ENDPOINTS_MAX;
use crate::presence::refusal::Refusal;
use crate::time::Timestamp;

/// REGISTER: bind contacts to an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Register<'a> {
    /// Whose contacts.
    pub aor: &'a str,
    /// Hash of the Call-ID.
    pub call_id: u64,
    /// CSeq number.
    pub cseq: u32,
    /// What to change; [`Bindings::Nothing`] asks for the list.
    pub bindings: Bindings<'a>,
    /// Who the user is, from a client of enhanced presence; `None` from a plain telephone.
    pub profile: Option<Profile>,
}

/// What a REGISTER does to the list of endpoints.
#[derive(Clone, Debug, PartialEq)]
pub enum Bindings<'a> {
    /// No Contact: a query.
    Nothing,
    /// `Contact: *` with Expires 0.
    RemoveAll,
    /// Each contact is added, refreshed, or removed (`expires_s` 0); all or none.
    Each(Vec<Binding<'a>>),
}

/// One Contact of a REGISTER; fields as in [`Endpoint`].
#[derive(Clone, Debug, PartialEq)]
pub struct Binding<'a> {
    /// Hash of what makes bindings equal.
    pub binding: u64,
    /// The contact's URI.
    pub contact: &'a str,
    /// `+sip.instance`, or empty.
    pub instance: &'a str,
    /// Preference in thousandths.
    pub q: u16,
    /// Path, or empty.
    pub path: &'a str,
    /// Granted lifetime; 0 removes.
    pub expires_s: u32,
    /// Where to send.
    pub target: &'a [u8],
    /// The endpoint's identity, where it has one.
    pub endpoint_id: Option<EndpointId>,
}

/// One binding of an address of record to a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Hash of what makes bindings equal: the instance where there is one, else the contact's URI.
    pub binding: u64,
    /// The contact's URI as registered.
    pub contact: Box<str>,
    /// `+sip.instance`, without quotes; empty when there is none.
    pub instance: Box<str>,
    /// Preference in thousandths (q = 1 is 1,000).
    pub q: u16,
    /// Path header values (RFC 3327), comma separated; empty when there are none.
    pub path: Box<str>,
    /// Hash of the registering Call-ID.
    pub call_id: u64,
    /// The registering CSeq; within one Call-ID it must grow.
    pub cseq: u32,
    /// When the binding ends.
    pub expires_at: Timestamp,
    /// Where to send: transport's business, opaque here.
    pub target: Box<[u8]>,
    /// Its identity, to which publications and dialogs are bound.
    pub endpoint_id: Option<EndpointId>,
}

impl Endpoint {
    /// The one copy of what the log entry says: a slice would keep the whole entry alive.
    fn store(register: &Register<'_>, binding: &Binding<'_>, now: Timestamp) -> Endpoint {
        Endpoint {
            binding: binding.binding,
            contact: binding.contact.into(),
            instance: binding.instance.into(),
            q: binding.q,
            path: binding.path.into(),
            call_id: register.call_id,
            cseq: register.cseq,
            expires_at: now.plus_s(binding.expires_s),
            target: binding.target.into(),
            endpoint_id: binding.endpoint_id,
        }
    }

    /// Whether `register` may change this binding.
    //= RFC 3261 10.3
    //# within one Call-ID a binding is changed by a higher CSeq only
    fn yields_to(&self, register: &Register<'_>) -> bool {
        self.call_id != register.call_id || self.cseq < register.cseq
    }
}

/// How a binding ended. The numbers cross between nodes, for ever.
//= RFC 3680 4.7
//# unregistered by its client, expired, or deactivated by the registrar
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Unbinding {
    /// Its client said so.
    Unregistered = 1,
    /// Nobody refreshed it.
    Expired = 2,
    /// It made room for another one, or its connection was lost.
    Deactivated = 3,
}

impl Unbinding {
    /// The one with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Unbinding> {
        [
            Unbinding::Unregistered,
            Unbinding::Expired,
            Unbinding::Deactivated,
        ]
        .into_iter()
        .find(|known| *known as u8 == number)
    }

    /// The word of the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Unbinding::Unregistered => "unregistered",
            Unbinding::Expired => "expired",
            Unbinding::Deactivated => "deactivated",
        }
    }
}

/// The endpoints of one address in the order of their binding numbers. A list is replaced, never
/// changed, so that an answer to REGISTER and the memory of it only point to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints(Option<Arc<[Endpoint]>>);

impl Endpoints {
    /// The list that holds `endpoints`, which are in ascending order of their binding numbers.
    pub(crate) fn from_ordered(endpoints: Vec<Endpoint>) -> Endpoints {
        Endpoints((!endpoints.is_empty()).then(|| endpoints.into()))
    }

    /// Each endpoint, by ascending binding number.
    pub fn iter(&self) -> std::slice::Iter<'_, Endpoint> {
        self.0.as_deref().unwrap_or_default().iter()
    }

    /// Notes what is bound otherwise than `before`; a refresh changes nothing that is told.
    pub(crate) fn compare(
        &self,
        before: &Endpoints,
        changes: &mut Changes,
        why: impl Fn(&Endpoint) -> Unbinding,
    ) {
        let bound = |among: &Endpoints, binding: u64| {
            let mut among = among.iter();
            among.find(|known| known.binding == binding).cloned()
        };
        for endpoint in before.iter() {
            if bound(self, endpoint.binding).is_none() {
                changes.unbound.push((endpoint.clone(), why(endpoint)));
                changes.registered = true;
            }
        }
        changes.registered |= self.iter().any(|endpoint| {
            bound(before, endpoint.binding)
                .is_none_or(|known| known.contact != endpoint.contact || known.q != endpoint.q)
        });
    }

    /// Whether an endpoint of this identity is registered.
    #[must_use]
    pub fn holds(&self, id: EndpointId) -> bool {
        self.iter().any(|endpoint| endpoint.endpoint_id == Some(id))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().len()
    }

    /// Nobody is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The list, to be kept.
    #[must_use]
    pub fn share(&self) -> Arc<[Endpoint]> {
        self.0.as_ref().map_or_else(|| Arc::new([]), Arc::clone)
    }

    /// Does what the REGISTER asks, wholly or not at all.
    ///
    /// # Errors
    /// [`Refusal::OutOfOrder`] when a binding's CSeq does not grow, [`Refusal::TooManyEndpoints`].
    pub fn register(&mut self, register: &Register<'_>, now: Timestamp) -> Result<(), Refusal> {
        match &register.bindings {
            Bindings::Nothing => Ok(()),
            Bindings::RemoveAll => {
                //= RFC 3261 10.3
                //# `*` removes all bindings, or none if one has seen this CSeq already
                if !self.iter().all(|endpoint| endpoint.yields_to(register)) {
                    return Err(Refusal::OutOfOrder);
                }
                self.0 = None;
                Ok(())
            }
            Bindings::Each(bindings) => {
                *self = Endpoints::from_ordered(self.bound(register, bindings, now)?);
                Ok(())
            }
        }
    }

    /// The list with every contact of `bindings` added, refreshed or removed.
    //= RFC 3261 10.3
    //# if one contact cannot be bound, none is
    fn bound(
        &self,
        register: &Register<'_>,
        bindings: &[Binding<'_>],
        now: Timestamp,
    ) -> Result<Vec<Endpoint>, Refusal> {
        let named = |endpoint: &Endpoint| bindings.iter().any(|b| b.binding == endpoint.binding);
        if self
            .iter()
            .any(|endpoint| named(endpoint) && !endpoint.yields_to(register))
        {
            return Err(Refusal::OutOfOrder);
        }
        let mut list: Vec<Endpoint> = Vec::with_capacity(self.len() + bindings.len());
        list.extend(self.iter().filter(|endpoint| !named(endpoint)).cloned());
        for binding in bindings {
            // A contact that is named twice: the last one counts.
            let place = list.binary_search_by_key(&binding.binding, |endpoint| endpoint.binding);
            if let Ok(at) = place {
                list.remove(at);
            }
            if binding.expires_s > 0 {
                let (Ok(at) | Err(at)) = place;
                list.insert(at, Endpoint::store(register, binding, now));
            }
        }
        //= MS-SIPREGE 3.2
        //# the oldest of an enhanced user's endpoints makes room for one too many
        while list.len() > ENDPOINTS_MAX && register.profile.is_some() {
            let oldest = list.iter().enumerate().filter(|(_, known)| !named(known));
            let oldest = oldest.min_by_key(|(_, known)| (known.expires_at, known.binding));
            let Some((place, _)) = oldest else { break };
            list.remove(place);
        }
        if list.len() > ENDPOINTS_MAX {
            return Err(Refusal::TooManyEndpoints);
        }
        Ok(list)
    }

    /// Ends the endpoint that was registered with this target, if it still is.
    pub fn lose(&mut self, id: EndpointId, target: &[u8]) {
        let lost =
            |endpoint: &Endpoint| endpoint.endpoint_id == Some(id) && *endpoint.target == *target;
        if self.iter().any(lost) {
            let others = self.iter().filter(|endpoint| !lost(endpoint));
            *self = Endpoints::from_ordered(others.cloned().collect());
        }
    }

    /// Ends the bindings that are due at `now`.
    pub fn expire(&mut self, now: Timestamp) {
        if self.iter().any(|endpoint| endpoint.expires_at <= now) {
            let living = self.iter().filter(|endpoint| endpoint.expires_at > now);
            *self = Endpoints::from_ordered(living.cloned().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn bind(binding: u64, expires_s: u32) -> Binding<'static> {
        Binding {
            binding,
            contact: "sip:alice@192.0.2.1",
            instance: "",
            q: 1_000,
            path: "",
            expires_s,
            target: b"flow",
            endpoint_id: None,
        }
    }

    fn register(call_id: u64, cseq: u32, bindings: Bindings<'static>) -> Register<'static> {
        Register {
            aor: "alice@example.com",
            call_id,
            cseq,
            bindings,
            profile: None,
        }
    }

    fn numbers(endpoints: &Endpoints) -> Vec<u64> {
        endpoints.iter().map(|endpoint| endpoint.binding).collect()
    }

    //= MS-SIPREGE 3.2
    //= type=test
    //# more endpoints than allowed: the oldest goes, never one that the request is about
    #[test]
    fn the_oldest_endpoint_makes_room() {
        let mut endpoints = Endpoints::default();
        let max = ENDPOINTS_MAX as u64;
        let full = (0..max).map(|n| bind(n, 600 - (n == 9) as u32)).collect();
        let full = register(7, 1, Bindings::Each(full));
        assert_eq!(endpoints.register(&full, NOW), Ok(()));
        let more = |names: Vec<u64>| Register {
            profile: Some(Profile::default()),
            ..register(
                8,
                1,
                Bindings::Each(names.into_iter().map(|n| bind(n, 60)).collect()),
            )
        };
        assert_eq!(endpoints.register(&more(vec![9, 100]), NOW), Ok(()));
        let left = numbers(&endpoints);
        assert!(left.contains(&9) && left.contains(&100), "{left:?}");
        assert_eq!((left.len(), left.contains(&0)), (ENDPOINTS_MAX, false));
        let all = more((200..=200 + max).collect());
        let refused = Err(Refusal::TooManyEndpoints);
        assert_eq!(endpoints.register(&all, NOW), refused);
        assert_eq!(numbers(&endpoints), left);
    }

    //= RFC 3261 10.3
    //= type=test
    #[test]
    fn a_binding_yields_to_another_call_or_a_higher_number() {
        use Bindings::{Each, Nothing, RemoveAll};
        use Refusal::{OutOfOrder, TooManyEndpoints};
        let many = (100..100 + ENDPOINTS_MAX as u64)
            .map(|n| bind(n, 60))
            .collect();
        for (name, request, expected, left) in [
            ("query", register(7, 1, Nothing), Ok(()), vec![3, 5]),
            (
                "refresh",
                register(7, 11, Each(vec![bind(3, 60)])),
                Ok(()),
                vec![3, 5],
            ),
            (
                "same number",
                register(7, 10, Each(vec![bind(3, 60)])),
                Err(OutOfOrder),
                vec![3, 5],
            ),
            (
                "other call",
                register(8, 1, Each(vec![bind(3, 60)])),
                Ok(()),
                vec![3, 5],
            ),
            (
                "add",
                register(7, 10, Each(vec![bind(4, 60)])),
                Ok(()),
                vec![3, 4, 5],
            ),
            (
                "remove",
                register(7, 11, Each(vec![bind(5, 0)])),
                Ok(()),
                vec![3],
            ),
            (
                "remove what is not there",
                register(7, 1, Each(vec![bind(9, 0)])),
                Ok(()),
                vec![3, 5],
            ),
            (
                "one good, one out of order",
                register(7, 10, Each(vec![bind(4, 60), bind(5, 60)])),
                Err(OutOfOrder),
                vec![3, 5],
            ),
            (
                "twice the same",
                register(7, 11, Each(vec![bind(6, 60), bind(6, 0), bind(1, 60)])),
                Ok(()),
                vec![1, 3, 5],
            ),
            ("all", register(7, 11, RemoveAll), Ok(()), vec![]),
            (
                "all, out of order",
                register(7, 10, RemoveAll),
                Err(OutOfOrder),
                vec![3, 5],
            ),
            (
                "too many",
                register(9, 1, Each(many)),
                Err(TooManyEndpoints),
                vec![3, 5],
            ),
        ] {
            let mut endpoints = Endpoints::default();
            let first = register(7, 10, Each(vec![bind(5, 60), bind(3, 120)]));
            assert_eq!(endpoints.register(&first, NOW), Ok(()), "{name}");
            assert_eq!(endpoints.register(&request, NOW), expected, "{name}");
            assert_eq!(numbers(&endpoints), left, "{name}");
        }
    }

    #[test]
    fn a_binding_ends_at_its_time() {
        let mut endpoints = Endpoints::default();
        let both = register(7, 10, Bindings::Each(vec![bind(5, 60), bind(3, 120)]));
        assert_eq!(endpoints.register(&both, NOW), Ok(()));
        for (name, at_ms, left) in [
            ("before", 1_059_999, vec![3, 5]),
            ("due", 1_060_000, vec![3]),
            ("both", 2_000_000, vec![]),
        ] {
            endpoints.expire(Timestamp(at_ms));
            assert_eq!(numbers(&endpoints), left, "{name}");
        }
        assert!(endpoints.is_empty());
    }
}
