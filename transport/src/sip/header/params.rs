//! `;name=value` parameters, in order, as written.

/// The parameters behind a value: `;tag=abc;+sip.instance="<urn:…>"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(pub &'a str);

impl<'a> Params<'a> {
    /// The value of a parameter (name in any letter case), without its quotes; empty for a flag.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        let _ = name;
        todo!()
    }

    /// Name and value of each, in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        std::iter::empty()
    }
}
