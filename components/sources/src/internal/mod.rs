//! Source `internal`: the engine's own metrics, log and traces as OTLP. Not here: what is measured, logged and traced (the
//! engine, behind the service of its own telemetry) and how that is written (`request`).
//!
//! One batch of the log and one of spans are under way at a time; meanwhile others wait in the service's queues, which forget
//! the oldest. So a backend that is away costs a bounded amount of memory, and records about its absence are as few as lines
//! in the log.

mod request;

use std::sync::Arc;
use std::time::Duration;

use engine_config::sources::Internal;
use engine_config::{Signal, SignalSet};
use engine_core::contract::{ComponentError, Source, SourceContext};
use engine_core::registry::{BuildContext, BuildError, BuildSource, Registration};
use engine_core::self_telemetry::spans::TakenSpans;
use engine_core::self_telemetry::{Claim, SelfTelemetry, TakenLogs, unheard, unix_nanos};
use engine_core::telemetry::ComponentTelemetry;
use futures::future::BoxFuture;
use otlp::{Decoded, Payload};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::pull::{HandOver, Origin};

/// How long an event of the log or a span waits for others.
const PAUSE: Duration = Duration::from_secs(1);

/// Why log records and spans are lost: more happened than was taken on.
const QUEUE_FULL: &str = "queue_full";

inventory::submit! { Registration::source::<InternalSource>() }

/// Reads the metrics at once and then at every interval, the log and the spans every second.
#[derive(Debug)]
struct InternalSource {
    own: Arc<SelfTelemetry>,
    interval: Duration,
    signals: SignalSet,
    /// To the log and the spans.
    claims: Vec<Claim>,
}

impl BuildSource for InternalSource {
    type Options = Internal;

    fn build(options: &Internal, context: &BuildContext) -> Result<Self, BuildError> {
        let own = context.services.get::<SelfTelemetry>("")?;
        // From here on, so that the start of the other components is told too.
        let mut claims = Vec::new();
        if context.signals.contains(Signal::Logs) {
            let refused =
                || BuildError::new("another source `internal` takes the log already: narrow one by `signals`");
            claims.push(own.want_logs(context.id.as_str(), options.logs.level).ok_or_else(refused)?);
        }
        if context.signals.contains(Signal::Traces) {
            let refused =
                || BuildError::new("another source `internal` takes the traces already: narrow one by `signals`");
            let ratio = options.traces.sampling_ratio.get();
            claims.push(own.spans().want(context.id.as_str(), ratio).ok_or_else(refused)?);
        }
        Ok(Self { own, interval: options.interval.get(), signals: context.signals, claims })
    }
}

impl Source for InternalSource {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(self.watch(context))
    }
}

impl InternalSource {
    async fn watch(self: Box<Self>, context: SourceContext) -> Result<(), ComponentError> {
        // The instance before, if there was one, has come to its end.
        self.claims.iter().for_each(Claim::take_over);
        let telemetry = Arc::clone(&context.telemetry);
        let (output, drain) = (context.output, context.drain.clone());
        let hand_over = HandOver { output, drain, telemetry: context.telemetry, origin: Origin::Engine };
        let mut readings = interval(self.interval);
        let mut pauses = interval(PAUSE);
        readings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pauses.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let has_metrics = self.signals.contains(Signal::Metrics);
        let [mut metrics, mut logs, mut traces] = [(); 3].map(|()| JoinSet::new());
        loop {
            tokio::select! {
                biased;
                () = context.drain.cancelled() => break,
                Some(ended) = metrics.join_next() => survived(ended)?,
                Some(ended) = logs.join_next() => survived(ended)?,
                Some(ended) = traces.join_next() => survived(ended)?,
                _ = readings.tick(), if has_metrics => {
                    // Nobody wants an old reading when there is a new one.
                    let deadline = Instant::now() + self.interval;
                    if let Some(payload) = self.read()? {
                        metrics.spawn(unheard(hand_over.clone().deliver(payload, Some(deadline))));
                    }
                }
                _ = pauses.tick() => {
                    if logs.is_empty() && let Some(payload) = self.logged(&telemetry)? {
                        logs.spawn(unheard(hand_over.clone().deliver(payload, None)));
                    }
                    if traces.is_empty() && let Some(payload) = self.traced(&telemetry)? {
                        traces.spawn(unheard(hand_over.clone().deliver(payload, None)));
                    }
                }
            }
        }
        // The last of them say how the end began.
        for payload in [self.logged(&telemetry)?, self.traced(&telemetry)?].into_iter().flatten() {
            logs.spawn(unheard(hand_over.clone().deliver(payload, None)));
        }
        for mut under_way in [metrics, logs, traces] {
            while let Some(ended) = under_way.join_next().await {
                survived(ended)?;
            }
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
        // Another one may take them.
        if !self.signals.contains(Signal::Logs) {
            return Ok(None);
        }
        let TakenLogs { records, forgotten } = self.own.take_logs();
        telemetry.discarded(QUEUE_FULL, forgotten);
        if records.is_empty() {
            return Ok(None);
        }
        payload(Decoded::Logs(request::logs(&self.own.identity(), records)))
    }

    fn traced(&self, telemetry: &ComponentTelemetry) -> Result<Option<Payload>, ComponentError> {
        if !self.signals.contains(Signal::Traces) {
            return Ok(None);
        }
        let TakenSpans { spans, forgotten } = self.own.spans().take();
        telemetry.discarded(QUEUE_FULL, forgotten);
        if spans.is_empty() {
            return Ok(None);
        }
        let request = request::traces(&self.own.identity(), &spans);
        let wire = otlp::admit(Signal::Traces, request.into());
        wire.map(|wire| Some(Payload::Wire(wire))).map_err(invalid)
    }
}

fn payload(request: Decoded) -> Result<Option<Payload>, ComponentError> {
    let wire = request.encode().map_err(invalid)?;
    Ok((wire.records() > 0).then_some(Payload::Wire(wire)))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ComponentError {
    ComponentError::caused("own telemetry is no valid request", error)
}

fn survived(ended: Result<(), tokio::task::JoinError>) -> Result<(), ComponentError> {
    ended.map_err(|error| ComponentError::caused("a delivery ended early", error))
}

#[cfg(test)]
mod tests;
