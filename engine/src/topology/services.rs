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

use super::run::Chain;

/// What a service may take to stop even when sinks have used up the grace: it may have something to give back.
const LEAST_GRACE: Duration = Duration::from_secs(1);

/// Running services in the order in which they were started.
#[derive(Default)]
pub(super) struct RunningServices(Vec<RunningService>);

struct RunningService {
    id: ServiceId,
    stop: CancellationToken,
    ended: JoinHandle<()>,
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
                return;
            };
            let text = format!("the service {name} failed: {}", Chain(&error));
            tracing::error!(service = %name, error = %Chain(&error), "service failed");
            for telemetry in users {
                telemetry.error("service", text.clone());
                telemetry.set_state(HealthState::Degraded);
            }
        });
        self.0.push(RunningService { id, stop, ended });
    }

    /// Stops all of them, the last first: what was started later may use what was started earlier. Names those that had
    /// to be aborted.
    pub(super) async fn stop(self, deadline: Instant) -> Vec<String> {
        let last = deadline.max(Instant::now() + LEAST_GRACE);
        let mut unfinished = Vec::new();
        for RunningService { id, stop, mut ended } in self.0.into_iter().rev() {
            stop.cancel();
            if tokio::time::timeout_at(last, &mut ended).await.is_err() {
                ended.abort();
                unfinished.push(format!("service {id}"));
            }
        }
        unfinished
    }
}
