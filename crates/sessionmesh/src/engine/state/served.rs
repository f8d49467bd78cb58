//! How many connections of each node are served.

use std::collections::BTreeMap;

use sessionmesh_core::id::NodeHash;

use crate::lock::lock;
use crate::sync::Mutex;

/// Connections of one incarnation of a node: its link, one that carries gossip, and the former ones of both that have not been
/// noticed to be dead.
const BY_NODE_MAX: usize = 16;

/// Counts them.
#[derive(Debug, Default)]
pub(crate) struct Served(Mutex<BTreeMap<NodeHash, usize>>);

/// One that is counted, until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    served: &'a Served,
    node: NodeHash,
}

impl Served {
    /// One more of this node, unless it has too many.
    pub(crate) fn admit(&self, node: NodeHash) -> Option<Counted<'_>> {
        let mut served = lock(&self.0);
        let of_node = served.entry(node).or_default();
        if *of_node >= BY_NODE_MAX {
            return None;
        }
        *of_node += 1;
        Some(Counted { served: self, node })
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut served = lock(&self.served.0);
        if let Some(of_node) = served.get_mut(&self.node) {
            *of_node -= 1;
            if *of_node == 0 {
                served.remove(&self.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::model;

    #[test]
    fn a_node_has_a_few_connections_and_what_ended_is_forgotten() {
        model(|| {
            let served = Served::default();
            let [one, other] = [NodeHash::of("a", 1), NodeHash::of("b", 1)];
            let open: Vec<_> = (0..BY_NODE_MAX).map(|_| served.admit(one).unwrap()).collect();
            assert!(served.admit(one).is_none() && served.admit(other).is_some());
            drop(open);
            assert!(lock(&served.0).is_empty());
            assert!(served.admit(one).is_some());
        });
    }
}
