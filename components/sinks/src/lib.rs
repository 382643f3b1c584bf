//! Sinks, one module per component. A module registers its component; nothing here is called by name.

mod blackhole;
mod console;
mod file;
mod otlp;
mod prometheus;
mod writer;
