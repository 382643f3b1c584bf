//! What was read from files is read again as it is used, and replaced when the files' content changed: an engine must not
//! need a restart because a certificate was renewed or a token rotated.
//!
//! What cannot be used is reported and the last good content stays. Not here: what is read and what is made of it.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// Files are looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The content of files and what is made of it.
pub trait Material: Clone + PartialEq + Send + 'static {
    /// What it is made into.
    type Made: Send + Sync + 'static;

    /// Why it cannot be read or used.
    type Error: Error + Send + 'static;

    /// What the log calls it, in the plural.
    const NAME: &'static str;

    /// Whether any of it is a file.
    fn is_on_disk(&self) -> bool;

    /// The same with the present content of its files.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    fn read_again(&self) -> Result<Self, Self::Error>;

    /// Makes what is used, which proves that all of it fits together.
    ///
    /// # Errors
    ///
    /// When it does not.
    fn make(&self) -> Result<Self::Made, Self::Error>;
}

/// Something made of files, which it follows.
pub struct Reloading<M: Material> {
    state: Mutex<State<M>>,
    look_every: Duration,
}

struct State<M: Material> {
    material: M,
    made: Arc<M::Made>,
    looked: Instant,
}

impl<M: Material> Reloading<M> {
    /// Makes it for the first time.
    ///
    /// # Errors
    ///
    /// When the material is of no use.
    pub fn new(material: M) -> Result<Self, M::Error> {
        Ok(Self { state: Mutex::new(State::of(material)?), look_every: LOOK_EVERY })
    }

    /// The same, looking at its files at most every `interval` instead of every 10 s.
    #[must_use]
    pub fn looking_every(self, interval: Duration) -> Self {
        Self { look_every: interval, ..self }
    }

    /// What the thing in use was made of.
    pub fn material(&self) -> M {
        self.lock().material.clone()
    }

    /// What is to be used now. Looks at the files if that is due; others get the last one meanwhile.
    pub async fn current(&self) -> Arc<M::Made> {
        let known = {
            let mut state = self.lock();
            if !state.material.is_on_disk() || state.looked.elapsed() < self.look_every {
                return Arc::clone(&state.made);
            }
            state.looked = Instant::now();
            state.material.clone()
        };
        self.renew(known).await
    }

    /// What is to be used now, after a look at the files: for whoever was told that `used` is of no use any more.
    pub async fn instead_of(&self, used: &Arc<M::Made>) -> Arc<M::Made> {
        let known = {
            let mut state = self.lock();
            if !state.material.is_on_disk() || !Arc::ptr_eq(&state.made, used) {
                return Arc::clone(&state.made);
            }
            state.looked = Instant::now();
            state.material.clone()
        };
        self.renew(known).await
    }

    async fn renew(&self, known: M) -> Arc<M::Made> {
        // Reading a file blocks, and a lane must not.
        let task = tokio::task::spawn_blocking(move || renewed(&known));
        match task.await {
            Ok(Ok(Some(renewed))) => {
                *self.lock() = renewed;
                tracing::info!("{} have changed on disk and are in use from now on", M::NAME);
            }
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "{} on disk cannot be used, the last good ones stay", M::NAME);
            }
        }
        Arc::clone(&self.lock().made)
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

impl<M: Material> std::fmt::Debug for Reloading<M> {
    /// Nothing of the content, which may be secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reloading").field("material", &M::NAME).finish_non_exhaustive()
    }
}

impl<M: Material> State<M> {
    fn of(material: M) -> Result<Self, M::Error> {
        let made = Arc::new(material.make()?);
        Ok(Self { material, made, looked: Instant::now() })
    }
}

/// What the files hold now, if it differs from what is known.
fn renewed<M: Material>(known: &M) -> Result<Option<State<M>>, M::Error> {
    let material = known.read_again()?;
    if material == *known {
        return Ok(None);
    }
    State::of(material).map(Some)
}
