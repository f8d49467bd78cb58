//! See `src/targets/link_dial.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::link_dial::TARGET.run(bytes);
});
