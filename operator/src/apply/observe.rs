//! Follows our objects in one scope, by their labels and with nothing but their metadata.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};

use super::error::chain;
use super::kinds::Scope;
use super::metadata::Seen;
use super::owned::{Key, Owned};
use super::{MANAGED_BY, OWNED_BY};

/// The status of answers to those who ask for what is forgotten.
const GONE: u16 = 410;
/// Between a watch that could not begin and another list.
const BEFORE_ANOTHER_LIST: Duration = Duration::from_secs(1);

/// Tells `owned` what is in a scope. Never ends.
pub(super) async fn follow(client: Client, scope: Scope, instance: String, owned: Arc<Owned>) {
    let selector = format!("{}={},{OWNED_BY}={instance}", MANAGED_BY.0, MANAGED_BY.1);
    let config = watcher::Config::default().labels(&selector);
    loop {
        let events = watcher::watcher(scope.metadata(&client), config.clone()).default_backoff();
        let mut events = pin!(events);
        let mut listed = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => take(event, &scope, &owned, &mut listed),
                Err(error) => {
                    let text = chain(&error);
                    tracing::warn!(
                        kind = scope.kind().name,
                        namespace = scope.namespace,
                        error = &text,
                        "cannot follow our objects at the moment"
                    );
                    owned.failing(&scope, text);
                    // A watcher would ask for what is forgotten again and again.
                    let is_forgotten = matches!(&error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == GONE);
                    if is_forgotten {
                        break;
                    }
                }
            }
        }
        tokio::time::sleep(BEFORE_ANOTHER_LIST).await;
    }
}

fn take(event: Event<PartialObjectMeta<DynamicObject>>, scope: &Scope, owned: &Owned, listed: &mut Vec<(Key, Seen)>) {
    let known = |object: &PartialObjectMeta<DynamicObject>| {
        let name = object.metadata.name.clone().unwrap_or_default();
        (Key { scope: scope.clone(), name }, Seen::of(&object.metadata))
    };
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => listed.push(known(&object)),
        Event::InitDone => owned.listed(scope, std::mem::take(listed)),
        Event::Apply(object) => {
            let (key, seen) = known(&object);
            owned.saw(key, seen);
        }
        Event::Delete(object) => {
            let (key, seen) = known(&object);
            owned.lost(&key, &seen);
        }
    }
}
