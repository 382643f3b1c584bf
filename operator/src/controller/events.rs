//! Events of pipelines and of the module: what `kubectl describe` and whoever watches a cluster is told of a condition that
//! has become another. They are news, not a record: one that cannot be written is left.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::time::Duration;

use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::status::{ConditionReport, Verdict};

/// Who tells.
const CONTROLLER: &str = "telemetry-manager";
/// What it did when it found out.
const ACTION: &str = "Reconcile";
/// Bytes of a message; an API server takes no more.
const LONGEST_NOTE: usize = 1024;
/// Events that wait to be written; more are left out.
const WAITING_AT_MOST: usize = 256;
/// How long an API server may take for one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Reasons that say no more than that another one follows.
const PASSING: [&str; 2] = ["RolloutInProgress", "AgentNotRequired"];

/// Whoever writes them, beside everything else: nothing waits for news.
pub(super) struct Events {
    queue: mpsc::Sender<(Event, ObjectReference)>,
    writer: AbortHandle,
}

impl Events {
    /// `identity` tells this manager from others.
    pub(super) fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(client, reporter);
        let (queue, mut waiting) = mpsc::channel::<(Event, ObjectReference)>(WAITING_AT_MOST);
        let writer = tokio::spawn(async move {
            while let Some((event, object)) = waiting.recv().await {
                let written = tokio::time::timeout(PATIENCE, recorder.publish(&event, &object)).await;
                let problem = match written {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "the API server does not answer".to_owned(),
                };
                let name = object.name.as_deref().unwrap_or_default();
                tracing::debug!(object = name, error = problem, "an event is not written");
            }
        });
        Self { queue, writer: writer.abort_handle() }
    }

    /// Tells of conditions of an object. What does not fit is left out.
    pub(super) fn tell(&self, object: &ObjectReference, news: &[&ConditionReport]) {
        for report in news {
            let event = Event {
                type_: match report.status {
                    Verdict::True => EventType::Normal,
                    Verdict::False | Verdict::Unknown => EventType::Warning,
                },
                reason: report.reason.to_owned(),
                note: Some(note(report)),
                action: ACTION.to_owned(),
                secondary: None,
            };
            self.queue.try_send((event, object.clone())).ok();
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

/// The conditions whose status or reason is new and that somebody cares about.
pub(super) fn news<'r>(reports: &'r [ConditionReport], before: &[Condition]) -> Vec<&'r ConditionReport> {
    let is_known = |report: &ConditionReport| {
        before.iter().any(|known| {
            known.type_ == report.kind && known.status == report.status.as_str() && known.reason == report.reason
        })
    };
    let is_passing = |report: &ConditionReport| report.status == Verdict::Unknown || PASSING.contains(&report.reason);
    reports.iter().filter(|report| !is_known(report) && !is_passing(report)).collect()
}

fn note(report: &ConditionReport) -> String {
    let mut note = format!("{}: {}", report.kind, report.message);
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    note
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn report(status: Verdict, reason: &'static str) -> ConditionReport {
        ConditionReport { kind: "GatewayHealthy", status, reason, message: "é".repeat(600) }
    }

    fn held(status: &str, reason: &str) -> Condition {
        Condition {
            type_: "GatewayHealthy".to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    /// What an object says already is no news, nor is what passes; a new reason is.
    #[test]
    fn only_changes_are_news() {
        let is_news = |report: ConditionReport, before: &[Condition]| !news(&[report], before).is_empty();
        let ready = || report(Verdict::True, "GatewayReady");
        assert!(is_news(ready(), &[]));
        assert!(is_news(ready(), &[held("True", "RolloutInProgress")]));
        assert!(is_news(ready(), &[held("False", "GatewayNotReady")]));
        assert!(!is_news(ready(), &[held("True", "GatewayReady")]));
        assert!(!is_news(report(Verdict::True, "RolloutInProgress"), &[held("True", "GatewayReady")]));
        assert!(!is_news(report(Verdict::Unknown, "ConfigurationRollingOut"), &[]));
        assert!(is_news(report(Verdict::False, "GatewayNotReady"), &[held("True", "GatewayReady")]));
    }

    /// A message is as long as an API server takes, and cut between characters.
    #[test]
    fn messages_are_cut() {
        let note = note(&report(Verdict::False, "GatewayNotReady"));
        assert!(note.len() > LONGEST_NOTE - 4 && note.len() <= LONGEST_NOTE, "{}", note.len());
        assert!(note.starts_with("GatewayHealthy: é"));
    }
}
