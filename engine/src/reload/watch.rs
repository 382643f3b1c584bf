//! Looks at the files of the configuration again and again, and asks for it to be taken when their content is another one.
//!
//! By content, because a mounted Secret is exchanged by a link to another directory, under other times and inodes, and because
//! a file that was only touched is no news. A content is tried once it was seen twice, so that a file that is being written is
//! not; one that was refused is tried again now and then, for what it lacked may be there by now.

use std::sync::Arc;
use std::time::Duration;

use engine_config::status::config_hash;
use tokio::time::{Instant, MissedTickBehavior};

use super::{Attempt, Configuration, Reloads, Trigger};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Time between two attempts with a content that is refused.
const AGAIN: Duration = Duration::from_secs(30);

/// What files hold: their hash, or why they cannot be read.
type Content = Result<String, String>;

/// What a watch knows.
#[derive(Debug)]
struct Watch {
    seen: Content,
    tried: Content,
    /// When a content that was refused is tried again.
    again: Option<Instant>,
}

/// Watches until it is dropped.
pub(crate) async fn watch(configuration: Arc<dyn Configuration>, reloads: Reloads, standing: Standing) {
    let (start, again) = match standing {
        Standing::Runs(hash) => (hash, None),
        Standing::Refused(hash) => (hash, Some(Instant::now() + AGAIN)),
    };
    let mut watch = Watch { seen: Ok(start.clone()), tried: Ok(start), again };
    let mut looks = tokio::time::interval(PAUSE);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let read = Arc::clone(&configuration);
        // One look at a time: a file system that hangs costs one thread.
        let content = tokio::task::spawn_blocking(move || read.read().map(|files| config_hash(&files)));
        let Ok(content) = content.await else { return };
        if !watch.is_due(content, Instant::now()) {
            continue;
        }
        let attempt = reloads.taken(Trigger::Watch).await;
        watch.tried(attempt.as_ref(), Instant::now());
    }
}

/// The hash of the files at the start of the process, and what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// They run.
    Runs(String),
    /// They were refused, and the last good configuration runs.
    Refused(String),
}

impl Watch {
    /// Whether what the files hold is to be tried now.
    fn is_due(&mut self, content: Content, now: Instant) -> bool {
        let is_settled = content == self.seen;
        self.seen = content;
        let is_news = self.seen != self.tried;
        is_settled && (is_news || self.again.is_some_and(|time| now >= time))
    }

    /// Notes that what was seen was tried.
    fn tried(&mut self, attempt: Option<&Attempt>, now: Instant) {
        // Without an answer nobody has looked at it.
        let Some(attempt) = attempt else { return };
        self.tried = self.seen.clone();
        self.again = matches!(attempt, Attempt::Refused { .. }).then(|| now + AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> Content {
        Ok(text.to_owned())
    }

    /// A content is tried when it was seen twice, once; the one that runs and one that only passes by are not.
    #[tokio::test(start_paused = true)]
    async fn tries_what_has_settled() {
        let mut watch = Watch { seen: content("a"), tried: content("a"), again: None };
        let now = Instant::now();
        assert!(!watch.is_due(content("a"), now));
        assert!(!watch.is_due(content("half of b"), now));
        assert!(!watch.is_due(content("b"), now));
        assert!(watch.is_due(content("b"), now));
        watch.tried(Some(&Attempt::Applied { hash: String::new() }), now);
        assert!(!watch.is_due(content("b"), now + 10 * AGAIN));
        assert!(!watch.is_due(content("a"), now) && watch.is_due(content("a"), now), "and back");
        watch.tried(None, now);
        assert!(watch.is_due(content("a"), now), "nobody has looked at it");
    }

    /// What is refused is tried again after a while, and files that cannot be read are news too.
    #[tokio::test(start_paused = true)]
    async fn tries_again_what_was_refused() {
        let mut watch = Watch { seen: content("a"), tried: content("a"), again: None };
        let now = Instant::now();
        let gone: Content = Err("no such file".to_owned());
        assert!(!watch.is_due(gone.clone(), now) && watch.is_due(gone.clone(), now));
        watch.tried(Some(&Attempt::Refused { drawn: String::new() }), now);
        assert!(!watch.is_due(gone.clone(), now + AGAIN / 2));
        assert!(watch.is_due(gone, now + AGAIN));
    }
}
