//! What the server writes has the shape of the schemas of section 7: elements, their order and number,
//! attributes and their types. In our own words, and only for what the server composes itself.

use roxmltree::{Document, Node};

#[derive(Clone, Copy, Debug)]
enum Kind<'a> {
    Number,
    Signed,
    Flag,
    Text,
    Time,
    /// One of these.
    One(&'a [&'a str]),
}

impl Kind<'_> {
    fn holds(self, text: &str) -> bool {
        match self {
            Kind::Number => text.parse::<u32>().is_ok(),
            Kind::Signed => text.parse::<i64>().is_ok(),
            Kind::Flag => ["true", "false", "0", "1"].contains(&text),
            Kind::Text => true,
            Kind::Time => {
                text.len() >= 19 && text.as_bytes()[10] == b'T' && text.as_bytes()[4] == b'-'
            }
            Kind::One(choices) => choices.contains(&text),
        }
    }
}

type Checked = Result<(), String>;

/// The children of an element, against a pattern of names: `a` one, `a?` at most one, `a*` any number,
/// `[ … ]` all of it or nothing.
fn children(node: Node<'_, '_>, pattern: &str) -> Checked {
    let names: Vec<&str> = node
        .children()
        .filter(Node::is_element)
        .map(|child| child.tag_name().name())
        .collect();
    let mut left = &names[..];
    let mut tokens = pattern.split_whitespace().peekable();
    while let Some(token) = tokens.next() {
        if token == "]" {
            continue;
        }
        if token == "[" {
            if left.first() != tokens.peek() {
                tokens
                    .by_ref()
                    .take_while(|token| *token != "]")
                    .for_each(drop);
            }
            continue;
        }
        let name = token.trim_end_matches(['?', '*']);
        let there = left.iter().take_while(|known| **known == name).count();
        let (least, most) = match token.chars().last() {
            Some('?') => (0, 1),
            Some('*') => (0, usize::MAX),
            _ => (1, 1),
        };
        if there < least {
            return Err(format!(
                "{name} is missing in {names:?}, which should be {pattern}"
            ));
        }
        left = &left[there.min(most)..];
    }
    if left.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{left:?} should not stand in {names:?}, which should be {pattern}"
    ))
}

fn attributes(node: Node<'_, '_>, known: &[(&str, Kind<'_>, bool)]) -> Checked {
    for (name, kind, required) in known {
        match node
            .attributes()
            .find(|attribute| attribute.name() == *name)
        {
            None if *required => return Err(format!("no {name} in {node:?}")),
            Some(attribute) if !kind.holds(attribute.value()) => {
                return Err(format!("{name}={:?} is no {kind:?}", attribute.value()));
            }
            _ => {}
        }
    }
    match node
        .attributes()
        .find(|a| !known.iter().any(|(name, ..)| *name == a.name()))
    {
        Some(other) => Err(format!("{} should not stand in {node:?}", other.name())),
        None => Ok(()),
    }
}

/// The texts of children that are there.
fn texts(node: Node<'_, '_>, known: &[(&str, Kind<'_>)]) -> Checked {
    for child in node.children().filter(Node::is_element) {
        let of = known
            .iter()
            .find(|(name, _)| *name == child.tag_name().name());
        let text = child.text().unwrap_or_default();
        if let Some((name, kind)) = of
            && !kind.holds(text)
        {
            return Err(format!("{name} {text:?} is no {kind:?}"));
        }
    }
    Ok(())
}

fn named(node: Node<'_, '_>, namespace: &str, name: &str) -> Checked {
    if node.has_tag_name((
        format!("http://schemas.microsoft.com/2006/09/sip/{namespace}").as_str(),
        name,
    )) {
        return Ok(());
    }
    Err(format!("{node:?} is not {name} of {namespace}"))
}

fn state(node: Node<'_, '_>) -> Checked {
    named(node, "state", "state")?;
    let kinds = ["aggregateState", "aggregateMachineState", "userState"];
    attributes(
        node,
        &[
            ("type", Kind::One(&kinds), true),
            ("manual", Kind::Flag, false),
            ("endpointId", Kind::Text, false),
            ("lastActive", Kind::Time, false),
        ],
    )?;
    children(
        node,
        "availability? activity* endpointLocation? meetingSubject? meetingLocation? \
         [ delimiter timeZoneBias? timeZoneName? timeZoneAbbreviation? device? end ]",
    )?;
    texts(
        node,
        &[
            ("availability", Kind::Number),
            ("timeZoneBias", Kind::Signed),
        ],
    )?;
    for activity in node
        .children()
        .filter(|child| child.tag_name().name() == "activity")
    {
        children(activity, "custom*")?;
        attributes(
            activity,
            &[
                ("token", Kind::Text, false),
                ("minAvailability", Kind::Number, false),
                ("maxAvailability", Kind::Number, false),
            ],
        )?;
    }
    Ok(())
}

const CAPABILITIES: [&str; 17] = [
    "calendar",
    "remoteCallControl",
    "voice",
    "video",
    "CCCP",
    "text",
    "gifInk",
    "isfInk",
    "breakthrough",
    "applicationSharing",
    "ucs",
    "containerIntegrity",
    "contentWhiteboard",
    "contentPoll",
    "contentPowerPoint",
    "contentNativeFile",
    "contentSharedNotes",
];

fn services(node: Node<'_, '_>, own: bool) -> Checked {
    named(node, "service", "services")?;
    attributes(node, &[])?;
    children(node, "service*")?;
    let mut addresses = Vec::new();
    for service in node.children().filter(Node::is_element) {
        attributes(service, &[("uri", Kind::Text, true)])?;
        children(service, "capabilities")?;
        addresses.push(service.attribute("uri"));
        let list = service.first_element_child().ok_or("no capabilities")?;
        for capability in list.children().filter(Node::is_element) {
            if !CAPABILITIES.contains(&capability.tag_name().name()) {
                return Err(format!("{capability:?} is no capability"));
            }
            children(capability, "")?;
            let common = [
                ("render", Kind::Flag, true),
                ("capture", Kind::Flag, true),
                ("deviceAvailability", Kind::Number, true),
            ];
            let of_oneself = [
                ("publish", Kind::Flag, true),
                ("version", Kind::Number, false),
                ("preferredEndpointId", Kind::Text, true),
            ];
            let all = [&common[..], if own { &of_oneself } else { &[] }].concat();
            attributes(capability, &all)?;
        }
    }
    let mut once = addresses.clone();
    once.sort_unstable();
    once.dedup();
    (once.len() == addresses.len())
        .then_some(())
        .ok_or_else(|| format!("an address twice: {addresses:?}"))
}

fn contact_card(node: Node<'_, '_>) -> Checked {
    named(node, "contactcard", "contactCard")?;
    attributes(node, &[])?;
    children(node, "identity*")?;
    for identity in node.children().filter(Node::is_element) {
        children(identity, "name? email*")?;
        for name in identity
            .children()
            .filter(|child| child.tag_name().name() == "name")
        {
            children(name, "displayName*")?;
        }
    }
    Ok(())
}

fn user_properties(node: Node<'_, '_>) -> Checked {
    named(node, "categories", "userProperties")?;
    attributes(node, &[])?;
    children(
        node,
        "lines? telephonyMode? facsimileTelephoneNumber? streetAddress? l? st? countryCode? postalCode? wWWHomePage?",
    )?;
    let modes = ["None", "Uc", "Rcc", "Dual", "NoAudioVideo"];
    texts(node, &[("telephonyMode", Kind::One(&modes))])?;
    for line in node
        .descendants()
        .filter(|child| child.tag_name().name() == "line")
    {
        let types = ["Uc", "UcPrivate", "Rcc", "Dual"];
        attributes(
            line,
            &[
                ("lineType", Kind::One(&types), true),
                ("lineServer", Kind::Text, false),
            ],
        )?;
    }
    Ok(())
}

fn calendar_data(node: Node<'_, '_>) -> Checked {
    named(node, "calendarData", "calendarData")?;
    attributes(node, &[("mailboxID", Kind::Text, false)])?;
    children(node, "WorkingHours")
}

/// Checks what the server made, in a document with `category` elements; what clients made is theirs.
///
/// # Errors
/// What is not as its schema has it.
pub fn check(document: &str) -> Checked {
    let document = Document::parse(document).map_err(|error| format!("{error}: {document}"))?;
    for category in document
        .descendants()
        .filter(|node| node.tag_name().name() == "category")
    {
        let Some(content) = category.first_element_child() else {
            continue;
        };
        let name = category.attribute("name").unwrap_or_default();
        let number = category.attribute("instance").unwrap_or_default();
        let container = category.attribute("container").unwrap_or_default();
        let checked = match name {
            "state" if ["0", "1", "268435456"].contains(&number) => state(content),
            "dndState" => state(content),
            "services" => services(content, container == "2"),
            "legacyInterop" => named(content, "categories", "legacyInterop").and_then(|()| {
                attributes(
                    content,
                    &[
                        ("availability", Kind::Number, true),
                        ("token", Kind::Text, false),
                    ],
                )
            }),
            "contactCard" => contact_card(content),
            "userProperties" => user_properties(content),
            "workingHours" => calendar_data(content),
            "mwi" => named(content, "mwi", "mwi").and_then(|()| {
                attributes(
                    content,
                    &[
                        ("messageWaiting", Kind::Flag, true),
                        ("unreadVoiceMailCount", Kind::Number, false),
                        ("readVoiceMailCount", Kind::Number, false),
                    ],
                )
            }),
            _ => Ok(()),
        };
        checked.map_err(|wrong| format!("{name} {number} in {container}: {wrong}"))?;
    }
    Ok(())
}

#[test]
fn the_check_finds_what_is_wrong() {
    let state = |attributes: &str, inside: &str| {
        format!(
            "<c><category name=\"state\" instance=\"1\" container=\"2\"><state xmlns=\"http://schemas.microsoft.com/2006/09/sip/state\" \
             {attributes}>{inside}</state></category></c>"
        )
    };
    for (attributes, inside, good) in [
        (
            "type=\"aggregateState\"",
            "<availability>1</availability><delimiter/><device/><end/>",
            true,
        ),
        (
            "type=\"aggregateState\"",
            "<availability>1</availability><device/>",
            false,
        ),
        (
            "type=\"aggregateState\"",
            "<availability>1</availability><delimiter/><device/>",
            false,
        ),
        (
            "type=\"aggregateState\"",
            "<activity/><availability>1</availability>",
            false,
        ),
        (
            "type=\"aggregateState\"",
            "<availability>much</availability>",
            false,
        ),
        ("", "<availability>1</availability>", false),
        ("type=\"aggregateState\" mood=\"\"", "", false),
    ] {
        let text = state(attributes, inside);
        assert_eq!(check(&text).is_ok(), good, "{text}");
    }
}
