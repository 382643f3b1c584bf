//! The services of a running graph: started before the first source, stopped after the last sink, and those that nobody
//! uses any more after their last user.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use engine_config::{PlannedService, ServiceId};
use engine_core::contract::ComponentError;
use engine_core::service::Services;
use engine_core::telemetry::{ComponentTelemetry, HealthState};
use futures::FutureExt;
use parking_lot::Mutex;
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
    users: Arc<Mutex<Users>>,
}

/// Who is told that a service has failed.
#[derive(Default)]
struct Users {
    components: Vec<Arc<ComponentTelemetry>>,
    failure: Option<String>,
}

enum HowEnded {
    Stopped,
    Failed,
}

impl RunningServices {
    /// Starts a service. When it fails, those who use it are degraded and say why.
    pub(super) fn start(&mut self, services: &Services, planned: &PlannedService) {
        let (id, stop) = (planned.id.clone(), CancellationToken::new());
        let work = services.run(&id, stop.clone()).expect("a plan was built, so its services are open");
        let (name, users) = (id.to_string(), Arc::<Mutex<Users>>::default());
        let told = Arc::clone(&users);
        let ended = tokio::spawn(async move {
            let caught = AssertUnwindSafe(work).catch_unwind().await;
            let Err(error) = caught.unwrap_or_else(|panic| Err(ComponentError::panicked(panic.as_ref()))) else {
                return HowEnded::Stopped;
            };
            tracing::error!(service = %name, error = %Chain(&error), "service failed");
            told.lock().fail(format!("the service {name} failed: {}", Chain(&error)));
            HowEnded::Failed
        });
        self.0.push(RunningService { id, stop, ended, users });
    }

    /// Says who uses a service from now on. Those who come after its failure are told too.
    pub(super) fn used_by(&mut self, id: &ServiceId, components: Vec<Arc<ComponentTelemetry>>) {
        let Some(service) = self.0.iter().find(|service| service.id == *id) else { return };
        let mut users = service.users.lock();
        let known = std::mem::replace(&mut users.components, components);
        if let Some(failure) = &users.failure {
            let is_new = |user: &&Arc<ComponentTelemetry>| known.iter().all(|other| !Arc::ptr_eq(user, other));
            users.components.iter().filter(is_new).for_each(|user| tell(user, failure));
        }
    }

    pub(super) fn contains(&self, id: &ServiceId) -> bool {
        self.0.iter().any(|service| service.id == *id)
    }

    /// Stops those that are not needed, the last first.
    pub(super) async fn stop_unneeded(&mut self, is_needed: impl Fn(&ServiceId) -> bool) -> Vec<ServiceId> {
        let (needed, others): (Vec<_>, Vec<_>) = self.0.drain(..).partition(|service| is_needed(&service.id));
        self.0 = needed;
        let ids = others.iter().map(|service| service.id.clone()).collect();
        let mut report = DrainReport::default();
        Self(others).stop(Instant::now(), &mut report).await;
        for name in report.unfinished {
            tracing::warn!(service = name, "a service that nobody uses any more did not stop in time");
        }
        ids
    }

    /// Stops all of them, the last first: what was started later may use what was started earlier. Reports those that had
    /// to be aborted, and those that failed.
    pub(super) async fn stop(self, deadline: Instant, report: &mut DrainReport) {
        for RunningService { id, stop, mut ended, .. } in self.0.into_iter().rev() {
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

impl Users {
    fn fail(&mut self, text: String) {
        self.components.iter().for_each(|user| tell(user, &text));
        self.failure = Some(text);
    }
}

fn tell(user: &ComponentTelemetry, failure: &str) {
    user.error("service", failure);
    user.set_state(HealthState::Degraded);
}
