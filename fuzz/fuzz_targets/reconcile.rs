#![no_main]
//! See `skydht_fuzz::reconcile`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| skydht_fuzz::reconcile(data));
