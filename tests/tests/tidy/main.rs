//! The rules of the repository, as tests: layers, licences, layout, words.
//!
//! Not here: what the program does.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod layers;
mod layout;
mod security;
mod supply;
mod words;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cargo_metadata::{Metadata, MetadataCommand};

/// The root of the checkout.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a folder of the checkout")
}

/// What cargo knows about this workspace and everything it depends on.
fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        let mut command = MetadataCommand::new();
        command.manifest_path(root().join("Cargo.toml")).other_options(["--locked".to_owned(), "--offline".to_owned()]);
        command.exec().expect("cargo reads this workspace")
    })
}

/// Every file of the checkout that git knows or would add.
fn files() -> Vec<PathBuf> {
    let listing = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files of its checkout");
    assert!(listing.status.success(), "{}", String::from_utf8_lossy(&listing.stderr));
    let names = String::from_utf8(listing.stdout).unwrap();
    names.lines().map(PathBuf::from).filter(|name| root().join(name).is_file()).collect()
}

/// The Rust files of the checkout with their texts.
fn sources() -> Vec<(PathBuf, String)> {
    let rust = files().into_iter().filter(|name| name.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|name| (name.clone(), read(&name))).collect()
}

fn read(name: &Path) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{}: {error}", name.display()))
}

/// Fails with every finding at once.
fn none(what: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}
