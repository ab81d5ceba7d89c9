//! See `resptap_fuzz::segments`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| resptap_fuzz::segments::run(data));
