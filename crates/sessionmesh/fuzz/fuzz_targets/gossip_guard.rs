//! See `src/targets/gossip_guard.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::gossip_guard::TARGET.run(bytes);
});
