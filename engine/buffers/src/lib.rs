//! The disk queue.

pub mod files;
