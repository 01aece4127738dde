//! `application/msrtc-setDelegate+xml` (MS-PRES 2.2.2.10.2): a change of the delegates.

use super::{DocumentError, canonical, number};
use crate::presence::delegate::{Delegate, DelegateAct};
use crate::xml::{Document, Element};

/// The document's namespace.
const MANAGEMENT: &str = "http://schemas.microsoft.com/2007/09/sip/delegate-management";

/// A change of the delegates, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetDelegate {
    /// The version that the client knows.
    pub version: u32,
    /// What to do.
    pub act: DelegateAct,
    /// With whom.
    pub delegate: Delegate,
}

/// Reads a change of the delegates.
///
/// # Errors
/// [`DocumentError`] (400).
//= MS-PRES 3.9.5.1
//# one delegate at a time
pub fn parse(body: &[u8]) -> Result<SetDelegate, DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    if !root.is(MANAGEMENT, "setDelegates") {
        return Err(document.error_at(root, "not a setDelegates document"));
    }
    let version = number(root, "version");
    let version = version.ok_or_else(|| document.error_at(root, "version is no number"))?;
    let mut delegates = root
        .children()
        .filter(|child| child.is(MANAGEMENT, "delegate"));
    let (Some(delegate), None) = (delegates.next(), delegates.next()) else {
        return Err(document.error_at(root, "a setDelegates document names one delegate"));
    };
    let (act, delegate) = read(delegate).map_err(|what| document.error_at(delegate, what))?;
    Ok(SetDelegate {
        version,
        act,
        delegate,
    })
}

fn read(element: Element<'_, '_>) -> Result<(DelegateAct, Delegate), &'static str> {
    let uri = element
        .attribute("uri")
        .and_then(|uri| canonical(&uri))
        .ok_or("uri is no address")?;
    let action = element.attribute("action");
    let act = match action.as_deref().map(str::trim) {
        Some("add" | "modify") => DelegateAct::Set,
        Some("remove") => DelegateAct::Remove,
        _ => return Err("action is none of add, modify and remove"),
    };
    //= MS-PRES 3.9.5.2
    //# authorization is allow or deny; an element that is not there means deny
    let allowed = |name: &str| {
        let Some(element) = element.children().find(|child| child.is(MANAGEMENT, name)) else {
            return Ok(false);
        };
        match element.attribute("authorization").as_deref().map(str::trim) {
            Some("allow") => Ok(true),
            Some("deny") => Ok(false),
            _ => Err("authorization is neither allow nor deny"),
        }
    };
    let delegate = Delegate {
        publish: allowed("publishOperation")?,
        redelegate: allowed("redelegateOperation")?,
        address: uri.into(),
    };
    Ok((act, delegate))
}

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-PRES 3.9.5.1
    //= type=test
    //= MS-PRES 3.9.5.2
    //= type=test
    // proves: PRES-3.9.5.1-01 PRES-3.9.5.2-02 PRES-3.9.5.2-04 PRES-3.9.5.2-07 PRES-3.9.5.4-01 PRES-2.2.2.10.2-02
    #[test]
    fn one_delegate_changes_at_a_time() {
        let body = |inside: &str| {
            format!("<setDelegates xmlns=\"{MANAGEMENT}\" version=\"1\">{inside}</setDelegates>")
        };
        let one = |attributes: &str, inside: &str| {
            body(&format!(
                "<delegate uri=\"sip:john@contoso.com\" {attributes}>{inside}</delegate>"
            ))
        };
        let john = |act, publish, redelegate| {
            let delegate = Delegate {
                address: "john@contoso.com".into(),
                publish,
                redelegate,
            };
            Ok(SetDelegate {
                version: 1,
                act,
                delegate,
            })
        };
        let allow = "<publishOperation authorization=\"allow\"/><redelegateOperation authorization=\"deny\"/>";
        for (name, text, expected) in [
            (
                "add",
                one("action=\"add\"", allow),
                john(DelegateAct::Set, true, false),
            ),
            (
                "nothing said",
                one("action=\"modify\"", ""),
                john(DelegateAct::Set, false, false),
            ),
            (
                "remove",
                one("action=\"remove\"", ""),
                john(DelegateAct::Remove, false, false),
            ),
            ("another action", one("action=\"toggle\"", ""), Err(())),
            ("no action", one("", ""), Err(())),
            (
                "another word",
                one(
                    "action=\"add\"",
                    "<publishOperation authorization=\"maybe\"/>",
                ),
                Err(()),
            ),
            (
                "two",
                body(
                    "<delegate uri=\"a@x\" action=\"add\"/><delegate uri=\"b@x\" action=\"add\"/>",
                ),
                Err(()),
            ),
            ("nobody", body(""), Err(())),
            (
                "no version",
                format!(
                    "<setDelegates xmlns=\"{MANAGEMENT}\"><delegate uri=\"a@x\" action=\"add\"/></setDelegates>"
                ),
                Err(()),
            ),
            ("another root", "<x/>".to_owned(), Err(())),
        ] {
            assert_eq!(parse(text.as_bytes()).map_err(drop), expected, "{name}");
        }
    }
}
