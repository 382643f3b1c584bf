//! Source `host_metrics`: the CPU, memory, load, disks, file systems, network, paging, processes and uptime of the
//! host, by the Collector's names or by those of the semantic conventions. Linux only. Reports no single process.

mod cpu;
mod disk;
#[cfg(test)]
mod fake_host;
mod filesystem;
mod host;
mod load;
mod memory;
mod mounts;
mod names;
mod network;
mod paging;
mod prober;
mod processes;
mod report;
mod scrape;
mod sheet;
mod stat;
mod system;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use engine_config::sources::HostMetrics;
use engine_core::{
    contract::{ComponentError, Source, SourceContext},
    registry::{BuildContext, BuildError, BuildSource, Registration},
};
use futures::future::BoxFuture;
use otlp::{Decoded, Payload};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, MissedTickBehavior},
};

use self::{host::Host, report::Reporter, scrape::HostScraper};
use crate::pull::{HandOver, Origin};

inventory::submit! { Registration::source::<HostMetricsSource>() }

/// Scrapes the host at once and then at every interval.
#[derive(Debug)]
struct HostMetricsSource {
    scraper: HostScraper,
    interval: Duration,
}

impl BuildSource for HostMetricsSource {
    type Options = HostMetrics;

    fn build(options: &HostMetrics, _: &BuildContext) -> Result<HostMetricsSource, BuildError> {
        let host = Host::new(&options.root_path);
        let proc_path = host.proc_path("");
        if let Err(error) = std::fs::read_dir(&proc_path) {
            let message = format!("root_path must be the host's root directory: cannot list {}", proc_path.display());
            return Err(BuildError::caused(message, error));
        }
        Ok(HostMetricsSource { scraper: HostScraper::new(host, options.clone()), interval: options.interval.get() })
    }
}

impl Source for HostMetricsSource {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move { self.scrape(context).await })
    }
}

impl HostMetricsSource {
    /// A scrape that nobody takes is tried again until the next one is there, and then counted as lost.
    async fn scrape(self, context: SourceContext) -> Result<(), ComponentError> {
        let HostMetricsSource { mut scraper, interval } = self;
        let hand_over = HandOver {
            output: context.output,
            drain: context.drain.clone(),
            telemetry: Arc::clone(&context.telemetry),
            origin: Origin::Outside,
        };
        let mut reporter = Reporter::new(context.id, context.telemetry);
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut deliveries = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = context.drain.cancelled() => break,
                Some(ended) = deliveries.join_next() => {
                    ended.map_err(|error| ComponentError::caused("a delivery ended early", error))?;
                    continue;
                }
                _ = ticks.tick() => {}
            }
            let deadline = Instant::now() + interval;
            // Reading the kernel's files takes milliseconds and a dead mount up to its timeout.
            let blocking = spawn_blocking(move || {
                let scrape = scraper.scrape(unix_nanos());
                let encoded = Decoded::Metrics(scrape.request).encode();
                (scraper, scrape.findings, encoded)
            });
            let (findings, encoded);
            (scraper, findings, encoded) =
                blocking.await.map_err(|error| ComponentError::caused("a scrape ended early", error))?;
            reporter.report(&findings);
            let wire = encoded.map_err(|error| ComponentError::caused("a scrape is no valid request", error))?;
            if wire.records() > 0 {
                deliveries.spawn(hand_over.clone().deliver(Payload::Wire(wire), Some(deadline)));
            }
        }
        while let Some(ended) = deliveries.join_next().await {
            ended.map_err(|error| ComponentError::caused("a delivery ended early", error))?;
        }
        Ok(())
    }
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

#[cfg(test)]
mod tests;
