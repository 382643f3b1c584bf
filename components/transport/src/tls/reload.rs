//! Certificates that come from files are read again when connections are made, and replaced when their content
//! changed: an engine must not need a restart because a certificate was renewed.
//!
//! What cannot be used is reported and the last good certificates stay. Connections keep what they were made with.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::tls::TlsError;

/// Files are looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What a configuration is built from.
pub(super) trait Material: Clone + PartialEq + Send + 'static {
    /// What it is built to.
    type Config: Send + Sync + 'static;

    /// Whether any of it is a file.
    fn is_on_disk(&self) -> bool;

    /// The same with the present content of its files.
    fn read_again(&self) -> Result<Self, TlsError>;

    /// Builds the configuration, which proves that all of it fits together.
    fn build(&self) -> Result<Self::Config, TlsError>;
}

/// A configuration that follows its files.
pub(super) struct Reloading<M: Material> {
    state: Mutex<State<M>>,
    look_every: Duration,
}

struct State<M: Material> {
    material: M,
    config: Arc<M::Config>,
    looked: Instant,
}

impl<M: Material> Reloading<M> {
    pub(super) fn new(material: M) -> Result<Self, TlsError> {
        Ok(Self { state: Mutex::new(State::of(material)?), look_every: LOOK_EVERY })
    }

    /// The same, looking at its files at most every `interval`.
    pub(super) fn looking_every(self, interval: Duration) -> Self {
        Self { look_every: interval, ..self }
    }

    /// What the configuration in use was built from.
    pub(super) fn material(&self) -> M {
        self.lock().material.clone()
    }

    /// The configuration for a new connection.
    pub(super) async fn current(&self) -> Arc<M::Config> {
        let known = {
            let mut state = self.lock();
            if !state.material.is_on_disk() || state.looked.elapsed() < self.look_every {
                return Arc::clone(&state.config);
            }
            state.looked = Instant::now();
            state.material.clone()
        };
        // Reading a file blocks, and a lane must not.
        let task = tokio::task::spawn_blocking(move || renew(&known));
        match task.await {
            Ok(Ok(Some(renewed))) => {
                *self.lock() = renewed;
                tracing::info!("certificates have changed on disk and are in use for new connections");
            }
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(%error, "certificates have changed on disk but cannot be used"),
        }
        Arc::clone(&self.lock().config)
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

impl<M: Material> State<M> {
    fn of(material: M) -> Result<Self, TlsError> {
        let config = Arc::new(material.build()?);
        Ok(Self { material, config, looked: Instant::now() })
    }
}

/// What the files hold now, if it differs from what is known.
fn renew<M: Material>(known: &M) -> Result<Option<State<M>>, TlsError> {
    let material = known.read_again()?;
    if material == *known {
        return Ok(None);
    }
    State::of(material).map(Some)
}
