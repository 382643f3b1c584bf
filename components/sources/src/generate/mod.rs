//! Source `generate`: made-up logs, metrics and traces, to try a pipeline out and to measure it.

mod content;
mod fields;
mod generator;
mod template;
