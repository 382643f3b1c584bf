//! The log against a model of it, over a simulated directory: crashes, power losses, errors, full disks, damage.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod crashes;
mod damage;
mod full;
mod model;
mod outstanding;
mod random;
mod world;

use crate::log::Options;

/// As a buffer of 4 MiB has it.
const PRODUCTION: Options = Options { segment_size: 256 * 1024, max_size: u64::MAX, completions: 32, max_age: None };
