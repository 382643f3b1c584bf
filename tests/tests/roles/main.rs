//! The roles of an installation in a real cluster: pods of the engine's own image, configured as an operator would.
//!
//! Where there is no cluster (no root, no toolchain) these tests are skipped aloud, in CI they fail. Not here: what a
//! single engine does (`delivery`), the harness (`tests/cluster`).
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod installation;
mod logs;
mod manager;
mod table;

use std::time::Duration;

/// One scenario at a time: pods of both would share two cores, and what is slow is no longer what is tested.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How long anything may take that a test waits for.
const LIMIT: Duration = Duration::from_secs(180);
