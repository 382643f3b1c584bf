//! The disk queue.

pub mod files;
#[cfg(test)]
mod simulated;
