//! Replays the seeds of the fuzz targets through the same checks, without a fuzzer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check;

use std::fs;
use std::path::{Path, PathBuf};

use otlp::Signal;

use self::check::generate::{Features, Mutated, Rng, request};

fn seeds(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target)
}

fn replay(target: &str, check: fn(&[u8])) {
    let mut replayed = 0;
    for file in fs::read_dir(seeds(target)).unwrap() {
        check(&fs::read(file.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed >= 10, "{replayed} seeds of {target}");
}

/// The seeds of `admit` hold.
#[test]
fn admit() {
    replay("admit", check::fuzz_admit);
}

/// The seeds of `operations` hold.
#[test]
fn operations() {
    replay("operations", check::fuzz_operations);
}

/// The seeds of `json` hold.
#[test]
fn json() {
    replay("json", check::fuzz_json);
}

/// The seeds that come from the generator are the ones it makes now; `UPDATE_SEEDS=1 cargo test -p otlp --test corpus`
/// writes them. What fuzzers found stays.
#[test]
fn seeds_are_up_to_date() {
    let mut features = Features::new();
    for (index, signal) in Signal::ALL.into_iter().enumerate() {
        let mut rng = Rng::new(index as u64);
        let mut bodies = Vec::new();
        while bodies.len() < 8 {
            let (body, mutated) = request(signal, &mut rng, &mut features);
            let wanted = if bodies.len() < 6 { Mutated::No } else { Mutated::Yes };
            if mutated == wanted && (64..1500).contains(&body.len()) {
                bodies.push(body);
            }
        }
        for (number, body) in bodies.iter().enumerate() {
            let name = format!("{signal}-{number}");
            let prefixed = |prefix: &[u8], content: &[u8]| [&[index as u8], prefix, content].concat();
            write("admit", &name, &prefixed(&[], body));
            write("operations", &name, &prefixed(&rng.next().to_le_bytes(), body));
            if let Ok(wire) = otlp::admit(signal, body.clone().into()) {
                write("json", &name, &prefixed(&[], otlp::json::to_json(&wire).as_bytes()));
            }
        }
    }
}

fn write(target: &str, name: &str, content: &[u8]) {
    let path = seeds(target).join(name);
    if std::env::var_os("UPDATE_SEEDS").is_none() {
        assert_eq!(fs::read(&path).unwrap(), content, "{target}/{name} is not what the generator makes");
        return;
    }
    fs::create_dir_all(seeds(target)).unwrap();
    fs::write(path, content).unwrap();
}
