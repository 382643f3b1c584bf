//! The cases, and what holds for every one of them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use engine_config::{Environment, ParseOptions, SourceFile, load};
use telemetry_manager::input::Input;
use telemetry_manager::manifests;
use telemetry_manager::plan::{Desired, plan};
use telemetry_manager::render::config::catalog;
use telemetry_manager::status::ConditionReport;
use telemetry_manager::validate::Reason;

/// The moment of all cases: 2026-12-01T00:00:00Z.
pub(crate) const NOW: i64 = 1_796_083_200;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases")
}

/// The inputs of all cases by name.
pub(crate) fn inputs() -> Vec<(String, Input)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() > 20, "the cases are gone");
    let input = |file: &PathBuf| {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut input = Input { now: NOW, ..Input::default() };
        for document in manifests::read(std::slice::from_ref(file)).unwrap() {
            // An API server refuses some of it, where it knows of all rules.
            let problems = manifests::insert(document, &mut input);
            assert_eq!(problems, Vec::<String>::new(), "{name}");
        }
        if name.contains("at_most_two") {
            input.settings.max_pipelines = std::num::NonZeroUsize::new(2);
        }
        (name, input)
    };
    files.iter().map(input).collect()
}

/// What a case shows: conditions, configurations, and objects; whole ones where its name says so.
fn text(name: &str, desired: &Desired) -> String {
    let mut text = String::new();
    let mut add = |name: &str, conditions: &[ConditionReport]| {
        writeln!(text, "{name}").unwrap();
        for ConditionReport { kind, status, reason, message } in conditions {
            writeln!(text, "  {kind} {} {reason}: {message}", status.as_str()).unwrap();
        }
    };
    for ((namespace, name), report) in &desired.telemetries {
        add(&format!("Telemetry/{namespace}/{name} {:?} {:?}", report.state, report.endpoints), &report.conditions);
    }
    for (id, report) in &desired.pipelines {
        add(&id.to_string(), &report.conditions);
    }
    if let Some(at) = desired.next_change {
        writeln!(text, "changes again at {}", telemetry_manager::date::day(at)).unwrap();
    }
    for object in &desired.objects {
        let kind = object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
        let metadata = &object.metadata;
        let namespace = metadata.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        writeln!(text, "\n{kind} {namespace}{}", metadata.name.as_deref().unwrap_or_default()).unwrap();
        if name.starts_with("objects") && kind != "Secret" {
            text.push_str(&telemetry_manager::manifests::yaml(&serde_json::to_value(object).unwrap()));
        }
    }
    for (role, config) in &desired.configs {
        writeln!(text, "\n--- {role}: engine.toml").unwrap();
        text.push_str(&config.toml);
        for (file, content) in &config.files {
            writeln!(text, "--- {role}: {file}, {} bytes", content.len()).unwrap();
        }
    }
    text
}

/// Every case gives what is written beside it.
#[test]
fn plans_are_as_written() {
    let update = std::env::var_os("UPDATE_GOLDENS").is_some();
    let mut different = Vec::new();
    for (name, input) in inputs() {
        let text = text(&name, &plan(&input));
        let file = folder().join(format!("{name}.golden"));
        if update {
            std::fs::write(&file, &text).unwrap();
        } else if std::fs::read_to_string(&file).unwrap_or_default() != text {
            different.push(name);
        }
    }
    assert_eq!(different, Vec::<String>::new(), "UPDATE_GOLDENS=1 writes them anew");
}

/// No golden is of a case that is gone.
#[test]
fn goldens_have_cases() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let file = entry.unwrap().path();
        assert!(file.with_extension("yaml").exists(), "{} has no case", file.display());
    }
}

/// The engine takes every configuration, without a warning.
#[test]
fn engines_take_every_configuration() {
    let mut judged = 0;
    for (name, input) in inputs() {
        for (role, config) in plan(&input).configs {
            let files = [SourceFile::new("engine.toml", config.toml.as_str())];
            let options = ParseOptions { expand_environment: config.expands_environment };
            let loaded = load(&files, catalog(), &Environment::Unknown, &options);
            let loaded = loaded.unwrap_or_else(|problems| panic!("{name}, {role}: {problems}"));
            let warnings: Vec<String> = loaded.plan.warnings.iter().map(ToString::to_string).collect();
            let warnings: Vec<&String> = warnings.iter().filter(|text| !text.contains("in clear")).collect();
            assert_eq!(warnings, Vec::<&String>::new(), "{name}, {role}");
            judged += 1;
        }
    }
    assert!(judged > 20, "{judged}");
}

/// Every reason that a pipeline can be refused for is shown by a case.
#[test]
fn every_reason_has_a_case() {
    let plans: Vec<Desired> = inputs().iter().map(|(_, input)| plan(input)).collect();
    let shown = |reason: Reason| {
        plans
            .iter()
            .flat_map(|plan| plan.pipelines.values())
            .flat_map(|report| &report.conditions)
            .any(|condition| condition.reason == reason.as_str())
    };
    // What needs more than a readable file: see `limits`.
    let elsewhere = [Reason::ConfigurationTooLarge, Reason::ReferencedSecretForbidden, Reason::MemoryExceeded];
    let missing: Vec<&str> = Reason::ALL
        .into_iter()
        .filter(|reason| !shown(*reason) && !elsewhere.contains(reason))
        .map(Reason::as_str)
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
