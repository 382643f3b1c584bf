//! Takes one scrape: reads what the chosen families need, each file once, and writes one export request.
//! A family that fails is reported beside the others; it never takes them with it. Blocks, so it runs off the lanes.

use std::{io, path::Path, time::Duration};

use opentelemetry_proto::tonic::{collector::metrics::v1::ExportMetricsServiceRequest, resource::v1::Resource};

use super::{
    cpu::{self, CpuDetail},
    disk,
    filesystem::{self, MissedMount},
    filter::Filter,
    host::{Host, ScrapeError},
    load, memory,
    mounts::MountFilter,
    names::Naming,
    network::{self, Connections},
    paging,
    prober::{self, Prober, Space},
    processes,
    sheet::{CounterStarts, Sheet, Times},
    stat::Stat,
    system,
};

/// A group of metrics that is switched on or off as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    /// CPU time.
    Cpu,
    /// Memory by state.
    Memory,
    /// Load averages.
    Load,
    /// Block devices.
    Disk,
    /// Mounted file systems.
    Filesystem,
    /// Network interfaces and connections.
    Network,
    /// Swap and page faults.
    Paging,
    /// Processes by state.
    Processes,
    /// Uptime.
    System,
}

impl Family {
    /// The name in configuration and in labels.
    pub(super) fn name(self) -> &'static str {
        match self {
            Family::Cpu => "cpu",
            Family::Memory => "memory",
            Family::Load => "load",
            Family::Disk => "disk",
            Family::Filesystem => "filesystem",
            Family::Network => "network",
            Family::Paging => "paging",
            Family::Processes => "processes",
            Family::System => "system",
        }
    }
}

/// What is scraped and how it is named.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) naming: Naming,
    pub(crate) families: Vec<Family>,
    pub(crate) cpu: CpuDetail,
    pub(crate) disks: Filter,
    pub(crate) mounts: MountFilter,
    pub(crate) interfaces: Filter,
    pub(crate) connections: Connections,
    /// The longest wait for the size of one file system.
    pub(crate) filesystem_timeout: Duration,
}

/// The result of one scrape.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) request: ExportMetricsServiceRequest,
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
    pub(super) family: Family,
    pub(super) error: ScrapeError,
}

type Statvfs = fn(&Path) -> io::Result<Space>;

/// Scrapes one host, over and over.
#[derive(Debug)]
pub(super) struct Scraper {
    host: Host,
    selection: Selection,
    resource: Resource,
    starts: CounterStarts,
    prober: Prober<Statvfs>,
    ticks_per_second: u64,
    /// When the scrape before was taken, in nanoseconds since the Unix epoch.
    previous: Option<u64>,
}

impl Scraper {
    /// Reads the host's identity once: it does not change while a host runs.
    pub(super) fn new(host: Host, selection: Selection) -> Scraper {
        let timeout = selection.filesystem_timeout;
        Scraper {
            resource: host.resource(),
            prober: Prober::new(prober::statvfs as Statvfs, timeout),
            starts: CounterStarts::default(),
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            previous: None,
            host,
            selection,
        }
    }

    /// Takes a scrape at `now`, in nanoseconds since the Unix epoch.
    pub(super) fn scrape(&mut self, now: u64) -> Scrape {
        let mut failures = Vec::new();
        let stat = self.read_stat(&mut failures);
        let boot = boot_time(&self.host, &stat, now);
        let times = Times { boot, previous: self.previous.unwrap_or(boot), now };
        let mut sheet = Sheet::new(self.selection.naming, times, &mut self.starts);
        let mut missed_mounts = Vec::new();
        for family in self.selection.families.iter().copied() {
            let mut note = |result: Result<(), ScrapeError>| {
                failures.extend(result.err().map(|error| Failure { family, error }));
            };
            match family {
                Family::Cpu => cpu::write(&mut sheet, &stat, self.selection.cpu, self.ticks_per_second),
                Family::Memory => note(memory::scrape(&self.host, &mut sheet)),
                Family::Load => note(load::scrape(&self.host, &mut sheet)),
                Family::Disk => note(disk::scrape(&self.host, &mut sheet, &self.selection.disks)),
                Family::Filesystem => {
                    let mounts = &self.selection.mounts;
                    match filesystem::scrape(&self.host, &mut sheet, mounts, &mut self.prober) {
                        Ok(missed) => missed_mounts = missed,
                        Err(error) => note(Err(error)),
                    }
                }
                Family::Network => {
                    note(network::scrape(&self.host, &mut sheet, &self.selection.interfaces));
                    if self.selection.connections == Connections::Counted {
                        note(network::scrape_connections(&self.host, &mut sheet));
                    }
                }
                Family::Paging => {
                    note(paging::scrape_swaps(&self.host, &mut sheet));
                    note(paging::scrape_counters(&self.host, &mut sheet));
                }
                Family::Processes => note(processes::scrape(&self.host, &mut sheet, &stat)),
                Family::System => note(system::scrape(&self.host, &mut sheet)),
            }
        }
        let (request, points) = sheet.finish(&self.resource);
        self.previous = Some(now);
        Scrape { request, points, failures, missed_mounts, pending_mounts: self.prober.pending() }
    }

    /// Reads the file that several families share. Without it they go on with what else they have; the failure counts
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
            let needing = [Family::Cpu, Family::Processes];
            let family = needing.into_iter().find(|family| self.selection.families.contains(family));
            failures.extend(family.map(|family| Failure { family, error }));
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
