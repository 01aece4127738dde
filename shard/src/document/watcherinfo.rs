//! `application/watcherinfo+xml` (RFC 3858): who watches.
//!
//! A document is composed in two steps, as lists are: what is the same for all who are told once
//! ([`compose`]), the version of each dialog when it is sent ([`finish`]).

use crate::category::write_attribute;
use crate::subscription::view::{Seen, View, WatcherEvent, WatcherStatus};
use crate::xml::escape;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:watcherinfo";

/// Appends what of the document does not depend on the dialog: all behind the version.
//= RFC 3858 4
//# a list for the resource and its package, with a watcher element for each
pub fn compose(view: &View, out: &mut Vec<u8>) {
    let Seen::Watchers { full, watchers } = &view.seen else {
        return;
    };
    write_attribute("state", if *full { "full" } else { "partial" }, out);
    out.extend_from_slice(b"><watcher-list");
    write_attribute("resource", &view.presentity.to_string(), out);
    write_attribute("package", "presence", out);
    out.push(b'>');
    for watcher in watchers {
        out.extend_from_slice(b"<watcher");
        write_attribute("status", status(watcher.status), out);
        write_attribute("event", event(watcher.event), out);
        write_attribute("id", &watcher.dialog.to_string(), out);
        if watcher.status != WatcherStatus::Terminated {
            write_attribute("expiration", &watcher.expires_s.to_string(), out);
        }
        out.push(b'>');
        escape(&watcher.address.to_string(), out);
        out.extend_from_slice(b"</watcher>");
    }
    out.extend_from_slice(b"</watcher-list></watcherinfo>\n");
}

/// The document of one notification, made of what [`compose`] wrote.
//= RFC 3858 4.1
//# the version is 0 first and grows by one with each notification in the dialog
#[must_use]
pub fn finish(composed: &[u8], version: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(composed.len() + 128);
    out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<watcherinfo");
    write_attribute("xmlns", NAMESPACE, &mut out);
    write_attribute("version", &version.to_string(), &mut out);
    out.extend_from_slice(composed);
    out
}

fn status(status: WatcherStatus) -> &'static str {
    match status {
        WatcherStatus::Pending => "pending",
        WatcherStatus::Active => "active",
        WatcherStatus::Terminated => "terminated",
    }
}

fn event(event: WatcherEvent) -> &'static str {
    match event {
        WatcherEvent::Subscribe => "subscribe",
        WatcherEvent::Approved => "approved",
        WatcherEvent::Deactivated => "deactivated",
        WatcherEvent::Rejected => "rejected",
        WatcherEvent::Timeout => "timeout",
        WatcherEvent::Noresource => "noresource",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::Aor;
    use crate::subscription::dialog::DialogKey;
    use crate::subscription::view::WatcherLine;
    use crate::time::Timestamp;

    //= RFC 3858 4
    //= type=test
    #[test]
    fn each_watcher_has_a_line() {
        let line = |dialog: u128, status, event| WatcherLine {
            dialog: DialogKey(dialog),
            address: Aor::sip("b<b", "example.com"),
            status,
            event,
            expires_s: 60,
        };
        let lines = vec![
            line(1, WatcherStatus::Pending, WatcherEvent::Subscribe),
            line(2, WatcherStatus::Terminated, WatcherEvent::Timeout),
        ];
        let alice = Aor::sip("alice", "example.com");
        let view = View::watchers(alice, 1, false, lines, Timestamp(0));
        let mut composed = Vec::new();
        compose(&view, &mut composed);
        let document = String::from_utf8(finish(&composed, 4)).expect("UTF-8");
        let one = "00000000000000000000000000000001";
        let two = "00000000000000000000000000000002";
        assert_eq!(
            document,
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<watcherinfo xmlns=\"{NAMESPACE}\" version=\"4\" \
                 state=\"partial\"><watcher-list resource=\"sip:alice@example.com\" package=\"presence\">\
                 <watcher status=\"pending\" event=\"subscribe\" id=\"{one}\" expiration=\"60\">sip:b&lt;b@example.com</watcher>\
                 <watcher status=\"terminated\" event=\"timeout\" id=\"{two}\">sip:b&lt;b@example.com</watcher>\
                 </watcher-list></watcherinfo>\n"
            )
        );
    }
}
