//! See `src/targets/message.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = sessionmesh_fuzz::targets::message::TARGET.run(bytes);
});
