//! Figures of the process as the system counts them.

use std::fs;

/// Units of processor time a second in `/proc`: the kernel fixes them at 100 for programs on x86-64 and arm64.
const TICKS_PER_SECOND: f64 = 100.0;

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

/// Memory of this process that is in use or kept, in bytes; `None` where the system hides it.
pub(crate) fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Reads `/proc/self`; `None` where the system hides it.
pub(super) fn usage() -> Option<Usage> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some(Usage {
        resident_bytes: resident_bytes()?,
        threads: field("Threads")?,
        cpu_seconds: cpu_ticks(&fs::read_to_string("/proc/self/stat").ok()?)? as f64 / TICKS_PER_SECOND,
        open_files: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
    })
}

/// User and system time of a `/proc/PID/stat`: fields 14 and 15. The name in field 2 may hold anything, so fields are
/// counted behind its closing parenthesis.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// The figures are this process's: it has memory, threads and open files.
    #[test]
    fn this_process_has_figures() {
        let usage = usage().unwrap();
        assert!(usage.resident_bytes > 100_000 && usage.threads >= 1 && usage.open_files >= 3, "{usage:?}");
    }

    /// A process may call itself anything.
    #[test]
    fn names_do_not_shift_fields() {
        let stat = "7 (a) 1 2) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 1 0 100";
        assert_eq!(cpu_ticks(stat), Some(42));
    }
}
