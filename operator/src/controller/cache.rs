//! What the cluster holds of one kind, kept up to date, and a word when it changes.

use std::fmt::Debug;
use std::sync::Arc;

use kube::runtime::reflector::{self, Store};
use kube::{Api, Resource};
use kubernetes::{News, Selection, follow};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// A kind of object, as last heard of.
pub(super) struct Cache<K: Resource<DynamicType = ()> + 'static>(Store<K>);

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Follows what `api` and `selection` say. Of every object is kept what `trim` leaves.
    pub(super) fn follow(
        api: Api<K>,
        selection: Selection,
        trim: fn(&mut K),
        changed: Arc<Notify>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (store, mut writer) = reflector::store();
        tasks.spawn(async move {
            let take = |news| {
                let News::Event(event) = news else { return };
                writer.apply_watcher_event(&event.modify(trim));
                changed.notify_one();
            };
            follow(api, selection, take).await;
        });
        Self(store)
    }

    /// Waits until everything has been listed once: before that, what is missing says nothing.
    pub(super) async fn listed(&self) {
        // An error says that the task has ended, which is the end of everything.
        self.0.wait_until_ready().await.ok();
    }

    /// All objects.
    pub(super) fn all(&self) -> Vec<Arc<K>> {
        self.0.state()
    }
}
