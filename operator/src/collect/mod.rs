//! From objects of the API to what is wanted: references resolved, defaults filled in, mistakes named.

mod model;
mod module;
mod output;
mod pipelines;
mod resolve;
mod selection;

pub use self::model::{
    Authentication, Buffer, Header, Inputs, Output, Pipeline, PipelineId, RuntimeLogs, SecretKey, SecretName, Text, Tls,
};
pub use self::module::{Module, TELEMETRY_NAME};
pub use self::pipelines::{Collected, pipelines, secrets};
pub use self::selection::Selection;
