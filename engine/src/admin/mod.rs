//! The administration server: `/livez`, `/readyz`, `/metrics`, `/status` and `/reload`, on a thread of its own that also
//! takes signals, so that it answers and ends while everything else is busy. It listens on loopback, and where the
//! configuration says so a second time, read-only, for an operator and the kubelet.
//!
//! Nothing here changes what runs: signals and requests ask for it.

mod door;
mod heartbeat;
mod host;
mod metrics;
mod process;
mod series;
mod server;
mod signals;
mod state;
mod status;

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use door::{DoorError, Doors};
pub use heartbeat::Heartbeats;
pub use metrics::measure;
pub(crate) use process::resident_bytes;
pub use series::Series;
pub use state::{Facts, Graph, State};

/// What the server is called where addresses are listed. A component of the same id keeps its own line.
pub const ID: &str = "admin";
/// The key of its address in the configuration.
pub const LISTEN: &str = "listen";

/// How often suppressed log lines are summarised.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);

/// The running server.
#[derive(Debug)]
pub struct Admin {
    stop: CancellationToken,
    thread: thread::JoinHandle<()>,
}

/// Starts the server on its listeners, and takes over SIGTERM, SIGINT and SIGHUP.
///
/// # Errors
/// When the system gives no thread, no runtime or no signals.
pub fn start(doors: Doors, state: Arc<State>) -> io::Result<Admin> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = CancellationToken::new();
    let serve = |door::Open { listener, door, .. }| {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(server::serve(listener, door, Arc::clone(&state)))
    };
    let (signals, serving) = {
        let _inside = runtime.enter();
        let serving = doors.into_open().into_iter().map(serve).collect::<io::Result<Vec<_>>>()?;
        (signals::Signals::take_over()?, serving)
    };
    let stopped = stop.clone();
    let work = async move {
        let serve = futures::future::join_all(serving);
        let end = signals.obey(state.shutdown(), state.reloads());
        let summaries = async {
            loop {
                tokio::time::sleep(SUMMARY_INTERVAL).await;
                state.repeats().summarise();
            }
        };
        tokio::select! {
            () = stopped.cancelled() => {}
            _ = serve => {}
            () = end => {}
            () = summaries => {}
        }
        state.repeats().finish();
    };
    let thread = thread::Builder::new().name(ID.to_owned()).spawn(move || runtime.block_on(work))?;
    Ok(Admin { stop, thread })
}

impl Admin {
    /// Ends the server and waits for its thread.
    pub fn stop(self) {
        self.stop.cancel();
        if self.thread.join().is_err() {
            tracing::error!("the administration server panicked");
        }
    }
}
