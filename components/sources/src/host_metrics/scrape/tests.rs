//! Scrapes of file trees that look like hosts: names, kinds, units, start times, and what is missing or odd.
#![allow(clippy::unwrap_used, reason = "a failed setup step is a failed test")]

use std::{collections::BTreeMap, fs, os::unix::fs::symlink};

use engine_config::{
    Span,
    sources::host_metrics::{CpuOptions, DiskOptions, FilesystemOptions, Filter, NetworkOptions, Semconv},
};
use opentelemetry_proto::tonic::{
    common::v1::any_value,
    metrics::v1::{Metric, NumberDataPoint, metric::Data, number_data_point::Value},
};

use super::*;
use crate::host_metrics::fake_host::FakeHost;

const BOOT: u64 = 1_795_505_093_000_000_000;
const NOW: u64 = BOOT + 3_600_000_000_000;

fn scraper(host: &FakeHost, options: HostMetrics) -> HostScraper {
    HostScraper::new(Host::new(host.path()), options)
}

fn options(semconv: Semconv) -> HostMetrics {
    let filesystem = FilesystemOptions { timeout: Span::secs(60), ..FilesystemOptions::default() };
    HostMetrics { semconv, filesystem, ..HostMetrics::default() }
}

fn metrics(scrape: &Scrape) -> &[Metric] {
    &scrape.request.resource_metrics[0].scope_metrics[0].metrics
}

fn find<'a>(scrape: &'a Scrape, name: &str) -> Option<&'a Metric> {
    metrics(scrape).iter().find(|metric| metric.name == name)
}

fn points<'a>(scrape: &'a Scrape, name: &str) -> &'a [NumberDataPoint] {
    match find(scrape, name).unwrap_or_else(|| panic!("no metric {name}")).data.as_ref().unwrap() {
        Data::Gauge(gauge) => &gauge.data_points,
        Data::Sum(sum) => &sum.data_points,
        other => panic!("unexpected data {other:?}"),
    }
}

fn labels(point: &NumberDataPoint) -> String {
    let mut labels: Vec<String> = point
        .attributes
        .iter()
        .map(|attribute| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
            any_value::Value::StringValue(text) => format!("{}={text}", attribute.key),
            any_value::Value::IntValue(number) => format!("{}={number}", attribute.key),
            other => panic!("unexpected value {other:?}"),
        })
        .collect();
    labels.sort();
    labels.join(",")
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value.unwrap() {
        Value::AsInt(number) => number as f64,
        Value::AsDouble(number) => number,
    }
}

fn values(scrape: &Scrape, name: &str) -> BTreeMap<String, f64> {
    points(scrape, name).iter().map(|point| (labels(point), number(point))).collect()
}

fn expected(rows: &[(&str, f64)]) -> BTreeMap<String, f64> {
    rows.iter().map(|(labels, value)| ((*labels).to_owned(), *value)).collect()
}

/// Name, kind, unit and attribute keys of every metric, one a line.
fn shape(scrape: &Scrape) -> Vec<String> {
    let mut lines: Vec<String> = metrics(scrape)
        .iter()
        .map(|metric| {
            let kind = match metric.data.as_ref().unwrap() {
                Data::Gauge(_) => "gauge",
                Data::Sum(sum) if sum.is_monotonic => "counter",
                Data::Sum(_) => "updowncounter",
                other => panic!("unexpected data {other:?}"),
            };
            let first = &points(scrape, &metric.name)[0];
            let keys: Vec<&str> = first.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
            format!("{} {kind} {} [{}]", metric.name, metric.unit, keys.join(" "))
        })
        .collect();
    lines.sort();
    lines
}

/// The legacy names, kinds, units and attributes are those of the Collector's hostmetrics receiver.
#[test]
fn legacy_shape() {
    let scrape = scraper(&FakeHost::complete(), options(Semconv::Legacy)).scrape(NOW);
    assert_eq!(
        shape(&scrape),
        [
            "system.cpu.load_average.15m gauge {thread} []",
            "system.cpu.load_average.1m gauge {thread} []",
            "system.cpu.load_average.5m gauge {thread} []",
            "system.cpu.time counter s [state]",
            "system.disk.io counter By [device direction]",
            "system.disk.io_time counter s [device]",
            "system.disk.merged counter {operations} [device direction]",
            "system.disk.operation_time counter s [device direction]",
            "system.disk.operations counter {operations} [device direction]",
            "system.disk.pending_operations updowncounter {operations} [device]",
            "system.disk.weighted_io_time counter s [device]",
            "system.filesystem.inodes.usage updowncounter {inodes} [device mode mountpoint type state]",
            "system.filesystem.usage updowncounter By [device mode mountpoint type state]",
            "system.linux.memory.available updowncounter By []",
            "system.memory.usage updowncounter By [state]",
            "system.network.connections updowncounter {connections} [protocol state]",
            "system.network.dropped counter {packets} [device direction]",
            "system.network.errors counter {errors} [device direction]",
            "system.network.io counter By [device direction]",
            "system.network.packets counter {packets} [device direction]",
            "system.paging.faults counter {faults} [type]",
            "system.paging.operations counter {operations} [direction type]",
            "system.paging.usage updowncounter By [device state]",
            "system.processes.count updowncounter {processes} [status]",
            "system.processes.created counter {processes} []",
            "system.uptime gauge s []",
        ]
    );
}

/// The stable names, kinds, units and attributes are those of the semantic conventions' registry.
#[test]
fn stable_shape() {
    let scrape = scraper(&FakeHost::complete(), options(Semconv::Stable)).scrape(NOW);
    assert_eq!(
        shape(&scrape),
        [
            "system.cpu.load_average.15m gauge {thread} []",
            "system.cpu.load_average.1m gauge {thread} []",
            "system.cpu.load_average.5m gauge {thread} []",
            "system.cpu.logical.count updowncounter {cpu} []",
            "system.cpu.time counter s [cpu.mode]",
            "system.disk.io counter By [system.device disk.io.direction]",
            "system.disk.io_time counter s [system.device]",
            "system.disk.merged counter {operation} [system.device disk.io.direction]",
            "system.disk.operation_time counter s [system.device disk.io.direction]",
            "system.disk.operations counter {operation} [system.device disk.io.direction]",
            "system.disk.pending_operations updowncounter {operation} [system.device]",
            "system.disk.weighted_io_time counter s [system.device]",
            "system.filesystem.inodes.usage updowncounter {inode} [system.device system.filesystem.mode system.filesystem.mountpoint system.filesystem.type system.filesystem.state]",
            "system.filesystem.usage updowncounter By [system.device system.filesystem.mode system.filesystem.mountpoint system.filesystem.type system.filesystem.state]",
            "system.memory.limit updowncounter By []",
            "system.memory.linux.available updowncounter By []",
            "system.memory.linux.shared updowncounter By []",
            "system.memory.linux.slab.usage updowncounter By [system.memory.linux.slab.state]",
            "system.memory.usage updowncounter By [system.memory.state]",
            "system.network.connection.count updowncounter {connection} [network.transport network.connection.state]",
            "system.network.errors counter {error} [network.interface.name network.io.direction]",
            "system.network.io counter By [network.interface.name network.io.direction]",
            "system.network.packet.count counter {packet} [system.device network.io.direction]",
            "system.network.packet.dropped counter {packet} [network.interface.name network.io.direction]",
            "system.paging.faults counter {fault} [system.paging.fault.type]",
            "system.paging.operations counter {operation} [system.paging.direction system.paging.fault.type]",
            "system.paging.usage updowncounter By [system.device system.paging.state]",
            "system.process.count updowncounter {process} [process.state]",
            "system.process.created counter {process} []",
            "system.uptime gauge s []",
        ]
    );
}

/// Values arrive in the units that the instruments promise, with the attribute values of each mode.
#[test]
fn values_are_converted() {
    let host = FakeHost::complete();
    let legacy = scraper(&host, options(Semconv::Legacy)).scrape(NOW);
    assert!(legacy.findings.failures.is_empty(), "{:?}", legacy.findings.failures);
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let cpu = values(&legacy, "system.cpu.time");
    assert_eq!(cpu["state=user"], 1000.0 / ticks);
    assert_eq!(cpu["state=interrupt"], 60.0 / ticks);
    assert_eq!(cpu["state=wait"], 50.0 / ticks);
    let disk = values(&legacy, "system.disk.io");
    assert_eq!(disk["device=vda,direction=read"], 3_935_378.0 * 512.0);
    assert_eq!(values(&legacy, "system.disk.io_time")["device=vda"], 7.14);
    assert_eq!(values(&legacy, "system.disk.pending_operations")["device=vda"], 3.0);
    let network = values(&legacy, "system.network.dropped");
    assert_eq!(network["device=eth0,direction=transmit"], 23.0);
    let connections = values(&legacy, "system.network.connections");
    assert_eq!(connections["protocol=tcp,state=LISTEN"], 2.0);
    assert_eq!(connections["protocol=tcp,state=ESTABLISHED"], 1.0);
    assert_eq!(connections["protocol=tcp,state=TIME_WAIT"], 0.0);
    assert_eq!(
        values(&legacy, "system.paging.usage"),
        expected(&[("device=/dev/dm-1,state=used", 102_400.0), ("device=/dev/dm-1,state=free", 921_600.0)])
    );
    assert_eq!(values(&legacy, "system.processes.created"), expected(&[("", 10_636.0)]));
    assert_eq!(values(&legacy, "system.uptime"), expected(&[("", 3600.25)]));
    assert_eq!(values(&legacy, "system.memory.usage")["state=cached"], 340.0 * 1024.0);

    let stable = scraper(&host, options(Semconv::Stable)).scrape(NOW);
    let modes = values(&stable, "system.cpu.time");
    assert_eq!(modes["cpu.mode=interrupt"], 130.0 / ticks);
    assert_eq!(modes["cpu.mode=iowait"], 50.0 / ticks);
    assert_eq!(modes.len(), 7);
    assert_eq!(values(&stable, "system.memory.usage")["system.memory.state=used"], 400.0 * 1024.0);
    assert_eq!(
        values(&stable, "system.paging.faults"),
        expected(&[("system.paging.fault.type=major", 4.0), ("system.paging.fault.type=minor", 96.0)])
    );
}

/// Counters and sums start at boot, gauges have no start, and every point carries the scrape's time.
#[test]
fn times() {
    let scrape = scraper(&FakeHost::complete(), options(Semconv::Legacy)).scrape(NOW);
    let start = |name| points(&scrape, name)[0].start_time_unix_nano;
    assert_eq!(start("system.cpu.time"), BOOT);
    assert_eq!(start("system.memory.usage"), BOOT);
    assert_eq!(start("system.uptime"), 0);
    let all = metrics(&scrape).iter().flat_map(|metric| points(&scrape, &metric.name));
    let mut count = 0;
    for point in all {
        assert_eq!(point.time_unix_nano, NOW);
        count += 1;
    }
    assert_eq!(scrape.findings.points, count);
}

/// A counter that falls (a device plugged in again) gets a new start, the scrape before; its neighbours keep theirs.
#[test]
fn a_fallen_counter_starts_anew() {
    let host = FakeHost::complete();
    let mut repeated = scraper(&host, options(Semconv::Legacy));
    let eth = "  eth0: 10 11 12 13 0 0 0 0 20 21 22 23 0 0 0 0\n";
    repeated.scrape(NOW);
    let header = "Inter-| Receive | Transmit\n face |bytes packets\n";
    host.write(
        "proc/1/net/dev",
        &format!("{header}{}    lo: 5 5 0 0 0 0 0 0 5 5 0 0 0 0 0 0\n", eth.replace(" 10 ", " 3 ")),
    );
    let second = repeated.scrape(NOW + 60);
    let third = repeated.scrape(NOW + 120);
    for scrape in [&second, &third] {
        for point in points(scrape, "system.network.io") {
            let fallen = labels(point) == "device=eth0,direction=receive";
            assert_eq!(point.start_time_unix_nano, if fallen { NOW } else { BOOT }, "{}", labels(point));
        }
    }
}

/// An interface that was gone for a scrape and comes back lower has a new start; one that comes back unchanged, because
/// its file could not be read in between, keeps its own.
#[test]
fn a_returning_counter_is_remembered() {
    let host = FakeHost::complete();
    let mut repeated = scraper(&host, options(Semconv::Legacy));
    repeated.scrape(NOW);
    let header = "Inter-| Receive | Transmit\n face |bytes packets\n";
    host.write("proc/1/net/dev", header);
    repeated.scrape(NOW + 60);
    let lower = "  eth0: 3 0 0 0 0 0 0 0 3 0 0 0 0 0 0 0\n";
    let same = "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
    host.write("proc/1/net/dev", &format!("{header}{lower}{same}"));
    let third = repeated.scrape(NOW + 120);
    for point in points(&third, "system.network.io") {
        let returned = labels(point).starts_with("device=eth0");
        assert_eq!(point.start_time_unix_nano, if returned { NOW + 60 } else { BOOT }, "{}", labels(point));
    }
}

/// Escaped mount points are asked below the root, virtual file systems are not, and a mount whose directory is gone is
/// reported without taking the others with it.
#[test]
fn file_systems_below_the_root() {
    let host = FakeHost::complete();
    let scrape = scraper(&host, options(Semconv::Stable)).scrape(NOW);
    let mut found: Vec<String> = points(&scrape, "system.filesystem.usage")
        .iter()
        .map(labels)
        .filter(|labels| labels.contains("state=used"))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "system.device=/dev/vda1,system.filesystem.mode=rw,system.filesystem.mountpoint=/,system.filesystem.state=used,system.filesystem.type=ext4",
            "system.device=/dev/vdb1,system.filesystem.mode=ro,system.filesystem.mountpoint=/mnt/a b,system.filesystem.state=used,system.filesystem.type=xfs",
        ]
    );
    let missed: Vec<&str> = scrape.findings.missed_mounts.iter().map(|missed| missed.mount_point.as_str()).collect();
    assert_eq!(missed, ["/mnt/gone"]);
    assert_eq!(scrape.findings.pending_mounts, 0);
}

/// The page that lists the metrics is generated from what a scrape emits; `UPDATE_DOCS=1` writes it.
#[test]
fn the_page_lists_every_metric() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/host-metrics.md");
    let mut page =
        "# Metrics of the `host_metrics` source\n\nGenerated from a scrape by the tests of the crate `sources`.\n"
            .to_owned();
    for (title, semconv) in [("legacy", Semconv::Legacy), ("stable", Semconv::Stable)] {
        let scrape = scraper(&FakeHost::complete(), options(semconv)).scrape(NOW);
        page.push_str(&format!(
            "\n## `semconv = \"{title}\"`\n\n| metric | instrument | unit | attributes |\n|---|---|---|---|\n"
        ));
        for line in shape(&scrape) {
            let (head, keys) = line.split_once(" [").unwrap();
            let columns: Vec<&str> = head.split(' ').collect();
            let quoted: Vec<String> =
                keys.trim_end_matches(']').split_whitespace().map(|key| format!("`{key}`")).collect();
            page.push_str(&format!(
                "| `{}` | {} | `{}` | {} |\n",
                columns[0],
                columns[1],
                columns[2],
                quoted.join(", ")
            ));
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, &page).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/host-metrics.md is out of date: run the tests of sources with UPDATE_DOCS=1");
}

/// Two hundred CPUs are two hundred times the modes, labelled in the way of each naming mode.
#[test]
fn many_cpus() {
    let host = FakeHost::complete();
    let rows: String = (0..200).map(|number| format!("cpu{number} 1 1 1 1 1 1 1 1 0 0\n")).collect();
    host.write("proc/stat", &format!("cpu 200 200 200 200 200 200 200 200 0 0\n{rows}btime 1795505093\n"));
    let per_cpu = |semconv| HostMetrics {
        cpu: CpuOptions { per_cpu: true },
        scrapers: [Scraper::Cpu].into(),
        ..options(semconv)
    };
    let legacy = values(&scraper(&host, per_cpu(Semconv::Legacy)).scrape(NOW), "system.cpu.time");
    assert_eq!(legacy.len(), 200 * 8);
    assert!(legacy.contains_key("cpu=cpu199,state=user"));
    let stable = scraper(&host, per_cpu(Semconv::Stable)).scrape(NOW);
    let modes = values(&stable, "system.cpu.time");
    assert_eq!(modes.len(), 200 * 7);
    assert!(modes.contains_key("cpu.logical_number=199,cpu.mode=user"));
    assert_eq!(values(&stable, "system.cpu.logical.count"), expected(&[("", 200.0)]));
}

/// A container that hides most files still reports the rest, and each failure names its scraper and its file.
#[test]
fn missing_files_cost_their_scraper_only() {
    let host = FakeHost::empty();
    host.write("proc/loadavg", "0.1 0.2 0.3 1/2 3\n");
    host.write("proc/meminfo", "nothing useful\n");
    let scrape = scraper(&host, options(Semconv::Legacy)).scrape(NOW);
    let names: Vec<&str> = metrics(&scrape).iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "system.cpu.load_average.1m",
            "system.cpu.load_average.5m",
            "system.cpu.load_average.15m",
            "system.processes.count"
        ]
    );
    let failed: Vec<String> = scrape
        .findings
        .failures
        .iter()
        .map(|failure| format!("{}: {}", name(failure.scraper), failure.error))
        .collect();
    for (scraper, text) in [
        ("cpu", "proc/stat"),
        ("memory", "holds no MemTotal"),
        ("disk", "proc/diskstats"),
        ("filesystem", "proc/1/mountinfo"),
        ("network", "proc/1/net/dev"),
        ("paging", "proc/vmstat"),
        ("system", "proc/uptime"),
    ] {
        let found = failed.iter().any(|failure| failure.starts_with(scraper) && failure.contains(text));
        assert!(found, "{scraper} {text} in {failed:?}");
    }
}

/// Without a boot time in `stat`, counters start at the uptime's beginning.
#[test]
fn boot_time_falls_back_to_uptime() {
    let host = FakeHost::complete();
    host.write("proc/stat", "cpu 1 1 1 1\n");
    let scrape = scraper(&host, options(Semconv::Legacy)).scrape(NOW);
    assert_eq!(points(&scrape, "system.cpu.time")[0].start_time_unix_nano, NOW - 3_600_250_000_000);
}

/// Filters choose disks and interfaces, and a scraper that is not chosen is not read.
#[test]
fn selection_is_honoured() {
    let host = FakeHost::complete();
    let none = |pattern: &str| Filter { exclude: vec![pattern.to_owned()], ..Filter::default() };
    let only = |pattern: &str| Filter { include: vec![pattern.to_owned()], ..Filter::default() };
    let chosen = HostMetrics {
        scrapers: [Scraper::Disk, Scraper::Network].into(),
        disk: DiskOptions { devices: none("loop*") },
        network: NetworkOptions { interfaces: only("eth*"), connections: false },
        ..options(Semconv::Legacy)
    };
    let scrape = scraper(&host, chosen).scrape(NOW);
    assert_eq!(values(&scrape, "system.disk.io").len(), 2);
    assert_eq!(values(&scrape, "system.network.io").len(), 2);
    assert!(find(&scrape, "system.network.connections").is_none());
    assert!(find(&scrape, "system.cpu.time").is_none());
}

/// The machine that runs the test can be scraped at `/` and reports its own memory.
#[test]
fn this_host() {
    let scrape = HostScraper::new(Host::new("/"), HostMetrics::default()).scrape(NOW);
    let memory: f64 = values(&scrape, "system.memory.usage").values().sum();
    assert!(memory > 0.0, "{:?}", scrape.findings.failures);
}

/// Below a mounted root the interfaces are those of process 1, whatever `proc/net` leads to.
#[test]
fn interfaces_are_those_of_process_one() {
    let host = FakeHost::complete();
    host.write("proc/self/net/dev", "  pod0: 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9\n");
    symlink("self/net", host.path().join("proc/net")).unwrap();
    let scrape = scraper(&host, options(Semconv::Legacy)).scrape(NOW);
    let interfaces = values(&scrape, "system.network.io");
    assert!(interfaces.contains_key("device=eth0,direction=receive"));
    assert!(!interfaces.contains_key("device=pod0,direction=receive"));
}
