//! The `prometheus` sink: keeps the latest value of every series and serves it to whoever scrapes.
//!
//! Delivered means that the points are in the table. A point that is behind its series is delivered too, because a scrape
//! shows the latest only; one that cannot be shown is rejected, which the sink's ledger counts and a waiting client is told.
//! Nothing is pushed and nothing is written to disk.

mod exponential;
mod exposition;
mod ingest;
mod labels;
mod naming;
mod negotiate;
mod server;
mod table;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine_config::sinks::Prometheus as Options;
use engine_core::contract::{ComponentError, Sink, SinkContext};
use engine_core::lane;
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::registry::{BuildContext, BuildError, BuildSink, Registration};
use futures::future::BoxFuture;
use otlp::{Payload, Signal, Wire};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use transport::Protocol;
use transport::tls::ServerTls;

use exposition::Timestamps;
use ingest::{Ingest, REASONS, Tally};
use server::Settings;
use table::{Limits, Table};

/// Requests over this size are read beside the lane: one point or one attribute can be as large as its request.
const READ_INLINE: usize = 1024 * 1024;

/// The option that asks for the socket.
const LISTEN: &str = "listen";

/// Keeps series for Prometheus.
#[derive(Debug)]
struct Prometheus {
    ingest: Arc<Ingest>,
    shared: Arc<Shared>,
    address: SocketAddr,
    settings: Settings,
    expiration: Duration,
}

/// What deliveries and scrapes share.
#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    /// Since the start.
    tally: Mutex<Tally>,
}

inventory::submit! { Registration::sink::<Prometheus>() }

impl BuildSink for Prometheus {
    type Options = Options;

    fn build(options: &Options, _: &BuildContext) -> Result<Self, BuildError> {
        let tls = options.tls.as_ref().map(server_tls).transpose()?;
        let too_long = |labels::TooLong| BuildError::new("`const_labels` are too long");
        let expiration = options.metric_expiration.get();
        let limits = Limits {
            max_samples: options.max_series.get() as usize,
            max_bytes: options.max_size.as_usize(),
            expiration,
        };
        let settings = Settings {
            path: options.path.clone(),
            tls,
            timestamps: if options.send_timestamps { Timestamps::Sent } else { Timestamps::Absent },
            max_connections: options.max_connections.get() as usize,
            header_timeout: options.header_timeout.get(),
            max_connection_age: options.max_connection_age.get(),
        };
        let shared = Shared { table: Mutex::new(Table::new(limits)), tally: Mutex::default() };
        Ok(Self {
            ingest: Arc::new(Ingest::new(options).map_err(too_long)?),
            shared: Arc::new(shared),
            address: options.listen.get(),
            settings,
            expiration,
        })
    }
}

impl Sink for Prometheus {
    fn deliver(&self, payload: Payload) -> BoxFuture<'_, Outcome> {
        Box::pin(self.take(payload))
    }

    fn serve(&self, context: SinkContext) -> Option<BoxFuture<'static, Result<(), ComponentError>>> {
        let counted = Arc::clone(&self.shared);
        context.telemetry.expose(move || counted.counts());
        if let Some(tls) = &self.settings.tls {
            let telemetry = Arc::clone(&context.telemetry);
            tls.report_to(move |complaint| telemetry.error(complaint.kind, complaint.message));
        }
        let socket = context.sockets.lend(&context.id, LISTEN, self.address);
        let (settings, shared, address) = (self.settings.clone(), Arc::clone(&self.shared), self.address);
        let sweep = (self.expiration / 2).clamp(Duration::from_millis(500), Duration::from_secs(60));
        Some(Box::pin(async move {
            let listener = socket.map_err(|error| ComponentError::caused(format!("cannot serve {address}"), error))?;
            let swept = Arc::clone(&shared);
            let sweeping = async move {
                loop {
                    tokio::time::sleep(sweep).await;
                    drop(swept.current());
                }
            };
            tokio::select! {
                served = server::serve(listener, settings, shared, context.stop) => served,
                () = sweeping => unreachable!("sweeping has no end"),
            }
        }))
    }
}

impl Prometheus {
    async fn take(&self, payload: Payload) -> Outcome {
        if payload.signal() != Signal::Metrics {
            let message = format!("{} have no place in Prometheus", payload.signal().as_str());
            return Outcome::rejected(RejectionKind::Unsupported, message);
        }
        let wire = match payload.into_wire() {
            Ok(wire) => wire,
            Err(error) => return Outcome::rejected(RejectionKind::Invalid, error.to_string()),
        };
        let tally = if wire.len() > READ_INLINE {
            match Box::pin(self.take_beside(wire)).await {
                Ok(tally) => tally,
                Err(interrupted) => return Outcome::retry(interrupted.to_string()),
            }
        } else {
            self.ingest.take(&wire, &self.shared.table).await
        };
        let rejected = tally.lost();
        let message = message(&tally.refused);
        self.shared.count(tally);
        if rejected == 0 { Outcome::Delivered } else { Outcome::Partial { rejected, message } }
    }

    async fn take_beside(&self, wire: Wire) -> Result<Tally, lane::Interrupted> {
        let (ingest, shared) = (Arc::clone(&self.ingest), Arc::clone(&self.shared));
        lane::beside(move || futures::executor::block_on(ingest.take(&wire, &shared.table))).await
    }
}

impl Shared {
    /// The table without what is too old.
    fn current(&self) -> MutexGuard<'_, Table> {
        let mut table = self.table.lock();
        table.expire(Instant::now());
        table
    }

    fn count(&self, tally: Tally) {
        let mut total = self.tally.lock();
        total.older += tally.older;
        for (reason, points) in tally.refused {
            *total.refused.entry(reason).or_default() += points;
        }
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        let size = self.table.lock().size();
        let total = self.tally.lock();
        let refused = REASONS.iter().map(|reason| (*reason, total.refused.get(reason).copied().unwrap_or_default()));
        let own = [("series", size.samples as u64), ("table_bytes", size.bytes as u64), ("older", total.older)];
        own.into_iter().chain(refused).collect()
    }
}

/// What a client is told of points that are lost.
fn message(refused: &BTreeMap<&'static str, u64>) -> String {
    let each: Vec<String> = refused.iter().map(|(reason, points)| format!("{points} for {reason}")).collect();
    format!("data points that Prometheus cannot be shown: {}", each.join(", "))
}

fn server_tls(files: &engine_config::ServerTls) -> Result<ServerTls, BuildError> {
    ServerTls::read(Protocol::Http, files).map_err(|error| BuildError::caused(error.to_string(), error))
}

#[cfg(test)]
mod tests;
