//! Memory that a thread has freed and keeps for itself.
//!
//! What a thread has taken and others have freed comes back to it when it takes something again, and one that is idle takes
//! nothing: behind a burst it would keep all of it. So threads that work in bursts ask for this when they have nothing to do.
//! Not here: the allocator, which the binary chooses.

use std::sync::OnceLock;

static GIVE_BACK: OnceLock<fn()> = OnceLock::new();

/// Says how a thread gives back what it keeps; the first one counts.
pub fn give_back_by(give_back: fn()) {
    GIVE_BACK.get_or_init(|| give_back);
}

/// Gives what this thread keeps back to the system. Nothing happens where nobody has said how.
pub fn give_back() {
    if let Some(give_back) = GIVE_BACK.get() {
        give_back();
    }
}
