//! Source `internal`: the engine's own metrics and log as OTLP. Not here: what is measured and logged (the engine, behind
//! the service of its own telemetry) and how that is written (`request`).
//!
//! One batch of the log is under way at a time; meanwhile events wait in the service's queue, which forgets the oldest. So a
//! backend that is away costs a bounded amount of memory, and records about its absence are as few as lines in the log.

mod request;

use std::sync::Arc;
use std::time::Duration;

use engine_config::sources::Internal;
use engine_config::{Signal, SignalSet};
use engine_core::contract::{ComponentError, Source, SourceContext};
use engine_core::registry::{BuildContext, BuildError, BuildSource, Registration};
use engine_core::self_telemetry::{SelfTelemetry, TakenLogs, unheard, unix_nanos};
use engine_core::telemetry::ComponentTelemetry;
use futures::future::BoxFuture;
use otlp::{Decoded, Payload};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::pull::HandOver;

/// How long an event of the log waits for others.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// Why log records are lost: more happened than was taken on.
const QUEUE_FULL: &str = "queue_full";

inventory::submit! { Registration::source::<InternalSource>() }

/// Reads the metrics at once and then at every interval, and the log every second.
#[derive(Debug)]
struct InternalSource {
    own: Arc<SelfTelemetry>,
    interval: Duration,
    signals: SignalSet,
}

impl BuildSource for InternalSource {
    type Options = Internal;

    fn build(options: &Internal, context: &BuildContext) -> Result<Self, BuildError> {
        let own = context.services.get::<SelfTelemetry>("")?;
        // From here on, so that the start of the other components is told too.
        if context.signals.contains(Signal::Logs) && !own.want_logs(options.logs.level) {
            return Err(BuildError::new("another source `internal` takes the log already: narrow one by `signals`"));
        }
        Ok(Self { own, interval: options.interval.get(), signals: context.signals })
    }
}

impl Source for InternalSource {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(self.watch(context))
    }
}

impl InternalSource {
    async fn watch(self: Box<Self>, context: SourceContext) -> Result<(), ComponentError> {
        let telemetry = Arc::clone(&context.telemetry);
        let (output, drain) = (context.output, context.drain.clone());
        let hand_over = HandOver { output, drain, telemetry: context.telemetry };
        let mut readings = interval(self.interval);
        let mut pauses = interval(LOG_PAUSE);
        readings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pauses.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (has_metrics, has_logs) = (self.signals.contains(Signal::Metrics), self.signals.contains(Signal::Logs));
        let (mut metrics, mut logs) = (JoinSet::new(), JoinSet::new());
        loop {
            tokio::select! {
                biased;
                () = context.drain.cancelled() => break,
                Some(ended) = metrics.join_next() => survived(ended)?,
                Some(ended) = logs.join_next() => survived(ended)?,
                _ = readings.tick(), if has_metrics => {
                    // Nobody wants an old reading when there is a new one.
                    let deadline = Instant::now() + self.interval;
                    if let Some(payload) = self.read()? {
                        metrics.spawn(unheard(hand_over.clone().deliver(payload, Some(deadline))));
                    }
                }
                _ = pauses.tick(), if has_logs && logs.is_empty() => {
                    if let Some(payload) = self.logged(&telemetry)? {
                        logs.spawn(unheard(hand_over.clone().deliver(payload, None)));
                    }
                }
            }
        }
        // The last events say how the end began.
        if let Some(payload) = self.logged(&telemetry)? {
            logs.spawn(unheard(hand_over.deliver(payload, None)));
        }
        while let Some(ended) = metrics.join_next().await {
            survived(ended)?;
        }
        while let Some(ended) = logs.join_next().await {
            survived(ended)?;
        }
        Ok(())
    }

    fn read(&self) -> Result<Option<Payload>, ComponentError> {
        let metrics = self.own.metrics();
        if metrics.is_empty() {
            return Ok(None);
        }
        payload(Decoded::Metrics(request::metrics(&self.own.identity(), metrics, unix_nanos())))
    }

    fn logged(&self, telemetry: &ComponentTelemetry) -> Result<Option<Payload>, ComponentError> {
        let TakenLogs { records, forgotten } = self.own.take_logs();
        telemetry.discarded(QUEUE_FULL, forgotten);
        if records.is_empty() {
            return Ok(None);
        }
        payload(Decoded::Logs(request::logs(&self.own.identity(), records)))
    }
}

fn payload(request: Decoded) -> Result<Option<Payload>, ComponentError> {
    let wire = request.encode().map_err(|error| ComponentError::caused("own telemetry is no valid request", error))?;
    Ok((wire.records() > 0).then_some(Payload::Wire(wire)))
}

fn survived(ended: Result<(), tokio::task::JoinError>) -> Result<(), ComponentError> {
    ended.map_err(|error| ComponentError::caused("a delivery ended early", error))
}

#[cfg(test)]
mod tests;
