#![no_main]
//! See `skydht_fuzz::redis`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::redis(data));
