//! Remembers batches that made a component panic, so that one of them cannot circle for ever.
//!
//! A panic answers Retry and the sender sends the same bytes again. After three panics in a row the same
//! content is refused for good. Costs nothing until the first panic.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::sync::atomic::{AtomicBool, Ordering};

use otlp::Payload;
use parking_lot::Mutex;

/// Panics of one content after which it is refused.
const TOLERATED: u32 = 3;
/// Contents remembered; the oldest is forgotten first.
const REMEMBERED: usize = 64;

/// What identifies a batch's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// Contents that made something panic.
#[derive(Debug, Default)]
pub struct PoisonMemory {
    armed: AtomicBool,
    seen: Mutex<VecDeque<(Fingerprint, u32)>>,
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
        Self(hasher.finish())
    }
}

impl PoisonMemory {
    /// Whether anything has panicked and is remembered.
    pub fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    /// Whether this content has used up its tries.
    pub fn is_poison(&self, fingerprint: &Fingerprint) -> bool {
        self.seen.lock().iter().any(|(seen, panics)| seen == fingerprint && *panics >= TOLERATED)
    }

    /// Counts a panic.
    pub fn panicked(&self, fingerprint: &Fingerprint) {
        let mut seen = self.seen.lock();
        if let Some((_, panics)) = seen.iter_mut().find(|(known, _)| known == fingerprint) {
            *panics += 1;
            return;
        }
        if seen.len() == REMEMBERED {
            seen.pop_front();
        }
        seen.push_back((*fingerprint, 1));
        self.armed.store(true, Ordering::Relaxed);
    }

    /// Forgets a content that went through: only panics in a row count.
    pub fn went_through(&self, fingerprint: &Fingerprint) {
        let mut seen = self.seen.lock();
        seen.retain(|(known, _)| known != fingerprint);
        self.armed.store(!seen.is_empty(), Ordering::Relaxed);
    }
}
