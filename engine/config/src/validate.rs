//! Judges each component by itself: contradictions between its keys, and what its environment lacks.
//!
//! What components say together is the plan's work.

use crate::check::did_you_mean;
use crate::component::{Checker, Reference};
use crate::document::{Finding, Report};
use crate::environment::Environment;
use crate::pipeline::Pipeline;
use crate::problem::{Code, Problems};
use crate::secret::SecretRef;

/// Judges every component by itself.
pub fn validate(pipeline: &Pipeline, environment: &Environment) -> Problems {
    let mut report = Report::new(&pipeline.files);
    for (id, component) in pipeline.components() {
        let label = Pipeline::label(id, component);
        let mut checker = Checker::default();
        component.options.check(&mut checker);
        for (path, finding) in checker.into_findings() {
            report.add(component.place(&path), Some(&label), finding);
        }
        let retry = &component.sink.retry;
        if retry.initial_interval > retry.max_interval {
            let path = ["retry".to_owned(), "initial_interval".to_owned()];
            let message = format!(
                "`retry.initial_interval` ({}) is longer than `retry.max_interval` ({})",
                retry.initial_interval, retry.max_interval
            );
            let finding = Finding::error(Code::Conflict, message).help("raise the one or lower the other");
            report.add(component.place(&path), Some(&label), finding);
        }
    }
    missing_references(pipeline, environment, &mut report);
    report.finish()
}

fn missing_references(pipeline: &Pipeline, environment: &Environment, report: &mut Report<'_>) {
    for Reference { path, target } in pipeline.settings.references() {
        let Some(finding) = missing(&target, pipeline, environment) else { continue };
        let [table, key] = path.as_slice() else { unreachable!("settings are keys of tables") };
        report.add(pipeline.settings_place(table, key), Some(table), finding);
    }
    for needed in pipeline.references() {
        let Some(finding) = missing(&needed.reference.target, pipeline, environment) else { continue };
        let component =
            pipeline.get(needed.component.as_str()).expect("references() lists components of this pipeline");
        let label = Pipeline::label(&needed.component, component);
        report.add(component.place(&needed.reference.path), Some(&label), finding);
    }
}

/// Why a secret or file is not to be had.
fn missing(target: &SecretRef, pipeline: &Pipeline, environment: &Environment) -> Option<Finding> {
    match (target, &pipeline.settings.secrets.directory) {
        // A setting that could not be read is a problem of its own.
        (SecretRef::Directory(_), None) => {
            (!pipeline.is_setting_written("secrets", "directory")).then(|| no_directory(target))
        }
        (SecretRef::Directory(name), Some(directory)) => environment.why_unresolved(target).map(|reason| {
            let message = format!("`{target}` cannot be read from {}: {reason}", directory.display());
            Finding::error(Code::MissingSecret, message).help(names_instead(name, environment))
        }),
        (SecretRef::File(_) | SecretRef::Env(_), _) => environment.why_unresolved(target).map(|reason| {
            let message = format!("`{target}` cannot be read: {reason}");
            Finding::error(Code::MissingSecret, message).help("make it readable for this program, or name another one")
        }),
    }
}

fn no_directory(target: &SecretRef) -> Finding {
    let message = format!("`{target}` needs `secrets.directory`, which is not set");
    let remedy = "write `secrets.directory = \"/path\"` above the first table, or the reference as `file:/path`";
    Finding::error(Code::MissingKey, message).help(remedy)
}

/// What is in the directory, by name, the nearest first.
fn names_instead(name: &str, environment: &Environment) -> String {
    const MOST: usize = 10;
    let all: Vec<String> = environment.secret_names().map(|name| format!("`{name}`")).collect();
    if all.is_empty() {
        return "put the file there, readable for this program, or set `secrets.directory` to where it is".to_owned();
    }
    let rest = if all.len() > MOST { format!(" and {} more", all.len() - MOST) } else { String::new() };
    let listed = format!("the directory has {}{rest}", all[..all.len().min(MOST)].join(", "));
    match did_you_mean(name, environment.secret_names()) {
        Some(nearest) => format!("{nearest} {listed}"),
        None => listed,
    }
}
