//! Lines of log files, of any bytes. The first byte chooses how they are read.
//! The checks are those of the property tests; `cargo test -p sources --lib fuzz_target` replays the seeds without a fuzzer.

#![no_main]

#[allow(dead_code, unused_imports, unreachable_pub, reason = "the target uses a part of the module")]
#[path = "../../components/sources/src/tail/record/mod.rs"]
mod record;

#[path = "../../components/sources/src/tail/record/tests/check.rs"]
mod check;

use record::{FileParser, Format, Line, LineCounts, RecordOptions, Records};

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::fuzz(data));
