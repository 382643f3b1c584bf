//! Release builds of the programs that are measured.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

/// A binary of this workspace.
#[derive(Debug, Clone, Copy)]
pub struct Binary {
    /// Its package.
    pub package: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Features of the package that it needs.
    pub features: &'static str,
}

impl Binary {
    /// The engine.
    pub const ENGINE: Binary = Binary { package: "telemetry-engine", name: "telemetry-engine", features: "" };

    /// The manager.
    pub const MANAGER: Binary = Binary { package: "telemetry-manager", name: "telemetry-manager", features: "" };

    /// What pods of measurements run.
    pub const POD: Binary = Binary { package: "cluster", name: "pod", features: "" };

    /// The engine with a transform that computes.
    pub const LANES_ENGINE: Binary = Binary { package: "load", name: "lanes-engine", features: "lanes-engine" };
}

/// Builds a binary and returns its path, which is beside this program.
///
/// # Errors
/// When it does not build.
pub fn release(binary: Binary) -> Result<PathBuf> {
    let Binary { package, name, features } = binary;
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", package, "--bin", name, "--features", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    ensure!(status.success(), "{name} does not build");
    let own = std::env::current_exe()?;
    let path = own.parent().context("a program is in a directory")?.join(name);
    ensure!(path.exists(), "no program at {}", path.display());
    Ok(path)
}
