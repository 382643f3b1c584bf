//! The Secrets that pipelines name, each followed by its name: of no other Secret is anything read.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use kubernetes::{Interruption, News, Selection, follow};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::collect::SecretName;
use crate::input::SecretView;

/// Followers by name.
pub(super) struct Secrets {
    client: Client,
    changed: Arc<Notify>,
    followed: BTreeMap<SecretName, Followed>,
}

struct Followed {
    seen: Arc<Mutex<Option<SecretView>>>,
    task: AbortHandle,
}

impl Secrets {
    pub(super) fn new(client: Client, changed: Arc<Notify>) -> Self {
        Self { client, changed, followed: BTreeMap::new() }
    }

    /// Follows these and no others. Says what they are, or `None` while one of them has not been seen yet.
    pub(super) fn follow(&mut self, names: &BTreeSet<SecretName>) -> Option<BTreeMap<SecretName, SecretView>> {
        self.followed.retain(|name, _| names.contains(name));
        for name in names {
            if !self.followed.contains_key(name) {
                let followed = Followed::start(self.client.clone(), name, Arc::clone(&self.changed));
                self.followed.insert(name.clone(), followed);
            }
        }
        let seen = self.followed.iter().map(|(name, followed)| Some((name.clone(), followed.seen.lock().clone()?)));
        seen.collect()
    }
}

impl Followed {
    fn start(client: Client, name: &SecretName, changed: Arc<Notify>) -> Self {
        let seen = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&seen);
        let api: Api<Secret> = Api::namespaced(client, &name.namespace);
        let fields = format!("metadata.name={}", name.name);
        let selection = Selection { fields: Some(fields), labels: None, page_size: NonZeroU32::MIN };
        let task = tokio::spawn(async move {
            // Until a list is complete, what was known stays.
            let mut listed = None;
            let take = |news| {
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
                    News::Interrupted(Interruption::Forbidden, _) => SecretView::Forbidden,
                    News::Interrupted(Interruption::Other, _) => return,
                };
                let mut seen = kept.lock();
                if seen.as_ref() != Some(&now) {
                    *seen = Some(now);
                    changed.notify_one();
                }
            };
            follow(api, selection, take).await;
        });
        Self { seen, task: task.abort_handle() }
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
