//! Fields that the API has and this version does nothing with: a pipeline that uses one is not run without it.

use super::problem::{Problem, Reason};
use crate::crd::{Filter, LogPipelineSpec, MetricPipelineSpec, Temporality, TracePipelineSpec, Transform};

/// What a LogPipeline asks for in vain.
pub fn of_logs(spec: &LogPipelineSpec) -> Vec<Problem> {
    let output = &spec.output;
    let runtime = spec.input.runtime.as_ref();
    let fluent_bit = [
        (
            output.http.is_some(),
            "output.http",
            "send OTLP instead: output.otlp with protocol: http and the backend's URL",
        ),
        (output.custom.is_some(), "output.custom", "send OTLP instead: output.otlp"),
        (
            !spec.filters.is_empty(),
            "filters",
            "select with input.runtime.namespaces and input.runtime.containers instead",
        ),
        (
            !spec.files.is_empty(),
            "files",
            "there is nothing to write instead: no part of an engine reads files of a pipeline",
        ),
        (!spec.variables.is_empty(), "variables", "write valueFrom where the value is used instead"),
        (
            runtime.is_some_and(|runtime| runtime.keep_annotations.is_some()),
            "input.runtime.keepAnnotations",
            "there is nothing to write instead: annotations of pods are not added to logs",
        ),
        (
            runtime.is_some_and(|runtime| runtime.drop_labels.is_some()),
            "input.runtime.dropLabels",
            "name the labels to keep in spec.enrichments.extractPodLabels of the Telemetry object instead",
        ),
    ];
    let fluent_bit = fluent_bit.into_iter().filter(|(is_used, ..)| *is_used).map(|(_, field, instead)| {
        Problem::new(Reason::FieldNotSupported, format!("{field} belongs to Fluent Bit, which is not run: {instead}"))
    });
    fluent_bit.chain(processing(&spec.transform, &spec.filter)).collect()
}

/// What a MetricPipeline asks for in vain.
pub fn of_metrics(spec: &MetricPipelineSpec) -> Vec<Problem> {
    let input = &spec.input;
    let runtime = input.runtime.as_ref();
    let on = |enabled: Option<bool>| enabled.unwrap_or(false);
    let fields = [
        (input.prometheus.as_ref().is_some_and(|input| on(input.enabled)), "input.prometheus"),
        (runtime.is_some_and(|input| on(input.enabled)), "input.runtime"),
        (runtime.is_some_and(|input| !input.additional_metrics.is_empty()), "input.runtime.additionalMetrics"),
        (input.istio.as_ref().is_some_and(|input| on(input.enabled)), "input.istio"),
        (spec.output.otlp.temporality == Temporality::Delta, "output.otlp.temporality: delta"),
    ];
    let missing = fields.into_iter().filter(|(is_used, _)| *is_used).map(|(_, field)| not_yet(field));
    missing.chain(processing(&spec.transform, &spec.filter)).collect()
}

/// What a TracePipeline asks for in vain.
pub fn of_traces(spec: &TracePipelineSpec) -> Vec<Problem> {
    processing(&spec.transform, &spec.filter).collect()
}

fn processing(transform: &[Transform], filter: &[Filter]) -> impl Iterator<Item = Problem> {
    let fields = [(!transform.is_empty(), "transform"), (!filter.is_empty(), "filter")];
    fields.into_iter().filter(|(is_used, _)| *is_used).map(|(_, field)| not_yet(field))
}

fn not_yet(field: &str) -> Problem {
    let message = format!(
        "{field} is not supported by this version: the pipeline does not run without it. Remove it to run the pipeline"
    );
    Problem::new(Reason::FieldNotSupported, message)
}
