//! What whole requests must reach, at 16 connections with values of 256 bytes.

use super::system::System;
use super::workload::Workload;
use crate::report::{Bound, Figures, Goal};

pub(crate) const GOALS: [Goal; 7] = [
    Goal {
        what: "read, own layer to no session",
        unit: "",
        bound: Bound::AtLeast(0.90),
        value: |figures| rates(figures, Workload::READ, System::MESH_LAYER, System::BARE),
    },
    Goal {
        what: "read, store to MemoryStore",
        unit: "",
        bound: Bound::AtLeast(0.95),
        value: |figures| rates(figures, Workload::READ, System::MESH_STORE, System::MEMORY),
    },
    Goal {
        what: "write, own layer to Redis",
        unit: "",
        bound: Bound::AtLeast(1.5),
        value: |figures| rates(figures, Workload::WRITE, System::MESH_LAYER, System::REDIS),
    },
    Goal {
        what: "write, own layer to Tomcat BackupManager, ack",
        unit: "",
        bound: Bound::AtLeast(4.0),
        value: |figures| rates(figures, Workload::WRITE, System::MESH_LAYER, System::BACKUP_ACK),
    },
    Goal {
        what: "new session, own layer to Redis",
        unit: "",
        bound: Bound::AtLeast(1.3),
        value: |figures| rates(figures, Workload::NEW, System::MESH_LAYER, System::REDIS),
    },
    Goal {
        what: "new session, own layer to Tomcat BackupManager, ack",
        unit: "",
        bound: Bound::AtLeast(20.0),
        value: |figures| rates(figures, Workload::NEW, System::MESH_LAYER, System::BACKUP_ACK),
    },
    Goal {
        what: "write, own layer, 4 to 2 nodes",
        unit: "",
        bound: Bound::AtLeast(0.9),
        value: |figures| rates(figures, Workload::WRITE, System::MESH_LAYER_4, System::MESH_LAYER),
    },
];

/// The ratio of two rates; none if one was not measured.
fn rates(figures: &Figures, workload: Workload, of: System, to: System) -> Option<f64> {
    figures.ratio(&workload.figure(&of, "rate"), &workload.figure(&to, "rate"))
}
