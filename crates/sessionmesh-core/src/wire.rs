//! What nodes say to each other: the messages ([`message`]), their bytes ([`codec`]), and in which [`version`].

pub mod codec;
pub mod message;
pub mod version;
