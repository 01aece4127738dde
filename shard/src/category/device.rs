//! The category `device` (MS-PRES 2.2.2.7.2): what one endpoint can do.

use crate::xml::{Element, is_ncname};

/// The category's namespace.
const DEVICE: &str = "http://schemas.microsoft.com/2006/09/sip/device";

/// Capabilities of one device: the schema names some twenty.
const CAPABILITIES_MAX: usize = 256;

/// One thing that a device can do for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The element's name: `text`, `audio`, `calendar` and so on, an open set.
    pub name: Box<str>,
    /// It can show it.
    pub render: bool,
    /// It can take it in.
    pub capture: bool,
    /// It can publish it for the person.
    pub publish: bool,
    /// How well: the higher is preferred among publishers.
    pub version: Option<u32>,
}

/// What one endpoint can do, address by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// The endpoint that the content names, lower case.
    pub endpoint_id: Box<str>,
    /// URI and capability, in the order of the document.
    pub capabilities: Box<[(Box<str>, Capability)]>,
}

impl Device {
    /// Reads a publisher's device.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(element: Element<'_, '_>) -> Result<Device, &'static str> {
        if !element.is(DEVICE, "device") {
            return Err("a device is an element device of its namespace");
        }
        let endpoint_id = element
            .attribute("endpointId")
            .filter(|id| !id.trim().is_empty())
            .ok_or("a device names its endpointId")?;
        let mut capabilities = Vec::new();
        for list in element
            .children()
            .filter(|child| child.is(DEVICE, "capabilities"))
        {
            let shared = list.attribute("uri");
            let own = list.children().filter(|child| child.namespace() == DEVICE);
            for element in own {
                if capabilities.len() >= CAPABILITIES_MAX {
                    return Err("too many capabilities");
                }
                let capability = Capability::read(element)?;
                // The schema allows an address at each capability, and none at all.
                let uri = element.attribute("uri").or_else(|| shared.clone());
                if let Some(uri) = uri.filter(|uri| !uri.trim().is_empty()) {
                    capabilities.push((uri.trim().into(), capability));
                }
            }
        }
        Ok(Device {
            endpoint_id: endpoint_id.trim().to_ascii_lowercase().into(),
            capabilities: capabilities.into(),
        })
    }
}

impl Capability {
    fn read(element: Element<'_, '_>) -> Result<Capability, &'static str> {
        let flag = |name: &str| match element.attribute(name).as_deref().map(str::trim) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err("a capability's attribute is neither true nor false"),
        };
        assert!(is_ncname(element.local()), "the parser checked the names");
        let version = match element.attribute("version") {
            Some(text) => Some(text.trim().parse().map_err(|_| "a version is no number")?),
            None => None,
        };
        Ok(Capability {
            name: element.local().into(),
            render: flag("render")?,
            capture: flag("capture")?,
            publish: flag("publish")?,
            version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Document;

    fn read(text: &str) -> Result<Device, &'static str> {
        let document = Document::parse(text.as_bytes()).expect("well-formed");
        Device::read(document.root())
    }

    #[test]
    fn capabilities_belong_to_an_address() {
        let text = format!(
            "<device xmlns=\"{DEVICE}\" endpointId=\"A8F9A3A8-EE61\">\
             <capabilities preferred=\"false\" uri=\"sip:bob@contoso.com\">\
             <text capture=\"true\" render=\"true\" publish=\"false\"> </text></capabilities>\
             <capabilities uri=\"bob@exchange\"><calendar publish=\"true\" version=\"655616\"/></capabilities>\
             <timezone>00:00:00-00:00</timezone><machineName>BOB</machineName></device>"
        );
        let device = read(&text).expect("a device");
        assert_eq!(&*device.endpoint_id, "a8f9a3a8-ee61");
        let [(first, text), (second, calendar)] = &*device.capabilities else {
            panic!("two capabilities, not {device:?}")
        };
        assert_eq!(
            (&**first, &*text.name, text.capture, text.publish),
            ("sip:bob@contoso.com", "text", true, false)
        );
        assert_eq!(
            (&**second, &*calendar.name, calendar.version),
            ("bob@exchange", "calendar", Some(655_616))
        );
        for (name, bad) in [
            ("no endpoint", format!("<device xmlns=\"{DEVICE}\"/>")),
            (
                "an empty endpoint",
                format!("<device xmlns=\"{DEVICE}\" endpointId=\" \"/>"),
            ),
            (
                "no flag",
                format!(
                    "<device xmlns=\"{DEVICE}\" endpointId=\"a\"><capabilities uri=\"a\"><x render=\"2\"/></capabilities></device>"
                ),
            ),
            ("another namespace", "<device endpointId=\"a\"/>".to_owned()),
        ] {
            assert!(read(&bad).is_err(), "{name}");
        }
    }
}
