//! The end of a running graph: sources stop admitting and wait for their receipts, what follows ends by itself, sinks
//! deliver what they hold until the deadline and settle the rest.

use std::sync::Arc;

use engine_core::sink::{Drained, SinkHandle};
use engine_core::telemetry::HealthState;
use tokio::time::Instant;

use super::instance::Instance;
use super::retire::Retired;
use super::run::{Running, note_end};
use super::services::LEAST_GRACE;

/// How a drain went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Components and services that had not ended at the deadline and were stopped, and sinks that did not finish.
    pub unfinished: Vec<String>,
    /// Services that ended with an error or a panic, now or before.
    pub failed: Vec<String>,
    /// Records that had been answered OK, were in memory only and are lost, by sink.
    pub dropped: Vec<(String, u64)>,
}

impl Running {
    /// Tells sources that the process is about to drain, so that they have their clients connect anew while they still admit.
    pub fn leave(&self) {
        self.surroundings.leaving.cancel();
    }

    /// Tells sources to stop admitting at once, and waits for the end of everything, at most the configured grace.
    pub async fn drain(mut self) -> DrainReport {
        let deadline = Instant::now() + self.plan.settings.shutdown_grace;
        self.set_states(HealthState::Draining);
        self.surroundings.draining.cancel();
        self.surroundings.drain.cancel();
        // Listeners stay open until their sources have taken what waits there already.
        self.surroundings.sockets.close();
        // Sources hold the outputs; with them go the routes, and with those the inputs of stages end.
        for instance in &mut self.instances {
            instance.target = None;
            instance.ports = Vec::new();
        }
        let mut report = DrainReport::default();
        for instance in &mut self.instances {
            end_until(instance, deadline).await;
        }
        let late = self.instances.iter_mut().filter(|instance| !instance.tasks.is_empty());
        for instance in late {
            report.unfinished.push(instance.node.id.to_string());
            instance.tasks.shutdown().await;
        }
        report.unfinished.sort();
        let flows = self.retiring.flows_ended().await;
        // Sinks that hand over to these have been told to hurry.
        for instance in &mut self.instances {
            for earlier in std::mem::take(&mut instance.awaits) {
                drop(tokio::time::timeout_at(deadline, earlier.cancelled()).await);
            }
        }
        let sinks: Vec<(String, Arc<SinkHandle>)> = self
            .instances
            .iter()
            .filter_map(|instance| {
                let handle = instance.reading.sink.as_ref()?;
                Some((instance.node.id.to_string(), Arc::clone(handle)))
            })
            .collect();
        let drains = sinks.iter().map(|(id, sink)| async move { (id.clone(), sink.drain(deadline).await) });
        let (drained, retired) = tokio::join!(futures::future::join_all(drains), self.retiring.sinks_ended());
        for (id, Drained { dropped, finished, .. }) in drained {
            if !finished {
                report.unfinished.push(id.clone());
            }
            if dropped > 0 {
                tracing::error!(sink = %id, records = dropped, "records were answered OK and are lost by shutdown");
                report.dropped.push((id, dropped));
            }
        }
        report.add(flows.into_iter().chain(retired));
        self.surroundings.stop_serving.cancel();
        let last = deadline.max(Instant::now() + LEAST_GRACE);
        for instance in &mut self.instances {
            while let Ok(Some(joined)) = tokio::time::timeout_at(last, instance.serving.join_next()).await {
                note_end(joined);
            }
            instance.serving.shutdown().await;
        }
        std::mem::take(&mut self.services).stop(deadline, &mut report).await;
        self.set_states(HealthState::Stopped);
        self.lanes.stop();
        report
    }

    fn set_states(&self, state: HealthState) {
        self.nodes.iter().for_each(|node| node.telemetry.set_state(state));
    }
}

impl DrainReport {
    /// Adds those that were coming to their ends already.
    fn add(&mut self, retired: impl Iterator<Item = Retired>) {
        for Retired { id, unfinished, dropped } in retired {
            if unfinished {
                self.unfinished.push(id.to_string());
            }
            if dropped > 0 {
                self.dropped.push((id.to_string(), dropped));
            }
        }
    }
}

async fn end_until(instance: &mut Instance, deadline: Instant) {
    while let Ok(Some(joined)) = tokio::time::timeout_at(deadline, instance.tasks.join_next()).await {
        note_end(joined);
    }
}
