//! Which settings differ from those that the node was started with, and so wait for its next start.

use super::Config;

/// Names every setting, so that a new one cannot be forgotten.
macro_rules! settings {
    ($($field:ident $name:literal),+ $(,)?) => {
        impl Config {
            /// The names of the settings that are not as in `other`, as `node.toml` has them.
            #[must_use]
            pub fn changed(&self, other: &Config) -> Vec<&'static str> {
                let Config { $($field),+ } = self;
                let pairs = [$(($field == &other.$field, $name)),+];
                let others = pairs.iter().filter(|(same, _)| !same);
                others.map(|(_, name)| *name).collect()
            }
        }
    };
}

settings! {
    data "data",
    domains "domains",
    shards "shards",
    foreign "foreign",
    listen "listen.sip",
    tls "tls",
    websockets "websocket",
    admin "listen.admin",
    admin_tokens "listen.admin_tokens",
    directory "directory",
    auth "auth.mode",
    users "auth.users",
    realm "auth.realm",
    server_name "auth.server_name",
    trusted_edges "sip.trusted_edges",
    publication "limits.publication",
    subscription "limits.subscription",
    registration "limits.registration",
    in_flight "limits.in_flight",
    log_segment_bytes "limits.log_segment_bytes",
    snapshot_bytes "limits.snapshot_bytes",
    pool "pool",
    standard "standard",
    enhanced "enhanced",
    categories "limits.categories",
    watchers "limits.watchers",
    federated_users "federation.users",
    public_users "federation.public_users",
    contact_store "contact_store",
    profiles "profile",
    blustar "blustar",
    dialog "dialog",
    reg "reg",
    rules "rules",
    xcap "xcap",
    lists "list",
    pbx "pbx",
    publish "publish",
    calendar "calendar",
    log_filter "log.filter",
    log_format "log.format",
}
