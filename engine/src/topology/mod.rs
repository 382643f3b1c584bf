//! From a plan to running components and back: build (I/O, nothing runs), run (spawns), reload, drain.
//!
//! Not here: reading and judging configurations (`engine-config`), what a component does.

mod buffers;
mod build;
mod drain;
mod estate;
mod instance;
mod orphans;
mod reload;
mod retire;
mod run;
mod services;
mod wiring;

pub use buffers::DiskSink;
pub use build::{BuildFailure, Built, build, build_with};
pub use drain::DrainReport;
pub use orphans::{Orphans, OwnedBuffers};
pub use reload::{Changes, Refusal};
pub use run::{Happened, Running, RunningNode};
