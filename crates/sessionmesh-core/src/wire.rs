//! What nodes say to each other: the messages ([`message`]) and their bytes ([`codec`]).

pub mod codec;
pub mod message;
