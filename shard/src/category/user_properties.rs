//! The category `userProperties` (MS-PRES 2.2.2.7.4): what the directory says of a user, for that user.

use crate::category::write_text;

/// How a line is controlled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LineType {
    /// By this deployment.
    Uc = 1,
    /// By this deployment, hidden.
    UcPrivate = 2,
    /// Remotely, through a gateway of a telephone system.
    Rcc = 3,
    /// Both.
    Dual = 4,
}

impl LineType {
    /// As in `lineType`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LineType::Uc => "Uc",
            LineType::UcPrivate => "UcPrivate",
            LineType::Rcc => "Rcc",
            LineType::Dual => "Dual",
        }
    }

    /// The type with this number in the log.
    #[must_use]
    pub fn from_number(number: u8) -> Option<LineType> {
        [
            LineType::Uc,
            LineType::UcPrivate,
            LineType::Rcc,
            LineType::Dual,
        ]
        .into_iter()
        .find(|known| *known as u8 == number)
    }
}

/// A telephone line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// A tel URI.
    pub uri: Box<str>,
    /// How it is controlled.
    pub line_type: LineType,
    /// The SIP URI of what controls it; empty where there is none.
    pub server: Box<str>,
}

//= MS-PRES 2.2.2.7.4
//= type=exception
//= reason=which bridge somebody dials in to is no presence, and no directory we read has it
// excepts: PRES-2.2.2.7.4-08 the server publishes no acpInformation, so there are no two to tell apart
/// What the directory says. Texts that are not known are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Telephone lines.
    pub lines: Box<[Line]>,
    /// Fax number.
    pub fax: Box<str>,
    /// Street.
    pub street: Box<str>,
    /// City.
    pub city: Box<str>,
    /// State or province.
    pub state: Box<str>,
    /// Country, two letters of ISO 3166.
    pub country_code: Box<str>,
    /// Postal code.
    pub postal_code: Box<str>,
    /// Home page.
    pub home_page: Box<str>,
}

impl Line {
    /// Whether it can be shown: what a directory holds may be anything.
    //= MS-PRES 2.2.2.7.4
    //# a line is a tel URI; lineServer is a SIP URI, and Rcc and UcPrivate have one
    fn is_sound(&self) -> bool {
        let by_server = matches!(self.line_type, LineType::Rcc | LineType::UcPrivate);
        self.uri.starts_with("tel:")
            && (self.server.starts_with("sip:") || self.server.is_empty() && !by_server)
    }
}

impl Properties {
    /// Appends the XML, in the namespace of the categories document around it, as every example has it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<userProperties>");
        let mut lines = self.lines.iter().filter(|line| line.is_sound()).peekable();
        if lines.peek().is_some() {
            out.extend_from_slice(b"<lines>");
            for line in lines {
                out.extend_from_slice(b"<line");
                super::write_attribute("lineType", line.line_type.as_str(), out);
                //= MS-PRES 2.2.2.7.4
                //# lineServer is present for Rcc and UcPrivate, optional for Dual, not set for Uc
                if !line.server.is_empty() && line.line_type != LineType::Uc {
                    super::write_attribute("lineServer", &line.server, out);
                }
                out.push(b'>');
                crate::xml::escape(&line.uri, out);
                out.extend_from_slice(b"</line>");
            }
            out.extend_from_slice(b"</lines>");
        }
        write_text("telephonyMode", self.telephony_mode(), out);
        write_text("facsimileTelephoneNumber", &self.fax, out);
        write_text("streetAddress", &self.street, out);
        write_text("l", &self.city, out);
        write_text("st", &self.state, out);
        let code = &self.country_code;
        if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            write_text("countryCode", &self.country_code, out);
        }
        write_text("postalCode", &self.postal_code, out);
        write_text("wWWHomePage", &self.home_page, out);
        out.extend_from_slice(b"</userProperties>");
    }

    fn telephony_mode(&self) -> &'static str {
        let first = self.lines.iter().find(|line| line.is_sound());
        match first.map(|line| line.line_type) {
            None => "None",
            Some(LineType::Uc | LineType::UcPrivate) => "Uc",
            Some(LineType::Rcc) => "Rcc",
            Some(LineType::Dual) => "Dual",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(properties: &Properties) -> String {
        let mut out = Vec::new();
        properties.write(&mut out);
        String::from_utf8(out).expect("text")
    }

    //= MS-PRES 2.2.2.7.4
    //= type=test
    // proves: PRES-2.2.2.7.4-02 PRES-2.2.2.7.4-03 PRES-2.2.2.7.4-04 PRES-2.2.2.7.4-05 PRES-2.2.2.7.4-07
    #[test]
    fn properties_say_what_is_known() {
        let nothing = "<userProperties><telephonyMode>None</telephonyMode></userProperties>";
        assert_eq!(written(&Properties::default()), nothing);
        let line = |line_type, server: &str| Properties {
            lines: Box::new([Line {
                uri: "tel:+1123".into(),
                line_type,
                server: server.into(),
            }]),
            ..Properties::default()
        };
        for (properties, expected) in [
            (
                line(LineType::Uc, "sip:x@y"),
                "<line lineType=\"Uc\">tel:+1123</line></lines><telephonyMode>Uc<",
            ),
            (
                line(LineType::Rcc, "sip:x@y"),
                "<line lineType=\"Rcc\" lineServer=\"sip:x@y\">tel:+1123</line>",
            ),
            (
                line(LineType::Dual, ""),
                "<line lineType=\"Dual\">tel:+1123</line></lines><telephonyMode>Dual<",
            ),
            (
                line(LineType::UcPrivate, "sip:x@y"),
                "<line lineType=\"UcPrivate\" lineServer=\"sip:x@y\">tel:+1123</line></lines><telephonyMode>Uc<",
            ),
            (
                line(LineType::Dual, "sip:x@y"),
                "<line lineType=\"Dual\" lineServer=\"sip:x@y\">",
            ),
            (line(LineType::Uc, ""), "<line lineType=\"Uc\">tel:+1123<"),
            (
                Properties {
                    country_code: "US".into(),
                    ..Properties::default()
                },
                "<countryCode>US</countryCode>",
            ),
        ] {
            assert!(
                written(&properties).contains(expected),
                "{}",
                written(&properties)
            );
        }
        let long = Properties {
            country_code: "USA".into(),
            ..Properties::default()
        };
        assert_eq!(written(&long), nothing, "a code of three letters is none");
        let mut number = line(LineType::Uc, "");
        number.lines[0].uri = "+1123".into();
        for (name, unsound) in [
            ("remote without a server", line(LineType::Rcc, "")),
            ("private without a server", line(LineType::UcPrivate, "")),
            ("a server that is none", line(LineType::Dual, "tel:1")),
            ("no tel URI", number),
        ] {
            assert_eq!(written(&unsound), nothing, "{name}");
        }
        let numeric = Properties {
            country_code: "1a".into(),
            ..Properties::default()
        };
        assert_eq!(written(&numeric), nothing, "a code has letters");
    }
}
