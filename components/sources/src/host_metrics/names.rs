//! The instruments and attribute keys of host metrics in both modes, as tables.
//!
//! `legacy` is what the OpenTelemetry Collector's hostmetrics receiver emits, so that its dashboards keep working.
//! `stable` is the registry of the OpenTelemetry semantic conventions (1.41 and later). Where the registry knows no
//! instrument (load averages, inodes, pending and weighted disk operations), `stable` keeps the
//! Collector's name with the registry's attribute keys: changing the mode loses no measurement.
//! Nothing here reads a value.

use engine_config::sources::host_metrics::Semconv;

/// The schema that names belong to.
pub(super) fn schema_url(semconv: Semconv) -> &'static str {
    match semconv {
        Semconv::Legacy => "https://opentelemetry.io/schemas/1.9.0",
        Semconv::Stable => "https://opentelemetry.io/schemas/1.41.0",
    }
}

/// A text with one form in each mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    legacy: &'static str,
    stable: &'static str,
}

impl Named {
    pub(super) const fn same(text: &'static str) -> Named {
        Named { legacy: text, stable: text }
    }

    pub(super) const fn new(legacy: &'static str, stable: &'static str) -> Named {
        Named { legacy, stable }
    }

    pub(super) const fn text(self, semconv: Semconv) -> &'static str {
        match semconv {
            Semconv::Legacy => self.legacy,
            Semconv::Stable => self.stable,
        }
    }
}

/// How a value behaves over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A cumulative monotonic sum since the host's boot.
    Counter,
    /// A cumulative sum that may fall.
    UpDownCounter,
    /// The last value.
    Gauge,
}

/// One instrument.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instrument {
    pub(super) name: Named,
    pub(super) unit: Named,
    pub(super) kind: Kind,
    pub(super) description: &'static str,
}

const fn instrument(kind: Kind, name: Named, unit: Named, description: &'static str) -> Instrument {
    Instrument { name, unit, kind, description }
}

const BYTES: Named = Named::same("By");
const SECONDS: Named = Named::same("s");
const OPERATIONS: Named = Named::new("{operations}", "{operation}");
const PACKETS: Named = Named::new("{packets}", "{packet}");

pub(super) const CPU_TIME: Instrument =
    instrument(Kind::Counter, Named::same("system.cpu.time"), SECONDS, "Seconds each logical CPU spent on each mode.");
pub(super) const CPU_LOGICAL_COUNT: Instrument = instrument(
    Kind::UpDownCounter,
    Named::same("system.cpu.logical.count"),
    Named::same("{cpu}"),
    "Number of logical processor cores.",
);
pub(super) const LOAD_1M: Instrument = instrument(
    Kind::Gauge,
    Named::same("system.cpu.load_average.1m"),
    Named::same("{thread}"),
    "Average CPU load over 1 minute.",
);
pub(super) const LOAD_5M: Instrument = instrument(
    Kind::Gauge,
    Named::same("system.cpu.load_average.5m"),
    Named::same("{thread}"),
    "Average CPU load over 5 minutes.",
);
pub(super) const LOAD_15M: Instrument = instrument(
    Kind::Gauge,
    Named::same("system.cpu.load_average.15m"),
    Named::same("{thread}"),
    "Average CPU load over 15 minutes.",
);
pub(super) const MEMORY_USAGE: Instrument =
    instrument(Kind::UpDownCounter, Named::same("system.memory.usage"), BYTES, "Bytes of memory in use, by state.");
pub(super) const MEMORY_LIMIT: Instrument =
    instrument(Kind::UpDownCounter, Named::same("system.memory.limit"), BYTES, "Total bytes of memory.");
pub(super) const MEMORY_AVAILABLE: Instrument = instrument(
    Kind::UpDownCounter,
    Named::new("system.linux.memory.available", "system.memory.linux.available"),
    BYTES,
    "An estimate of the memory that new applications can use without swapping.",
);
pub(super) const MEMORY_SHARED: Instrument = instrument(
    Kind::UpDownCounter,
    Named::same("system.memory.linux.shared"),
    BYTES,
    "Shared memory used, mostly by tmpfs.",
);
pub(super) const MEMORY_SLAB: Instrument = instrument(
    Kind::UpDownCounter,
    Named::same("system.memory.linux.slab.usage"),
    BYTES,
    "Memory that the kernel uses for caches of its own objects.",
);
pub(super) const DISK_IO: Instrument =
    instrument(Kind::Counter, Named::same("system.disk.io"), BYTES, "Disk bytes transferred.");
pub(super) const DISK_OPERATIONS: Instrument =
    instrument(Kind::Counter, Named::same("system.disk.operations"), OPERATIONS, "Disk operations.");
pub(super) const DISK_IO_TIME: Instrument =
    instrument(Kind::Counter, Named::same("system.disk.io_time"), SECONDS, "Time the disk spent activated.");
pub(super) const DISK_OPERATION_TIME: Instrument = instrument(
    Kind::Counter,
    Named::same("system.disk.operation_time"),
    SECONDS,
    "Sum of the time each operation took to complete.",
);
pub(super) const DISK_WEIGHTED_IO_TIME: Instrument = instrument(
    Kind::Counter,
    Named::same("system.disk.weighted_io_time"),
    SECONDS,
    "Time the disk spent activated, multiplied by the queue length.",
);
pub(super) const DISK_PENDING: Instrument = instrument(
    Kind::UpDownCounter,
    Named::same("system.disk.pending_operations"),
    OPERATIONS,
    "Operations that wait for the disk.",
);
pub(super) const DISK_MERGED: Instrument = instrument(
    Kind::Counter,
    Named::same("system.disk.merged"),
    OPERATIONS,
    "Reads and writes merged into single disk operations.",
);
pub(super) const FILESYSTEM_USAGE: Instrument = instrument(
    Kind::UpDownCounter,
    Named::same("system.filesystem.usage"),
    BYTES,
    "Bytes of the file system, by state.",
);
pub(super) const FILESYSTEM_INODES: Instrument = instrument(
    Kind::UpDownCounter,
    Named::same("system.filesystem.inodes.usage"),
    Named::new("{inodes}", "{inode}"),
    "Inodes of the file system, by state.",
);
pub(super) const NETWORK_IO: Instrument =
    instrument(Kind::Counter, Named::same("system.network.io"), BYTES, "Bytes transmitted and received.");
pub(super) const NETWORK_PACKETS: Instrument = instrument(
    Kind::Counter,
    Named::new("system.network.packets", "system.network.packet.count"),
    PACKETS,
    "Packets transferred.",
);
pub(super) const NETWORK_DROPPED: Instrument = instrument(
    Kind::Counter,
    Named::new("system.network.dropped", "system.network.packet.dropped"),
    PACKETS,
    "Packets dropped although there was no error.",
);
pub(super) const NETWORK_ERRORS: Instrument = instrument(
    Kind::Counter,
    Named::same("system.network.errors"),
    Named::new("{errors}", "{error}"),
    "Network errors.",
);
pub(super) const NETWORK_CONNECTIONS: Instrument = instrument(
    Kind::UpDownCounter,
    Named::new("system.network.connections", "system.network.connection.count"),
    Named::new("{connections}", "{connection}"),
    "Connections, by state.",
);
pub(super) const PAGING_USAGE: Instrument =
    instrument(Kind::UpDownCounter, Named::same("system.paging.usage"), BYTES, "Swap space, by state.");
pub(super) const PAGING_OPERATIONS: Instrument =
    instrument(Kind::Counter, Named::same("system.paging.operations"), OPERATIONS, "Paging operations.");
pub(super) const PAGING_FAULTS: Instrument =
    instrument(Kind::Counter, Named::same("system.paging.faults"), Named::new("{faults}", "{fault}"), "Page faults.");
pub(super) const PROCESSES_COUNT: Instrument = instrument(
    Kind::UpDownCounter,
    Named::new("system.processes.count", "system.process.count"),
    Named::new("{processes}", "{process}"),
    "Processes in each state.",
);
pub(super) const PROCESSES_CREATED: Instrument = instrument(
    Kind::Counter,
    Named::new("system.processes.created", "system.process.created"),
    Named::new("{processes}", "{process}"),
    "Processes created since the host started.",
);
pub(super) const UPTIME: Instrument =
    instrument(Kind::Gauge, Named::same("system.uptime"), SECONDS, "The time the system has been running.");

/// Attribute keys.
pub(super) mod key {
    use super::Named;

    pub(in super::super) const CPU: Named = Named::new("cpu", "cpu.logical_number");
    pub(in super::super) const CPU_MODE: Named = Named::new("state", "cpu.mode");
    pub(in super::super) const MEMORY_STATE: Named = Named::new("state", "system.memory.state");
    pub(in super::super) const SLAB_STATE: Named = Named::same("system.memory.linux.slab.state");
    pub(in super::super) const DEVICE: Named = Named::new("device", "system.device");
    pub(in super::super) const DISK_DIRECTION: Named = Named::new("direction", "disk.io.direction");
    pub(in super::super) const FILESYSTEM_MODE: Named = Named::new("mode", "system.filesystem.mode");
    pub(in super::super) const FILESYSTEM_MOUNTPOINT: Named = Named::new("mountpoint", "system.filesystem.mountpoint");
    pub(in super::super) const FILESYSTEM_TYPE: Named = Named::new("type", "system.filesystem.type");
    pub(in super::super) const FILESYSTEM_STATE: Named = Named::new("state", "system.filesystem.state");
    pub(in super::super) const INTERFACE: Named = Named::new("device", "network.interface.name");
    pub(in super::super) const NETWORK_DIRECTION: Named = Named::new("direction", "network.io.direction");
    pub(in super::super) const TRANSPORT: Named = Named::new("protocol", "network.transport");
    pub(in super::super) const CONNECTION_STATE: Named = Named::new("state", "network.connection.state");
    pub(in super::super) const PAGING_STATE: Named = Named::new("state", "system.paging.state");
    pub(in super::super) const PAGING_DIRECTION: Named = Named::new("direction", "system.paging.direction");
    pub(in super::super) const FAULT_TYPE: Named = Named::new("type", "system.paging.fault.type");
    pub(in super::super) const PROCESS_STATE: Named = Named::new("status", "process.state");
}

/// Attribute values.
pub(super) mod value {
    use super::Named;

    pub(in super::super) const READ: Named = Named::same("read");
    pub(in super::super) const WRITE: Named = Named::same("write");
    pub(in super::super) const RECEIVE: Named = Named::same("receive");
    pub(in super::super) const TRANSMIT: Named = Named::same("transmit");
    pub(in super::super) const USED: Named = Named::same("used");
    pub(in super::super) const FREE: Named = Named::same("free");
    pub(in super::super) const RESERVED: Named = Named::same("reserved");
    pub(in super::super) const CACHED: Named = Named::same("cached");
    pub(in super::super) const BUFFERS: Named = Named::new("buffered", "buffers");
    pub(in super::super) const SLAB_RECLAIMABLE: Named = Named::new("slab_reclaimable", "reclaimable");
    pub(in super::super) const SLAB_UNRECLAIMABLE: Named = Named::new("slab_unreclaimable", "unreclaimable");
    pub(in super::super) const PAGE_IN: Named = Named::new("page_in", "in");
    pub(in super::super) const PAGE_OUT: Named = Named::new("page_out", "out");
    pub(in super::super) const MAJOR: Named = Named::same("major");
    pub(in super::super) const MINOR: Named = Named::same("minor");
    pub(in super::super) const TCP: Named = Named::same("tcp");
}
