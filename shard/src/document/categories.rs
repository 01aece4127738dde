//! `application/msrtc-event-categories+xml` (MS-PRES 2.2.2.1): what a watcher sees of a publisher.

use crate::category::{CATEGORIES, Category, write_attribute};
use crate::presence::instance::{Instance, Lifetime, Place};
use crate::subscription::view::{Own, Seen, View};
use crate::time::Timestamp;

/// Appends the document for a category watcher.
//= MS-PRES 3.2.5.3
//# name, instance, publish time and the published XML; nothing of container, version, lifetime or endpoint
pub fn compose(view: &View, out: &mut Vec<u8>) {
    let Seen::Categories(categories) = &view.seen else {
        return;
    };
    begin(&view.presentity.to_string(), out);
    for (category, instances) in categories {
        //= MS-PRES 3.2.5.3
        //# who resolves to nothing gets an empty instance, as if nothing were published
        if instances.is_empty() {
            write_empty(category, out);
        }
        for instance in instances {
            write_head(instance, out);
            write_body(instance, out);
        }
    }
    out.extend_from_slice(b"</categories>");
}

/// Appends the categories element of one's own data.
pub(super) fn write_own(view: &View, own: &Own, out: &mut Vec<u8>) {
    let Some(instances) = &own.categories else {
        return;
    };
    begin(&view.presentity.to_string(), out);
    for instance in instances {
        write_own_instance(instance, view.taken_at, out);
    }
    for (category, container) in &own.cleared {
        write_cleared(&(category.clone(), *container), out);
    }
    out.extend_from_slice(b"</categories>");
}

fn begin(uri: &str, out: &mut Vec<u8>) {
    for part in ["<categories xmlns=\"", CATEGORIES, "\""] {
        out.extend_from_slice(part.as_bytes());
    }
    write_attribute("uri", uri, out);
    out.push(b'>');
}

fn write_empty(category: &Category, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<category");
    write_attribute("name", category.as_str(), out);
    out.extend_from_slice(b"/>");
}

fn write_cleared((category, container): &Place, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<category");
    write_attribute("name", category.as_str(), out);
    write_attribute("container", &container.to_string(), out);
    out.extend_from_slice(b"/>");
}

/// Name, number and time.
fn write_head(instance: &Instance, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<category");
    write_attribute("name", instance.category.as_str(), out);
    write_attribute("instance", &instance.number.to_string(), out);
    write_attribute("publishTime", &publish_time(instance.published_at), out);
}

fn write_body(instance: &Instance, out: &mut Vec<u8>) {
    out.push(b'>');
    let begin = out.len();
    instance.body.write(out);
    if out.len() == begin {
        out.pop();
        out.extend_from_slice(b"/>");
    } else {
        out.extend_from_slice(b"</category>");
    }
}

/// An instance with everything that its publisher may know.
//= MS-PRES 3.2.5.1.2
//# all attributes that have values, publishTime and version among them
fn write_own_instance(instance: &Instance, now: Timestamp, out: &mut Vec<u8>) {
    write_head(instance, out);
    write_attribute("container", &instance.container.to_string(), out);
    write_attribute("version", &instance.version.to_string(), out);
    match instance.lifetime {
        Lifetime::Static => write_attribute("expireType", "static", out),
        Lifetime::User => write_attribute("expireType", "user", out),
        Lifetime::Endpoint(endpoint) => {
            write_attribute("expireType", "endpoint", out);
            write_attribute("endpointId", &format!("{endpoint:#}"), out);
        }
        Lifetime::Until(at) => {
            write_attribute("expireType", "time", out);
            // Contradiction C-24: the seconds that are left.
            write_attribute("expires", &at.seconds_after(now).to_string(), out);
        }
    }
    write_body(instance, out);
}

/// `2008-01-11T17:29:13.263`: UTC, three decimals, no zone.
//= MS-PRES 2.2.2.1
//# publishTime is in UTC and no coarser than a minute
fn publish_time(at: Timestamp) -> String {
    let mut text = at.to_string();
    text.truncate(23);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    //= MS-PRES 2.2.2.1
    //= type=test
    // proves: PRES-2.2.2.1-05
    #[test]
    fn a_publish_time_has_milliseconds_and_no_zone() {
        assert_eq!(
            publish_time(Timestamp(1_200_072_553_263)),
            "2008-01-11T17:29:13.263"
        );
        assert_eq!(publish_time(Timestamp(0)), "1970-01-01T00:00:00.000");
    }
}
