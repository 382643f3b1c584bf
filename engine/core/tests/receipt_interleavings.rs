//! Every interleaving of a few shares that close on different threads, by a model checker.

// The module under test is included by path, so that it runs on the checker's atomics here and on the
// standard library's everywhere else.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
}
#[path = "../src/receipt/state.rs"]
mod state;

use loom::sync::Arc;
use loom::thread;
use state::{Severity, State, Tally};

/// Whatever the order, exactly one closer gets the tally, and it holds the worst answer and every record.
#[test]
fn one_closer_gets_the_complete_tally() {
    loom::model(|| {
        let state = Arc::new(State::new());
        state.open_another();
        state.open_another();
        let complete = Tally { worst: Severity::Retry, rejected: 3, delivered: 5 };
        let closers = [(Severity::Rejected, 3), (Severity::Retry, 0)].map(|(severity, rejected)| {
            let state = Arc::clone(&state);
            thread::spawn(move || state.close(severity, 0, rejected))
        });
        let here = state.close(Severity::Delivered, 5, 0);
        let there = closers.map(|closer| closer.join().expect("a closer does not panic"));
        let tallies: Vec<Tally> = there.into_iter().chain([here]).flatten().collect();
        assert_eq!(tallies, [complete]);
    });
}

/// A share opened from a share that is still open can never come after the tally.
#[test]
fn opening_from_an_open_share_is_never_late() {
    loom::model(|| {
        let state = Arc::new(State::new());
        state.open_another();
        let splitter = {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                state.open_another();
                let first = state.close(Severity::Delivered, 1, 0);
                let second = state.close(Severity::Delivered, 1, 0);
                usize::from(first.is_some()) + usize::from(second.is_some())
            })
        };
        let here = usize::from(state.close(Severity::Delivered, 1, 0).is_some());
        assert_eq!(here + splitter.join().expect("the splitter does not panic"), 1);
    });
}
