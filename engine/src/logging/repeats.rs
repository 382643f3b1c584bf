//! Repeats are counted instead of told: a backend that is down for an hour must not write an hour of the same line.
//!
//! Events are the same when their place in the code, their message and their component are the same; other fields may
//! differ. Of the same event the first [`TOLD`] within [`WINDOW`] are told, the others counted and summarised after it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::Context;

/// How many of the same event are told in one window.
pub(super) const TOLD: u64 = 5;
/// The length of a window; it begins with the first event that is told.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// The most different events that are counted at once. Others are told: an attacker who can make up messages could
/// otherwise fill the memory.
const MOST: usize = 512;

/// Fields that say which component an event is about.
const COMPONENT_FIELDS: [&str; 4] = ["component", "sink", "source", "transform"];

/// What was told lately, and how often since.
#[derive(Debug, Default)]
pub struct Repeats {
    seen: Mutex<HashMap<Key, Seen>>,
}

/// Lets an event pass to the layer or counts it.
#[derive(Debug)]
pub(super) struct Filter(pub(super) Arc<Repeats>);

/// What makes two events the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    place: Identifier,
    told: Told,
}

/// The words of an event that count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Told {
    message: String,
    component: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    since: Instant,
    times: u64,
}

/// Events of one kind that were not told.
#[derive(Debug, PartialEq, Eq)]
struct Suppressed {
    message: String,
    component: Option<String>,
    times: u64,
}

impl Repeats {
    /// Logs how many events were not told, of each kind whose window is over. Call it every few seconds.
    pub fn summarise(&self) {
        log(self.take(|seen| seen.since.elapsed() >= WINDOW));
    }

    /// Logs how many events were not told of all kinds, at the end of the process.
    pub fn finish(&self) {
        log(self.take(|_| true));
    }

    /// Counts an event. Whether it is to be told.
    fn admit(&self, key: Key, now: Instant) -> bool {
        let mut all = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(seen) = all.get_mut(&key) {
            let is_over = now.saturating_duration_since(seen.since) >= WINDOW;
            // The next summary tells what was suppressed in a window; a new one begins only when there is nothing to tell.
            if is_over && seen.times <= TOLD {
                *seen = Seen { since: now, times: 0 };
            }
            seen.times += 1;
            return seen.times <= TOLD;
        }
        if all.len() >= MOST {
            all.retain(|_, seen| seen.times > TOLD || now.saturating_duration_since(seen.since) < WINDOW);
        }
        if all.len() < MOST {
            all.insert(key, Seen { since: now, times: 1 });
        }
        true
    }

    /// Forgets the kinds that `is_over` names, and returns what was not told of them.
    fn take(&self, is_over: impl Fn(&Seen) -> bool) -> Vec<Suppressed> {
        let mut all = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let over: Vec<(Key, Seen)> = all.extract_if(|_, seen| is_over(seen)).collect();
        drop(all);
        let mut suppressed: Vec<Suppressed> = over
            .into_iter()
            .filter(|(_, seen)| seen.times > TOLD)
            .map(|(key, seen)| Suppressed {
                message: key.told.message,
                component: key.told.component,
                times: seen.times - TOLD,
            })
            .collect();
        suppressed.sort_by(|left, right| left.message.cmp(&right.message));
        suppressed
    }
}

fn log(suppressed: Vec<Suppressed>) {
    for Suppressed { message, component, times } in suppressed {
        tracing::warn!(of = message, component, repeats = times, "repeats suppressed");
    }
}

impl<S: Subscriber> tracing_subscriber::layer::Filter<S> for Filter {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let mut told = Told::default();
        event.record(&mut told);
        self.0.admit(Key { place: event.metadata().callsite(), told }, Instant::now())
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else if COMPONENT_FIELDS.contains(&field.name()) {
            self.component = Some(format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else if COMPONENT_FIELDS.contains(&field.name()) {
            self.component = Some(value.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn key(message: &str, component: &str) -> Key {
        let place = tracing::callsite!(name: "test", kind: tracing::metadata::Kind::EVENT, fields: message);
        let told = Told { message: message.to_owned(), component: Some(component.to_owned()) };
        Key { place: tracing::Callsite::metadata(place).callsite(), told }
    }

    /// The first few are told, the others counted; after the window the count is given out once and telling begins anew.
    #[test]
    fn counts_what_it_does_not_tell() {
        let repeats = Repeats::default();
        let start = Instant::now();
        let told = (0..1234).filter(|_| repeats.admit(key("down", "out"), start)).count();
        assert_eq!(told as u64, TOLD);
        assert!(repeats.take(|seen| start - seen.since >= WINDOW).is_empty(), "the window is not over");
        let later = start + WINDOW;
        assert!(!repeats.admit(key("down", "out"), later), "nothing is told before the summary of the last window");
        let suppressed = repeats.take(|seen| later - seen.since >= WINDOW);
        let expected = Suppressed { message: "down".to_owned(), component: Some("out".to_owned()), times: 1235 - TOLD };
        assert_eq!(suppressed, [expected]);
        assert!(repeats.admit(key("down", "out"), later));
    }

    /// A window that suppressed nothing just ends.
    #[test]
    fn rare_events_are_all_told() {
        let repeats = Repeats::default();
        let mut now = Instant::now();
        for _ in 0..100 {
            assert!(repeats.admit(key("rare", "out"), now));
            now += WINDOW / 4;
        }
        assert!(repeats.take(|_| true).is_empty());
    }

    /// One component's flood does not hide another's first line, nor another message.
    #[test]
    fn others_are_not_hidden() {
        let repeats = Repeats::default();
        let now = Instant::now();
        for _ in 0..100 {
            repeats.admit(key("down", "a"), now);
        }
        assert!(repeats.admit(key("down", "b"), now));
        assert!(repeats.admit(key("up", "a"), now));
    }

    /// Made-up messages neither grow the memory nor hide anything.
    #[test]
    fn memory_is_bounded() {
        let repeats = Repeats::default();
        let now = Instant::now();
        for number in 0..2 * MOST {
            assert!(repeats.admit(key(&number.to_string(), "a"), now));
        }
        assert_eq!(repeats.seen.lock().unwrap().len(), MOST);
        assert!(repeats.admit(key("new", "a"), now + WINDOW));
        assert_eq!(repeats.seen.lock().unwrap().len(), 1, "those whose window is over make room");
    }
}
