//! Release builds of the programs that are measured.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

/// Builds a binary of a package of this workspace and returns its path, which is beside this program.
///
/// # Errors
/// When it does not build.
pub fn release(package: &str, binary: &str) -> Result<PathBuf> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--package", package, "--bin", binary])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    ensure!(status.success(), "{binary} does not build");
    let own = std::env::current_exe()?;
    let path = own.parent().context("a program is in a directory")?.join(binary);
    ensure!(path.exists(), "no program at {}", path.display());
    Ok(path)
}
