//! The rules of Sessionmesh as a small model, of which **all** states are looked at, not some runs.
//!
//! Three nodes `a`, `b` and `c`, one or two sessions, a primary and one backup, and few faults: in each state the checker
//! tries everything that could come next. It finds what needs an order of events that no simulation comes upon, and says so
//! by the shortest way there. `stateright` does the search.
//!
//! # What is in it
//!
//! | part | how |
//! |---|---|
//! | sessions | a set of writes, and an end that absorbs them; deltas from a stamp, questions, whole sessions, tombstones |
//! | outboxes | marks with stamp, lane and debt; one item under way to each peer; parked items; broken links |
//! | commits | `Ack::Owners`: owners, stand-ins, displaced and unaware nodes; given up at the deadline, or not waited for |
//! | views | each node has its own, and hears of each change of another one at any later time, or by the third node |
//! | leases | granted by a ping under a view, when nothing is owed; held by one side for no longer than by the other |
//! | suspicion | silence, left out, cut off, reinstated; stalls, doubt |
//! | hand-over | scans, audits, newcomers that become ready, nodes that leave, the keeping rule |
//! | reads | not steps: in each state the answer of each node is computed, for each order of the replies |
//!
//! # What decides
//!
//! The rules themselves, not copies of them. These functions of `sessionmesh-core` are called in each state: placement and
//! view hashes (`Slots`, `Placement`, `displaced`, `unaware`, `stand_ins`), `targets`, `Acks`, `Outbox`,
//! `Handoff::plan`, `is_droppable` and `HandoffConfirmations::may_drop`, `transition::donor` and `is_in_transition`,
//! `drain::is_done`, `PeerLiveness` (grants, suspicion, what is left out), `leases::may_answer` and `leased_until`,
//! `ReadRound`, `LostMembers::hides`, and `Delta::apply` with `after_merge` (each case once, as a table: [`mesh`]). What is
//! written here follows the engine: `mesh` its `replication` and `view_task`, `protocol` its links, scans and audits, `reads`
//! its `read`.
//!
//! # What is left out, and why that is fair
//!
//! - **Time.** There is no clock; whatever could happen later can happen at any time. What times guarantee is a rule of
//!   order: a lease runs out for its holder not after it does for its granter; on a link that works it is renewed before it
//!   runs out; a node that stalled finds all leases run out, its own and those that it granted; a node is silent only while
//!   it cannot answer; it is removed, or cut off, only when no lease between the two runs. What real nodes do that keep
//!   their times is among what the model does.
//! - **Messages.** What is sent arrives at once or never; the answer comes at any later time, or is lost with its link. A
//!   message that comes late cannot be told from one that was sent late, since what is sent is what the sender holds then.
//!   A ping and its answer are one step, for the same reason; so is a question of a read with its replies.
//! - **Gossip.** A node hears the present state of another one, entry by entry, or does not hear it.
//! - **What does not meet leases and copies**: idle times and expiry, renewals and moves, users, removed attributes, zones,
//!   settings that differ, secrets, several links at once. A stamp says in which order writes were made.
//! - **Cuts** are in both directions, as TCP makes them. A crash is that of a process: its port refuses.
//! - In configurations that would have too many states some steps are taken as soon as they are possible
//!   ([`bounds::Prompt`]), and a depth is set ([`bounds::Bounds::depth_max`]).
//!
//! # What is checked
//!
//! The promises of docs/guarantees.md that speak of leases, copies and ends, in the same words and under the same
//! conditions ([`promises::Promise`]); the keeping rule; and that when nothing is left to do and all is calm, all owners of
//! a session hold the same and nobody else holds anything. That nodes come to an end of what they do is not checked.
//!
//! # How much that is
//!
//! All states: three writers 179,511; logout and late save 247,472; two sessions 3,276; crash 55,877; crash and logout
//! 10,379; crash, two sessions 72,094; join 36,589; join and crash 255,894. The others are looked at to the depth that
//! [`bounds::ALL`] names. Two busy cores looked at some 10,000 to 60,000 states in a second.
//!
//! # Mistakes
//!
//! The planted mistakes of `sessionmesh_core::failpoint` that belong here must be found ([`mistakes`]). One of them,
//! `old-report-counts`, was none: it is how the rules were until the model found it.

pub mod bounds;
pub mod check;
pub mod cluster;
mod faults;
mod liveness;
mod merges;
pub mod mesh;
pub mod mistakes;
mod places;
pub mod promises;
mod protocol;
mod reads;
pub mod steps;
