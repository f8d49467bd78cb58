//! Messages as bytes: the bincode format, written by `wincode`.
//!
//! The only place that names the encoder, and the one at which a link's version makes a difference to bytes. That the bytes are bincode's (legacy configuration: little-endian, fixed
//! width, 64-bit lengths) is proven in the tests against `bincode` itself.

use wincode::SchemaRead;
use wincode::config::Configuration;

use crate::wire::message::{Hello, Message};
use crate::wire::version::{Version, Versions};

/// The largest encoded message, in bytes. No commit makes a session larger than its limit (16 MiB at most, 4 MiB by
/// default), but several nodes may do so at once, each before it hears of the others; so many times the limit has to fit.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// An element takes at most this many times as much memory as it takes bytes on the wire.
const EXPANSION_MAX: usize = 2;

/// The format, in which one collection may reserve no more than `RESERVED_BYTES_MAX` before its content was read.
const fn format<const RESERVED_BYTES_MAX: usize>() -> Configuration<true, RESERVED_BYTES_MAX> {
    Configuration::default().with_preallocation_size_limit::<RESERVED_BYTES_MAX>()
}

/// Why bytes are no message, or a message cannot become bytes.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The bytes are not a message of this protocol. Nothing of them was used.
    #[error("malformed message ({0}); the link is closed and nothing of it was used")]
    Malformed(BytesError),
    /// The message cannot be written. Nothing was sent.
    #[error("the message cannot be encoded ({0}); nothing was sent")]
    Unencodable(BytesError),
    /// The message exceeds [`MESSAGE_BYTES_MAX`].
    #[error("a message of {bytes} bytes exceeds the limit of {MESSAGE_BYTES_MAX}; nothing of it was used")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What the encoder said about bytes or a message.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BytesError(Inner);

#[derive(Debug, thiserror::Error)]
enum Inner {
    #[error(transparent)]
    Read(wincode::ReadError),
    #[error(transparent)]
    Write(wincode::WriteError),
    #[error("it does not end as every message of version {0} does")]
    Unrehearsed(u16),
}

/// Encodes `message` for a link of this version.
pub fn encode(message: &Message<'_>, version: Version) -> Result<Vec<u8>, CodecError> {
    let mut bytes = encode_first(message)?;
    if let Some(rehearsal) = version.rehearsal() {
        bytes.extend_from_slice(&rehearsal);
    }
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(CodecError::TooLarge { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// Encodes one of the first words on a connection, before it has a version: they are the same in all.
pub fn encode_first(message: &Message<'_>) -> Result<Vec<u8>, CodecError> {
    wincode::config::serialize(message, format::<{ EXPANSION_MAX * MESSAGE_BYTES_MAX }>())
        .map_err(|error| CodecError::Unencodable(BytesError(Inner::Write(error))))
}

/// Decodes one message of a link of this version, which must fill `bytes` exactly. It borrows its keys and values from them.
///
/// Whatever lengths the bytes claim, the memory taken stays below [`DECODED_BYTES_FACTOR`] times their number (or times
/// [`SMALL_BYTES`], if they are fewer).
pub fn decode(bytes: &[u8], version: Version) -> Result<Message<'_>, CodecError> {
    let bytes = match version.rehearsal() {
        None => bytes,
        Some(rehearsal) => bytes
            .strip_suffix(&rehearsal)
            .ok_or_else(|| CodecError::Malformed(BytesError(Inner::Unrehearsed(version.number()))))?,
    };
    // The limit is a constant of wincode's types, so it grows with the bytes in steps.
    let decoded = match bytes.len() {
        0..=SMALL_BYTES => decode_within::<{ EXPANSION_MAX * SMALL_BYTES }>(bytes),
        0x801..=0x2000 => decode_within::<{ EXPANSION_MAX * 0x2000 }>(bytes),
        0x2001..=0x8000 => decode_within::<{ EXPANSION_MAX * 0x8000 }>(bytes),
        0x8001..=0x2_0000 => decode_within::<{ EXPANSION_MAX * 0x2_0000 }>(bytes),
        0x2_0001..=0x8_0000 => decode_within::<{ EXPANSION_MAX * 0x8_0000 }>(bytes),
        0x8_0001..=0x20_0000 => decode_within::<{ EXPANSION_MAX * 0x20_0000 }>(bytes),
        0x20_0001..=0x80_0000 => decode_within::<{ EXPANSION_MAX * 0x80_0000 }>(bytes),
        0x80_0001..=0x200_0000 => decode_within::<{ EXPANSION_MAX * 0x200_0000 }>(bytes),
        0x200_0001..=MESSAGE_BYTES_MAX => decode_within::<{ EXPANSION_MAX * MESSAGE_BYTES_MAX }>(bytes),
        bytes => return Err(CodecError::TooLarge { bytes }),
    };
    decoded.map_err(|error| CodecError::Malformed(BytesError(Inner::Read(error))))
}

/// Decodes one of the first words on a connection. What a later version adds to it is skipped.
pub fn decode_first(bytes: &[u8]) -> Result<Message<'_>, CodecError> {
    wincode::config::deserialize(bytes, format::<{ EXPANSION_MAX * SMALL_BYTES }>())
        .map_err(|error| CodecError::Malformed(BytesError(Inner::Read(error))))
}

/// How the encoding of every hello begins, whatever the version.
#[derive(SchemaRead)]
struct HelloHead {
    /// The place of [`Message::Hello`].
    variant: u32,
    magic: u32,
    oldest: u16,
    newest: u16,
}

/// A hello, as far as it can be read.
#[derive(Debug)]
pub struct HelloRead<'a> {
    /// The first field: whether it is one at all.
    pub magic: u32,
    /// What the dialler speaks.
    pub versions: Versions,
    /// All of it; what a later version adds is skipped. A version that is too new may have another form.
    pub hello: Result<Hello<'a>, CodecError>,
}

/// Reads the first message of a connection. `None` if it is no hello.
#[must_use]
pub fn hello(bytes: &[u8]) -> Option<HelloRead<'_>> {
    let head: HelloHead = wincode::config::deserialize(bytes, format::<{ EXPANSION_MAX * SMALL_BYTES }>()).ok()?;
    if head.variant != 0 {
        return None;
    }
    let hello = match decode_first(bytes) {
        Ok(Message::Hello(hello)) => Ok(hello),
        Ok(_) => return None,
        Err(error) => Err(error),
    };
    Some(HelloRead { magic: head.magic, versions: Versions::new(head.oldest, head.newest), hello })
}

/// How the encoding of every reply begins.
#[derive(SchemaRead)]
struct ReplyHead {
    /// The place of its variant in [`Message`].
    variant: u32,
    request: u64,
}

/// The number of the question that the encoded message replies to, read from its first bytes; `None` if it is no reply.
/// Whether the rest of it is well-formed shows when it is decoded.
#[must_use]
pub fn replies_to(bytes: &[u8]) -> Option<u64> {
    /// [`Message::ReadReply`], [`Message::ExpireVotes`], [`Message::AuditDiffers`], [`Message::UserReply`] and
    /// [`Message::FiguresReply`].
    const REPLIES: [u32; 5] = [8, 10, 12, 16, 19];
    let head: ReplyHead = wincode::config::deserialize(bytes, format::<{ EXPANSION_MAX * SMALL_BYTES }>()).ok()?;
    REPLIES.contains(&head.variant).then_some(head.request)
}

/// Messages up to this size may all reserve the same.
pub const SMALL_BYTES: usize = 0x800;

/// The steps of [`decode`] are a factor of 4 apart, and of collections that are not yet filled there is never more than
/// one inside one other: 4 * 2 for each of the two, and 2 for what was filled.
pub const DECODED_BYTES_FACTOR: usize = 9 * EXPANSION_MAX;

fn decode_within<const RESERVED_BYTES_MAX: usize>(bytes: &[u8]) -> wincode::ReadResult<Message<'_>> {
    wincode::config::deserialize_exact(bytes, format::<RESERVED_BYTES_MAX>())
}

#[cfg(test)]
mod tests;
