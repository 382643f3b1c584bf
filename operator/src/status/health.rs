//! Whether the engines of a pipeline run, and run what they are to run.

use super::{AGENT_HEALTHY, ConditionReport, GATEWAY_HEALTHY, Known, Verdict};
use crate::collect::Collected;
use crate::role::{Role, Signal};

/// The words of one of the two conditions.
struct Words {
    kind: &'static str,
    ready: &'static str,
    not_ready: &'static str,
    refused: &'static str,
    not_applied: &'static str,
    not_generated: &'static str,
}

const GATEWAY: Words = Words {
    kind: GATEWAY_HEALTHY,
    ready: "GatewayReady",
    not_ready: "GatewayNotReady",
    refused: "GatewayConfigurationRefused",
    not_applied: "GatewayNotApplied",
    not_generated: "GatewayConfigurationNotGenerated",
};

const AGENT: Words = Words {
    kind: AGENT_HEALTHY,
    ready: "AgentReady",
    not_ready: "AgentNotReady",
    refused: "AgentConfigurationRefused",
    not_applied: "AgentNotApplied",
    not_generated: "AgentConfigurationNotGenerated",
};

/// The condition of the gateway of a pipeline.
pub(super) fn gateway(pipeline: &Collected, runs: bool, known: &Known<'_>) -> ConditionReport {
    of_role(&GATEWAY, pipeline.id.signal.gateway(), pipeline, runs, known)
}

/// The condition of the agents of a pipeline.
pub(super) fn agent(pipeline: &Collected, runs: bool, known: &Known<'_>) -> ConditionReport {
    if pipeline.id.signal != Signal::Logs || pipeline.inputs.runtime.is_none() {
        return AGENT.condition(Verdict::True, "AgentNotRequired", "");
    }
    of_role(&AGENT, Role::LogAgent, pipeline, runs, known)
}

fn of_role(words: &Words, role: Role, pipeline: &Collected, runs: bool, known: &Known<'_>) -> ConditionReport {
    let Known { configs, input, .. } = *known;
    let title = role.title();
    let fleet = known.fleet(role);
    if !runs {
        let message = format!(
            "This {}'s specification is not applied to the configuration of the {title}. Check the \
             'ConfigurationGenerated' condition for more details",
            pipeline.id.signal.kind()
        );
        return words.condition(Verdict::False, words.not_generated, message);
    }
    let kind = fleet.workload.kind();
    if let Some(failure) = input.failures.get(&role) {
        let message = format!("Not everything that the {title} needs could be applied: {failure}");
        return words.condition(Verdict::False, words.not_applied, message);
    }
    let Some(workload) = input.workloads.get(&fleet) else {
        return words.condition(Verdict::False, words.not_ready, format!("The {title} {kind} is not yet created"));
    };
    if !workload.is_rolled_out() {
        return match &workload.problem {
            Some(problem) => words.condition(Verdict::False, words.not_ready, problem.clone()),
            None => words.condition(Verdict::True, "RolloutInProgress", "Pods are being started/updated"),
        };
    }
    let wanted = configs.get(&fleet).map(|config| config.hash.as_str()).unwrap_or_default();
    let (asked, reports) = input.engines.get(&fleet).map_or((0, &[][..]), |engines| (engines.asked, &engines.reports));
    let others: Vec<_> = reports.iter().filter(|report| report.config_hash != wanted).collect();
    if let Some((pod, problem)) =
        others.iter().find_map(|report| report.problem.as_ref().map(|problem| (&report.pod, problem)))
    {
        let message = format!("Pod {pod} does not take its configuration and runs the one before: {problem}");
        return words.condition(Verdict::False, words.refused, message);
    }
    if !others.is_empty() {
        // No numbers: each of them would be a write.
        let message = format!("Some pods of the {title} do not run the newest configuration yet");
        return words.condition(Verdict::Unknown, "ConfigurationRollingOut", message);
    }
    // All gateways are asked, and some of the agents.
    if !role.is_agent() && (asked == 0 || reports.len() < asked as usize) {
        let message = format!("{} of {asked} pods of the {title} are reporting", reports.len());
        return words.condition(Verdict::Unknown, "GatewayProbingFailed", message);
    }
    if let Some((pod, failure)) = reports.iter().find_map(|report| Some((&report.pod, report.failure.as_ref()?))) {
        let message = format!("Pod {pod} does not reach the gateway, and what it reads waits on its node: {failure}");
        return words.condition(Verdict::False, "AgentNotDelivering", message);
    }
    words.condition(Verdict::True, words.ready, format!("The {title} {kind} is ready"))
}

impl Words {
    fn condition(&self, status: Verdict, reason: &'static str, message: impl Into<String>) -> ConditionReport {
        ConditionReport { kind: self.kind, status, reason, message: message.into() }
    }
}
