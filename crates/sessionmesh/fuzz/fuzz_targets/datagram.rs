//! See `src/targets/datagram.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::datagram::TARGET.run(bytes);
});
