//! The disk queue.

pub mod files;
mod format;
pub mod log;
mod ranges;

pub use format::{FRAME_OVERHEAD, VERSION};
