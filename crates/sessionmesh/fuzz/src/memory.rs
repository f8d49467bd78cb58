//! Memory that a decoder takes.

/// Runs `decode`, which may have so many bytes of memory at a time.
///
/// # Panics
///
/// When it takes more.
pub fn within<T>(bytes: usize, decode: impl FnOnce() -> T) -> T {
    let mut decoded = None;
    let took = allocation_counter::measure(|| decoded = Some(decode()));
    assert!(took.bytes_max <= bytes as u64, "it took {} bytes of memory; {bytes} are allowed", took.bytes_max);
    decoded.expect("it was run")
}
