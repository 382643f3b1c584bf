//! The disk queue.

pub mod files;
mod format;
pub mod log;
mod ranges;
#[cfg(test)]
mod simulated;

pub use format::{FRAME_OVERHEAD, VERSION};
