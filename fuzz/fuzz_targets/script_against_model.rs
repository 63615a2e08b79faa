#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| admit_fuzz::script_against_model(data));
