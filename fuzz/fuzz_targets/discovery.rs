#![no_main]
//! See `skydht_fuzz::discovery`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::discovery(data));
