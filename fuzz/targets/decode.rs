//! See `resptap_fuzz::decode`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| resptap_fuzz::decode::run(data));
