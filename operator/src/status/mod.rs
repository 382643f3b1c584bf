//! What is said of pipelines and of the module: conditions with reasons and messages that a user can act on.
//!
//! Conditions here have no times: when one has changed is known to whoever writes it.

mod buffer;
mod flow;
mod health;
mod storage;
mod telemetry;

use std::collections::BTreeMap;

use crate::collect::Collected;
use crate::crd;
use crate::date;
use crate::input::{EngineView, Input};
use crate::render::config::{RoleConfig, label};
use crate::role::{Fleet, Role, Signal};
use crate::storage::Storage;
use crate::validate::Expiry;
use crate::validate::tls::WARNING;

pub use self::telemetry::{TelemetryReport, of_telemetries};

/// Whether a pipeline's specification is part of what runs.
pub const CONFIGURATION_GENERATED: &str = "ConfigurationGenerated";
/// Whether the gateway runs, with that configuration.
pub const GATEWAY_HEALTHY: &str = "GatewayHealthy";
/// Whether the agents run, with that configuration.
pub const AGENT_HEALTHY: &str = "AgentHealthy";
/// Whether data arrives.
pub const FLOW_HEALTHY: &str = "TelemetryFlowHealthy";

/// Whether a buffer on disk has room; of LogPipelines that have one.
pub const BUFFER_HEALTHY: &str = "BufferHealthy";
/// Whether volumes are as they should be; of the module, while there are some.
pub const STORAGE_HEALTHY: &str = "StorageHealthy";

/// Most bytes of what a condition says.
const LONGEST_MESSAGE: usize = 4096;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionReport {
    /// Its type.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: Verdict,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, and what to do.
    pub message: String,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

/// What is said of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineReport {
    /// The generation that it is about.
    pub generation: Option<i64>,
    /// In the order in which a reader asks.
    pub conditions: Vec<ConditionReport>,
    /// Whether it has a custom output or filters of Fluent Bit; for LogPipelines only.
    pub unsupported_mode: Option<bool>,
    /// What became of its data.
    pub flow: Option<crd::Flow>,
    /// How full its buffer on disk is.
    pub buffer: Option<crd::BufferStatus>,
}

/// What is known when something is said.
#[derive(Clone, Copy, Debug)]
pub struct Known<'k> {
    /// What engines are to run.
    pub configs: &'k BTreeMap<Fleet, RoleConfig>,
    /// What of the log gateway is on disk.
    pub storage: Option<&'k Storage>,
    /// What was seen.
    pub input: &'k Input,
}

impl<'k> Known<'k> {
    /// The engines of a role that count: where two workloads keep some, those that stay.
    fn fleet(&self, role: Role) -> Fleet {
        let stays = |fleet: &Fleet| self.storage.is_some_and(|storage| storage.is_kept_by(fleet.workload));
        let others = self.configs.keys().filter(|fleet| fleet.role == role);
        others.copied().find(stays).unwrap_or(role.fleet())
    }

    /// What all engines of a role say.
    fn engines(&self, role: Role) -> impl Iterator<Item = &'k EngineView> {
        self.input.engines.iter().filter(move |(fleet, _)| fleet.role == role).map(|(_, view)| view)
    }
}

/// What is to be said of a pipeline.
pub fn of_pipeline(pipeline: &Collected, known: &Known<'_>) -> PipelineReport {
    let input = known.input;
    let signal = pipeline.id.signal;
    let generated = generated(pipeline, input);
    let runs = generated.status == Verdict::True;
    let mut conditions = vec![generated, health::gateway(pipeline, runs, known)];
    if signal != Signal::Traces {
        conditions.push(health::agent(pipeline, runs, known));
    }
    conditions.push(flow::condition(pipeline, runs, known));
    conditions.extend(buffer::condition(pipeline, known).filter(|_| runs));
    PipelineReport {
        generation: pipeline.generation,
        conditions,
        unsupported_mode: (signal == Signal::Logs).then(|| unsupported_mode(pipeline, input)),
        flow: flow::ledger(&label(&pipeline.id.name), signal.gateway(), known).filter(|_| runs),
        buffer: buffer::status(pipeline, known),
    }
}

fn generated(pipeline: &Collected, input: &Input) -> ConditionReport {
    let signal = pipeline.id.signal;
    let condition =
        |status, reason, message| ConditionReport { kind: CONFIGURATION_GENERATED, status, reason, message };
    let problems = match &pipeline.result {
        Ok(_) => {
            let near = pipeline.expiries.iter().filter(|expiry| expiry.at - input.now <= WARNING);
            if let Some(expiry) = near.min_by_key(|expiry| expiry.at) {
                let message = format!(
                    "{} is about to expire, configured certificate is valid until {}",
                    expiry.certificate.title(),
                    date::day(expiry.at)
                );
                return condition(Verdict::True, "TLSCertificateAboutToExpire", message);
            }
            let message = format!(
                "{} specification is successfully applied to the configuration of the {}",
                signal.kind(),
                signal.gateway().title()
            );
            return condition(Verdict::True, "GatewayConfigured", message);
        }
        Err(problems) => problems,
    };
    let reason =
        problems.iter().map(|problem| problem.reason).min().map_or("ValidationFailed", |reason| reason.as_str());
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    condition(Verdict::False, reason, shortened(messages.join("; ")))
}

/// A message of a length that a person reads and an API server keeps.
fn shortened(mut message: String) -> String {
    if message.len() > LONGEST_MESSAGE {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        message.push_str(" ...");
    }
    message
}

fn unsupported_mode(pipeline: &Collected, input: &Input) -> bool {
    let found = input.logs.iter().find(|found| found.metadata.name.as_deref() == Some(&pipeline.id.name));
    found.is_some_and(|found| found.spec.output.custom.is_some() || !found.spec.filters.is_empty())
}

impl Verdict {
    /// As it stands in a condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl PipelineReport {
    /// A condition of it.
    pub fn condition(&self, kind: &str) -> Option<&ConditionReport> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }
}

impl Expiry {
    /// When what is said of it changes.
    pub fn changes(&self) -> [i64; 2] {
        [self.at - WARNING, self.at]
    }
}

/// The word for what is wrong with a certificate that is warned of.
pub fn is_warning(condition: &ConditionReport) -> bool {
    condition.status == Verdict::True && condition.reason == "TLSCertificateAboutToExpire"
}
