//! `application/msrtc-setcontainermembers+xml` (MS-PRES 2.2.2.5.2): changes of memberships.

use super::{DocumentError, canonical, number};
use crate::presence::container::{ContainerChange, DEFAULT, Member, MemberChange};
use crate::xml::{Document, Element};

/// The document's namespace.
const MANAGEMENT: &str = "http://schemas.microsoft.com/2006/09/sip/container-management";

/// Bytes of a member's value: longer than any URI that a head holds.
const VALUE_BYTES_MAX: usize = 1_024;

/// Reads changes of memberships.
///
/// # Errors
/// [`DocumentError`] (400).
pub fn parse(body: &[u8]) -> Result<Vec<ContainerChange>, DocumentError> {
    let document = Document::parse(body)?;
    let root = document.root();
    if !root.is(MANAGEMENT, "setContainerMembers") {
        return Err(document.error_at(root, "not a setContainerMembers document"));
    }
    let mut changes: Vec<ContainerChange> = Vec::new();
    for child in root
        .children()
        .filter(|child| child.is(MANAGEMENT, "container"))
    {
        let change = container(child).map_err(|what| document.error_at(child, what))?;
        //= MS-PRES 3.5.5.5
        //# several elements for the same container are an error
        if changes.iter().any(|other| other.id == change.id) {
            return Err(document.error_at(child, "a second element for the same container"));
        }
        changes.push(change);
    }
    if changes.is_empty() {
        return Err(document.error_at(root, "no container"));
    }
    Ok(changes)
}

fn container(element: Element<'_, '_>) -> Result<ContainerChange, &'static str> {
    let id = number(element, "id").ok_or("id is no number of 16 bits")?;
    //= MS-PRES 3.5.5.2
    //# the default container's membership cannot be changed
    if id == DEFAULT {
        return Err("the members of container 0 cannot be changed");
    }
    let version = number(element, "version").ok_or("version is no number of 32 bits")?;
    let members = element
        .children()
        .filter(|child| child.is(MANAGEMENT, "member"));
    Ok(ContainerChange {
        id,
        version,
        members: members.map(member).collect::<Result<_, _>>()?,
    })
}

fn member(element: Element<'_, '_>) -> Result<MemberChange, &'static str> {
    let value = element.attribute("value");
    let value = value.as_deref().map(str::trim);
    if value.is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
        return Err("a value that is too long");
    }
    let kind = element.attribute("type").ok_or("a member without type")?;
    //= MS-PRES 3.5.5.2
    //# a user has a SIP URI, a domain a domain name, all others have no value
    let member = match (kind.trim(), value) {
        ("user", Some(value)) => Member::User(
            canonical(value)
                .ok_or("the value of a user is no SIP URI")?
                .into(),
        ),
        ("domain", Some(value)) => Member::Domain(domain(value)?),
        ("user" | "domain", None) => return Err("a user or domain without value"),
        ("sameEnterprise", None) => Member::SameEnterprise,
        ("federated", None) => Member::Federated,
        ("publicCloud", None) => Member::PublicCloud,
        ("everyone", None) => Member::Everyone,
        ("sameEnterprise" | "federated" | "publicCloud" | "everyone", Some(_)) => {
            return Err("a value where the type has none");
        }
        _ => return Err("an unknown type of member"),
    };
    let action = element.attribute("action");
    // Contradiction C-22: delete in the prose, remove in the schema.
    match action.as_deref().map(str::trim) {
        None | Some("add") => Ok(MemberChange::Add(member)),
        Some("remove" | "delete") => Ok(MemberChange::Remove(member)),
        Some(_) => Err("an unknown action"),
    }
}

/// A domain name (RFC 1034 3.1), lower case.
fn domain(text: &str) -> Result<Box<str>, &'static str> {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        return Err("the value of a domain is no domain name");
    }
    Ok(text.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(containers: &str) -> String {
        format!("<setContainerMembers xmlns=\"{MANAGEMENT}\">{containers}</setContainerMembers>")
    }

    //= MS-PRES 3.5.5.2
    //= type=test
    //= MS-PRES 3.5.5.5
    //= type=test
    // proves: PRES-2.2.2.5.2-01 PRES-2.2.2.5.2-02 PRES-2.2.2.5.2-03 PRES-2.2.2.5.2-04 PRES-2.2.2.5.2-05
    // proves: PRES-2.2.2.5.1-03 PRES-2.2.2.5.1-04 PRES-2.2.2.5.1-05 PRES-3.5.5.5-01 PRES-3.5.5.5-02 PRES-1.3.1.3.3-02
    #[test]
    fn members_have_the_values_of_their_types() {
        let one = |member: &str| {
            body(&format!(
                "<container id=\"300\" version=\"4\">{member}</container>"
            ))
        };
        let add = |member| {
            Ok(vec![ContainerChange {
                id: 300,
                version: 4,
                members: vec![MemberChange::Add(member)],
            }])
        };
        let remove = |member| {
            Ok(vec![ContainerChange {
                id: 300,
                version: 4,
                members: vec![MemberChange::Remove(member)],
            }])
        };
        let alice = || Member::User("alice@contoso.com".into());
        for (name, text, expected) in [
            (
                "a user",
                one("<member type=\"user\" value=\"alice@contoso.com\"/>"),
                add(alice()),
            ),
            (
                "with a scheme",
                one("<member action=\"add\" type=\"user\" value=\"sip:Alice@contoso.COM\"/>"),
                add(alice()),
            ),
            (
                "remove",
                one("<member action=\"remove\" type=\"user\" value=\"alice@contoso.com\"/>"),
                remove(alice()),
            ),
            (
                "delete",
                one("<member action=\"delete\" type=\"user\" value=\"alice@contoso.com\"/>"),
                remove(alice()),
            ),
            (
                "a domain",
                one("<member type=\"domain\" value=\"Contoso.com\"/>"),
                add(Member::Domain("contoso.com".into())),
            ),
            (
                "everyone",
                one("<member type=\"everyone\"/>"),
                add(Member::Everyone),
            ),
            (
                "enterprise",
                one("<member type=\"sameEnterprise\"/>"),
                add(Member::SameEnterprise),
            ),
            (
                "federated",
                one("<member type=\"federated\"/>"),
                add(Member::Federated),
            ),
            (
                "cloud",
                one("<member type=\"publicCloud\"/>"),
                add(Member::PublicCloud),
            ),
            (
                "nobody",
                body("<container id=\"300\" version=\"4\"/>"),
                Ok(vec![ContainerChange {
                    id: 300,
                    version: 4,
                    members: vec![],
                }]),
            ),
            (
                "a user without value",
                one("<member type=\"user\"/>"),
                Err(()),
            ),
            (
                "a user that is none",
                one("<member type=\"user\" value=\"alice\"/>"),
                Err(()),
            ),
            (
                "a domain that is none",
                one("<member type=\"domain\" value=\"-x.com\"/>"),
                Err(()),
            ),
            (
                "everyone with value",
                one("<member type=\"everyone\" value=\"x\"/>"),
                Err(()),
            ),
            ("another type", one("<member type=\"friends\"/>"), Err(())),
            (
                "another action",
                one("<member action=\"toggle\" type=\"everyone\"/>"),
                Err(()),
            ),
            (
                "container 0",
                body("<container id=\"0\" version=\"0\"/>"),
                Err(()),
            ),
            ("no version", body("<container id=\"1\"/>"), Err(())),
            ("no id", body("<container version=\"1\"/>"), Err(())),
            (
                "twice",
                body("<container id=\"1\" version=\"0\"/><container id=\"1\" version=\"0\"/>"),
                Err(()),
            ),
            ("nothing", body(""), Err(())),
            ("another root", "<x/>".to_owned(), Err(())),
        ] {
            assert_eq!(parse(text.as_bytes()).map_err(drop), expected, "{name}");
        }
    }
}
