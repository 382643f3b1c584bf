//! What the kernel knows about a process: CPU time and memory, from /proc.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// The figures of one process at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Time of all threads outside the kernel since the start of the process.
    pub user: Duration,
    /// Time of all threads inside the kernel.
    pub system: Duration,
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
        let (user, system) = cpu_times(&stat).with_context(|| format!("no times in /proc/{id}/stat"))?;
        Ok(Usage {
            user,
            system,
            resident_mib: mebibytes(&status, "VmRSS:").with_context(|| format!("no VmRSS of process {id}"))?,
            peak_mib: mebibytes(&status, "VmHWM:").with_context(|| format!("no VmHWM of process {id}"))?,
        })
    }

    /// CPU time of all kinds since an earlier moment.
    pub fn since(&self, earlier: &Usage) -> Duration {
        (self.user + self.system).saturating_sub(earlier.user + earlier.system)
    }
}

/// `utime` and `stime`, which stand 11 and 12 places behind the name in parentheses.
fn cpu_times(stat: &str) -> Option<(Duration, Duration)> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let mut times = behind_name.split_whitespace().skip(11).map(|field| {
        let ticks: f64 = field.parse().ok()?;
        Some(Duration::from_secs_f64(ticks / ticks_per_second))
    });
    Some((times.next()??, times.next()??))
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
        let expected = [150.0, 50.0].map(|count| Duration::from_secs_f64(count / ticks));
        assert_eq!(cpu_times(stat).unwrap(), (expected[0], expected[1]));
    }

    /// This process has memory, and its peak is at least what it has.
    #[test]
    fn reads_its_own_memory() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident_mib > 0.5);
        assert!(usage.peak_mib >= usage.resident_mib);
    }
}
