//! Getting changes to all who must have them: what a peer may lack ([`outbox`]), since when ([`backlog`]), and what is
//! sent of it ([`delta`]), whom a commit waits for ([`targets`]) and until when ([`acks`]), what follows from a merge
//! ([`effects`]), and when a copy may be dropped ([`release`]).

pub mod acks;
pub mod backlog;
pub mod delta;
pub mod effects;
pub mod outbox;
pub mod release;
pub mod targets;
