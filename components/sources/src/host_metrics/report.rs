//! Tells what a scrape could not measure: counts every failure, logs each only when it is new or over.

use std::{collections::BTreeSet, error::Error, sync::Arc};

use engine_config::ComponentId;
use engine_core::telemetry::{ComponentTelemetry, HealthState};

use super::{
    prober::Unanswered,
    scrape::{Findings, name},
};

/// Remembers what failed in the scrape before.
#[derive(Debug)]
pub(super) struct Reporter {
    id: ComponentId,
    telemetry: Arc<ComponentTelemetry>,
    failing: BTreeSet<String>,
}

impl Reporter {
    pub(super) fn new(id: ComponentId, telemetry: Arc<ComponentTelemetry>) -> Reporter {
        Reporter { id, telemetry, failing: BTreeSet::new() }
    }

    /// Counts the failures of a scrape by scraper, and mounts that hang as `filesystem_timeout`. A source that can
    /// measure nothing at all is degraded.
    pub(super) fn report(&mut self, findings: &Findings) {
        let mut failing = BTreeSet::new();
        for failure in &findings.failures {
            let text = with_causes(&failure.error);
            self.telemetry.error(name(failure.scraper), text.clone());
            failing.insert(text);
        }
        for missed in &findings.missed_mounts {
            let mount = &missed.mount_point;
            let (kind, text) = match &missed.why {
                Unanswered::TimedOut | Unanswered::Pending => {
                    ("filesystem_timeout", format!("file system at {mount} does not answer"))
                }
                Unanswered::TooManyPending => {
                    let pending = findings.pending_mounts;
                    ("filesystem_timeout", format!("file system at {mount} is not asked: {pending} others hang"))
                }
                Unanswered::Failed(error) => ("filesystem", format!("cannot measure file system at {mount}: {error}")),
            };
            self.telemetry.error(kind, text.clone());
            failing.insert(text);
        }
        for text in failing.difference(&self.failing) {
            tracing::warn!(component = %self.id, "{text}");
        }
        for text in self.failing.difference(&failing) {
            tracing::info!(component = %self.id, "no longer: {text}");
        }
        self.failing = failing;
        self.telemetry.set_state(if findings.points > 0 { HealthState::Ok } else { HealthState::Degraded });
    }

    #[cfg(test)]
    fn failing(&self) -> Vec<&str> {
        self.failing.iter().map(String::as_str).collect()
    }
}

/// An error with its causes in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed setup step is a failed test")]
    use std::io;

    use engine_config::sources::host_metrics::Scraper;

    use super::*;
    use crate::host_metrics::{filesystem::MissedMount, host::ScrapeError, scrape::Failure};

    fn findings(failures: Vec<Failure>, missed_mounts: Vec<MissedMount>, points: usize) -> Findings {
        Findings { points, failures, missed_mounts, pending_mounts: 1 }
    }

    fn missed(mount_point: &str, why: Unanswered) -> MissedMount {
        MissedMount { mount_point: mount_point.into(), why }
    }

    /// Failures are counted by scraper with their cause, a mount that times out and one that is pending read the same
    /// so that they are logged once, and a source without points is degraded.
    #[test]
    fn failures_are_counted_and_remembered() {
        let telemetry = Arc::new(ComponentTelemetry::default());
        let mut reporter = Reporter::new(ComponentId::new("host").unwrap(), Arc::clone(&telemetry));
        let error = ScrapeError::Read {
            path: "/hostfs/proc/diskstats".into(),
            source: io::Error::new(io::ErrorKind::PermissionDenied, "permission denied"),
        };
        let failure = Failure { scraper: Scraper::Disk, error };
        reporter.report(&findings(vec![failure], vec![missed("/mnt/nfs", Unanswered::TimedOut)], 3));
        let first: Vec<String> = reporter.failing().into_iter().map(str::to_owned).collect();
        assert_eq!(
            first,
            ["cannot read /hostfs/proc/diskstats: permission denied", "file system at /mnt/nfs does not answer"]
        );
        assert_eq!(telemetry.health().state, HealthState::Ok);

        reporter.report(&findings(Vec::new(), vec![missed("/mnt/nfs", Unanswered::Pending)], 0));
        assert_eq!(reporter.failing(), ["file system at /mnt/nfs does not answer"]);
        let errors = telemetry.read().errors;
        assert_eq!((errors["disk"], errors["filesystem_timeout"]), (1, 2));
        assert_eq!(telemetry.health().state, HealthState::Degraded);
    }
}
