//! See `resptap_fuzz::files`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| resptap_fuzz::files::run(data));
