//! What is measured beside each other.

use super::site::Variant;
use super::tomcat::{Manager, Sending};

/// A server, or several nodes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct System {
    /// Its name among the figures.
    pub(crate) name: &'static str,
    /// Its name in the table.
    pub(crate) what: &'static str,
    /// The load goes to the first of them.
    pub(crate) nodes: usize,
    pub(crate) server: Server,
    /// Whether its nodes have a secret.
    pub(crate) sealed: bool,
    /// Whether its nodes count for Prometheus and serve the admin API.
    pub(crate) observed: bool,
}

/// What serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Axum(Variant),
    Tomcat(Manager),
}

impl System {
    pub(crate) const BARE: Self = Self::axum("no session", 1, Variant::Bare);
    pub(crate) const MEMORY: Self = Self::axum("MemoryStore", 1, Variant::Memory);
    pub(crate) const REDIS: Self = Self::axum("Redis store", 2, Variant::Redis);
    pub(crate) const MESH_STORE: Self = Self::axum("Sessionmesh, as store", 2, Variant::MeshStore);
    pub(crate) const MESH_LAYER: Self = Self::axum("Sessionmesh, own layer", 2, Variant::MeshLayer);
    pub(crate) const MESH_LAYER_4: Self =
        Self { name: "mesh-layer-4", ..Self::axum("Sessionmesh, own layer, 4 nodes", 4, Variant::MeshLayer) };
    const STANDARD: Self = Self::tomcat("tomcat-standard", "Tomcat StandardManager", 1, Manager::Standard);
    const DELTA_ASYNC: Self =
        Self::tomcat("tomcat-delta-async", "Tomcat DeltaManager, async", 2, Manager::Delta(Sending::Asynchronous));
    const DELTA_ACK: Self =
        Self::tomcat("tomcat-delta-ack", "Tomcat DeltaManager, ack", 2, Manager::Delta(Sending::Acknowledged));
    const BACKUP_ASYNC: Self =
        Self::tomcat("tomcat-backup-async", "Tomcat BackupManager, async", 2, Manager::Backup(Sending::Asynchronous));
    pub(crate) const BACKUP_ACK: Self =
        Self::tomcat("tomcat-backup-ack", "Tomcat BackupManager, ack", 2, Manager::Backup(Sending::Acknowledged));
    pub(crate) const BACKUP_ACK_4: Self = Self::tomcat(
        "tomcat-backup-ack-4",
        "Tomcat BackupManager, ack, 4 nodes",
        4,
        Manager::Backup(Sending::Acknowledged),
    );

    /// In the order of the tables.
    pub(crate) const ALL: [Self; 12] = [
        Self::BARE,
        Self::MEMORY,
        Self::REDIS,
        Self::MESH_STORE,
        Self::MESH_LAYER,
        Self::MESH_LAYER_4,
        Self::STANDARD,
        Self::DELTA_ASYNC,
        Self::DELTA_ACK,
        Self::BACKUP_ASYNC,
        Self::BACKUP_ACK,
        Self::BACKUP_ACK_4,
    ];

    const fn axum(what: &'static str, nodes: usize, variant: Variant) -> Self {
        Self { name: variant.name(), what, nodes, server: Server::Axum(variant), sealed: false, observed: false }
    }

    const fn tomcat(name: &'static str, what: &'static str, nodes: usize, manager: Manager) -> Self {
        Self { name, what, nodes, server: Server::Tomcat(manager), sealed: false, observed: false }
    }

    /// Whether it keeps sessions at all.
    pub(crate) const fn has_sessions(&self) -> bool {
        !matches!(self.server, Server::Axum(Variant::Bare))
    }

    pub(crate) const fn is_tomcat(&self) -> bool {
        matches!(self.server, Server::Tomcat(_))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_tell_systems_apart() {
        let names: BTreeSet<_> = System::ALL.iter().map(|system| system.name).collect();
        let whats: BTreeSet<_> = System::ALL.iter().map(|system| system.what).collect();
        assert_eq!((names.len(), whats.len()), (System::ALL.len(), System::ALL.len()));
    }
}
