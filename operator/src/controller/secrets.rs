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
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::collect::SecretName;
use crate::input::SecretView;

/// A right that is missing for less than this may be one that an API server has not learned of yet.
const FORBIDDEN_AFTER: Duration = Duration::from_secs(120);
/// A watch that was forbidden goes on without a word when it is not any more, so it is begun anew so often.
const ANEW_AFTER: Duration = Duration::from_secs(60);

/// Followers by name.
pub(super) struct Secrets {
    client: Client,
    changed: Arc<Notify>,
    followed: BTreeMap<SecretName, Followed>,
}

struct Followed {
    seen: Arc<Mutex<Option<SecretView>>>,
    since: Instant,
    task: AbortHandle,
}

impl Secrets {
    pub(super) fn new(client: Client, changed: Arc<Notify>) -> Self {
        Self { client, changed, followed: BTreeMap::new() }
    }

    /// Follows these and no others. Says what they are, or `None` while one of them has not been seen yet.
    pub(super) fn follow(&mut self, names: &BTreeSet<SecretName>) -> Option<BTreeMap<SecretName, SecretView>> {
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
        let seen = self.followed.iter().map(|(name, followed)| Some((name.clone(), followed.view()?)));
        seen.collect()
    }
}

impl Followed {
    fn view(&self) -> Option<SecretView> {
        self.seen.lock().clone()
    }

    fn start(client: Client, name: &SecretName, changed: Arc<Notify>, known: Option<SecretView>) -> Self {
        let seen = Arc::new(Mutex::new(known));
        let kept = Arc::clone(&seen);
        let api: Api<Secret> = Api::namespaced(client, &name.namespace);
        let fields = format!("metadata.name={}", name.name);
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
                        let is_known = matches!(*kept.lock(), Some(SecretView::Present(_) | SecretView::Missing));
                        if is_known && since.elapsed() < FORBIDDEN_AFTER {
                            return;
                        }
                        SecretView::Forbidden
                    }
                    News::Interrupted(Interruption::Other, _) => return,
                };
                if is_event {
                    forbidden_since = None;
                }
                let mut seen = kept.lock();
                if seen.as_ref() != Some(&now) {
                    *seen = Some(now);
                    changed.notify_one();
                }
            };
            follow(api, selection, take).await;
        });
        Self { seen, since: Instant::now(), task: task.abort_handle() }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn view(secret: Secret) -> SecretView {
    let data = secret.data.unwrap_or_default();
    SecretView::Present(data.into_iter().map(|(key, value)| (key, value.0)).collect())
}
