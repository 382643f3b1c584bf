//! What must hold for whatever peers send, as functions that panic when it does not: of servers for whole requests and for
//! raw bytes, of clients for answers. The replay of the fuzzing seeds and the fuzz targets call them, over loopback.
#![allow(unreachable_pub, reason = "the fuzz crate includes this module by path")]
#![allow(dead_code, unused_imports, reason = "each user of this module calls some of it")]
#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

mod answers;
mod requests;

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub use self::answers::answer;
pub use self::requests::{request, wire};

/// No exchange takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Panics of any thread: those of a server's tasks would be lost otherwise.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics from now on.
fn watch_panics() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            report(panic);
        }));
    });
}

/// Fails when any task or thread has panicked.
fn nothing_has_panicked() {
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "a task has panicked");
}

/// Decisions and contents out of arbitrary bytes; zeros when they are used up.
pub struct Input<'d>(&'d [u8]);

impl<'d> Input<'d> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn bit(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn choice<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// As many bytes as the next one says.
    fn short(&mut self) -> &'d [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (short, rest) = self.0.split_at(length);
        self.0 = rest;
        short
    }

    fn rest(self) -> &'d [u8] {
        self.0
    }
}
