//! Reads files as they grow: what the sources `file` and `kubernetes_logs` have in common.
//!
//! A thread reads (`reader`), the runtime delivers (`deliver`), and positions move when a request is answered. Which files
//! are logs is the source's matter (`selection`), how lines become records the parser's (`record`).

mod batch;
mod checkpoint;
mod content;
mod counts;
mod deliver;
mod identity;
mod lines;
mod log;
mod reader;
mod record;
mod rotation;
mod selection;
mod watch;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_config::sources::file::StartAt;
use engine_config::sources::reading::{FileAttribute, Watch};
use engine_core::registry::{BuildContext, BuildError};
use engine_core::state_store::{StateDirectory, StateStore};
use rustix::process::{Resource, getrlimit};

pub(crate) use self::batch::resource;
pub(crate) use self::record::{Format, RecordOptions};
pub(crate) use self::selection::{Decision, Description, Selection};

/// Bytes of a request that is sent as soon as it has them.
const REQUEST_SIZE: usize = 512 * 1024;
/// Bytes of deleted files that are kept open to be read: while a backend is away they take disk space that nobody sees.
const MAX_DELETED: u64 = 1 << 30;
/// How long lines that belong together are waited for.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// How a source reads.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The name of the scope of all records.
    pub(crate) scope: &'static str,
    /// Where files begin at the very first start.
    pub(crate) start_at: StartAt,
    /// Bytes of files that may be read and not be kept as delivered.
    pub(crate) max_in_flight: u64,
    pub(crate) watch: Watch,
    pub(crate) poll_interval: Duration,
    /// How long lines that belong together are waited for.
    pub(crate) flush_after: Duration,
    /// Bytes of a request that is sent as soon as it has them.
    pub(crate) request_size: usize,
    /// Bytes of deleted files that are kept open to be read.
    pub(crate) max_deleted: u64,
    /// Files that are kept open.
    pub(crate) max_open: usize,
}

/// A source that reads files, before it runs.
pub(crate) struct Tail {
    settings: Settings,
    format: Arc<Format>,
    selection: Box<dyn Selection>,
    store: Arc<dyn StateStore>,
}

impl Settings {
    /// Settings of a scope, with the defaults of what has no option.
    pub(crate) fn new(scope: &'static str) -> Self {
        Self {
            scope,
            start_at: StartAt::Beginning,
            max_in_flight: 16 << 20,
            watch: Watch::Auto,
            poll_interval: Duration::from_secs(1),
            flush_after: FLUSH_AFTER,
            request_size: REQUEST_SIZE,
            max_deleted: MAX_DELETED,
            max_open: max_open(),
        }
    }
}

impl Tail {
    /// A source that reads what is selected, and keeps positions in the state store.
    ///
    /// # Errors
    /// When the place for positions cannot be had.
    pub(crate) fn new(
        settings: Settings,
        format: Format,
        selection: Box<dyn Selection>,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        let state = context.services.get::<StateDirectory>("")?;
        let store =
            state.of(&context.id).map_err(|error| BuildError::caused("cannot keep positions of files", error))?;
        Ok(Self { settings, format: Arc::new(format), selection, store })
    }
}

/// Half of the files that this process may have open: sinks need the others to connect.
fn max_open() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit / 2).unwrap_or(usize::MAX))
}

/// The attributes of a file, as fields of LogRecord.
pub(crate) fn file_attributes(wanted: &BTreeSet<FileAttribute>, path: &Path) -> Bytes {
    let text = path.to_string_lossy();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    batch::record_attributes(wanted.iter().map(|attribute| match attribute {
        FileAttribute::Name => ("log.file.name", &*name),
        FileAttribute::Path => ("log.file.path", &*text),
    }))
}
