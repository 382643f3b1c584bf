//! Who gets what a sink holds that is coming to its end: known from the beginning, or named meanwhile by a reload that has its
//! buffer again.
//!
//! A reload claims it first, which keeps the sink from letting go of it, and names the heir when nothing can fail any more.
//! Not here: how it is handed over (`engine_core::sink`).

use std::sync::Arc;

use engine_core::sink::SinkHandle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

type Heir = Option<Arc<SinkHandle>>;

/// What a sink holds that is coming to its end. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Estate {
    /// Locked by whoever decides.
    heir: Arc<Mutex<Heir>>,
    named: CancellationToken,
}

/// The right to name the heir. Until it is used or dropped the sink lets go of nothing.
#[derive(Debug)]
pub(super) struct Claim {
    heir: OwnedMutexGuard<Heir>,
    named: CancellationToken,
}

impl Estate {
    /// Goes to this sink, or to nobody so far.
    pub(super) fn of(heir: Heir) -> Self {
        let named = CancellationToken::new();
        if heir.is_some() {
            named.cancel();
        }
        Self { heir: Arc::new(Mutex::new(heir)), named }
    }

    /// The right to name the heir; none where there is one, or where the sink has begun to let go.
    pub(super) fn claim(&self) -> Option<Claim> {
        let heir = Arc::clone(&self.heir).try_lock_owned().ok()?;
        heir.is_none().then(|| Claim { heir, named: self.named.clone() })
    }

    /// Whether there is an heir.
    pub(super) fn has_heir(&self) -> bool {
        self.named.is_cancelled()
    }

    /// Resolves when there is an heir.
    pub(super) async fn named(&self) {
        self.named.cancelled().await;
    }

    /// The heir, if there is one. While this is kept nobody can claim anything.
    pub(super) async fn settle(&self) -> OwnedMutexGuard<Heir> {
        Arc::clone(&self.heir).lock_owned().await
    }
}

impl Claim {
    /// Everything goes to this sink.
    pub(super) fn give_to(mut self, heir: Arc<SinkHandle>) {
        *self.heir = Some(heir);
        self.named.cancel();
    }
}
