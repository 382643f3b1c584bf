//! Signals that end the process: the first one asks, the second one ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// SIGTERM and SIGINT, whose usual effect is off from here on.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// What shells and supervisors expect as exit code of a process that a signal ended: 128 and its number.
const BY_SIGNAL: i32 = 128;

impl Signals {
    /// Inside a runtime.
    pub(super) fn take_over() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Asks for the end at the first signal and ends the process at the second. Never comes back.
    pub(super) async fn obey(mut self, shutdown: CancellationToken) {
        let (name, _) = self.next().await;
        tracing::info!(signal = name, "ending; a second signal ends at once");
        shutdown.cancel();
        let (name, number) = self.next().await;
        tracing::error!(signal = name, "ended at once by a second signal; what memory buffers held is lost");
        std::process::exit(BY_SIGNAL + number)
    }

    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
        }
    }
}
