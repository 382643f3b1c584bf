//! From a plan to running components and back: build (I/O, nothing runs), run (spawns), drain.
//!
//! Not here: reading and judging configurations (`engine-config`), what a component does.

mod build;
mod drain;
mod run;
mod services;

pub use build::{BuildFailure, Built, build, build_with};
pub use drain::DrainReport;
pub use run::{Running, RunningNode};
