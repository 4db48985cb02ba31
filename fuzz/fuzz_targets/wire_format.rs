//! See `tributary_tests::fuzz::wire_format`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tributary_tests::fuzz::wire_format(data));
