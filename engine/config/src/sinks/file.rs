//! Options of the `file` sink.

use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Checker, ComponentOptions, Facts, Kind, Stability};
use crate::signal::SignalSet;
use crate::size::ByteSize;

/// Appends to a file, one OTLP JSON request a line: what the `otlp` source takes back and `jq` reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The file. Its directory must be there.
    #[schemars(extend("format" = "file-path"))]
    pub path: PathBuf,
    /// Start a new file before this one would pass so many bytes: `out.json` becomes `out.json.1`, that becomes
    /// `out.json.2`, and so on. Without it the file grows without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "64KiB"))]
    pub max_size: Option<ByteSize>,
    /// How many old files are kept. Default: 5. Needs `max_size`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_files: Option<NonZeroU32>,
    /// Wait until every payload is on the disk (fdatasync) before it counts as delivered. Slow, and safe against a power
    /// failure.
    #[serde(default)]
    pub sync: bool,
}

impl File {
    /// How many old files are kept.
    pub fn kept_files(&self) -> u32 {
        self.max_files.map_or(5, NonZeroU32::get)
    }
}

impl ComponentOptions for File {
    const KIND: Kind = Kind::Sink;
    const TYPE: &'static str = "file";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        if self.max_files.is_some() && self.max_size.is_none() {
            let message = "`max_files` has no effect without `max_size`";
            checker.no_effect(["max_files"], message).help("add `max_size` or remove `max_files`");
        }
    }

    fn facts(&self) -> Facts {
        Facts::sink(SignalSet::ALL).writes(["path"], self.path.clone())
    }
}
