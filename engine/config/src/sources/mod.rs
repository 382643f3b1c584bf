//! Option modules of the sources, one a component.

pub mod generate;
pub mod host_metrics;
pub mod otlp;

pub use generate::Generate;
pub use host_metrics::HostMetrics;
pub use otlp::OtlpSource;
