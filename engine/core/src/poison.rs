//! Remembers batches that made a component panic, so that one of them cannot circle for ever.
//!
//! A panic answers Retry and the sender sends the same bytes again. After three panics in a row the same content is
//! refused for good. Costs nothing until the first panic. From then on only batches as long as a remembered one are looked
//! at closer, and when nothing has panicked for `FORGOTTEN`, everything is forgotten.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use otlp::Payload;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Panics of one content after which it is refused.
const TOLERATED: u32 = 3;
/// Contents remembered; the oldest is forgotten first.
const REMEMBERED: usize = 64;
/// How long a panic is remembered. Senders come again within seconds, the most patient within a minute or two.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// What identifies a batch's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    length: usize,
    hash: u64,
}

/// Contents that made something panic.
#[derive(Debug, Default)]
pub struct PoisonMemory {
    armed: AtomicBool,
    seen: Mutex<VecDeque<Seen>>,
}

/// Panics of one content.
#[derive(Debug)]
struct Seen {
    fingerprint: Fingerprint,
    panics: u32,
    last: Instant,
}

impl Fingerprint {
    /// The fingerprint of a payload's signal and bytes.
    pub fn of(payload: &Payload) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(payload.signal() as u8);
        match payload {
            Payload::Wire(wire) => wire.rope().pieces().iter().for_each(|piece| hasher.write(piece)),
            Payload::Decoded(decoded) => hasher.write(format!("{decoded:?}").as_bytes()),
        }
        Self { length: payload.len(), hash: hasher.finish() }
    }
}

impl PoisonMemory {
    /// Whether anything has panicked and is remembered.
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// The fingerprint of a payload that may be one of those remembered. None for all others, which cost no hash.
    pub fn suspect(&self, payload: &Payload) -> Option<Fingerprint> {
        if !self.is_armed() {
            return None;
        }
        let length = payload.len();
        let mut seen = self.seen.lock();
        seen.retain(|known| known.last.elapsed() < FORGOTTEN);
        self.armed.store(!seen.is_empty(), Ordering::Relaxed);
        let is_suspect = seen.iter().any(|known| known.fingerprint.length == length);
        drop(seen);
        is_suspect.then(|| Fingerprint::of(payload))
    }

    /// Whether this content has used up its tries.
    pub fn is_poison(&self, fingerprint: &Fingerprint) -> bool {
        self.seen.lock().iter().any(|known| known.fingerprint == *fingerprint && known.panics >= TOLERATED)
    }

    /// Counts a panic.
    pub fn panicked(&self, fingerprint: &Fingerprint) {
        let mut seen = self.seen.lock();
        let last = Instant::now();
        if let Some(known) = seen.iter_mut().find(|known| known.fingerprint == *fingerprint) {
            known.panics += 1;
            known.last = last;
            return;
        }
        if seen.len() == REMEMBERED {
            seen.pop_front();
        }
        seen.push_back(Seen { fingerprint: *fingerprint, panics: 1, last });
        self.armed.store(true, Ordering::Relaxed);
    }

    /// Forgets a content that went through: only panics in a row count.
    pub fn went_through(&self, fingerprint: &Fingerprint) {
        let mut seen = self.seen.lock();
        seen.retain(|known| known.fingerprint != *fingerprint);
        self.armed.store(!seen.is_empty(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_kit::logs;

    /// After a panic only batches as long as the one that panicked are hashed, and after a while without a panic none is.
    #[tokio::test(start_paused = true)]
    async fn arms_for_a_while_and_for_suspects_only() {
        let memory = PoisonMemory::default();
        let (poison, alike, other) = (logs(&[], 10..13), logs(&[], 20..23), logs(&[], 10..19));
        assert_eq!(memory.suspect(&poison), None);
        memory.panicked(&Fingerprint::of(&poison));
        assert_eq!(memory.suspect(&poison), Some(Fingerprint::of(&poison)));
        assert_eq!(memory.suspect(&alike), Some(Fingerprint::of(&alike)));
        assert_eq!(memory.suspect(&other), None);
        tokio::time::advance(FORGOTTEN / 2).await;
        memory.panicked(&Fingerprint::of(&poison));
        tokio::time::advance(FORGOTTEN - Duration::from_secs(1)).await;
        assert!(memory.suspect(&poison).is_some() && memory.is_armed());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(memory.suspect(&poison), None);
        assert!(!memory.is_armed());
    }
}
