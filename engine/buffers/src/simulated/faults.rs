//! Calls of a simulated directory, how often each was made, and which of them fail.

use std::io;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the method of its name")]
pub(crate) enum Call {
    List,
    Create,
    Open,
    OpenToRead,
    Rename,
    Remove,
    SyncNames,
    WritePieces,
    WriteAt,
    ReadAt,
    Sync,
    SetSize,
    Allocate,
    Size,
}

/// Number of kinds.
const KINDS: usize = Call::Size as usize + 1;

/// Some of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Every call.
    Any,
    /// Those that change the disk or make changes last.
    Changing,
    /// Those of a kind.
    Only(Call),
}

impl Calls {
    /// Whether a call is one of them.
    pub(crate) fn include(self, call: Call) -> bool {
        match self {
            Self::Any => true,
            Self::Changing => !matches!(call, Call::List | Call::Open | Call::OpenToRead | Call::ReadAt | Call::Size),
            Self::Only(kind) => kind == call,
        }
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No space is left.
    StorageFull,
    /// The device failed (EIO). A sync that fails gives up what was not synced.
    Device,
    /// The process is at its end: this call and all that follow fail, see [`is_crash`].
    Crash,
    /// Any other error.
    Other(io::ErrorKind),
}

/// Calls that fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Which calls count.
    pub(crate) calls: Calls,
    /// How many of them succeed first, from when the fault was set.
    pub(crate) after: u64,
    /// How many of them fail then.
    pub(crate) times: u64,
    /// How they fail.
    pub(crate) failure: Failure,
    /// How much of a write that fails is written, in parts of 255.
    pub(crate) arrives: u8,
}

/// How often each kind of call was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts([u64; KINDS]);

/// What was called, and what is to fail.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    counts: Counts,
    /// Each with the number of its calls since it was set.
    set: Vec<(Fault, u64)>,
    /// How many calls failed because of them.
    hits: u64,
}

/// The end of the process.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the process has crashed")]
struct Crashed;

/// Whether an error means that the process is at its end.
pub(crate) fn is_crash(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Crashed>())
}

impl Fault {
    /// Fails the call behind the first `after`, and none else.
    pub(crate) fn once(calls: Calls, after: u64, failure: Failure) -> Self {
        Self { calls, after, times: 1, failure, arrives: 0 }
    }

    /// Fails all calls behind the first `after` until faults are cleared.
    pub(crate) fn from(calls: Calls, after: u64, failure: Failure) -> Self {
        Self { times: u64::MAX, ..Self::once(calls, after, failure) }
    }
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        /// `EIO`, which has no kind of its own.
        const DEVICE: i32 = 5;
        match self {
            Self::StorageFull => io::ErrorKind::StorageFull.into(),
            Self::Device => io::Error::from_raw_os_error(DEVICE),
            Self::Crash => io::Error::other(Crashed),
            Self::Other(kind) => kind.into(),
        }
    }
}

impl Counts {
    /// How many calls of these there were.
    pub(crate) fn of(&self, calls: Calls) -> u64 {
        const ALL: [Call; KINDS] = [
            Call::List,
            Call::Create,
            Call::Open,
            Call::OpenToRead,
            Call::Rename,
            Call::Remove,
            Call::SyncNames,
            Call::WritePieces,
            Call::WriteAt,
            Call::ReadAt,
            Call::Sync,
            Call::SetSize,
            Call::Allocate,
            Call::Size,
        ];
        ALL.into_iter().filter(|call| calls.include(*call)).map(|call| self.0[call as usize]).sum()
    }
}

impl Faults {
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn hits(&self) -> u64 {
        self.hits
    }

    pub(super) fn set(&mut self, fault: Fault) {
        self.set.push((fault, 0));
    }

    pub(super) fn clear(&mut self) {
        self.set.clear();
    }

    /// Counts a call and says whether it fails.
    pub(super) fn call(&mut self, call: Call) -> Option<Fault> {
        self.counts.0[call as usize] += 1;
        let mut failing = None;
        for (fault, seen) in self.set.iter_mut().filter(|(fault, _)| fault.calls.include(call)) {
            if failing.is_none() && *seen >= fault.after && *seen - fault.after < fault.times {
                failing = Some(*fault);
            }
            *seen += 1;
        }
        self.hits += u64::from(failing.is_some());
        failing
    }
}
