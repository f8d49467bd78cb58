//! See `src/targets/session_id.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::session_id::TARGET.run(bytes);
});
