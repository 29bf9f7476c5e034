#![no_main]
//! See `skydht_fuzz::journal_files`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::journal_files(data));
