//! Who the members are: what gossip says of them ([`gossiped`]), what links find out ([`evidence`]), what is known of each
//! incarnation ([`incarnations`], and of those whose ports refuse [`refusal`]), the view that follows ([`members`]), and what
//! is not known because members were lost ([`lost`]).

pub mod evidence;
pub mod gossiped;
pub mod incarnations;
pub mod lost;
pub mod members;
pub mod refusal;
