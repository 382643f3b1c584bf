//! The pipeline language through its public API only. This file is the harness; each module is one subject.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod documents;
mod fakes;
mod generated;
mod mutated;
mod otlp_sink;
mod plans;
mod problems;
mod rendering;

use std::path::PathBuf;
use std::sync::LazyLock;

use engine_config::{Catalog, Environment, Loaded, ParseOptions, Problems, SourceFile, load};

/// The built-in components: schemas of all option types take a while to make in a debug build.
static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::builtin);

/// Judges one file named `engine.toml` with the built-in components and an unknown environment.
fn judge(text: &str) -> Result<Loaded, Problems> {
    judge_in(text, &Environment::Unknown)
}

/// Judges one file in an environment.
fn judge_in(text: &str, environment: &Environment) -> Result<Loaded, Problems> {
    let files = [SourceFile::new("engine.toml", text)];
    load(&files, &CATALOG, environment, &ParseOptions::default())
}

/// The plan of a file that has no errors.
fn accepted(text: &str) -> Loaded {
    judge(text).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"))
}

/// The problems of a file that has errors, one a line.
fn refused(text: &str) -> String {
    match judge(text) {
        Ok(_) => panic!("this was accepted:\n{text}"),
        Err(problems) => problems.to_string(),
    }
}

/// A source `a` of this type in front of a sink `b`: `settings` stand above the tables, `sink` are the keys of `b`.
fn pair(settings: &str, source: &str, sink: &str) -> String {
    format!("version = 1\n{settings}\n[sources.a]\ntype = \"{source}\"\n[sinks.b]\ninputs = [\"a\"]\n{sink}\n")
}

/// The samples, by file name.
fn samples() -> Vec<(String, String)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config/samples");
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            samples.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    samples.sort();
    assert!(!samples.is_empty(), "no samples in {}", directory.display());
    samples
}
