//! Option modules of the sinks, one a component.

pub mod blackhole;
pub mod console;
pub mod file;
pub mod otlp;
pub mod prometheus;

pub use blackhole::Blackhole;
pub use console::Console;
pub use file::File;
pub use otlp::OtlpSink;
pub use prometheus::Prometheus;
