//! Where the programs of a cluster are, and what this machine lacks of what a cluster needs.
//!
//! Nothing is built here: the script `programs/build` does that, once, in a step of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::StartError;

/// What a control plane runs besides the programs that are built, each with the Debian package that has it.
const TOOLS: [(&str, &str); 3] = [("bash", "bash"), ("setpriv", "util-linux"), ("flock", "util-linux")];

/// What nodes need besides.
const NODE_TOOLS: [(&str, &str); 7] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("nft", "nftables"),
];

/// Where Debian puts the programs that connect pods to the network.
pub(crate) const NETWORK_PLUGINS: &str = "/usr/lib/cni";

/// The script that builds the programs.
pub fn build_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/build")
}

/// The folder of the built programs, for a control plane.
pub(crate) fn for_control_plane() -> Result<PathBuf, StartError> {
    let mut missing = Vec::new();
    missing_tools(&TOOLS, &mut missing);
    folder(missing)
}

/// The folder of the built programs, for a control plane and nodes.
pub(crate) fn for_nodes() -> Result<PathBuf, StartError> {
    let mut missing = Vec::new();
    if !is_root() {
        missing.push("root, for network namespaces, mounts and containers".to_owned());
    }
    missing_tools(&TOOLS, &mut missing);
    missing_tools(&NODE_TOOLS, &mut missing);
    if !Path::new(NETWORK_PLUGINS).join("ptp").is_file() {
        missing.push(format!("{NETWORK_PLUGINS}/ptp (Debian package containernetworking-plugins)"));
    }
    folder(missing)
}

fn folder(mut missing: Vec<String>) -> Result<PathBuf, StartError> {
    let output = Command::new(build_script()).arg("--print").stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() && missing.is_empty() => {
            return Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        }
        Ok(output) if output.status.success() => {}
        Ok(output) => missing.push(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => missing.push(format!("{}: {error}", build_script().display())),
    }
    Err(StartError::Missing(missing))
}

fn missing_tools(tools: &[(&str, &str)], missing: &mut Vec<String>) {
    for (tool, package) in tools.iter().filter(|(tool, _)| !is_in_path(tool)) {
        missing.push(format!("{tool} (Debian package {package})"));
    }
}

/// Whether a program of this name can be called; the folders of administrators count although not every user has them
/// in `PATH`.
fn is_in_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is missing is named at once, each with the package that brings it.
    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let mut missing = Vec::new();
        missing_tools(&[("no-such-tool", "a-package"), ("bash", "bash"), ("nor-this", "other")], &mut missing);
        assert_eq!(missing, ["no-such-tool (Debian package a-package)", "nor-this (Debian package other)"]);
    }
}
