//! What must hold for any text that somebody calls a configuration, as a function that panics when it does not. The replay
//! of the seeds and the fuzz target call it.
#![allow(unreachable_pub, reason = "the fuzz crate includes this module by path")]
#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use engine_config::{Catalog, Environment, Known, Loaded, ParseOptions, Problems, SourceFile, covered, load};

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::builtin);

/// Judging ends, problems have places, covering keeps places, and what can run is written and read again as the same.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let file = SourceFile::new("engine.toml", text.as_ref());
    let shown = covered(&file, &CATALOG);
    assert_eq!(shown.len(), text.len());
    assert!(shown.lines().count() == text.lines().count(), "lines stay lines");
    let known = Known { variables: BTreeMap::from([("A".to_owned(), "b\"\n".to_owned())]), ..Known::default() };
    for (environment, expand_environment) in [(Environment::Unknown, false), (Environment::Known(known), true)] {
        let options = ParseOptions { expand_environment };
        match load(std::slice::from_ref(&file), &CATALOG, &environment, &options) {
            Ok(loaded) => {
                has_places(&loaded.plan.warnings, &text);
                if !expand_environment {
                    reads_back(&loaded);
                }
            }
            Err(problems) => {
                assert!(problems.has_errors());
                has_places(&problems, &text);
            }
        }
    }
}

fn has_places(problems: &Problems, text: &str) {
    for problem in problems {
        assert!(problem.span.start <= problem.span.end && problem.span.end <= text.len(), "{problem}");
        assert!(text.is_char_boundary(problem.span.start), "{problem}");
        assert!(!problem.to_string().is_empty());
    }
}

fn reads_back(loaded: &Loaded) {
    let written = loaded.pipeline.to_toml(&CATALOG);
    let again = load(
        &[SourceFile::new("written.toml", written.as_str())],
        &CATALOG,
        &Environment::Unknown,
        &ParseOptions::default(),
    );
    let again = again.unwrap_or_else(|problems| panic!("what was written is refused: {problems}\n{written}"));
    assert_eq!(again.pipeline.to_toml(&CATALOG), written);
    let redacted = loaded.pipeline.to_toml_redacted(&CATALOG);
    assert!(!redacted.is_empty());
}
