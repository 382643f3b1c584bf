//! Receives OTLP over gRPC and HTTP: every request is admitted, freed of marks unless its sender is trusted, sent on, and
//! answered with what became of it.
//!
//! Not here: framing, limits and compression (`transport`), what makes bytes admissible (`otlp`).

mod listener;
mod marks;

use std::sync::Arc;
use std::time::Duration;

use engine_config::sources::OtlpSource;
use engine_config::{ComponentId, SignalSet};
use engine_core::batch::Batch;
use engine_core::contract::{ComponentError, Source, SourceContext};
use engine_core::edge::Output;
use engine_core::lane;
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::peer::Peer;
use engine_core::registry::{BuildContext, BuildError, BuildSource, Registration};
use engine_core::telemetry::{ComponentTelemetry, Direction};
use futures::future::BoxFuture;
use otlp::json::SnakeCase;
use otlp::{Admission, AdmitError, Payload, Progress, Wire};
use transport::Protocol;
use transport::server::{Counters, Handler, Refusal, Reply, Request, serve};

use crate::otlp::listener::{Prepared, Trust};
use crate::otlp::marks::Marks;

inventory::submit! { Registration::source::<Otlp>() }

/// Bytes that are admitted before other tasks of the lane have their turn.
const ADMITTED_AT_ONCE: usize = 1024 * 1024;
/// The kind of error that counts requests with names in snake_case.
const SNAKE_CASE: &str = "snake_case_keys";
/// The reason under which records count whose ids have a wrong length.
const WRONG_ID: &str = "wrong_id_length";
/// The kind of error that counts requests with marks of others.
const FOREIGN_MARK: &str = "foreign_mark";
/// The wait asked of clients when whoever refused named none.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The source, with its certificates read and nothing bound by itself.
#[derive(Debug)]
pub(crate) struct Otlp {
    listeners: Vec<Prepared>,
    signals: SignalSet,
}

/// Takes whole requests from the transport.
struct Intake {
    id: ComponentId,
    output: Output,
    signals: SignalSet,
    telemetry: Arc<ComponentTelemetry>,
    /// None where whoever sends is trusted.
    marks: Option<Marks>,
}

impl BuildSource for Otlp {
    type Options = OtlpSource;

    fn build(options: &OtlpSource, context: &BuildContext) -> Result<Self, BuildError> {
        let grpc = options.grpc_listener().map(|listener| (Protocol::Grpc, listener));
        let http = options.http_listener().map(|listener| (Protocol::Http, listener));
        let both = [grpc, http].into_iter().flatten();
        let listeners = both.map(|(protocol, (address, listener))| Prepared::new(protocol, address, &listener));
        Ok(Self { listeners: listeners.collect::<Result<_, _>>()?, signals: context.signals })
    }
}

impl Source for Otlp {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            let (output, telemetry) = (context.output, Arc::clone(&context.telemetry));
            let counters: Vec<_> =
                self.listeners.iter().map(|listener| Arc::clone(&listener.options.counters)).collect();
            context.telemetry.expose(move || transport_counts(&counters));
            for listener in &self.listeners {
                listener.report_to(&context.telemetry);
            }
            let mut serving = Vec::new();
            for Prepared { key, address, mut options, trust } in self.listeners {
                let intake = Arc::new(Intake {
                    id: context.id.clone(),
                    output: output.clone(),
                    signals: self.signals,
                    telemetry: Arc::clone(&telemetry),
                    marks: (trust == Trust::Nobody).then(Marks::new),
                });
                options.tracer = context.telemetry.tracer().cloned();
                options.leaving = context.leaving.clone();
                let socket =
                    context.sockets.lend(&context.id, key, address).and_then(tokio::net::TcpListener::from_std);
                let listener = match socket {
                    Ok(listener) => listener,
                    // The end began before this task had its first turn, and sockets are closed by then.
                    Err(_) if context.drain.is_cancelled() => continue,
                    Err(error) => return Err(ComponentError::caused(format!("cannot serve {address}"), error)),
                };
                let (lanes, budget) = (context.lanes.clone(), context.budget.clone());
                serving.push(serve(listener, lanes, budget, options, intake, context.drain.clone()));
            }
            futures::future::join_all(serving).await;
            Ok(())
        })
    }
}

impl Handler for Intake {
    async fn handle(&self, request: Request) -> Reply {
        self.telemetry.protocol_bytes(Direction::Inbound, request.wire_bytes);
        if !self.signals.contains(request.signal) {
            return Reply::Unsupported { message: format!("{} are not taken here", request.signal.as_str()) };
        }
        let mut wire = match admitted(Admission::new(request.signal, request.body)).await {
            Ok(wire) => wire,
            Err(refusal) => return refusal,
        };
        let left_out = wire.left_out();
        if let Some(span) = &request.span {
            span.int("records", wire.records());
        }
        if let Some(marks) = &self.marks {
            let stripped = marks.strip(&mut wire);
            if stripped > 0 {
                let message = format!("{stripped} resources of {} had marks", request.peer.address);
                self.telemetry.error(FOREIGN_MARK, message);
            }
        }
        let (mut batch, receipt) = Batch::new(Payload::Wire(wire));
        // Whoever is trusted sends what is about others.
        if self.marks.is_some() {
            batch = batch.sent_by(Arc::clone(&request.peer));
        }
        self.output.send(batch.charged(request.charge)).await;
        let mut reply = reply_to(receipt.await);
        if left_out > 0 {
            reply = self.without_wrong_ids(reply, left_out);
        }
        match request.snake_case {
            Some(snake_case) => self.warned(reply, *snake_case, &request.peer),
            None => reply,
        }
    }
}

impl Intake {
    /// Counts records that were left out because of their ids, and tells the client, unless it is to send all of them again.
    fn without_wrong_ids(&self, reply: Reply, left_out: u64) -> Reply {
        let message = format!("{left_out} records have a trace id or span id of a wrong length");
        let reply = match reply {
            Reply::Accepted => Reply::Partial { rejected: left_out, message: message.clone() },
            Reply::Partial { rejected, message: others } => {
                Reply::Partial { rejected: rejected + left_out, message: format!("{message}; {others}") }
            }
            other => return other,
        };
        self.telemetry.discarded(WRONG_ID, left_out);
        self.telemetry.error(WRONG_ID, message);
        reply
    }

    /// Tells that keys were ignored: in the log, in the count of errors, and to a client that would hear of success only.
    fn warned(&self, reply: Reply, SnakeCase { first, keys }: SnakeCase, peer: &Peer) -> Reply {
        let others = if keys > 1 { format!(" and {} more", keys - 1) } else { String::new() };
        let message = format!("ignored `{first}`{others}: OTLP/JSON has names in lowerCamelCase, not in snake_case");
        tracing::warn!(
            source = %self.id, peer = %peer.address, first, keys,
            "keys of a JSON request are ignored: OTLP/JSON has names in lowerCamelCase"
        );
        self.telemetry.error(SNAKE_CASE, message.clone());
        match reply {
            // A warning is a partial success that rejected nothing (OTLP specification, "Partial Success").
            Reply::Accepted => Reply::Partial { rejected: 0, message },
            other => other,
        }
    }
}

/// Admits a request without holding up the lane: with a turn for others after every step, and beside the lane where one
/// step takes long.
async fn admitted(mut admission: Admission) -> Result<Wire, Reply> {
    let mut progress = admission.step(ADMITTED_AT_ONCE);
    loop {
        match progress {
            Ok(Progress::Done(wire)) => return Ok(wire),
            Ok(Progress::More) => {
                tokio::task::yield_now().await;
                progress = admission.step(ADMITTED_AT_ONCE);
            }
            // Boxed, because every request has this future and few have such a step.
            Ok(Progress::Long) => (admission, progress) = Box::pin(step_beside(admission)).await?,
            Err(AdmitError::Malformed { path, offset, fault }) => {
                let message = format!("{path} {fault} (byte {offset})");
                return Err(Reply::Invalid { message, field: Some(path) });
            }
            Err(error) => return Err(Reply::Invalid { message: error.to_string(), field: None }),
        }
    }
}

async fn step_beside(mut admission: Admission) -> Result<(Admission, Result<Progress, AdmitError>), Reply> {
    let step = lane::beside(move || {
        let progress = admission.step_long();
        (admission, progress)
    });
    step.await.map_err(|error| Reply::Unavailable { retry_after: RETRY_AFTER, message: error.to_string() })
}

/// What the client is told. A backend that refuses us for good has refused this data: the client must not send it
/// again, whatever the backend's reason.
fn reply_to(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Delivered => Reply::Accepted,
        Outcome::Partial { rejected, message } => Reply::Partial { rejected, message },
        Outcome::Rejected(rejection) if rejection.kind == RejectionKind::TooLarge => {
            Reply::TooLarge { message: rejection.message }
        }
        Outcome::Rejected(rejection) => Reply::Invalid { message: rejection.message, field: None },
        Outcome::Retry { after, reason } => {
            Reply::Unavailable { retry_after: after.unwrap_or(RETRY_AFTER), message: reason }
        }
    }
}

fn transport_counts(counters: &[Arc<Counters>]) -> Vec<(&'static str, u64)> {
    let mut sums = vec![("connections_opened", 0), ("connections_open", 0), ("requests_accepted", 0)];
    sums.extend(Refusal::ALL.map(|reason| (reason.as_str(), 0)));
    for snapshot in counters.iter().map(|counters| counters.snapshot()) {
        let own = [snapshot.connections_opened, snapshot.connections_open, snapshot.requests_accepted];
        for ((_, sum), value) in sums.iter_mut().zip(own.into_iter().chain(snapshot.refused)) {
            *sum += value;
        }
    }
    sums
}

#[cfg(test)]
mod tests;
