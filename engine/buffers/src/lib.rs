//! The disk queue of a sink: what was answered as a success survives the end of the process and a loss of power.
//!
//! A buffer is a directory with a name, the identity of its owner, which one process holds at a time. In it a log of frames
//! is kept in segments ([`log`]); a thread of its own writes and syncs them in groups ([`DiskQueue`]). Not here: what a sink
//! keeps in memory, and when it sends what (`engine_core::sink`).

pub mod files;
mod format;
pub mod log;
#[cfg(test)]
mod model_tests;
mod queue;
mod ranges;
#[cfg(test)]
mod simulated;
mod worker;

pub use format::{FRAME_OVERHEAD, VERSION};
pub use queue::{DiskQueue, OpenQueueError};
