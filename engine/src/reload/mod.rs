//! Another configuration for a process that runs: who asks for it, what is read, what becomes of it, who is told.
//!
//! Not here: what a configuration means (`engine-config`), how a running graph becomes another one (`topology`).

mod disk_sinks;
mod document;
mod last_good;
mod take;
mod watch;

use std::sync::Arc;

use engine_config::{Plan, SourceFile};
use tokio::sync::{mpsc, oneshot};

pub use disk_sinks::{DiskSinksFile, ToBeKept};
pub use last_good::{Kept, LastGoodFile, state_directory};
pub use take::Taking;
pub(crate) use take::{keep, note};
pub(crate) use watch::{Standing, watch};

/// Requests that may wait for their turn.
const WAITING: usize = 8;

/// What a process is to run, judged and planned.
#[derive(Debug)]
pub struct Candidate {
    /// What would run.
    pub plan: Plan,
    /// The files it was read from.
    pub files: Vec<SourceFile>,
    /// What `/status` says which configuration this is.
    pub hash: String,
}

/// A configuration that is not run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Which one; none when it cannot be read.
    pub hash: Option<String>,
    /// Why, one problem a line.
    pub problem: String,
    /// The same as drawings, for terminals.
    pub drawn: String,
}

/// Where the configuration comes from that a process is to run.
pub trait Configuration: std::fmt::Debug + Send + Sync {
    /// Reads the files. Waits for the disk.
    ///
    /// # Errors
    /// Why they cannot be read, a file a line.
    fn read(&self) -> Result<Vec<SourceFile>, String>;

    /// Judges files.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    fn judge(&self, files: Vec<SourceFile>) -> Result<Candidate, Refused>;
}

/// Who asks for the configuration to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// `POST /reload`.
    Request,
    /// The files have changed.
    Watch,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Another configuration runs.
    Applied {
        /// Which one.
        hash: String,
    },
    /// The files hold the configuration that runs.
    Unchanged {
        /// Which one.
        hash: String,
    },
    /// What ran goes on.
    Refused {
        /// Why, as drawings.
        drawn: String,
    },
}

/// Asks for the configuration to be read again. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reloads(mpsc::Sender<Ask>);

/// The other end: who asks, one after the other.
#[derive(Debug)]
pub struct Asked(mpsc::Receiver<Ask>);

/// Somebody who asks.
#[derive(Debug)]
pub struct Ask {
    trigger: Trigger,
    answer: oneshot::Sender<Attempt>,
}

impl Reloads {
    /// A way to ask, and where it leads.
    pub fn channel() -> (Self, Asked) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), Asked(receiver))
    }

    /// Asks without waiting. When as many ask already as can wait, one of them sees what this one would.
    pub fn ask(&self, trigger: Trigger) {
        drop(self.0.try_send(Ask { trigger, answer: oneshot::channel().0 }));
    }

    /// Asks and waits for what becomes of it; none when nothing runs or too many ask.
    pub async fn taken(&self, trigger: Trigger) -> Option<Attempt> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Ask { trigger, answer }).ok()?;
        answered.await.ok()
    }
}

impl Asked {
    /// The next one who asks; none for ever once nobody can.
    pub async fn next(&mut self) -> Ask {
        match self.0.recv().await {
            Some(ask) => ask,
            None => std::future::pending().await,
        }
    }
}

impl Trigger {
    /// In words of the log.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP",
            Self::Request => "POST /reload",
            Self::Watch => "changed files",
        }
    }
}

impl Refused {
    /// Files that cannot be read.
    pub fn unreadable(problem: String) -> Self {
        Self { hash: None, drawn: format!("{problem}\n"), problem }
    }
}

/// A configuration as [`Configuration`] gives it, read and judged.
fn reread(configuration: &Arc<dyn Configuration>) -> Result<Candidate, Refused> {
    let files = configuration.read().map_err(Refused::unreadable)?;
    configuration.judge(files)
}
