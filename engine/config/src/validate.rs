//! Judges each component by itself: contradictions between its keys, and what its environment lacks.
//!
//! What components say together is the plan's work.

use crate::component::Checker;
use crate::document::{Finding, Report};
use crate::environment::Environment;
use crate::pipeline::Pipeline;
use crate::problem::{Code, Problems};

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
    for needed in pipeline.references() {
        let Some(reason) = environment.why_unresolved(&needed.reference.target) else { continue };
        let component =
            pipeline.get(needed.component.as_str()).expect("references() lists components of this pipeline");
        let label = Pipeline::label(&needed.component, component);
        let message = format!("`{}` cannot be read: {reason}", needed.reference.target);
        let finding =
            Finding::error(Code::MissingSecret, message).help("make it readable for this program, or name another one");
        report.add(component.place(&needed.reference.path), Some(&label), finding);
    }
}
