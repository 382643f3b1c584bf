//! What can be wrong with a pipeline, and in which words it is told.

pub mod endpoint;
pub mod name;
mod problem;
pub mod tls;
pub mod unsupported;

pub use self::problem::{Problem, Reason};
pub use self::tls::{Certificate, Expiry};
