//! Figures of the process as the system counts them.

use procfs::WithCurrentSystemInfo;
use procfs::process::Process;

/// What the system says about this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    /// Memory that is in use now, in bytes.
    pub(super) resident_bytes: u64,
    /// Processor time since the start, user and system.
    pub(super) cpu_seconds: f64,
    /// Open files and sockets.
    pub(super) open_files: u64,
    /// Threads.
    pub(super) threads: u64,
}

/// Reads `/proc/self`; `None` where the system hides it.
pub(super) fn usage() -> Option<Usage> {
    let process = Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let ticks = (stat.utime + stat.stime) as f64;
    Some(Usage {
        resident_bytes: stat.rss_bytes().get(),
        cpu_seconds: ticks / procfs::ticks_per_second() as f64,
        open_files: process.fd_count().ok()? as u64,
        threads: u64::try_from(stat.num_threads).ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    /// The figures are this process's: it has memory, threads and open files.
    #[test]
    fn this_process_has_figures() {
        let usage = super::usage().unwrap();
        assert!(usage.resident_bytes > 100_000 && usage.threads >= 1 && usage.open_files >= 3, "{usage:?}");
    }
}
