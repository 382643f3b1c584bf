//! Reading OTLP/JSON, on any text. The first byte chooses the signal.
//! The checks are those of the property tests; `cargo test -p otlp --test corpus` replays the seeds without a fuzzer.

#![no_main]

#[path = "../../engine/otlp/tests/check/mod.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::fuzz_json(data));
