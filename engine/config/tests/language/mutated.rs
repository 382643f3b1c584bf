//! Configurations with arbitrary damage: never a panic, and every problem points into the text.

use std::sync::LazyLock;

use engine_config::{Environment, ParseOptions, SourceFile, load, schema};
use proptest::prelude::*;

use crate::{CATALOG, samples};

/// Pieces that mean something in TOML or in this language.
const TOKENS: &[&str] = &[
    "=",
    "\"",
    "[",
    "]",
    "{",
    "}",
    ".",
    "\n",
    "#",
    "'",
    "\"\"\"",
    "\\",
    "[[",
    "]]",
    "=\n",
    "\u{0}",
    "é",
    "-1",
    "1e999",
    "inf",
    "0x",
    "99999999999999999999",
    "1979-05-27",
    "type = \"otlp\"\n",
    "inputs = [\"a\"]\n",
    "[sinks.x]\n",
    "${A}",
    "${",
    "$${A}",
    "true",
    "[]",
    "{}",
    "version = 1\n",
    "x.y.z = 1\n",
    "\"64MiB\"",
    "\"5s\"",
];

/// One change of a text: remove some characters at a place and put a token there.
type Change = (prop::sample::Index, usize, usize);

fn damaged(text: &str, changes: &[Change]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for (place, removed, token) in changes {
        let start = if characters.is_empty() { 0 } else { place.index(characters.len()) };
        let end = (start + removed).min(characters.len());
        characters.splice(start..end, TOKENS[token % TOKENS.len()].chars());
    }
    characters.into_iter().collect()
}

static VALIDATOR: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::validator_for(&schema(&CATALOG)).expect("the schema is one"));

proptest! {
    /// Whatever is in the file, judging it ends, and each problem is at a place in it.
    #[test]
    fn damage_is_reported_and_never_panics(
        sample in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, 0usize..64), 1..8),
        expand_environment in any::<bool>(),
    ) {
        let samples = samples();
        let (_, text) = sample.get(&samples);
        let text = damaged(text, &changes);
        let lines = text.split('\n').count();
        let files = [SourceFile::new("engine.toml", text.clone())];
        let options = ParseOptions { expand_environment };
        let problems = match load(&files, &CATALOG, &Environment::Unknown, &options) {
            Ok(loaded) => {
                // What runs, editors accept.
                let document: serde_json::Value = toml::from_str(&text).expect("it was read before");
                prop_assert!(expand_environment || VALIDATOR.is_valid(&document), "editors refuse\n{text}");
                loaded.plan.warnings
            }
            Err(problems) => {
                prop_assert!(problems.has_errors());
                problems
            }
        };
        for problem in &problems {
            prop_assert!(problem.span.start <= problem.span.end && problem.span.end <= text.len(), "{problem}");
            prop_assert!(text.is_char_boundary(problem.span.start), "{problem}");
            prop_assert!(problem.file.is_none() || (1..=lines).contains(&problem.line), "{problem}");
        }
    }

    /// Arbitrary text is no different.
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC*") {
        let files = [SourceFile::new("engine.toml", text)];
        let judged = load(&files, &CATALOG, &Environment::Unknown, &ParseOptions::default());
        prop_assert!(judged.is_err());
    }
}
