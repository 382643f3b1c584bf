//! Our objects, as the watches tell: names, versions, and fingerprints of the fields that we manage.
//!
//! Not here: the watches themselves (`observe`).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::error::ApplyError;
use super::kinds::{Kind, Scope};
use super::metadata::{Fingerprint, Seen};
use super::report::ObjectRef;

/// How long a round waits for the first lists.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// Names an object of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) scope: Scope,
    pub(super) name: String,
}

/// Our objects.
pub(super) struct Owned {
    state: Mutex<State>,
    /// A scope has become known, or its watch has failed.
    settled: Notify,
    /// Somebody else has changed something of ours.
    changed: Notify,
}

#[derive(Default)]
struct State {
    scopes: BTreeMap<Scope, Watch>,
    objects: HashMap<Key, Seen>,
    /// What was applied last, as the API server has answered.
    applied: HashMap<Key, Applied>,
}

/// What was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Applied {
    uid: String,
    hash: String,
    fields: Option<Fingerprint>,
}

/// Whether it is known what is in a scope.
#[derive(Debug)]
enum Watch {
    /// Not yet.
    Waiting,
    /// It is, or was before the connection was lost.
    Known,
    /// Not yet, and the words say why.
    Failing(String),
}

impl Key {
    pub(super) fn kind(&self) -> &'static Kind {
        self.scope.kind()
    }

    pub(super) fn reference(&self) -> ObjectRef {
        ObjectRef {
            kind: self.kind().name.to_owned(),
            namespace: self.scope.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

impl Owned {
    pub(super) fn new(scopes: &[Scope]) -> Self {
        let scopes = scopes.iter().map(|scope| (scope.clone(), Watch::Waiting)).collect();
        Self { state: Mutex::new(State { scopes, ..State::default() }), settled: Notify::new(), changed: Notify::new() }
    }

    /// Waits until it is known of every scope what is in it or why that cannot be known, and returns the latter.
    pub(super) async fn settled(&self) -> Vec<(ObjectRef, ApplyError)> {
        let wait = async {
            loop {
                let told = self.settled.notified();
                if !self.state.lock().scopes.values().any(|watch| matches!(watch, Watch::Waiting)) {
                    return;
                }
                told.await;
            }
        };
        // What is still waited for then is told below.
        drop(tokio::time::timeout(SETTLE_LIMIT, wait).await);
        let state = self.state.lock();
        let unknown = state.scopes.iter().filter_map(|(scope, watch)| {
            let reason = match watch {
                Watch::Known => return None,
                Watch::Failing(reason) => reason.clone(),
                Watch::Waiting => format!("no answer within {} s", SETTLE_LIMIT.as_secs()),
            };
            let all = Key { scope: scope.clone(), name: "*".to_owned() };
            Some((all.reference(), ApplyError::Unobserved(reason)))
        });
        unknown.collect()
    }

    /// Waits until somebody else has changed something of ours.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes back what was told so far: whoever looks now sees it.
    pub(super) fn looking(&self) {
        let _told: Option<()> = self.changed.notified().now_or_never();
    }

    /// What is known of an object.
    pub(super) fn get(&self, key: &Key) -> Option<Seen> {
        self.state.lock().objects.get(key).cloned()
    }

    /// Whether an object is as it was left when this was applied, which is what its hash says.
    pub(super) fn is_as_applied(&self, key: &Key, hash: &str) -> bool {
        let state = self.state.lock();
        let (Some(seen), Some(applied)) = (state.objects.get(key), state.applied.get(key)) else { return false };
        applied.hash == hash && applied.matches(seen) && !seen.is_leaving
    }

    /// Remembers what the API server has answered to what was applied.
    pub(super) fn applied(&self, key: Key, hash: String, seen: Seen) {
        let mut state = self.state.lock();
        state.applied.insert(key.clone(), Applied { uid: seen.uid.clone(), hash, fields: seen.fields });
        state.put(key, seen);
    }

    /// Forgets an object that is taken away.
    pub(super) fn pruned(&self, key: &Key) {
        self.state.lock().applied.remove(key);
    }

    /// Objects that are known to be there, where a watch is known to be complete.
    pub(super) fn all(&self) -> Vec<(Key, Seen)> {
        let state = self.state.lock();
        let is_known = |key: &Key| matches!(state.scopes.get(&key.scope), Some(Watch::Known));
        state.objects.iter().filter(|(key, _)| is_known(key)).map(|(key, seen)| (key.clone(), seen.clone())).collect()
    }

    /// An object is there, or has changed.
    pub(super) fn saw(&self, key: Key, seen: Seen) {
        let mut state = self.state.lock();
        let differs = state.applied.get(&key).is_some_and(|applied| !applied.matches(&seen));
        if state.put(key, seen) && differs {
            self.changed.notify_one();
        }
    }

    /// An object is gone, or no longer has our labels.
    pub(super) fn lost(&self, key: &Key, seen: &Seen) {
        let mut state = self.state.lock();
        // An object of the same name may have been made since.
        if state.objects.get(key).is_some_and(|known| seen.is_before(known)) {
            return;
        }
        state.objects.remove(key);
        if state.applied.remove(key).is_some() {
            self.changed.notify_one();
        }
    }

    /// A scope holds these objects and no others.
    pub(super) fn listed(&self, scope: &Scope, listed: Vec<(Key, Seen)>) {
        let mut state = self.state.lock();
        let mut before: HashMap<Key, Seen> = HashMap::new();
        state.objects.retain(|key, seen| {
            let is_elsewhere = key.scope != *scope;
            if !is_elsewhere {
                before.insert(key.clone(), seen.clone());
            }
            is_elsewhere
        });
        let mut has_changed = false;
        for (key, seen) in listed {
            // What was written while the list was on its way is newer than the list.
            let newest = match before.remove(&key) {
                Some(known) if seen.is_before(&known) => known,
                _ => seen,
            };
            has_changed |= state.applied.get(&key).is_some_and(|applied| !applied.matches(&newest));
            state.objects.insert(key, newest);
        }
        for key in before.keys() {
            has_changed |= state.applied.remove(key).is_some();
        }
        state.scopes.insert(scope.clone(), Watch::Known);
        drop(state);
        self.settled.notify_waiters();
        if has_changed {
            self.changed.notify_one();
        }
    }

    /// The watch of a scope fails. What was known stays known.
    pub(super) fn failing(&self, scope: &Scope, reason: String) {
        let mut state = self.state.lock();
        if let Some(watch) = state.scopes.get_mut(scope)
            && !matches!(watch, Watch::Known)
        {
            *watch = Watch::Failing(reason);
        }
        drop(state);
        self.settled.notify_waiters();
    }
}

impl State {
    /// Keeps what is newest of an object; says whether this is it.
    fn put(&mut self, key: Key, seen: Seen) -> bool {
        if self.objects.get(&key).is_some_and(|known| known.uid == seen.uid && seen.is_before(known)) {
            return false;
        }
        self.objects.insert(key, seen);
        true
    }
}

impl Applied {
    /// Whether an object has what was applied: then nobody has touched a field of ours since.
    fn matches(&self, seen: &Seen) -> bool {
        self.uid == seen.uid && self.fields == seen.fields && seen.applied.as_ref() == Some(&self.hash)
    }
}

#[cfg(test)]
mod tests;
