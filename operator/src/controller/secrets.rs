//! The Secrets that pipelines name, each followed by its name: of no other Secret is anything read.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use kubernetes::{Interruption, News, Selection, follow};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::collect::SecretName;
use crate::input::{SecretView, is_of_the_cluster};

/// A right that is missing for less than this may be one that an API server has not learned of yet.
const FORBIDDEN_AFTER: Duration = Duration::from_secs(120);
/// A watch that was forbidden goes on without a word when it is not any more, so it is begun anew so often.
const ANEW_AFTER: Duration = Duration::from_secs(60);

/// A Secret that is deleted may be made anew at once, as `kubectl replace --force` does. So long it counts as it was.
const GONE_AFTER: Duration = Duration::from_secs(30);

/// How long everything waits for the first word about a Secret. What waits for it longer waits alone.
const UNSEEN_AT_MOST: Duration = Duration::from_secs(10);

/// What is known of the Secrets that are followed.
pub(super) struct Known {
    pub(super) views: BTreeMap<SecretName, SecretView>,
    /// Those of which nothing is known. They need not be missing: an API server that cannot decrypt one says nothing of it.
    pub(super) unseen: BTreeSet<SecretName>,
}

/// Followers by name.
pub(super) struct Secrets {
    client: Client,
    changed: Arc<Notify>,
    followed: BTreeMap<SecretName, Followed>,
}

struct Followed {
    seen: Arc<Mutex<Seen>>,
    since: Instant,
    task: AbortHandle,
}

impl Secrets {
    pub(super) fn new(client: Client, changed: Arc<Notify>) -> Self {
        Self { client, changed, followed: BTreeMap::new() }
    }

    /// Follows these and no others. Says what they are, or how long to wait for those that have not been seen yet.
    pub(super) fn follow(&mut self, names: &BTreeSet<SecretName>) -> Result<Known, Duration> {
        self.followed.retain(|name, _| names.contains(name));
        for (name, followed) in &mut self.followed {
            let is_forbidden = followed.view() == Some(SecretView::Forbidden);
            if is_forbidden && followed.since.elapsed() >= ANEW_AFTER {
                *followed = Followed::start(self.client.clone(), name, Arc::clone(&self.changed), followed.view());
            }
        }
        for name in names {
            if !self.followed.contains_key(name) {
                let followed = Followed::start(self.client.clone(), name, Arc::clone(&self.changed), None);
                self.followed.insert(name.clone(), followed);
            }
        }
        let mut known = Known { views: BTreeMap::new(), unseen: BTreeSet::new() };
        for (name, followed) in &self.followed {
            match followed.view() {
                Some(view) => drop(known.views.insert(name.clone(), view)),
                None if followed.since.elapsed() < UNSEEN_AT_MOST => {
                    return Err(UNSEEN_AT_MOST.saturating_sub(followed.since.elapsed()));
                }
                None => drop(known.unseen.insert(name.clone())),
            }
        }
        Ok(known)
    }
}

/// What was seen of a Secret.
#[derive(Debug, Default)]
struct Seen {
    view: Option<SecretView>,
    /// Since when one that was there is not any more.
    gone: Option<Instant>,
}

impl Seen {
    /// What it counts as now.
    fn counts_as(&self) -> Option<SecretView> {
        match self.gone {
            Some(since) if since.elapsed() >= GONE_AFTER => Some(SecretView::Missing),
            _ => self.view.clone(),
        }
    }

    /// Takes what was seen now.
    fn take(&mut self, now: SecretView) {
        if now == SecretView::Missing && matches!(self.view, Some(SecretView::Present(_))) {
            self.gone.get_or_insert_with(Instant::now);
        } else {
            *self = Self { view: Some(now), gone: None };
        }
    }
}

impl Followed {
    fn view(&self) -> Option<SecretView> {
        self.seen.lock().counts_as()
    }

    fn start(client: Client, name: &SecretName, changed: Arc<Notify>, known: Option<SecretView>) -> Self {
        let seen = Arc::new(Mutex::new(Seen { view: known, gone: None }));
        let kept = Arc::clone(&seen);
        let api: Api<Secret> = Api::namespaced(client, &name.namespace);
        let fields = format!("metadata.name={}", name.name);
        let (gone, gone_since) = watch::channel(None);
        let selection = Selection { fields: Some(fields), labels: None, page_size: NonZeroU32::MIN };
        let task = tokio::spawn(async move {
            // Until a list is complete, what was known stays.
            let mut listed = None;
            let mut forbidden_since: Option<Instant> = None;
            let take = |news| {
                let is_event = matches!(news, News::Event(_));
                let now = match news {
                    News::Event(Event::Init) => {
                        listed = None;
                        return;
                    }
                    News::Event(Event::InitApply(secret)) => {
                        listed = Some(view(secret));
                        return;
                    }
                    News::Event(Event::InitDone) => listed.take().unwrap_or(SecretView::Missing),
                    News::Event(Event::Apply(secret)) => view(secret),
                    News::Event(Event::Delete(_)) => SecretView::Missing,
                    News::Interrupted(Interruption::Forbidden, _) => {
                        let since = *forbidden_since.get_or_insert_with(Instant::now);
                        let is_known = matches!(kept.lock().view, Some(SecretView::Present(_) | SecretView::Missing));
                        if is_known && since.elapsed() < FORBIDDEN_AFTER {
                            return;
                        }
                        SecretView::Forbidden
                    }
                    News::Interrupted(Interruption::Other | Interruption::Unknown, _) => return,
                };
                if is_event {
                    forbidden_since = None;
                }
                let mut seen = kept.lock();
                let before = (seen.counts_as(), seen.gone);
                seen.take(now);
                if (seen.counts_as(), seen.gone) != before {
                    changed.notify_one();
                    gone.send_replace(seen.gone);
                }
            };
            tokio::join!(follow(api, selection, take), tell_of_gone(gone_since, &changed));
        });
        Self { seen, since: Instant::now(), task: task.abort_handle() }
    }
}

/// Says that something has changed when what is gone begins to count as missing.
async fn tell_of_gone(mut gone_since: watch::Receiver<Option<Instant>>, changed: &Notify) {
    while gone_since.changed().await.is_ok() {
        let since = *gone_since.borrow_and_update();
        if let Some(since) = since {
            tokio::time::sleep_until(since + GONE_AFTER).await;
            changed.notify_one();
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn view(secret: Secret) -> SecretView {
    if is_of_the_cluster(&secret) {
        return SecretView::Forbidden;
    }
    let data = secret.data.unwrap_or_default();
    SecretView::Present(data.into_iter().map(|(key, value)| (key, value.0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(value: &str) -> SecretView {
        SecretView::Present([("token".to_owned(), value.as_bytes().to_vec())].into())
    }

    /// A Secret that is deleted counts as it was for a while, and what is made in its place counts at once.
    #[tokio::test(start_paused = true)]
    async fn one_that_is_made_anew_was_never_gone() {
        let mut seen = Seen::default();
        seen.take(present("old"));
        seen.take(SecretView::Missing);
        tokio::time::advance(GONE_AFTER / 2).await;
        assert_eq!(seen.counts_as(), Some(present("old")));
        seen.take(present("new"));
        assert_eq!(seen.counts_as(), Some(present("new")));
        seen.take(SecretView::Missing);
        tokio::time::advance(GONE_AFTER).await;
        assert_eq!(seen.counts_as(), Some(SecretView::Missing));
    }

    /// One that never was there is missing from the beginning.
    #[tokio::test(start_paused = true)]
    async fn one_that_never_was_is_missing() {
        let mut seen = Seen::default();
        seen.take(SecretView::Missing);
        assert_eq!(seen.counts_as(), Some(SecretView::Missing));
    }
}
