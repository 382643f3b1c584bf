//! The harness keeps what its README promises: real objects, real faults, logs on the right node, and nothing left.
//!
//! Not here: anything of the engine but that its image runs.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod ends;
mod faults;
mod image;
mod kubeconfig;
mod nodes;
mod objects;
mod server;
mod skips;

use std::path::PathBuf;
use std::time::Duration;

/// How long anything may take that a test waits for.
const LIMIT: Duration = Duration::from_secs(120);

/// The program of this crate that pods of tests run.
const POD: &str = env!("CARGO_BIN_EXE_pod");

/// Processes that name this folder in their command line, but for tests.
fn processes_of(folder: &std::path::Path) -> Vec<String> {
    let name = folder.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        // The folder's own name, and not one that begins with it.
        if command.contains(&format!("{name}/")) || command.contains(&format!("{name} ")) {
            found.push(format!("{} {command}", entry.file_name().display()));
        }
    }
    found
}

/// The folder of a cluster, from its kubeconfig.
fn folder_of(access: &cluster::Access) -> PathBuf {
    access.kubeconfig().parent().unwrap().to_owned()
}
