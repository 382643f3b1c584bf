//! Arbitrary bytes of a connection to the servers of `transport`, over loopback.
//! `cargo test -p transport --test corpus` replays the seeds without a fuzzer.

#![no_main]

#[path = "../../components/transport/tests/check/mod.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::wire(data));
