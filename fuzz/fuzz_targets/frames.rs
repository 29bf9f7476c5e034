#![no_main]
//! See `skydht_fuzz::frames`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::frames(data));
