//! What the kernel knows about a process: CPU time and memory, from /proc.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// The figures of one process at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// User and system time of all threads since the start of the process.
    pub cpu: Duration,
    /// Resident memory in MiB.
    pub resident_mib: f64,
    /// Largest resident memory since the start of the process, in MiB.
    pub peak_mib: f64,
}

impl Usage {
    /// Reads the figures of a process.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(id: u32) -> Result<Usage> {
        let read = |name: &str| {
            let path = format!("/proc/{id}/{name}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let stat = read("stat")?;
        let status = read("status")?;
        Ok(Usage {
            cpu: cpu_time(&stat).with_context(|| format!("no times in /proc/{id}/stat"))?,
            resident_mib: mebibytes(&status, "VmRSS:").with_context(|| format!("no VmRSS of process {id}"))?,
            peak_mib: mebibytes(&status, "VmHWM:").with_context(|| format!("no VmHWM of process {id}"))?,
        })
    }
}

/// `utime` and `stime`, which stand 11 and 12 places behind the name in parentheses.
fn cpu_time(stat: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    Some(Duration::from_secs_f64((user + system) / ticks_per_second))
}

fn mebibytes(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes / 1024.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use super::*;

    /// A name with spaces and parentheses does not shift the fields.
    #[test]
    fn finds_times_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 3 0 100 1000 200";
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(cpu_time(stat).unwrap(), Duration::from_secs_f64(200.0 / ticks));
    }

    /// This process has memory, and its peak is at least what it has.
    #[test]
    fn reads_its_own_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident_mib > 0.5);
        assert!(usage.peak_mib >= usage.resident_mib);
    }
}
