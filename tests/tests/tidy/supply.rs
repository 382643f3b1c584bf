//! What we build on: licences, banned crates, versions that carry a fix, sources. `deny.toml` says the same for
//! `cargo deny`, whose advisory database cannot be reached from every machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::semver::Version;

use crate::{metadata, none, read};

/// Crates that must not be in the graph, each with its reason.
const BANNED: [(&str, &str); 5] = [
    ("openssl-sys", "TLS is rustls with ring"),
    ("native-tls", "TLS is rustls with ring"),
    ("aws-lc-sys", "needs cmake; TLS is rustls with ring"),
    ("async-std", "the runtime is tokio"),
    ("serde_yaml", "no longer maintained"),
];

/// Versions below these have faults that we would inherit.
const AT_LEAST: [(&str, &str, &str); 12] = [
    ("bytes", "1.11.1", "reserving could overflow"),
    ("crossbeam-channel", "0.5.15", "a double free"),
    ("h2", "0.4.4", "CONTINUATION floods"),
    ("opentelemetry-proto", "0.33.1", "its serde lost metric data"),
    ("ring", "0.17.12", "a panic on long inputs where overflow is checked"),
    ("rustls", "0.23.18", "a panic that peers could cause, a loop in complete_io"),
    ("slab", "0.4.11", "reading beyond what was initialised"),
    ("tokio", "1.44.2", "a value that is not Sync was cloned by several threads"),
    ("tonic", "0.14.3", "its decoding limit held for the compressed size only"),
    ("tracing-subscriber", "0.3.20", "control characters in logs"),
    ("idna", "1.0.0", "names that are not what they look like"),
    ("zlib-rs", "0.5.0", "decompression faults of early versions"),
];

/// Every dependency has a licence that `deny.toml` allows.
#[test]
fn licences_are_allowed() {
    let allowed = list(&["licenses", "allow"], None);
    let mut findings = Vec::new();
    for package in &metadata().packages {
        let Some(licence) = &package.license else {
            findings.push(format!("{} names no licence", package.name));
            continue;
        };
        if !satisfies(licence, &allowed) {
            findings.push(format!("{} {}: {licence}", package.name, package.version));
        }
    }
    none("licences that are not allowed", findings);
}

/// Banned crates are absent, and `deny.toml` bans the same ones.
#[test]
fn banned_crates_are_absent() {
    let names: BTreeSet<&str> = metadata().packages.iter().map(|package| package.name.as_str()).collect();
    let found = BANNED.iter().filter(|(name, _)| names.contains(name));
    none("banned crates", found.map(|(name, reason)| format!("{name}: {reason}")).collect());
    let banned: BTreeSet<String> = BANNED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(list(&["bans", "deny"], Some("crate")), banned, "deny.toml and this test ban different crates");
}

/// Everything comes from crates.io.
#[test]
fn sources_are_known() {
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    let foreign = metadata()
        .packages
        .iter()
        .filter(|package| package.source.as_ref().is_some_and(|source| source.repr != registry));
    none("crates from elsewhere", foreign.map(|package| package.name.to_string()).collect());
}

/// Versions with a known fault are not in the graph.
#[test]
fn fixes_are_in() {
    let mut findings = Vec::new();
    for package in &metadata().packages {
        for (name, least, fault) in AT_LEAST {
            if package.name == name && package.version < Version::parse(least).unwrap() {
                findings.push(format!("{name} {} is below {least}: {fault}", package.version));
            }
        }
    }
    none("versions with known faults", findings);
}

/// The crates that everything is built on stand in the graph once.
#[test]
fn the_foundation_stands_once() {
    let mut versions: BTreeMap<&str, BTreeSet<&Version>> = BTreeMap::new();
    for package in &metadata().packages {
        versions.entry(package.name.as_str()).or_default().insert(&package.version);
    }
    let single = ["tokio", "hyper", "bytes", "h2", "http", "rustls", "prost", "opentelemetry-proto", "serde", "tonic"];
    let twice = single.iter().filter(|name| versions.get(*name).is_some_and(|found| found.len() > 1));
    none("crates in several versions", twice.map(|name| format!("{name}: {:?}", versions[name])).collect());
}

/// Whether an SPDX expression can be met with the allowed licences; `/` is the old way to write OR.
fn satisfies(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let (met, rest) = any_of(&tokens, allowed);
    assert!(rest.is_empty(), "cannot read the licence `{expression}`");
    met
}

fn any_of<'t>(tokens: &'t [&'t str], allowed: &BTreeSet<String>) -> (bool, &'t [&'t str]) {
    let (mut met, mut rest) = all_of(tokens, allowed);
    while let ["OR", after @ ..] = rest {
        let (other, left) = all_of(after, allowed);
        (met, rest) = (met || other, left);
    }
    (met, rest)
}

fn all_of<'t>(tokens: &'t [&'t str], allowed: &BTreeSet<String>) -> (bool, &'t [&'t str]) {
    let (mut met, mut rest) = one(tokens, allowed);
    while let ["AND", after @ ..] = rest {
        let (other, left) = one(after, allowed);
        (met, rest) = (met && other, left);
    }
    (met, rest)
}

fn one<'t>(tokens: &'t [&'t str], allowed: &BTreeSet<String>) -> (bool, &'t [&'t str]) {
    match tokens {
        ["(", inside @ ..] => {
            let (met, rest) = any_of(inside, allowed);
            (met, rest.strip_prefix(&[")"]).expect("every bracket is closed"))
        }
        [licence, "WITH", exception, rest @ ..] => (allowed.contains(&format!("{licence} WITH {exception}")), rest),
        [licence, rest @ ..] => (allowed.contains(*licence), rest),
        [] => panic!("a licence ends too early"),
    }
}

/// A list of `deny.toml`: of strings, or of one key of tables.
fn list(path: &[&str], key: Option<&str>) -> BTreeSet<String> {
    let mut value = toml::Value::Table(read(Path::new("deny.toml")).parse().unwrap());
    for part in path {
        value = value.get(part).unwrap_or_else(|| panic!("deny.toml has no {part}")).clone();
    }
    let entries = value.as_array().expect("a list").iter();
    entries.map(|entry| key.map_or(entry, |name| &entry[name]).as_str().expect("a text").to_owned()).collect()
}
