//! Which incarnations are members: what a node learns of them beside what gossip says ([`incarnations`]), and how one counts
//! whose port refuses ([`refusal`]).

pub mod incarnations;
pub mod refusal;
