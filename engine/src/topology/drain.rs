//! The end of a running graph: sources stop admitting and wait for their receipts, what follows ends by itself, sinks
//! deliver what they hold until the deadline and settle the rest.

use std::sync::Arc;

use engine_core::sink::{Drained, SinkHandle};
use engine_core::telemetry::HealthState;
use tokio::time::Instant;

use super::run::Running;
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
    /// Tells sources to stop admitting at once, and waits for the end of everything, at most the configured grace.
    pub async fn drain(mut self) -> DrainReport {
        let deadline = Instant::now() + self.settings.shutdown_grace;
        self.set_states(HealthState::Draining);
        self.draining.cancel();
        self.drain.cancel();
        // Listeners stay open until their sources have taken what waits there already.
        self.sockets.close();
        let mut report = DrainReport::default();
        // Sources hold the outputs; with them go the routes, and with those the inputs of stages end.
        while let Some(joined) = next_until(&mut self.sources, deadline).await {
            self.note_end(joined);
        }
        while let Some(joined) = next_until(&mut self.stages, deadline).await {
            self.note_end(joined);
        }
        if !self.sources.is_empty() || !self.stages.is_empty() {
            report.unfinished = self.unended.iter().map(ToString::to_string).collect();
            self.sources.shutdown().await;
            self.stages.shutdown().await;
        }
        let sinks: Vec<(String, Arc<SinkHandle>)> = self
            .nodes
            .iter()
            .filter_map(|node| node.sink.as_ref().map(|sink| (node.id.to_string(), Arc::clone(sink))))
            .collect();
        let drains = sinks.iter().map(|(id, sink)| async move { (id.clone(), sink.drain(deadline).await) });
        for (id, Drained { dropped, finished }) in futures::future::join_all(drains).await {
            if !finished {
                report.unfinished.push(id.clone());
            }
            if dropped > 0 {
                tracing::error!(sink = %id, records = dropped, "records were answered OK and are lost by shutdown");
                report.dropped.push((id, dropped));
            }
        }
        self.stop_serving.cancel();
        let last = deadline.max(Instant::now() + LEAST_GRACE);
        while let Some(joined) = next_until(&mut self.serving, last).await {
            self.note_end(joined);
        }
        self.serving.shutdown().await;
        std::mem::take(&mut self.services).stop(deadline, &mut report).await;
        self.set_states(HealthState::Stopped);
        self.lanes.stop();
        report
    }

    fn set_states(&self, state: HealthState) {
        self.nodes.iter().for_each(|node| node.telemetry.set_state(state));
    }
}

async fn next_until<T: 'static>(
    tasks: &mut tokio::task::JoinSet<T>,
    deadline: Instant,
) -> Option<Result<T, tokio::task::JoinError>> {
    tokio::time::timeout_at(deadline, tasks.join_next()).await.ok().flatten()
}
