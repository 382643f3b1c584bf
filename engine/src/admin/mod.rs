//! The administration server: `/livez`, `/readyz`, `/metrics`, `/status` and `/reload`, on a thread of its own that also
//! takes signals, so that it answers and ends while everything else is busy.
//!
//! Nothing here changes what runs: signals and requests ask for it.

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
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

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
    /// Where it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    thread: thread::JoinHandle<()>,
}

/// Starts the server on a bound, non-blocking listener, and takes over SIGTERM, SIGINT and SIGHUP.
///
/// # Errors
/// When the system gives no thread, no runtime or no signals.
pub fn start(listener: TcpListener, state: Arc<State>) -> io::Result<Admin> {
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = CancellationToken::new();
    let (signals, listener) = {
        let _inside = runtime.enter();
        (signals::Signals::take_over()?, tokio::net::TcpListener::from_std(listener)?)
    };
    let stopped = stop.clone();
    let work = async move {
        let serve = server::serve(listener, Arc::clone(&state));
        let end = signals.obey(state.shutdown(), state.reloads());
        let summaries = async {
            loop {
                tokio::time::sleep(SUMMARY_INTERVAL).await;
                state.repeats().summarise();
            }
        };
        tokio::select! {
            () = stopped.cancelled() => {}
            () = serve => {}
            () = end => {}
            () = summaries => {}
        }
        state.repeats().finish();
    };
    let thread = thread::Builder::new().name(ID.to_owned()).spawn(move || runtime.block_on(work))?;
    Ok(Admin { address, stop, thread })
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
