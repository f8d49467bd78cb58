//! Whom the settings name, and where they are.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Every seed and name of the settings, with what is known about it.
pub(crate) type Named = BTreeMap<String, LookedUp>;

/// What the last look-up of a name gave. A seed that is an address needs none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LookedUp {
    /// The first look-up is under way.
    Pending,
    /// Its addresses, this node's own perhaps among them.
    At(Vec<SocketAddr>),
    /// There was no answer in time, or it was that there are no addresses: why.
    Failed(String),
}

/// All `seeds` and `names`, none of them looked up.
pub(super) fn named(seeds: &[String], names: &[String]) -> Named {
    let looked_up = |name: &String| match name.parse() {
        Ok(addr) => LookedUp::At(vec![addr]),
        Err(_) => LookedUp::Pending,
    };
    seeds.iter().chain(names).map(|name| (name.clone(), looked_up(name))).collect()
}
