//! The services of a running graph: started before the first source, stopped after the last sink.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use engine_config::{PlannedService, ServiceId};
use engine_core::contract::ComponentError;
use engine_core::service::Services;
use engine_core::telemetry::{ComponentTelemetry, HealthState};
use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::drain::DrainReport;
use super::run::Chain;

/// What each service, and what sinks do beside deliveries, may take to stop even when others have used up the grace: it may
/// have something to give back.
pub(super) const LEAST_GRACE: Duration = Duration::from_secs(1);

/// Running services in the order in which they were started.
#[derive(Default)]
pub(super) struct RunningServices(Vec<RunningService>);

struct RunningService {
    id: ServiceId,
    stop: CancellationToken,
    ended: JoinHandle<HowEnded>,
}

enum HowEnded {
    Stopped,
    Failed,
}

impl RunningServices {
    /// Starts a service. When it fails, those who use it are degraded and say why.
    pub(super) fn start(&mut self, services: &Services, planned: &PlannedService, users: Vec<Arc<ComponentTelemetry>>) {
        let (id, stop) = (planned.id.clone(), CancellationToken::new());
        let work = services.run(&id, stop.clone()).expect("a plan was built, so its services are open");
        let name = id.to_string();
        let ended = tokio::spawn(async move {
            let caught = AssertUnwindSafe(work).catch_unwind().await;
            let Err(error) = caught.unwrap_or_else(|panic| Err(ComponentError::panicked(panic.as_ref()))) else {
                return HowEnded::Stopped;
            };
            let text = format!("the service {name} failed: {}", Chain(&error));
            tracing::error!(service = %name, error = %Chain(&error), "service failed");
            for telemetry in users {
                telemetry.error("service", text.clone());
                telemetry.set_state(HealthState::Degraded);
            }
            HowEnded::Failed
        });
        self.0.push(RunningService { id, stop, ended });
    }

    /// Stops all of them, the last first: what was started later may use what was started earlier. Reports those that had
    /// to be aborted, and those that failed.
    pub(super) async fn stop(self, deadline: Instant, report: &mut DrainReport) {
        for RunningService { id, stop, mut ended } in self.0.into_iter().rev() {
            let last = deadline.max(Instant::now() + LEAST_GRACE);
            stop.cancel();
            let name = format!("service {id}");
            match tokio::time::timeout_at(last, &mut ended).await {
                Ok(Ok(HowEnded::Stopped)) => {}
                // Panics of services are caught; an error is one of dropping what it held.
                Ok(Ok(HowEnded::Failed) | Err(_)) => report.failed.push(name),
                Err(_) => {
                    ended.abort();
                    report.unfinished.push(name);
                }
            }
        }
    }
}
