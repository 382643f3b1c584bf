//! Pipelines, each by itself: what it wants, or what is wrong with it.

use std::collections::BTreeSet;

use kube::ResourceExt;

use super::model::{Buffer, Inputs, Pipeline, PipelineId, RuntimeLogs, SecretName};
use super::module::Module;
use super::resolve::{self, Resolver};
use super::selection::Selection;
use crate::crd::{
    self, BufferType, ContainerSelector, Length, LogInput, LogPipeline, MetricPipeline, NamespaceSelector, OtlpInput,
    OtlpOutput, TracePipeline,
};
use crate::input::Input;
use crate::quantity;
use crate::role::Signal;
use crate::settings::Settings;
use crate::storage::{DISK_SIZE, DiskBuffer};
use crate::validate::{Expiry, Problem, Reason, name, tls, unsupported};

/// A pipeline as it was seen.
#[derive(Clone, Debug)]
pub struct Collected {
    /// Which one.
    pub id: PipelineId,
    /// Its generation, for the conditions.
    pub generation: Option<i64>,
    /// When it was made, in seconds since 1970. One that was never in a cluster is the newest.
    pub created: i64,
    /// Whether what it collects is known, even if the rest is wrong: for messages.
    pub inputs: Inputs,
    /// What it wants, or everything that is wrong with it.
    pub result: Result<Pipeline, Vec<Problem>>,
    /// When its certificates end.
    pub expiries: Vec<Expiry>,
}

/// All pipelines, in the order of their kinds and names. Those that are being deleted are none any more.
pub fn pipelines(input: &Input, module: &Module) -> Vec<Collected> {
    let logs = input.logs.iter().filter(|found| found.metadata.deletion_timestamp.is_none());
    let metrics = input.metrics.iter().filter(|found| found.metadata.deletion_timestamp.is_none());
    let traces = input.traces.iter().filter(|found| found.metadata.deletion_timestamp.is_none());
    let mut all: Vec<Collected> = logs
        .map(|found| log_pipeline(found, input, module))
        .chain(metrics.map(|found| metric_pipeline(found, input, module)))
        .chain(traces.map(|found| trace_pipeline(found, input, module)))
        .collect();
    all.sort_by(|one, other| one.id.cmp(&other.id));
    all
}

/// All Secrets that pipelines name.
pub fn secrets<'p>(
    logs: impl IntoIterator<Item = &'p LogPipeline>,
    metrics: impl IntoIterator<Item = &'p MetricPipeline>,
    traces: impl IntoIterator<Item = &'p TracePipeline>,
) -> BTreeSet<SecretName> {
    let of_logs = logs.into_iter().filter_map(|found| Some(&found.spec.output.otlp.as_ref()?.output));
    let of_metrics = metrics.into_iter().map(|found| &found.spec.output.otlp.output);
    let of_traces = traces.into_iter().map(|found| &found.spec.output.otlp);
    of_logs.chain(of_metrics).chain(of_traces).flat_map(resolve::references).collect()
}

fn log_pipeline(found: &LogPipeline, input: &Input, module: &Module) -> Collected {
    let spec = &found.spec;
    let unsupported = unsupported::of_logs(spec);
    let (inputs, problems) = log_inputs(&spec.input, &input.settings);
    let output = spec.output.otlp.as_ref();
    let buffer = output.and_then(|output| output.buffer.as_ref()).map_or(Seen::MEMORY, buffer);
    let status = found.status.as_ref().and_then(|status| status.buffer.as_ref());
    let disk_before = status
        .map(|status| quantity::bytes(&status.max.0).unwrap_or_default() / u64::from(status.pods.reporting).max(1));
    let problems = [unsupported, problems].concat();
    let seen = Seen { signal: Signal::Logs, inputs, buffer, disk_before, problems };
    seen.with_output(found, output.map(|output| &output.output), input, module)
}

fn metric_pipeline(found: &MetricPipeline, input: &Input, module: &Module) -> Collected {
    let spec = &found.spec;
    let inputs = Inputs { otlp: pushed(spec.input.otlp.as_ref()), runtime: None };
    let mut problems = unsupported::of_metrics(spec);
    problems.extend(nothing_collected(&inputs, &problems));
    let seen = Seen { signal: Signal::Metrics, inputs, buffer: Seen::MEMORY, disk_before: None, problems };
    seen.with_output(found, Some(&spec.output.otlp.output), input, module)
}

fn trace_pipeline(found: &TracePipeline, input: &Input, module: &Module) -> Collected {
    let spec = &found.spec;
    let problems = unsupported::of_traces(spec);
    let inputs = Inputs::pushed();
    let seen = Seen { signal: Signal::Traces, inputs, buffer: Seen::MEMORY, disk_before: None, problems };
    seen.with_output(found, Some(&spec.output.otlp), input, module)
}

/// What is known of a pipeline before its output is read.
struct Seen {
    signal: Signal,
    inputs: Inputs,
    buffer: Buffer,
    disk_before: Option<u64>,
    problems: Vec<Problem>,
}

impl Seen {
    /// Where data waits unless a pipeline says another place.
    const MEMORY: Buffer = Buffer::Memory { max_size: None };

    fn with_output(
        self,
        found: &impl ResourceExt,
        written: Option<&OtlpOutput>,
        input: &Input,
        module: &Module,
    ) -> Collected {
        let Self { signal, inputs, buffer, disk_before, mut problems } = self;
        let id = PipelineId::new(signal, found.name_any());
        let mut expiries = Vec::new();
        let mut output = None;
        if let Some(written) = written {
            let mut resolver = Resolver::new(&input.settings, &input.secrets, module);
            output = super::output::output(written, &mut resolver);
            problems.append(&mut resolver.problems);
        }
        if let Some(output) = &output {
            match tls::check(&output.tls, input.now) {
                Ok(found) => expiries = found,
                Err(found) => problems.extend(found),
            }
        }
        problems.sort();
        problems.dedup();
        let created = found.creation_timestamp().map_or(i64::MAX, |time| time.0.as_second());
        let result = match output {
            Some(output) if problems.is_empty() => Ok(Pipeline {
                id: id.clone(),
                identity: found.uid(),
                created,
                inputs: inputs.clone(),
                buffer,
                disk_before,
                output,
            }),
            _ => Err(problems),
        };
        Collected { id, generation: found.meta().generation, created, inputs, result, expiries }
    }
}

/// What a pipeline says of its buffer; the schema takes no size that is none.
fn buffer(written: &crd::Buffer) -> Buffer {
    let max_size = written.max_size.as_ref().and_then(|size| quantity::bytes(&size.0));
    match written.kind {
        BufferType::Memory => Buffer::Memory { max_size },
        BufferType::Disk => Buffer::Disk(DiskBuffer {
            max_size: max_size.unwrap_or(DISK_SIZE),
            max_age: written.max_age.as_ref().and_then(Length::duration),
        }),
    }
}

fn log_inputs(written: &LogInput, settings: &Settings) -> (Inputs, Vec<Problem>) {
    let mut problems = Vec::new();
    let default = crate::crd::LogRuntimeInput::default();
    let runtime = written.runtime.as_ref().unwrap_or(&default);
    let containers = match &runtime.containers {
        Some(ContainerSelector { include, exclude }) => {
            problems.extend(include.iter().chain(exclude).filter_map(|name| wrong_container(name)));
            Selection::written(include, exclude)
        }
        None => Selection::all(),
    };
    let namespaces = match &runtime.namespaces {
        Some(NamespaceSelector { include, exclude }) => Selection::written(include, exclude),
        None => Selection::Except(settings.system_namespaces().map(str::to_owned).into()),
    };
    let keep_original_body = runtime.keep_original_body;
    let runtime = runtime.enabled.then_some(RuntimeLogs { namespaces, containers, keep_original_body });
    let inputs = Inputs { otlp: pushed(written.otlp.as_ref()), runtime };
    problems.extend(nothing_collected(&inputs, &problems));
    (inputs, problems)
}

fn pushed(written: Option<&OtlpInput>) -> Option<Selection> {
    let default = OtlpInput::default();
    let written = written.unwrap_or(&default);
    let namespaces = written.namespaces.as_ref();
    let selection = namespaces.map(|NamespaceSelector { include, exclude }| Selection::written(include, exclude));
    written.enabled.then(|| selection.unwrap_or(Selection::all()))
}

/// Every pipeline has to collect something, and says only once that it does not.
fn nothing_collected(inputs: &Inputs, others: &[Problem]) -> Option<Problem> {
    let is_nothing = inputs.otlp.is_none() && inputs.runtime.is_none() && others.is_empty();
    is_nothing.then(|| {
        Problem::new(Reason::SelectorInvalid, "every input is disabled, so there is nothing to collect: enable one")
    })
}

/// Kubernetes gives containers names of small letters, digits and `-`.
fn wrong_container(container: &str) -> Option<Problem> {
    (!name::is_label(container)).then(|| {
        let message = format!(
            "input.runtime.containers: no container can have the name '{container}'; expected small letters, digits and '-'"
        );
        Problem::new(Reason::SelectorInvalid, message)
    })
}
