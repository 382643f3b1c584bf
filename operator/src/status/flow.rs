//! Whether the data of a pipeline arrives, by what its engines count.

use super::{ConditionReport, FLOW_HEALTHY, Known, Verdict};
use crate::collect::Collected;
use crate::crd::{Flow, ReportingPods};
use crate::input::FlowView;
use crate::render::config::label;
use crate::role::Role;

/// The condition of a pipeline's data.
pub(super) fn condition(pipeline: &Collected, runs: bool, known: &Known<'_>) -> ConditionReport {
    let signal = pipeline.id.signal;
    let (role, data) = (signal.gateway(), signal.records());
    let title = role.title();
    if !runs {
        let message = format!(
            "No {data} delivered to backend because the {} specification is not applied to the configuration of the \
             {title}. Check the 'ConfigurationGenerated' condition for more details",
            signal.kind()
        );
        return of(Verdict::False, "ConfigurationNotGenerated", message);
    }
    if known.engines(role).all(|engines| engines.reports.is_empty()) {
        let asked: u32 = known.engines(role).map(|engines| engines.asked).sum();
        let message = format!(
            "Could not determine the health of the telemetry flow because 0 of {asked} pods of the {title} are reporting"
        );
        return of(Verdict::Unknown, "GatewayProbingFailed", message);
    }
    let recent = flow(&label(&pipeline.id.name), role, known).unwrap_or_default().recent;
    let failure = recent.failure.as_ref().map(|failure| format!(": {failure}")).unwrap_or_default();
    if recent.dropped > 0 && recent.delivered == 0 {
        let message =
            format!("Backend is not reachable or rejecting {data}{failure}. All {data} are dropped in the {title}");
        return of(Verdict::False, "GatewayAllTelemetryDataDropped", message);
    }
    if recent.dropped > 0 {
        let message =
            format!("Backend is reachable, but rejecting {data}{failure}. Some {data} are dropped in the {title}");
        return of(Verdict::False, "GatewaySomeTelemetryDataDropped", message);
    }
    if recent.refused > 0 {
        let message = format!(
            "The {title} is unable to receive {data} at current rate: some are turned away, and their senders still have \
             them. Raise the gateway's scaling or resources in the Telemetry object"
        );
        return of(Verdict::False, "GatewayThrottling", message);
    }
    if !failure.is_empty() && recent.delivered == 0 {
        let message = format!("Backend is not reachable or rejecting {data}{failure}. They wait in the {title}");
        return of(Verdict::False, "GatewayBackendUnreachable", message);
    }
    of(Verdict::True, "FlowHealthy", "No problems detected in the telemetry flow".to_owned())
}

/// What became of the data of a pipeline, as far as engines report.
pub(super) fn ledger(pipeline: &str, role: Role, known: &Known<'_>) -> Option<Flow> {
    let flow = flow(pipeline, role, known)?;
    let reporting: usize = known.engines(role).map(|engines| engines.reports.len()).sum();
    let reporting = u32::try_from(reporting).unwrap_or(u32::MAX);
    let total = known.engines(role).map(|engines| engines.asked).sum();
    Some(Flow {
        accepted: flow.accepted,
        delivered: flow.delivered,
        dropped: flow.dropped,
        held: flow.held,
        reported_at: None,
        pods: Some(ReportingPods { reporting, total }),
    })
}

/// The same over all engines of a role, whatever keeps them.
fn flow(pipeline: &str, role: Role, known: &Known<'_>) -> Option<FlowView> {
    let flows = known.engines(role).filter_map(|engines| engines.flows.get(pipeline));
    flows.cloned().reduce(|mut all, one| {
        all.accepted += one.accepted;
        all.delivered += one.delivered;
        for (reason, records) in one.dropped {
            *all.dropped.entry(reason).or_default() += records;
        }
        all.held += one.held;
        all.recent.delivered += one.recent.delivered;
        all.recent.dropped += one.recent.dropped;
        all.recent.refused += one.recent.refused;
        all.recent.failure = all.recent.failure.or(one.recent.failure);
        all
    })
}

fn of(status: Verdict, reason: &'static str, message: String) -> ConditionReport {
    ConditionReport { kind: FLOW_HEALTHY, status, reason, message }
}
