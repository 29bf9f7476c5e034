#![no_main]
//! See `skydht_fuzz::stored_records`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::stored_records(data));
