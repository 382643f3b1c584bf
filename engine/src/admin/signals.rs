//! Signals: the first SIGTERM or SIGINT asks the process to end, the second one ends it at once; SIGHUP asks for the
//! configuration to be read again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::reload::{Reloads, Trigger};

/// SIGTERM, SIGINT and SIGHUP, whose usual effect is off from here on.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What shells and supervisors expect as exit code of a process that a signal ended: 128 and its number.
const BY_SIGNAL: i32 = 128;

impl Signals {
    /// Inside a runtime.
    pub(super) fn take_over() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Asks for the end at the first signal and ends the process at the second; asks for the configuration at every SIGHUP.
    /// Never comes back.
    pub(super) async fn obey(mut self, shutdown: CancellationToken, reloads: &Reloads) {
        let (name, _) = self.next(reloads).await;
        tracing::info!(signal = name, "ending; a second signal ends at once");
        shutdown.cancel();
        let (name, number) = self.next(reloads).await;
        tracing::error!(signal = name, "ended at once by a second signal; what memory buffers held is lost");
        std::process::exit(BY_SIGNAL + number)
    }

    async fn next(&mut self, reloads: &Reloads) -> (&'static str, i32) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return ("SIGTERM", SignalKind::terminate().as_raw_value()),
                _ = self.interrupt.recv() => return ("SIGINT", SignalKind::interrupt().as_raw_value()),
                Some(()) = self.hangup.recv() => reloads.ask(Trigger::Signal),
            }
        }
    }
}
