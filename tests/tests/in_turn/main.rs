//! Clusters in this process, on real sockets of loopback, in tests that measure a time closely or that take all of a small
//! machine: one runs at a time, so that none disturbs another.

mod cold_start;
mod drain;
mod hung_peer;
mod join;
mod outgrown;
mod task_dies;
mod tombstones;
mod unknown_ids;
