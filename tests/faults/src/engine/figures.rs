//! What the kernel knows about a process, and the highest of it while something else goes on.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// How often a process is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

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
