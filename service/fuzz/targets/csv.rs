#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sluicegen::fuzzing::csv(data));
