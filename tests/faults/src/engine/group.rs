//! A control group that bounds the memory of a process: who passes the bound is killed by the kernel.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where control groups of memory (version 1) are.
const GROUPS: &str = "/sys/fs/cgroup/memory";

/// A control group; it is removed when this is dropped.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// Makes one with a bound in bytes.
    ///
    /// # Errors
    /// When this process may not make one, or the machine has none of version 1.
    pub fn new(bytes: u64) -> std::io::Result<Self> {
        let group = Self(Path::new(GROUPS).join(format!("faults-{}-{}", std::process::id(), rand::random::<u32>())));
        std::fs::create_dir(&group.0)?;
        std::fs::write(group.0.join("memory.limit_in_bytes"), bytes.to_string())?;
        Ok(group)
    }

    /// Runs a binary in this group from its first instruction.
    pub fn command(&self, binary: &Path) -> Vec<OsString> {
        let script = r#"echo $$ > "$0" && exec "$@""#;
        let processes = self.0.join("cgroup.procs");
        vec!["sh".into(), "-c".into(), script.into(), processes.into(), binary.into()]
    }

    /// The most memory that it has counted, in bytes.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn peak(&self) -> anyhow::Result<u64> {
        Ok(std::fs::read_to_string(self.0.join("memory.max_usage_in_bytes"))?.trim().parse()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel keeps a group whose last process has not quite gone; the next one has another name.
        std::fs::remove_dir(&self.0).ok();
    }
}
