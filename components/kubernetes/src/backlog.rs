//! Since when a watch may have been silent about what happened.
//!
//! An event is told soon after what it tells of, but for those behind an interruption and behind a list: they tell of all
//! that happened meanwhile. The watch does not say when it has caught up, so a while is allowed for it. Not here: what
//! follows from it (`index`).

use std::time::Duration;

use tokio::time::Instant;

/// What happened during an interruption or a list is told within this of the first event behind it, or as long as it lasted
/// when that is shorter.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(5);

/// What may not be told yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backlog {
    /// When the watch told of something.
    last_event: Option<Instant>,
    /// When the list in progress began: it shows what was so then, however long it takes.
    list_began: Option<Instant>,
    behind: Option<Behind>,
}

/// What happened since some moment is being told.
#[derive(Clone, Copy, Debug)]
struct Behind {
    since: Instant,
    /// By then all of it is told; none before its first event.
    until: Option<Instant>,
}

impl Backlog {
    /// Nothing is told from now on, and perhaps has not been since the last event.
    pub(crate) fn begins(&mut self, now: Instant) {
        let still =
            self.behind.filter(|behind| behind.until.is_none_or(|until| now < until)).map(|behind| behind.since);
        self.behind = still.or(self.last_event).map(|since| Behind { since, until: None });
    }

    /// A list begins.
    pub(crate) fn list_begins(&mut self, now: Instant) {
        // Without a word of an interruption the server has forgotten where we were.
        self.begins(now);
        self.list_began = Some(now);
    }

    /// Before this nothing of what a list tells has happened; none of the first list.
    pub(crate) fn of_list(&self) -> Option<Instant> {
        self.behind.map(|behind| behind.since)
    }

    /// The list is complete; the events behind it tell what happened while it was made.
    pub(crate) fn list_ends(&mut self, now: Instant) {
        let since = self.list_began.take().unwrap_or(now);
        self.behind = Some(Behind { since, until: Some(caught_up(since, now)) });
        self.last_event = Some(now);
    }

    /// Before this nothing of what an event tells has happened, but for the usual delay.
    pub(crate) fn of_event(&mut self, now: Instant) -> Instant {
        self.last_event = Some(now);
        let Some(behind) = &mut self.behind else { return now };
        if now < *behind.until.get_or_insert(caught_up(behind.since, now)) {
            return behind.since;
        }
        self.behind = None;
        now
    }
}

/// When all is told that has happened since some moment, of which the first is told now.
fn caught_up(since: Instant, now: Instant) -> Instant {
    now + CATCHES_UP_WITHIN.min(now.saturating_duration_since(since))
}
