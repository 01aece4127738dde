//! `application/auth-policy+xml` (RFC 4745) with presence rules (RFC 5025): read into what the machine keeps.
//!
//! What cannot be done here is refused rather than left out, where leaving it out would show more than was
//! meant: a sphere, or an action that is not known. A condition that is not known makes its rule one that
//! never holds, as RFC 4745 wants it.

use super::{DocumentError, canonical, truth};
use crate::presence::rules::{
    ATTRIBUTES, Except, Handling, Identity, Permissions, RULES_MAX, Rule, Rules, Selector, Span,
    UserInput, Which,
};
use crate::time::Timestamp;
use crate::xml::{Document, Element};

const POLICY: &str = "urn:ietf:params:xml:ns:common-policy";
const RULES: &str = "urn:ietf:params:xml:ns:pres-rules";

/// Reads a document.
///
/// # Errors
/// [`DocumentError`] for what is no rules document, or asks what is not done here.
pub fn parse(body: &[u8]) -> Result<Rules, DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    if !root.is(POLICY, "ruleset") {
        return Err(document.error_at(root, "not a ruleset"));
    }
    let mut rules: Vec<Rule> = Vec::new();
    for child in root.children().filter(|child| child.is(POLICY, "rule")) {
        let rule = rule(&document, child)?;
        if rules.len() >= RULES_MAX {
            return Err(document.error_at(child, "too many rules"));
        }
        //= RFC 4745 6
        //# the id of a rule is its own within the document
        if rules.iter().any(|known| known.id == rule.id) {
            return Err(document.error_at(child, "a rule whose id another one has"));
        }
        rules.push(rule);
    }
    Ok(Rules(rules))
}

fn rule(document: &Document<'_>, element: Element<'_, '_>) -> Result<Rule, DocumentError> {
    let id = element.attribute("id");
    let id = id.filter(|id| !id.is_empty());
    let mut rule = Rule {
        id: id
            .ok_or_else(|| document.error_at(element, "a rule without id"))?
            .as_ref()
            .into(),
        ..Rule::default()
    };
    for part in element.children() {
        match (part.namespace(), part.local()) {
            (POLICY, "conditions") => conditions(document, part, &mut rule)?,
            (POLICY, "actions") => actions(document, part, &mut rule)?,
            (POLICY, "transformations") => transformations(document, part, &mut rule.permissions)?,
            _ => {}
        }
    }
    Ok(rule)
}

fn conditions(
    document: &Document<'_>,
    element: Element<'_, '_>,
    rule: &mut Rule,
) -> Result<(), DocumentError> {
    for condition in element.children() {
        match (condition.namespace(), condition.local()) {
            (POLICY, "identity") => {
                let identities = identities(document, condition)?;
                rule.identity.get_or_insert_default().extend(identities);
            }
            (POLICY, "validity") => {
                let spans = spans(document, condition)?;
                rule.validity.get_or_insert_default().extend(spans);
            }
            //= RFC 4745 7.2
            //= type=exception
            // a sphere would have to be guessed from what is published; a rule that speaks of one is refused, so
            // that nobody believes that it holds
            (POLICY, "sphere") => {
                return Err(document.error_at(condition, "a sphere, which is not supported"));
            }
            //= RFC 4745 7
            //# a condition that is not understood does not hold
            _ => rule.foreign = true,
        }
    }
    Ok(())
}

/// The address of an identity, whatever its scheme.
fn address(
    document: &Document<'_>,
    element: Element<'_, '_>,
    id: &str,
) -> Result<Box<str>, DocumentError> {
    let text = id.trim();
    let bare = text.strip_prefix("pres:").unwrap_or(text);
    canonical(bare)
        .map(Into::into)
        .ok_or_else(|| document.error_at(element, "an identity that is no address"))
}

fn domain(text: &str) -> Box<str> {
    text.trim().to_lowercase().into()
}

fn identities(
    document: &Document<'_>,
    element: Element<'_, '_>,
) -> Result<Vec<Identity>, DocumentError> {
    let mut identities = Vec::new();
    for child in element.children() {
        match (child.namespace(), child.local()) {
            (POLICY, "one") => {
                let id = child.attribute("id");
                let id = id.ok_or_else(|| document.error_at(child, "one without id"))?;
                identities.push(Identity::One(address(document, child, &id)?));
            }
            (POLICY, "many") => {
                let mut except = Vec::new();
                for left_out in child.children().filter(|of| of.is(POLICY, "except")) {
                    match (left_out.attribute("id"), left_out.attribute("domain")) {
                        (Some(id), None) => {
                            except.push(Except::User(address(document, left_out, &id)?));
                        }
                        (None, Some(of)) => except.push(Except::Domain(domain(&of))),
                        _ => {
                            let what = "an exception that is neither an id nor a domain";
                            return Err(document.error_at(left_out, what));
                        }
                    }
                }
                identities.push(Identity::Many {
                    domain: child.attribute("domain").map(|of| domain(&of)),
                    except,
                });
            }
            // Who is meant is not known, so nobody is.
            _ => {}
        }
    }
    Ok(identities)
}

//= RFC 4745 7.3
//# a validity is pairs of from and until, any of which may hold
fn spans(document: &Document<'_>, element: Element<'_, '_>) -> Result<Vec<Span>, DocumentError> {
    let time = |child: Element<'_, '_>| {
        let time: Option<jiff::Timestamp> = child.text().parse().ok();
        let time = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
        time.map(Timestamp)
            .ok_or_else(|| document.error_at(child, "a time that is none"))
    };
    let (mut spans, mut from) = (Vec::new(), None);
    for child in element.children() {
        match (child.namespace(), child.local(), from) {
            (POLICY, "from", None) => from = Some(time(child)?),
            (POLICY, "until", Some(begin)) => {
                let until = time(child)?;
                if until <= begin {
                    return Err(document.error_at(child, "an end that is before its beginning"));
                }
                spans.push((begin, until));
                from = None;
            }
            _ => return Err(document.error_at(child, "neither from nor until in its turn")),
        }
    }
    if from.is_some() || spans.is_empty() {
        return Err(document.error_at(element, "a validity without from and until"));
    }
    Ok(spans)
}

fn actions(
    document: &Document<'_>,
    element: Element<'_, '_>,
    rule: &mut Rule,
) -> Result<(), DocumentError> {
    for action in element.children() {
        if action.is(RULES, "sub-handling") {
            let text = action.text();
            let handling = Handling::ALL
                .into_iter()
                .find(|known| known.as_str() == text);
            let handling = handling.ok_or_else(|| {
                document.error_at(action, "none of block, confirm, polite-block, allow")
            })?;
            rule.handling = Some(handling.max(rule.handling.unwrap_or(handling)));
        }
    }
    Ok(())
}

fn transformations(
    document: &Document<'_>,
    element: Element<'_, '_>,
    permissions: &mut Permissions,
) -> Result<(), DocumentError> {
    let wrong = |child| Err(document.error_at(child, "neither true nor false"));
    for child in element
        .children()
        .filter(|child| child.namespace() == RULES)
    {
        let more = &mut Permissions::default();
        match child.local() {
            "provide-services" => more.services = which(child),
            "provide-persons" => more.persons = which(child),
            "provide-devices" => more.devices = which(child),
            "provide-user-input" => {
                let text = child.text();
                let known = UserInput::ALL.iter().find(|(_, name)| *name == text);
                let Some((input, _)) = known else {
                    return Err(document.error_at(child, "an extent of user-input that is none"));
                };
                more.user_input = *input;
            }
            "provide-all-attributes" => more.attributes = crate::presence::rules::ALL_ATTRIBUTES,
            "provide-unknown-attribute" => {
                let named = (child.attribute("ns"), child.attribute("name"));
                let (Some(namespace), Some(name)) = named else {
                    return Err(document.error_at(child, "an attribute without ns and name"));
                };
                match truth(&child.text()) {
                    Some(true) => more
                        .unknown
                        .push((namespace.as_ref().into(), name.as_ref().into())),
                    Some(false) => {}
                    None => return wrong(child),
                }
            }
            name => {
                let name = name.strip_prefix("provide-").unwrap_or(name);
                let Some((_, bit)) = ATTRIBUTES.iter().find(|(known, _)| *known == name) else {
                    return Err(document.error_at(child, "a permission that is not known"));
                };
                match truth(&child.text()) {
                    Some(true) => more.attributes = *bit,
                    Some(false) => {}
                    None => return wrong(child),
                }
            }
        }
        permissions.join(more);
    }
    Ok(())
}

/// Which services, persons or devices are meant.
fn which(element: Element<'_, '_>) -> Which {
    let mut selectors = Vec::new();
    for child in element
        .children()
        .filter(|child| child.namespace() == RULES)
    {
        let text: Box<str> = child.text().as_ref().into();
        selectors.push(match child.local() {
            "all-services" | "all-persons" | "all-devices" => return Which::All,
            "service-uri" => Selector::Uri(text),
            "service-uri-scheme" => Selector::Scheme(text.to_lowercase().into()),
            "occurrence-id" => Selector::Occurrence(text),
            "class" => Selector::Class(text),
            "deviceID" => Selector::DeviceId(text),
            // What is meant is not known, so it is not shown.
            _ => continue,
        });
    }
    selectors.sort_unstable();
    selectors.dedup();
    Which::Some(selectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rule: &str) -> Result<Rule, String> {
        let text = format!(
            "<cp:ruleset xmlns:cp=\"{POLICY}\" xmlns:pr=\"{RULES}\"><cp:rule id=\"a\">{rule}</cp:rule></cp:ruleset>"
        );
        let mut rules = parse(text.as_bytes()).map_err(|error| error.what.to_owned())?;
        Ok(rules.0.remove(0))
    }

    //= RFC 4745 6
    //= type=test
    #[test]
    fn each_rule_has_an_id_of_its_own() {
        let read = |rules: &str| {
            let text = format!("<ruleset xmlns=\"{POLICY}\">{rules}</ruleset>");
            parse(text.as_bytes()).map_err(|error| error.what)
        };
        for (rules, expected) in [
            ("<rule id=\"a\"/><rule id=\"b\"/>", Ok(2)),
            (
                "<rule id=\"a\"/><rule id=\"a\"/>",
                Err("a rule whose id another one has"),
            ),
            ("<rule/>", Err("a rule without id")),
        ] {
            assert_eq!(read(rules).map(|rules| rules.0.len()), expected, "{rules}");
        }
        let many: String = (0..=RULES_MAX)
            .map(|n| format!("<rule id=\"r{n}\"/>"))
            .collect();
        assert_eq!(read(&many), Err("too many rules"));
    }

    //= RFC 5025 3.1
    //= type=test
    #[test]
    fn a_rule_is_conditions_actions_and_transformations() {
        let rule = read(
            "<cp:conditions><cp:identity><cp:one id=\"sip:Bob@Example.com\"/>\
             <cp:many domain=\"Example.NET\"><cp:except id=\"pres:carol@example.net\"/></cp:many></cp:identity>\
             <cp:validity><cp:from>1970-01-01T00:00:01Z</cp:from><cp:until>1970-01-01T00:00:02Z</cp:until></cp:validity>\
             </cp:conditions><cp:actions><pr:sub-handling>allow</pr:sub-handling></cp:actions>\
             <cp:transformations><pr:provide-services><pr:service-uri-scheme>SIP</pr:service-uri-scheme></pr:provide-services>\
             <pr:provide-persons><pr:all-persons/></pr:provide-persons><pr:provide-mood>true</pr:provide-mood>\
             <pr:provide-note>false</pr:provide-note><pr:provide-user-input>bare</pr:provide-user-input>\
             <pr:provide-unknown-attribute ns=\"urn:x\" name=\"foo\">true</pr:provide-unknown-attribute></cp:transformations>",
        )
        .expect("a rule");
        let carol = Except::User("carol@example.net".into());
        assert_eq!(
            rule.identity,
            Some(vec![
                Identity::One("bob@example.com".into()),
                Identity::Many {
                    domain: Some("example.net".into()),
                    except: vec![carol]
                }
            ])
        );
        assert_eq!(
            rule.validity,
            Some(vec![(Timestamp(1_000), Timestamp(2_000))])
        );
        assert_eq!(rule.handling, Some(Handling::Allow));
        assert_eq!(
            rule.permissions,
            Permissions {
                services: Which::Some(vec![Selector::Scheme("sip".into())]),
                persons: Which::All,
                devices: Which::default(),
                attributes: 8,
                user_input: UserInput::Bare,
                unknown: vec![("urn:x".into(), "foo".into())],
            }
        );
    }

    //= RFC 4745 7
    //= type=test
    //= RFC 4745 7.2
    //= type=test
    #[test]
    fn what_is_not_known_shows_nothing_or_is_refused() {
        let foreign = read("<cp:conditions><x:other xmlns:x=\"urn:x\"/></cp:conditions>");
        assert!(foreign.expect("a rule").foreign);
        for (name, rule, what) in [
            (
                "a sphere",
                "<cp:conditions><cp:sphere value=\"work\"/></cp:conditions>",
                "a sphere, which is not supported",
            ),
            (
                "a handling",
                "<cp:actions><pr:sub-handling>maybe</pr:sub-handling></cp:actions>",
                "none of block, confirm, polite-block, allow",
            ),
            (
                "an identity",
                "<cp:conditions><cp:identity><cp:one id=\"nobody\"/></cp:identity></cp:conditions>",
                "an identity that is no address",
            ),
            (
                "a time",
                "<cp:conditions><cp:validity><cp:from>now</cp:from></cp:validity></cp:conditions>",
                "a time that is none",
            ),
            (
                "no end",
                "<cp:conditions><cp:validity><cp:from>1970-01-01T00:00:01Z</cp:from></cp:validity></cp:conditions>",
                "a validity without from and until",
            ),
            (
                "a permission",
                "<cp:transformations><pr:provide-everything/></cp:transformations>",
                "a permission that is not known",
            ),
            (
                "a truth",
                "<cp:transformations><pr:provide-mood>1.0</pr:provide-mood></cp:transformations>",
                "neither true nor false",
            ),
        ] {
            assert_eq!(read(rule), Err(what.to_owned()), "{name}");
        }
    }
}
