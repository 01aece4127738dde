//! Methods: an open set. SERVICE, BENOTIFY and the unknown are ordinary members.

use std::fmt;

use bytes::Bytes;

/// Declares [`Method`] with its texts.
macro_rules! methods {
    ($($variant:ident $text:literal $spec:literal),+ $(,)?) => {
        /// A request method (case-sensitive, RFC 3261 §7.1).
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Method {
            $(#[doc = $spec] $variant,)+
            /// Any other token.
            Other(Bytes),
        }

        impl Method {
            /// The method of this text, if it is one that has a name here.
            pub(super) fn known(text: &[u8]) -> Option<Method> {
                match text {
                    $($text => Some(Method::$variant),)+
                    _ => None,
                }
            }

            /// The method of a token; `None` when `token` is not one (RFC 3261 §25.1).
            #[must_use]
            pub fn parse(token: &Bytes) -> Option<Method> {
                Method::known(token)
                    .or_else(|| is_token(token).then(|| Method::Other(token.clone())))
            }

            /// Its text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Method::$variant => const {
                        match std::str::from_utf8($text) {
                            Ok(text) => text,
                            Err(_) => unreachable!(),
                        }
                    },)+
                    Method::Other(token) => std::str::from_utf8(token).expect("a token is ASCII"),
                }
            }
        }
    };
}

methods! {
    Invite b"INVITE" "RFC 3261",
    Ack b"ACK" "RFC 3261",
    Bye b"BYE" "RFC 3261",
    Cancel b"CANCEL" "RFC 3261",
    Options b"OPTIONS" "RFC 3261",
    Register b"REGISTER" "RFC 3261",
    Publish b"PUBLISH" "RFC 3903",
    Subscribe b"SUBSCRIBE" "RFC 6665",
    Notify b"NOTIFY" "RFC 6665",
    Benotify b"BENOTIFY" "MS-SIP",
    Service b"SERVICE" "MS-SIP",
    Message b"MESSAGE" "RFC 3428",
    Info b"INFO" "RFC 6086",
    Refer b"REFER" "RFC 3515",
    Update b"UPDATE" "RFC 3311",
    Prack b"PRACK" "RFC 3262",
}

/// Whether every byte may stand in a token, and there is one.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// The bytes of a token (RFC 3261 §25.1).
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-.!%*_+`'~";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 3261 7.1
    //= type=test
    #[test]
    fn any_token_is_a_method_and_case_counts() {
        for (text, expected) in [
            ("SERVICE", Some(Method::Service)),
            ("BENOTIFY", Some(Method::Benotify)),
            ("!interesting-Method0123456789_*+`.%indeed'~", None),
            ("publish", None),
        ] {
            let token = Bytes::copy_from_slice(text.as_bytes());
            let method = Method::parse(&token).expect("a token");
            assert_eq!(method, expected.unwrap_or(Method::Other(token)));
            assert_eq!(method.as_str(), text);
        }
        for text in ["", "A B", "A:", "Ä", "A\0"] {
            assert_eq!(
                Method::parse(&Bytes::copy_from_slice(text.as_bytes())),
                None,
                "{text}"
            );
        }
    }
}
