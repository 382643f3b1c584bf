//! Options of the `host_metrics` source.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Checker, ComponentOptions, Facts, Kind, Stability};
use crate::omit::is_default;
use crate::signal::SignalSet;
use crate::span::Span;

/// Reads the metrics of this host from the kernel: processors, memory, load, disks, file systems, network interfaces,
/// paging, processes, uptime.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HostMetrics {
    /// Time between two readings.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub interval: Span,
    /// Where the host's root directory is mounted; in a container something like `"/hostfs"`.
    #[schemars(extend("format" = "absolute-path"))]
    pub root_path: PathBuf,
    /// How metrics and attributes are named.
    pub semconv: Semconv,
    /// What is read.
    #[schemars(length(min = 1))]
    pub scrapers: BTreeSet<Scraper>,
    /// Options of the `cpu` scraper.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu: CpuOptions,
    /// Options of the `disk` scraper.
    #[serde(skip_serializing_if = "is_default")]
    pub disk: DiskOptions,
    /// Options of the `filesystem` scraper.
    #[serde(skip_serializing_if = "is_default")]
    pub filesystem: FilesystemOptions,
    /// Options of the `network` scraper.
    #[serde(skip_serializing_if = "is_default")]
    pub network: NetworkOptions,
}

/// Which names metrics get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Semconv {
    /// As the OpenTelemetry Collector writes them, and dashboards expect them.
    #[default]
    Legacy,
    /// As the semantic conventions define them since 1.41.
    Stable,
}

/// One family of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scraper {
    /// Time of processors by state.
    Cpu,
    /// Memory by state.
    Memory,
    /// Load averages.
    Load,
    /// Reads and writes of block devices.
    Disk,
    /// Use of file systems.
    Filesystem,
    /// Traffic, errors and drops of interfaces, and connections.
    Network,
    /// Swap space and page faults.
    Paging,
    /// Number of processes by state.
    Processes,
    /// Uptime.
    System,
}

/// Options of the `cpu` scraper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CpuOptions {
    /// One series a processor instead of one for all.
    pub per_cpu: bool,
}

/// Options of the `disk` scraper.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiskOptions {
    /// Which block devices, by name such as `"sda"`.
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Filter,
}

/// Options of the `filesystem` scraper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FilesystemOptions {
    /// Which devices, such as `"/dev/sda1"`.
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Filter,
    /// Which mount points, as the host sees them.
    #[serde(skip_serializing_if = "is_default")]
    pub mount_points: Filter,
    /// Which types of file systems, such as `"ext4"`.
    #[serde(skip_serializing_if = "is_default")]
    pub fs_types: Filter,
    /// Read file systems without a device as well (tmpfs, overlay, proc).
    pub include_virtual_filesystems: bool,
    /// Longest wait for one file system: a dead network mount hangs for ever.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1m"))]
    pub timeout: Span,
}

/// Options of the `network` scraper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkOptions {
    /// Which interfaces, by name such as `"eth0"`.
    #[serde(skip_serializing_if = "is_default")]
    pub interfaces: Filter,
    /// Count TCP connections by state. The kernel walks every socket for it, which costs on hosts with very many.
    pub connections: bool,
}

/// Which names are read. In patterns `*` stands for any characters, `?` for one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Only names that match one of these, where `*` stands for any text and `?` for one character. Empty: all.
    #[schemars(inner(length(min = 1)))]
    pub include: Vec<String>,
    /// No names that match one of these. Wins over `include`.
    #[schemars(inner(length(min = 1)))]
    pub exclude: Vec<String>,
}

impl Default for HostMetrics {
    fn default() -> Self {
        Self {
            interval: Span::secs(60),
            root_path: "/".into(),
            semconv: Semconv::default(),
            scrapers: Scraper::ALL.into(),
            cpu: CpuOptions::default(),
            disk: DiskOptions::default(),
            filesystem: FilesystemOptions::default(),
            network: NetworkOptions::default(),
        }
    }
}

impl Default for FilesystemOptions {
    fn default() -> Self {
        Self {
            devices: Filter::default(),
            mount_points: Filter::default(),
            fs_types: Filter::default(),
            include_virtual_filesystems: false,
            timeout: Span::secs(5),
        }
    }
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self { interfaces: Filter::default(), connections: true }
    }
}

impl Scraper {
    /// Every family.
    pub const ALL: [Self; 9] = [
        Self::Cpu,
        Self::Memory,
        Self::Load,
        Self::Disk,
        Self::Filesystem,
        Self::Network,
        Self::Paging,
        Self::Processes,
        Self::System,
    ];
}

impl Filter {
    /// Whether a name is read.
    pub fn matches(&self, name: &str) -> bool {
        let matches_one = |patterns: &[String]| patterns.iter().any(|pattern| glob_matches(pattern, name));
        let is_included = self.include.is_empty() || matches_one(&self.include);
        is_included && !matches_one(&self.exclude)
    }
}

impl ComponentOptions for HostMetrics {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "host_metrics";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        let written = [
            ("cpu", Scraper::Cpu, self.cpu != CpuOptions::default()),
            ("disk", Scraper::Disk, self.disk != DiskOptions::default()),
            ("filesystem", Scraper::Filesystem, self.filesystem != FilesystemOptions::default()),
            ("network", Scraper::Network, self.network != NetworkOptions::default()),
        ];
        for (name, scraper, is_written) in written {
            if is_written && !self.scrapers.contains(&scraper) {
                let message = format!("`{name}` has no effect: `scrapers` does not hold \"{name}\"");
                checker.no_effect([name], message).help(format!("add \"{name}\" to `scrapers` or remove `{name}`"));
            }
        }
    }

    fn facts(&self) -> Facts {
        Facts { pull: true, ..Facts::source(SignalSet::METRICS) }
    }
}

/// Matches `*` and `?`; needs time proportional to the product of the lengths at worst.
fn glob_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(expected) if *expected == '?' || *expected == name[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((star_at, star_read)) = star else { return false };
                star = Some((star_at, star_read + 1));
                at = star_at + 1;
                read = star_read + 1;
            }
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Patterns match whole names.
    #[test]
    fn globs() {
        let cases = [
            ("eth0", "eth0", true),
            ("eth?", "eth0", true),
            ("eth?", "eth", false),
            ("veth*", "veth12ab", true),
            ("*/kubelet/*", "/var/lib/kubelet/pods", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(glob_matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    /// Exclusion wins over inclusion, and an empty inclusion includes everything.
    #[test]
    fn filters() {
        let filter = Filter { include: vec!["eth*".into()], exclude: vec!["eth9".into()] };
        assert!(filter.matches("eth0") && !filter.matches("eth9") && !filter.matches("lo"));
        assert!(Filter::default().matches("anything"));
    }
}
