//! What is said of engines, by what the cluster and they themselves say.

use telemetry_manager::input::{EngineReport, EngineView, Input, WorkloadView};
use telemetry_manager::plan::plan;
use telemetry_manager::role::Role;

use crate::cases::inputs;

/// A trace pipeline whose two pods are rolled out and run what they are to run.
fn well() -> Input {
    let mut input = inputs().into_iter().find(|(name, _)| name == "objects_of_a_trace_pipeline").unwrap().1;
    let hash = plan(&input).configs[&Role::TraceRouter.fleet()].hash.clone();
    let workload = WorkloadView { is_observed: true, desired: 2, updated: 2, ready: 2, problem: None };
    input.workloads.insert(Role::TraceRouter.fleet(), workload);
    let report = |pod: &str| EngineReport { pod: pod.to_owned(), config_hash: hash.clone(), ..EngineReport::default() };
    let reports = vec![report("router-a"), report("router-b")];
    input.engines.insert(Role::TraceRouter.fleet(), EngineView { asked: 2, reports, ..EngineView::default() });
    input
}

/// Status and reason of the gateway's condition.
fn gateway(input: &Input) -> (&'static str, &'static str) {
    let desired = plan(input);
    let report = desired.pipelines.values().next().unwrap();
    let condition = report.condition("GatewayHealthy").unwrap();
    (condition.status.as_str(), condition.reason)
}

/// A gateway is healthy when every one of its pods says that it runs what it should; silence is not health.
#[test]
fn gateways_are_healthy_when_they_say_so() {
    assert_eq!(gateway(&well()), ("True", "GatewayReady"));
    let mut silent = well();
    silent.engines.clear();
    assert_eq!(gateway(&silent), ("Unknown", "GatewayProbingFailed"));
    let mut half = well();
    half.engines.get_mut(&Role::TraceRouter.fleet()).unwrap().reports.pop();
    assert_eq!(gateway(&half), ("Unknown", "GatewayProbingFailed"));
    let mut behind = well();
    behind.engines.get_mut(&Role::TraceRouter.fleet()).unwrap().reports[1].config_hash = "of before".to_owned();
    assert_eq!(gateway(&behind), ("Unknown", "ConfigurationRollingOut"));
    let mut refusing = behind;
    refusing.engines.get_mut(&Role::TraceRouter.fleet()).unwrap().reports[1].problem = Some("no".to_owned());
    assert_eq!(gateway(&refusing), ("False", "GatewayConfigurationRefused"));
}

/// What could not be applied is told, however well the pods are.
#[test]
fn what_is_not_applied_is_told() {
    let mut input = well();
    let problem = "Service telemetry-system/telemetry-otlp-traces: it is there and is not ours";
    input.failures.insert(Role::TraceRouter, problem.to_owned());
    assert_eq!(gateway(&input), ("False", "GatewayNotApplied"));
    let desired = plan(&input);
    let report = desired.pipelines.values().next().unwrap();
    assert!(report.condition("GatewayHealthy").unwrap().message.contains(problem));
}
