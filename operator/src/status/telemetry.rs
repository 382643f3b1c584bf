//! What is said of the module: of each signal whether its components are healthy, and where applications send data.

use std::collections::BTreeMap;

use super::{
    AGENT_HEALTHY, BUFFER_HEALTHY, CONFIGURATION_GENERATED, ConditionReport, FLOW_HEALTHY, GATEWAY_HEALTHY, Known,
    PipelineReport, Verdict, is_warning, storage,
};
use crate::collect::PipelineId;
use crate::crd::{Endpoints, OtlpEndpoints, State, StorageStatus};
use crate::input::Input;
use crate::plan;
use crate::render::config::{OTLP_GRPC_PORT, OTLP_HTTP_PORT};
use crate::role::Signal;

/// What is said of a Telemetry object.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetryReport {
    /// The generation that it is about.
    pub generation: Option<i64>,
    /// The conditions in one word.
    pub state: State,
    /// One for each signal.
    pub conditions: Vec<ConditionReport>,
    /// Where applications send data.
    pub endpoints: Option<Endpoints>,
    /// What is left of buffers on disk.
    pub storage: Option<StorageStatus>,
}

/// What is to be said of all Telemetry objects, by namespace and name.
pub fn of_telemetries(
    pipelines: &BTreeMap<PipelineId, PipelineReport>,
    known: &Known<'_>,
) -> BTreeMap<(String, String), TelemetryReport> {
    let input = known.input;
    let reports = input.telemetries.iter().map(|found| {
        let metadata = &found.metadata;
        let namespace = metadata.namespace.clone().unwrap_or_else(|| input.settings.namespace.clone());
        let key = (namespace, metadata.name.clone().unwrap_or_default());
        let mut report = match plan::counts(found, input) {
            true => of_module(pipelines, known),
            false => without_effect(input),
        };
        report.generation = metadata.generation;
        if metadata.deletion_timestamp.is_some() {
            report.state = State::Deleting;
        }
        (key, report)
    });
    reports.collect()
}

fn of_module(pipelines: &BTreeMap<PipelineId, PipelineReport>, known: &Known<'_>) -> TelemetryReport {
    let mut conditions: Vec<_> = Signal::ALL.map(|signal| components(signal, pipelines)).into();
    conditions.extend(storage::condition(known));
    let is_well = |condition: &ConditionReport| condition.status != Verdict::False && !is_warning(condition);
    let state = if conditions.iter().all(is_well) { State::Ready } else { State::Warning };
    TelemetryReport {
        generation: None,
        state,
        conditions,
        endpoints: endpoints(known),
        storage: storage::status(known),
    }
}

fn without_effect(input: &Input) -> TelemetryReport {
    let message = format!(
        "This object has no effect: the settings of the module are in the Telemetry object 'default' in the Namespace '{}'",
        input.settings.namespace
    );
    let conditions = Signal::ALL.map(|signal| ConditionReport {
        kind: kind(signal),
        status: Verdict::False,
        reason: "NotTheDefault",
        message: message.clone(),
    });
    let conditions = conditions.into();
    TelemetryReport { generation: None, state: State::Warning, conditions, endpoints: None, storage: None }
}

/// The first thing that is wrong with a pipeline of the signal, in the order in which one thing causes another.
fn components(signal: Signal, pipelines: &BTreeMap<PipelineId, PipelineReport>) -> ConditionReport {
    let kind = kind(signal);
    let of_signal: Vec<_> = pipelines.iter().filter(|(id, _)| id.signal == signal).collect();
    if of_signal.is_empty() {
        let message = "No pipelines have been deployed".to_owned();
        return ConditionReport { kind, status: Verdict::True, reason: "NoPipelineDeployed", message };
    }
    let asked = [CONFIGURATION_GENERATED, GATEWAY_HEALTHY, AGENT_HEALTHY, FLOW_HEALTHY, BUFFER_HEALTHY];
    let found = |is_meant: fn(&ConditionReport) -> bool| {
        let of_type = |wanted| of_signal.iter().filter_map(move |(id, report)| Some((*id, report.condition(wanted)?)));
        asked.into_iter().flat_map(of_type).find(|(_, condition)| is_meant(condition))
    };
    let worst = found(|condition| condition.status == Verdict::False).or_else(|| found(is_warning));
    match worst {
        Some((id, condition)) => ConditionReport {
            kind,
            status: condition.status,
            reason: condition.reason,
            message: format!("{id}: {}", condition.message),
        },
        None => {
            let message = format!("All components for {signal} are running");
            ConditionReport { kind, status: Verdict::True, reason: "ComponentsRunning", message }
        }
    }
}

const fn kind(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "LogComponentsHealthy",
        Signal::Metrics => "MetricComponentsHealthy",
        Signal::Traces => "TraceComponentsHealthy",
    }
}

/// The addresses of the gateways that take data of applications.
fn endpoints(known: &Known<'_>) -> Option<Endpoints> {
    let Known { configs, input, .. } = *known;
    let of = |signal: Signal| {
        let config = configs.get(&known.fleet(signal.gateway()))?;
        let host = format!("{}.{}", signal.service(), input.settings.namespace);
        config.takes_from_applications.then(|| OtlpEndpoints {
            grpc: Some(format!("http://{host}:{OTLP_GRPC_PORT}")),
            http: Some(format!("http://{host}:{OTLP_HTTP_PORT}")),
        })
    };
    let endpoints =
        Endpoints { otlp: None, logs: of(Signal::Logs), traces: of(Signal::Traces), metrics: of(Signal::Metrics) };
    (endpoints != Endpoints::default()).then_some(endpoints)
}
