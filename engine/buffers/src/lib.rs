//! The disk queue.

pub mod files;
mod format;
pub mod log;
#[cfg(test)]
mod model_tests;
mod ranges;
#[cfg(test)]
mod simulated;

pub use format::{FRAME_OVERHEAD, VERSION};
