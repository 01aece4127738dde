//! Which container a watcher sees, once more, written straight from MS-PRES 3.2.5.3: six sentences, each a
//! search from end to end. It shares no code with the product, not even its types.

/// One line of a membership list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Of which container.
    pub container: u16,
    /// `user`, `domain`, `sameEnterprise`, `federated`, `publicCloud` or `everyone`.
    pub kind: String,
    /// Of a user or a domain.
    pub value: String,
}

/// Who watches: `user@domain` or a telephone number, and the name of its network.
#[derive(Clone, Copy, Debug)]
pub struct Watcher<'a> {
    pub address: &'a str,
    pub network: &'a str,
}

/// Whether a line of the list speaks of the watcher at all, whatever its rank.
pub fn is_member(entry: &Entry, watcher: Watcher<'_>) -> bool {
    let domain = watcher
        .address
        .split_once('@')
        .map_or("", |(_, domain)| domain);
    match &*entry.kind {
        "user" => entry.value == watcher.address,
        "domain" => !domain.is_empty() && entry.value == domain,
        "everyone" => true,
        network => network == watcher.network,
    }
}

/// The container that the watcher is resolved to among those that hold the category.
pub fn resolve(list: &[Entry], watcher: Watcher<'_>, publishing: &[u16]) -> Option<u16> {
    // "The server MUST consider only those that contain the category": all other lines are struck out.
    let considered: Vec<&Entry> = list
        .iter()
        .filter(|entry| publishing.contains(&entry.container))
        .collect();
    // Rules 1 to 5, and D21 of the house: everyone stands between the networks and the default container.
    let ranks = [
        "user",
        "domain",
        "sameEnterprise",
        "federated",
        "publicCloud",
        "everyone",
    ];
    for rank in ranks {
        let mut highest = None;
        for entry in &considered {
            if entry.kind == rank && is_member(entry, watcher) {
                highest = highest.max(Some(entry.container));
            }
        }
        if highest.is_some() {
            return highest;
        }
    }
    // Rule 6.
    publishing.contains(&0).then_some(0)
}
