//! See `src/targets/link_accept.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::link_accept::TARGET.run(bytes);
});
