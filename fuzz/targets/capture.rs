//! See `resptap_fuzz::capture`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| resptap_fuzz::capture::run(data));
