//! The log against a model of it, over a simulated directory: crashes, power losses, errors, full disks, damage.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod model;
mod random;
mod world;
