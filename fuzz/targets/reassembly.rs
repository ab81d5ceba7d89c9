//! See `resptap_fuzz::reassembly`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| resptap_fuzz::reassembly::run(data));
