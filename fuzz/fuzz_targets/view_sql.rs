//! See `tributary_tests::fuzz::view_sql`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tributary_tests::fuzz::view_sql(data));
