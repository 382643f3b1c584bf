//! What the kernel knows about a process, and the highest of it while something else goes on.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// How often a process is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// The state of a thread that a signal has stopped, and where the times of a process are behind it (proc_pid_stat(5)).
const STOPPED: &str = "T";
const USER: usize = 11;
const SYSTEM: usize = 12;

/// Memory and open files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Resident memory in KiB.
    pub resident: u64,
    /// Open files.
    pub files: u64,
}

impl Figures {
    /// Those of a process now, if it runs.
    pub fn of(id: u32) -> Option<Self> {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let resident = line.trim().trim_end_matches(" kB").parse().ok()?;
        let files = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.count() as u64;
        Some(Self { resident, files })
    }

    /// The higher of each.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        Self { resident: self.resident.max(other.resident), files: self.files.max(other.files) }
    }
}

/// What the kernel says of a process that does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The processor time of all its threads so far, in ticks.
    pub ticks: u64,
}

impl Stopped {
    /// That of a process every thread of which is stopped by a signal; nothing where one is not.
    pub fn of(id: u32) -> Option<Self> {
        for thread in std::fs::read_dir(format!("/proc/{id}/task")).ok()? {
            let stat = std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
            (fields(&stat)?.first() == Some(&STOPPED)).then_some(())?;
        }
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let fields = fields(&stat)?;
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self { ticks: ticks(USER)? + ticks(SYSTEM)? })
    }
}

/// The fields of a `stat` file behind the name of the program, which may have any character in it.
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}

/// Looks at a process again and again.
pub struct Watch {
    peak: Arc<Mutex<Figures>>,
    looking: JoinHandle<()>,
}

impl Watch {
    /// Looks at a process until it ends.
    pub fn start(id: u32) -> Self {
        let peak = Arc::new(Mutex::new(Figures::default()));
        let known = Arc::clone(&peak);
        let looking = tokio::spawn(async move {
            while let Some(figures) = Figures::of(id) {
                {
                    let mut peak = known.lock();
                    *peak = peak.most(figures);
                }
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Self { peak, looking }
    }

    /// The highest so far.
    pub fn peak(&self) -> Figures {
        *self.peak.lock()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use std::process::Command;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    /// Only a process that a signal has stopped counts as stopped, and no longer than that.
    #[test]
    fn a_stopped_process_is_told_from_others() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let id = child.id();
        let pid = Pid::from_raw(id.try_into().unwrap()).unwrap();
        let is = |stopped: bool| (0..100_000).any(|_| Stopped::of(id).is_some() == stopped);
        assert!(is(false));
        kill_process(pid, Signal::STOP).unwrap();
        assert!(is(true), "it is not stopped");
        kill_process(pid, Signal::CONT).unwrap();
        assert!(is(false), "it does not go on");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(Stopped::of(id), None);
        assert_eq!(fields("7 (a ) b) T 1 2"), Some(vec!["T", "1", "2"]));
    }
}
