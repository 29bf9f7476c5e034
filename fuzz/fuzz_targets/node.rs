#![no_main]
//! See `skydht_fuzz::node`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::node(data));
