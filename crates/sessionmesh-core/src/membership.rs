//! Which incarnations are members: what a node learns of them beside what gossip says ([`incarnations`]), and how one counts
//! whose port refuses ([`refusal`]); and what is not known because members were lost ([`lost`]).

pub mod incarnations;
pub mod lost;
pub mod refusal;
