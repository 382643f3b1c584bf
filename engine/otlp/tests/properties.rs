//! Admission and every operation against prost, on requests that no library would write (see `check::generate`).
//! `PROPTEST_CASES` sets the number of cases.

#![allow(clippy::print_stderr, reason = "the tally of features is the evidence of a long run")]

mod check;

use std::cell::RefCell;
use std::collections::BTreeMap;

use otlp::{Fault, Signal};
use proptest::test_runner::{Config, TestRunner};

use self::check::Verdict;
use self::check::generate::{Features, Mutated, Rng, request};

/// Features that the generator must have written, or the test proves less than it says.
const FEATURES: &[&str] = &[
    "duplicate attribute key",
    "empty message",
    "fields in any order",
    "group",
    "long text",
    "mutation of raw bytes",
    "mutation with lengths repaired",
    "nesting about the limit",
    "nesting far beyond the limit",
    "overlong key",
    "overlong length",
    "overlong value",
    "packed list",
    "singular field twice",
    "singular message twice",
    "text that is not ASCII",
    "two members of a oneof",
    "unknown field",
    "unpacked list element",
];

/// JSON of a request was compared with what `opentelemetry-proto` writes and reads.
const COMPARED: &str = "Compared";

#[derive(Default)]
struct Tally {
    features: Features,
    verdicts: BTreeMap<String, u64>,
}

/// Admission accepts exactly what prost decodes, counts and means the same, also in steps and through views;
/// edits, partition by resource and by record, split, halves, concatenation and JSON do to the bytes what they do to the structs, and any spelling of the JSON is read.
#[test]
fn wire_is_what_prost_sees() {
    let config = Config { failure_persistence: None, ..Config::default() };
    // The default of 256 cases is too few to meet the rare features.
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { 1500 };
    let mut runner = TestRunner::new(Config { cases, ..config });
    let tally = RefCell::new(Tally::default());
    let outcome = runner.run(&proptest::num::u64::ANY, |seed| {
        let tally = &mut *tally.borrow_mut();
        one_case(seed, tally);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let Tally { features, verdicts } = tally.into_inner();
    eprintln!("features: {features:#?}\nverdicts: {verdicts:#?}");
    for feature in FEATURES {
        assert!(features.get(feature).is_some_and(|times| *times > 0), "`{feature}` was never written");
    }
    for signal in Signal::ALL {
        for verdict in ["Accepted", "Normalised", "Refused", COMPARED] {
            let name = format!("{signal} {verdict}");
            assert!(verdicts.get(&name).is_some_and(|times| *times > 0), "`{name}` never happened");
        }
    }
}

fn one_case(seed: u64, tally: &mut Tally) {
    let mut rng = Rng::new(seed);
    let signal = *rng.pick(&Signal::ALL);
    let (body, mutated) = request(signal, &mut rng, &mut tally.features);
    let (verdict, wire) = check::admission(signal, &body);
    *tally.verdicts.entry(format!("{signal} {verdict:?}")).or_default() += 1;
    match verdict {
        Verdict::FalseRefusal(Fault::TooManyRepeats) => panic!("the generator does not repeat that often"),
        Verdict::FalseRefusal(fault) => panic!("{signal}: refused with {fault:?}, prost accepts: {body:02x?}"),
        Verdict::Refused if mutated == Mutated::No => {
            *tally.verdicts.entry("Refused as written".into()).or_default() += 1
        }
        Verdict::Refused | Verdict::Accepted | Verdict::Normalised => {}
    }
    if let Some(wire) = wire {
        check::operations(&wire, &mut rng);
        check::json_comes_back(&wire);
        check::json::spelled_the_same(&wire, &mut rng);
        check::json_text(signal, &check::json::mutated(&wire, &mut rng));
        let compared = check::json::agrees_with_serde(&wire);
        *tally.verdicts.entry(format!("{signal} {}", if compared { COMPARED } else { "Deep" })).or_default() += 1;
    }
}
