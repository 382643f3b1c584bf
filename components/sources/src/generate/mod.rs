//! Source `generate`: made-up logs, metrics and traces, to try a pipeline out and to measure it.
//!
//! Batches are made here one after the other and sent from the lanes in turn, so that transforms and sinks use every
//! core. What is answered Retry is sent again: all records arrive, unless the process ends first.

mod content;
mod fields;
mod generator;
mod pace;
mod template;

use std::{
    num::NonZeroU64,
    time::{Duration, SystemTime},
};

use engine_config::sources::Generate;
use engine_core::{
    budget::{Budget, Charge},
    contract::{ComponentError, Source, SourceContext},
    lane::Lane,
    registry::{BuildContext, BuildError, BuildSource, Registration},
};
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use otlp::{Payload, Signal};
use tokio::{task::JoinError, time::sleep};
use tokio_util::sync::CancellationToken;

use self::{
    generator::{Generator, Made},
    pace::Pace,
    template::Shape,
};
use crate::pull::{HandOver, Origin};

/// Batches on their way, for each lane.
const IN_FLIGHT_PER_LANE: usize = 16;
/// How long to wait when the memory budget has no room for a batch.
const BUDGET_PAUSE: Duration = Duration::from_millis(20);

inventory::submit! { Registration::source::<GenerateSource>() }

/// Makes batches up until it drains or has made as many records as it was asked for.
#[derive(Debug)]
struct GenerateSource {
    generator: Generator,
    rate: Option<NonZeroU64>,
}

impl BuildSource for GenerateSource {
    type Options = Generate;

    fn build(options: &Generate, context: &BuildContext) -> Result<GenerateSource, BuildError> {
        let signals: Vec<Signal> = context.signals.iter().collect();
        let count = options.count.map(NonZeroU64::get);
        Ok(GenerateSource {
            generator: Generator::new(&signals, shape(options), options.seed, count, unix_nanos()),
            rate: options.rate,
        })
    }
}

impl Source for GenerateSource {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move { self.generate(context).await })
    }
}

impl GenerateSource {
    async fn generate(mut self, context: SourceContext) -> Result<(), ComponentError> {
        let (output, drain) = (context.output, context.drain.clone());
        let hand_over = HandOver { output, drain, telemetry: context.telemetry, origin: Origin::Outside };
        let limit = IN_FLIGHT_PER_LANE * context.lanes.count();
        let lanes: Vec<&Lane> = context.lanes.iter().collect();
        let mut turns = lanes.iter().cycle();
        let mut pace = Pace::new(self.rate);
        let mut in_flight = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = context.drain.cancelled() => break,
                Some(ended) = in_flight.next() => {
                    survived(ended)?;
                    continue;
                }
                () = pace.due(), if in_flight.len() < limit => {}
            }
            let Some(made) = self.generator.next(unix_nanos()) else {
                break;
            };
            pace.made(made.records);
            let (wanted, limit_bytes) = (made.request.len(), context.budget.limit());
            if wanted > limit_bytes {
                let message =
                    format!("a batch of {wanted} bytes never fits into the memory limit of {limit_bytes} bytes");
                return Err(ComponentError::new(message));
            }
            let Some(charge) = charge(&context.budget, made.request.len(), &context.drain).await else {
                break;
            };
            let payload = payload(made, charge)?;
            let lane = turns.next().expect("a process has at least one lane");
            in_flight.push(lane.spawn(hand_over.clone().deliver(payload, None)));
        }
        while let Some(ended) = in_flight.next().await {
            survived(ended)?;
        }
        Ok(())
    }
}

fn shape(options: &Generate) -> Shape {
    Shape {
        records: options.batch_records() as usize,
        resources: options.resources.get() as usize,
        attributes: options.attributes as usize,
        body_bytes: options.body_size.as_usize(),
    }
}

/// Charges a batch to the memory budget, as soon as there is room; none when the source drains before.
async fn charge(budget: &Budget, bytes: usize, drain: &CancellationToken) -> Option<Charge> {
    loop {
        if let Ok(charge) = budget.try_charge(bytes) {
            return Some(charge);
        }
        tokio::select! {
            biased;
            () = drain.cancelled() => return None,
            () = sleep(BUDGET_PAUSE) => {}
        }
    }
}

fn payload(made: Made, charge: Charge) -> Result<Payload, ComponentError> {
    let admitted = otlp::admit(made.signal, charge.attach(made.request));
    let wire = admitted.map_err(|error| ComponentError::caused("a made-up batch is no valid request", error))?;
    Ok(Payload::Wire(wire))
}

fn survived(ended: Result<(), JoinError>) -> Result<(), ComponentError> {
    ended.map_err(|error| ComponentError::caused("a delivery ended early", error))
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

#[cfg(test)]
mod tests;
