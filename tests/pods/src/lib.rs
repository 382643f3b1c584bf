//! What speaks OTLP in pods of tests: [`oracle`] is a backend that knows what was sent; the program `peer` runs it in a pod,
//! and is a client that is instrumented with the OpenTelemetry SDK.
//!
//! Not here: pods that only print (`pod` of the crate `cluster`), and who runs any of them.

pub mod oracle;
