//! Where things stand and how files begin.

use std::path::Path;

use crate::{files, metadata, none, read, root, sources};

/// Code lines of a file, without blank lines, comments and its test module.
const LONGEST: usize = 500;

/// Every Rust file says its job first.
#[test]
fn every_file_says_its_job() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//!"));
    none("files that do not begin with `//!`", silent.map(|(name, _)| name.display().to_string()).collect());
}

/// Files can be read in one sitting.
#[test]
fn files_stay_readable() {
    let mut long = Vec::new();
    for (name, text) in sources() {
        if is_test(&name) {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().lines().map(str::trim);
        let lines = code.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
        if lines > LONGEST {
            long.push(format!("{}: {lines} lines", name.display()));
        }
    }
    none(&format!("files of more than {LONGEST} code lines"), long);
}

/// Names say what is inside.
#[test]
fn no_room_is_called_misc() {
    let banned = ["util", "utils", "common", "helper", "helpers", "misc", "v2"];
    let named = |name: &Path| {
        name.components().any(|part| {
            let stem = Path::new(part.as_os_str()).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            banned.contains(&stem) || stem.ends_with("_new")
        })
    };
    let found = files().into_iter().filter(|name| named(name));
    none("names that say nothing", found.map(|name| name.display().to_string()).collect());
}

/// Every crate takes the lints, the edition and the licence of the workspace.
#[test]
fn every_crate_opts_in() {
    let mut findings = Vec::new();
    for package in metadata().workspace_packages() {
        let manifest: toml::Table = std::fs::read_to_string(&package.manifest_path).unwrap().parse().unwrap();
        let is_workspace = |path: &[&str]| {
            let mut value = Some(&manifest);
            for key in path {
                value = value.and_then(|table| table.get(*key)).and_then(toml::Value::as_table);
            }
            value.and_then(|table| table.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
        };
        for path in [&["lints"][..], &["package", "edition"], &["package", "license"], &["package", "rust-version"]] {
            if !is_workspace(path) {
                findings.push(format!("{}: {} is not the workspace's", package.name, path.join(".")));
            }
        }
        if package.publish.as_ref().is_none_or(|registries| !registries.is_empty()) {
            findings.push(format!("{}: can be published", package.name));
        }
    }
    none("manifests", findings);
}

/// The toolchain that is pinned is the one that manifests promise to work with.
#[test]
fn one_toolchain() {
    let pinned: toml::Table = read(Path::new("rust-toolchain.toml")).parse().unwrap();
    let channel = pinned["toolchain"]["channel"].as_str().unwrap();
    for package in metadata().workspace_packages() {
        let promised = package.rust_version.as_ref().expect("every crate names its Rust version");
        assert!(channel.starts_with(&format!("{}.{}", promised.major, promised.minor)), "{}", package.name);
    }
}

/// `unsafe` stands in the modules that are named here, each with its reason, and nowhere else.
#[test]
fn unsafe_has_an_address() {
    // A counting allocator can only be written with it, and functions of the allocator only be called with it.
    let named = [Path::new("tests/tests/allocations/counting.rs"), Path::new("engine/src/allocator.rs")];
    let mut findings = Vec::new();
    for (name, text) in sources() {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let word = |line: &str| {
            let mut words = line.split(|character: char| !character.is_alphanumeric() && character != '_');
            words.any(|word| word == "unsafe")
        };
        if code.filter(|line| !line.contains('"')).any(word) && !named.contains(&name.as_path()) {
            findings.push(name.display().to_string());
        }
    }
    none("files with unsafe code", findings);
}

/// The README's code map names every crate, and its two commands are the ones that CI runs.
#[test]
fn the_readme_is_true() {
    let readme = read(Path::new("README.md"));
    let mut findings = Vec::new();
    for package in metadata().workspace_packages() {
        let folder = package.manifest_path.parent().unwrap().strip_prefix(root().to_str().unwrap()).unwrap();
        if !readme.contains(&format!("`{folder}/`")) {
            findings.push(format!("the code map does not name `{folder}/`"));
        }
    }
    let ci = read(Path::new(".ci/run"));
    for command in ["cargo run --release -p telemetry-engine", "tests/all"] {
        if !readme.contains(command) {
            findings.push(format!("the README does not show `{command}`"));
        }
    }
    if !ci.contains("tests/all") {
        findings.push("CI does not run the README's test command".to_owned());
    }
    none("README.md", findings);
}

/// Tests are not switched off and nothing unfinished is left; a test does not sleep.
#[test]
fn tests_are_honest() {
    let banned = [concat!("#[", "ignore"), concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("dbg", "!(")];
    let sleep = concat!("thread::", "sleep(");
    let mut findings = Vec::new();
    for (name, text) in sources() {
        // The load harness measures: it has to let time pass.
        let sleeps = is_test(&name) && !name.starts_with("tests/load") && text.contains(sleep);
        for word in banned.iter().filter(|word| text.contains(**word)).chain(sleeps.then_some(&sleep)) {
            findings.push(format!("{}: {word}", name.display()));
        }
    }
    none("words that do not belong into tests", findings);
}

fn is_test(name: &Path) -> bool {
    let in_folder = name.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches");
    in_folder || name.ends_with("tests.rs")
}
