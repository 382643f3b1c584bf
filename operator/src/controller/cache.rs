//! What the cluster holds of one kind, kept up to date, and a word when it changes.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::Event;
use kube::{Api, Resource};
use kubernetes::{Interruption, News, Selection, follow};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// An API server that has just started may not have read the definitions of kinds yet.
const UNKNOWN_AFTER: Duration = Duration::from_secs(20);

/// A kind of object, as last heard of.
pub(super) struct Cache<K: Resource<DynamicType = ()> + 'static> {
    store: Store<K>,
    known: watch::Receiver<Known>,
}

/// How much is known of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing yet.
    Nothing,
    /// That the cluster has no such kind.
    NoKind,
    /// Everything, as of some time.
    All,
}

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
        let (knows, known) = watch::channel(Known::Nothing);
        tasks.spawn(async move {
            let mut unknown_since: Option<Instant> = None;
            let take = |news| match news {
                News::Event(event) => {
                    unknown_since = None;
                    let is_whole = matches!(event, Event::InitDone);
                    writer.apply_watcher_event(&event.modify(trim));
                    if is_whole {
                        knows.send_replace(Known::All);
                    }
                    changed.notify_one();
                }
                // Objects of a kind go before it does, and they were told of.
                News::Interrupted(Interruption::Unknown, problem) if *knows.borrow() == Known::Nothing => {
                    if unknown_since.get_or_insert_with(Instant::now).elapsed() < UNKNOWN_AFTER {
                        return;
                    }
                    tracing::warn!(
                        kind = &*K::kind(&()),
                        problem,
                        "this cluster has no such kind, and nothing of it changes"
                    );
                    knows.send_replace(Known::NoKind);
                    changed.notify_one();
                }
                News::Interrupted(..) => {}
            };
            follow(api, selection, take).await;
        });
        Self { store, known }
    }

    /// Waits until everything has been listed once: before that, what is missing says nothing.
    pub(super) async fn listed(&self) {
        self.until(|known| known == Known::All).await;
    }

    /// The same, or until it is known that the cluster has no such kind.
    pub(super) async fn listed_or_unknown(&self) {
        self.until(|known| known != Known::Nothing).await;
    }

    /// Whether everything has been listed once.
    pub(super) fn is_listed(&self) -> bool {
        *self.known.borrow() == Known::All
    }

    async fn until(&self, is: impl Fn(Known) -> bool) {
        // An error says that the task has ended, which is the end of everything.
        self.known.clone().wait_for(|known| is(*known)).await.ok();
    }

    /// All objects.
    pub(super) fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }
}
