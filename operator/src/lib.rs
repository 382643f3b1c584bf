//! The Telemetry Manager: watches pipelines, and runs what they ask for.
//!
//! [`plan::plan`] is the heart: from what was seen (`Input`) to everything that is to be (`Desired`), without a cluster and
//! without a clock. Around it: the API (`crd`), what pipelines mean (`collect`), what can be wrong with them (`validate`),
//! what waits on disk (`storage`), what runs (`render`), what is said (`status`), how it gets into a cluster (`apply`, `controller`), and the command line.
//!
//! Not here: what an engine does with its configuration (`engine-config` and the engine).

pub mod apply;
pub mod cli;
pub mod collect;
pub mod controller;
pub mod crd;
pub mod date;
pub mod input;
pub mod manifests;
pub mod plan;
pub mod quantity;
pub mod render;
pub mod role;
pub mod settings;
pub mod status;
pub mod storage;
pub mod validate;
