//! The conformance bar: what the cases of the OTLP specification say of the engine.
//! It runs the tests of `tests/tests/conformance` and reads their verdicts; what a case is stands there.
#![allow(clippy::print_stdout, reason = "bars report on standard output")]

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use anyhow::{Result, bail, ensure};

use super::{Bar, Length, Options, Verdict};
use crate::peer::Program;

/// The cases of servers, and those of clients.
const CASES: [(char, usize); 2] = [('S', 51), ('K', 24)];

/// Tests at once: most of them wait.
const THREADS: &str = "--test-threads=8";

pub(super) const BAR: Bar = Bar {
    name: "conformance",
    about: "the OTLP specification, 51 cases of servers and 24 of clients, by signal and transport",
    bound: "all 75 cases pass for every signal they concern",
    measure: |_, options| measure(options),
};

/// Tests of a case that passed, and all of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tests {
    passed: u32,
    all: u32,
}

fn measure(options: &Options) -> Result<Verdict> {
    let Program::Engine(engine) = options.program()? else {
        bail!("the cases configure the engine: they test no other program");
    };
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "--quiet", "--package", "tests", "--test", "conformance", "--", "--format=pretty", THREADS])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("TESTS_ENGINE", std::path::absolute(engine)?)
        .stderr(Stdio::inherit());
    if options.length == Length::Long {
        command.env("TESTS_PING_SECONDS", "300");
    }
    let output = command.output()?;
    let report = String::from_utf8_lossy(&output.stdout);
    let cases = by_case(&report);
    ensure!(!cases.is_empty(), "the tests did not run: {}", report.trim());
    print(&cases);
    if !output.status.success() {
        println!("{}", report.trim_end());
    }
    let total: usize = CASES.iter().map(|(_, count)| count).sum();
    let passed = cases.values().filter(|tests| tests.passed == tests.all).count();
    Ok(Verdict {
        measured: format!("{passed} of {total} cases"),
        holds: output.status.success() && passed == total && cases.len() == total,
    })
}

/// What a report of the tests says of each case. Tests without an id are none of a case.
fn by_case(report: &str) -> BTreeMap<(char, usize), Tests> {
    let mut cases: BTreeMap<_, Tests> = BTreeMap::new();
    for line in report.lines() {
        let Some((name, verdict)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")) else {
            continue;
        };
        if let Some(id) = id_of(name.rsplit("::").next().unwrap_or(name)) {
            let tests = cases.entry(id).or_default();
            tests.all += 1;
            tests.passed += u32::from(verdict == "ok");
        }
    }
    cases
}

/// The id at the start of a test's name, such as `s17` of `s17_body_at_the_limit`.
fn id_of(name: &str) -> Option<(char, usize)> {
    let (id, _) = name.split_once('_')?;
    let letter = id.chars().next()?.to_ascii_uppercase();
    let number = id.get(1..)?.parse().ok()?;
    let (_, count) = CASES.into_iter().find(|(known, _)| *known == letter)?;
    (1..=count).contains(&number).then_some((letter, number))
}

fn print(cases: &BTreeMap<(char, usize), Tests>) {
    for (letter, count) in CASES {
        let numbers: Vec<usize> = (1..=count).collect();
        for row in numbers.chunks(9) {
            let cells = row.iter().map(|number| {
                let found = match cases.get(&(letter, *number)) {
                    None => "none".to_owned(),
                    Some(Tests { passed, all }) => format!("{passed}/{all}"),
                };
                format!("{:<4}{found:<6}", format!("{letter}{number}"))
            });
            println!("  {}", cells.collect::<String>().trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verdicts are counted by the id in a test's name, wherever the test stands; other tests are not counted.
    #[test]
    fn reads_a_report() {
        let report = "\nrunning 5 tests\n\
                      test server::limits::s17_body_at_the_limit ... ok\n\
                      test server::limits::s17_again ... FAILED\n\
                      test client::answers::k09_refusal_says_why ... ok\n\
                      test client::answers::k99_no_such_case ... ok\n\
                      test golden::golden_every_field ... ok\n\
                      test server::x::s46_keep_alive has been running for over 60 seconds\n";
        let expected = [(('K', 9), Tests { passed: 1, all: 1 }), (('S', 17), Tests { passed: 1, all: 2 })];
        assert_eq!(by_case(report), expected.into());
    }
}
