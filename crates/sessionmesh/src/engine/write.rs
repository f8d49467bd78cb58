//! Changing sessions: by this node's application, and by what peers send.

pub(crate) mod apply;
pub(crate) mod commit;
pub(crate) mod end;
pub(crate) mod user_limit;
