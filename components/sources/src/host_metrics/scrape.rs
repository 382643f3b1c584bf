//! Takes one scrape: reads what the chosen scrapers need, each file once, and writes one export request.
//! A scraper that fails is reported beside the others; it never takes them with it. Blocks, so it runs off the lanes.

use std::{io, path::Path, time::Duration};

use engine_config::sources::{HostMetrics, host_metrics::Scraper};
use opentelemetry_proto::tonic::{collector::metrics::v1::ExportMetricsServiceRequest, resource::v1::Resource};

use super::{
    cpu, disk,
    filesystem::{self, MissedMount},
    host::{Host, ScrapeError},
    load, memory, network, paging,
    prober::{self, Prober, Space},
    processes,
    sheet::{CounterStarts, Sheet, Times},
    stat::Stat,
    system,
};

/// The result of one scrape.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) request: ExportMetricsServiceRequest,
    pub(super) findings: Findings,
}

/// How a scrape went.
#[derive(Debug)]
pub(super) struct Findings {
    /// Data points in the request.
    pub(super) points: usize,
    pub(super) failures: Vec<Failure>,
    pub(super) missed_mounts: Vec<MissedMount>,
    /// Mounts whose size was asked for and has not been answered since, over all scrapes.
    pub(super) pending_mounts: usize,
}

/// Something that could not be measured.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) scraper: Scraper,
    pub(super) error: ScrapeError,
}

/// The name of a scraper in configuration and in counts.
pub(super) fn name(scraper: Scraper) -> &'static str {
    match scraper {
        Scraper::Cpu => "cpu",
        Scraper::Memory => "memory",
        Scraper::Load => "load",
        Scraper::Disk => "disk",
        Scraper::Filesystem => "filesystem",
        Scraper::Network => "network",
        Scraper::Paging => "paging",
        Scraper::Processes => "processes",
        Scraper::System => "system",
    }
}

type Statvfs = fn(&Path) -> io::Result<Space>;

/// Scrapes one host, over and over.
#[derive(Debug)]
pub(super) struct HostScraper {
    host: Host,
    options: HostMetrics,
    resource: Resource,
    starts: CounterStarts,
    prober: Prober<Statvfs>,
    ticks_per_second: u64,
    /// When the scrape before was taken, in nanoseconds since the Unix epoch.
    previous: Option<u64>,
}

impl HostScraper {
    /// Reads the host's identity once: it does not change while a host runs.
    pub(super) fn new(host: Host, options: HostMetrics) -> HostScraper {
        let timeout = options.filesystem.timeout.get();
        HostScraper {
            resource: host.resource(),
            prober: Prober::new(prober::statvfs as Statvfs, timeout),
            starts: CounterStarts::default(),
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            previous: None,
            host,
            options,
        }
    }

    /// Takes a scrape at `now`, in nanoseconds since the Unix epoch.
    pub(super) fn scrape(&mut self, now: u64) -> Scrape {
        let mut failures = Vec::new();
        let stat = self.read_stat(&mut failures);
        let boot = boot_time(&self.host, &stat, now);
        let times = Times { boot, previous: self.previous.unwrap_or(boot), now };
        let mut sheet = Sheet::new(self.options.semconv, times, &mut self.starts);
        let mut missed_mounts = Vec::new();
        for scraper in self.options.scrapers.iter().copied() {
            let mut note = |result: Result<(), ScrapeError>| {
                failures.extend(result.err().map(|error| Failure { scraper, error }));
            };
            match scraper {
                Scraper::Cpu => cpu::write(&mut sheet, &stat, &self.options.cpu, self.ticks_per_second),
                Scraper::Memory => note(memory::scrape(&self.host, &mut sheet)),
                Scraper::Load => note(load::scrape(&self.host, &mut sheet)),
                Scraper::Disk => note(disk::scrape(&self.host, &mut sheet, &self.options.disk)),
                Scraper::Filesystem => {
                    let options = &self.options.filesystem;
                    match filesystem::scrape(&self.host, &mut sheet, options, &mut self.prober) {
                        Ok(missed) => missed_mounts = missed,
                        Err(error) => note(Err(error)),
                    }
                }
                Scraper::Network => {
                    note(network::scrape(&self.host, &mut sheet, &self.options.network));
                    if self.options.network.connections {
                        note(network::scrape_connections(&self.host, &mut sheet));
                    }
                }
                Scraper::Paging => {
                    note(paging::scrape_swaps(&self.host, &mut sheet));
                    note(paging::scrape_counters(&self.host, &mut sheet));
                }
                Scraper::Processes => note(processes::scrape(&self.host, &mut sheet, &stat)),
                Scraper::System => note(system::scrape(&self.host, &mut sheet)),
            }
        }
        let (request, points) = sheet.finish(&self.resource);
        self.previous = Some(now);
        let findings = Findings { points, failures, missed_mounts, pending_mounts: self.prober.pending() };
        Scrape { request, findings }
    }

    /// Reads the file that several scrapers share. Without it they go on with what else they have; the failure counts
    /// for the first of them.
    fn read_stat(&self, failures: &mut Vec<Failure>) -> Stat {
        let read = self.host.read(self.host.proc_path("stat")).and_then(|file| {
            let stat = Stat::parse(&file.text);
            match stat.total {
                Some(_) => Ok(stat),
                None => Err(file.malformed("cpu times")),
            }
        });
        read.unwrap_or_else(|error| {
            let needing = [Scraper::Cpu, Scraper::Processes];
            let scraper = needing.into_iter().find(|scraper| self.options.scrapers.contains(scraper));
            failures.extend(scraper.map(|scraper| Failure { scraper, error }));
            Stat::default()
        })
    }
}

/// Since when counters count: the boot time, or `now` where the host does not tell it.
fn boot_time(host: &Host, stat: &Stat, now: u64) -> u64 {
    const NANOS: u64 = 1_000_000_000;
    if let Some(seconds) = stat.boot_seconds {
        return seconds.saturating_mul(NANOS);
    }
    match system::uptime_seconds(host) {
        Ok(uptime) => now.saturating_sub(Duration::try_from_secs_f64(uptime).unwrap_or_default().as_nanos() as u64),
        Err(_) => now,
    }
}

#[cfg(test)]
mod tests;
