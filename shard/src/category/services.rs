//! The category `services` (MS-PRES 2.2.2.7.3): what a person can be reached by, over all devices.

use crate::category::device::Capability;
use crate::category::write_attribute;

/// The category's namespace.
const SERVICE: &str = "http://schemas.microsoft.com/2006/09/sip/service";

/// The best of all devices for one capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What can be done.
    pub capability: Capability,
    /// How available the device is.
    pub device_availability: u32,
    /// Which endpoint it is, lower case; empty in what others see.
    pub preferred_endpoint_id: Box<str>,
}

/// An address and what can be done there.
pub type AtAddress = (Box<str>, Box<[Offer]>);

/// What can be done, address by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services(pub Box<[AtAddress]>);

impl Services {
    /// Appends the XML. What the publisher sees tells who publishes; what others see does not.
    //= MS-PRES 3.8.5.2.2
    //# for others: render, capture and availability; for oneself also publish, version and endpoint
    pub fn write(&self, out: &mut Vec<u8>) {
        for part in ["<services xmlns=\"", SERVICE, "\">"] {
            out.extend_from_slice(part.as_bytes());
        }
        for (uri, offers) in &self.0 {
            out.extend_from_slice(b"<service");
            write_attribute("uri", uri, out);
            out.extend_from_slice(b"><capabilities>");
            for offer in offers {
                offer.write(out);
            }
            out.extend_from_slice(b"</capabilities></service>");
        }
        out.extend_from_slice(b"</services>");
    }
}

impl Offer {
    fn write(&self, out: &mut Vec<u8>) {
        let capability = &self.capability;
        let flag = |on: bool| if on { "true" } else { "false" };
        out.push(b'<');
        out.extend_from_slice(capability.name.as_bytes());
        write_attribute("render", flag(capability.render), out);
        write_attribute("capture", flag(capability.capture), out);
        if !self.preferred_endpoint_id.is_empty() {
            write_attribute("publish", flag(capability.publish), out);
            if let Some(version) = capability.version {
                write_attribute("version", &version.to_string(), out);
            }
            write_attribute("preferredEndpointId", &self.preferred_endpoint_id, out);
        }
        write_attribute(
            "deviceAvailability",
            &self.device_availability.to_string(),
            out,
        );
        out.extend_from_slice(b"/>");
    }
}
