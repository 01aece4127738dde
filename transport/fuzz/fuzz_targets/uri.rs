//! URIs, addresses, Vias: no text panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transport::sip::header::{NameAddr, Via, elements};
use transport::sip::uri::Uri;

fuzz_target!(|text: &str| {
    if let Ok(uri) = Uri::parse(text) {
        let _ = (uri.user_unescaped(), uri.is_gruu(), uri.params.iter().count());
    }
    for element in elements(text) {
        let _ = (NameAddr::parse(element), Via::parse(element));
    }
});
