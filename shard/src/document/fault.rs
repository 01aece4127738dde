//! `application/msrtc-fault+xml` (MS-PRES 2.2.2.2.3): versions that are not the current ones.

use std::sync::Arc;

use crate::category::write_attribute;
use crate::presence::container::Conflict;
use crate::presence::instance::Instance;

/// Appends the fault. `current` has the current instances in the order of the conflicts; of containers and
/// delegates there are none.
//= MS-PRES 2.2.2.2.3
//# each conflict with its place, the version named and the current one, and the current data
pub fn compose(conflicts: &[Conflict], current: &[Option<Arc<Instance>>], out: &mut Vec<u8>) {
    // Contradiction C-20: the other spelling is an editor's.
    out.extend_from_slice(b"<Fault><Faultcode>Client.BadCall.WrongDelta</Faultcode><details>");
    for (place, conflict) in conflicts.iter().enumerate() {
        out.extend_from_slice(b"<operation");
        write_attribute("index", &conflict.index.to_string(), out);
        write_attribute("version", &conflict.version.to_string(), out);
        write_attribute("curVersion", &conflict.current.to_string(), out);
        out.push(b'>');
        if let Some(Some(instance)) = current.get(place) {
            instance.body.write(out);
        }
        out.extend_from_slice(b"</operation>");
    }
    out.extend_from_slice(b"</details></Fault>");
}
