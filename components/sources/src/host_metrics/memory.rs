//! `system.memory.*` from `/proc/meminfo`.

use engine_config::sources::host_metrics::Semconv;

use super::{
    host::{Host, ScrapeError},
    names::{self, key, value},
    sheet::{Attribute, Sheet},
};

/// Bytes by kind; what a kernel does not report is `None` or 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) total: Option<u64>,
    free: u64,
    available: Option<u64>,
    buffers: u64,
    cached: u64,
    shared: Option<u64>,
    slab_reclaimable: u64,
    slab_unreclaimable: u64,
}

impl Memory {
    pub(super) fn parse(text: &str) -> Memory {
        let mut memory = Memory::default();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once(':') else {
                continue;
            };
            let Some(bytes) = parse_bytes(rest) else {
                continue;
            };
            match name {
                "MemTotal" => memory.total = Some(bytes),
                "MemFree" => memory.free = bytes,
                "MemAvailable" => memory.available = Some(bytes),
                "Buffers" => memory.buffers = bytes,
                "Cached" => memory.cached = bytes,
                "Shmem" => memory.shared = Some(bytes),
                "SReclaimable" => memory.slab_reclaimable = bytes,
                "SUnreclaim" => memory.slab_unreclaimable = bytes,
                _ => {}
            }
        }
        memory
    }

    /// What the Collector calls used: everything but free memory, buffers and caches.
    fn used_beside_caches(&self) -> u64 {
        let rest = self.free + self.buffers + self.cached + self.slab_reclaimable;
        self.total.unwrap_or(0).saturating_sub(rest)
    }

    /// What the semantic conventions call used, with their fallback for kernels before 3.14.
    fn used(&self) -> u64 {
        match self.available {
            Some(available) => self.total.unwrap_or(0).saturating_sub(available),
            None => self.used_beside_caches(),
        }
    }
}

/// Reads and writes the memory metrics.
pub(super) fn scrape(host: &Host, sheet: &mut Sheet<'_>) -> Result<(), ScrapeError> {
    let file = host.read(host.proc_path("meminfo"))?;
    let memory = Memory::parse(&file.text);
    let Some(total) = memory.total else {
        return Err(file.malformed("MemTotal"));
    };
    write(sheet, &memory, total);
    Ok(())
}

fn write(sheet: &mut Sheet<'_>, memory: &Memory, total: u64) {
    let state = |name| [Attribute::Name(key::MEMORY_STATE, name)];
    let semconv = sheet.semconv();
    let mut usage = sheet.metric(&names::MEMORY_USAGE);
    usage.int(memory.free, &state(value::FREE));
    usage.int(memory.buffers, &state(value::BUFFERS));
    match semconv {
        Semconv::Legacy => {
            usage.int(memory.used_beside_caches(), &state(value::USED));
            // The Collector counts reclaimable slabs as cached and again as a state of their own.
            usage.int(memory.cached + memory.slab_reclaimable, &state(value::CACHED));
            usage.int(memory.slab_reclaimable, &state(value::SLAB_RECLAIMABLE));
            usage.int(memory.slab_unreclaimable, &state(value::SLAB_UNRECLAIMABLE));
        }
        Semconv::Stable => {
            usage.int(memory.used(), &state(value::USED));
            usage.int(memory.cached, &state(value::CACHED));
            let slab = |name| [Attribute::Name(key::SLAB_STATE, name)];
            let mut slabs = sheet.metric(&names::MEMORY_SLAB);
            slabs.int(memory.slab_reclaimable, &slab(value::SLAB_RECLAIMABLE));
            slabs.int(memory.slab_unreclaimable, &slab(value::SLAB_UNRECLAIMABLE));
            sheet.metric(&names::MEMORY_LIMIT).int(total, &[]);
            if let Some(shared) = memory.shared {
                sheet.metric(&names::MEMORY_SHARED).int(shared, &[]);
            }
        }
    }
    if let Some(available) = memory.available {
        sheet.metric(&names::MEMORY_AVAILABLE).int(available, &[]);
    }
}

/// `  24683656 kB` in bytes. Lines without a unit are counts of pages and none that is used here.
fn parse_bytes(rest: &str) -> Option<u64> {
    let kibibytes: u64 = rest.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\n\
        Buffers:          50 kB\nCached:          300 kB\nShmem:            20 kB\nSReclaimable:     40 kB\n\
        SUnreclaim:       10 kB\nHugePages_Total:   7\n";

    /// Both definitions of used memory are computed from one file.
    #[test]
    fn used_has_two_definitions() {
        let memory = Memory::parse(MEMINFO);
        assert_eq!(memory.used(), 400 * 1024);
        assert_eq!(memory.used_beside_caches(), 510 * 1024);
    }

    /// Without MemAvailable, as on old kernels, used falls back to the older formula.
    #[test]
    fn old_kernels_fall_back() {
        let memory = Memory::parse("MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 300 kB\n");
        assert_eq!(memory.used(), 550 * 1024);
    }

    /// Numbers of a container's emulated file that do not add up never wrap around.
    #[test]
    fn inconsistent_numbers_saturate() {
        let memory = Memory::parse("MemTotal: 10 kB\nMemFree: 100 kB\nMemAvailable: 50 kB\n");
        assert_eq!((memory.used(), memory.used_beside_caches()), (0, 0));
    }
}
