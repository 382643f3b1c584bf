//! Makes the cluster as it is desired: applies what differs, takes away what is no longer wanted, writes nothing else.
//!
//! Knows nothing of pipelines. Objects are applied by server-side apply under our own field manager, so that fields of
//! others (annotations, labels, `kubectl rollout restart`, replicas that an autoscaler sets) stay as they are. What is ours
//! is told by labels and by the API server's own record of who manages which field: that record also tells when somebody
//! has changed a field of ours, without that the object itself has to be kept here. No body of any object is held, and no
//! object without our labels is ever listed.
//!
//! Not here: when to apply, and what (`plan`).

mod desired;
mod error;
mod kinds;
mod metadata;
mod observe;
mod owned;
mod prune;
mod report;
mod write;

pub use error::ApplyError;
pub(crate) use error::chain;
pub use report::{ObjectRef, Report};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use kube::Client;
use kube::api::DynamicObject;
use parking_lot::Mutex;
use tokio::task::JoinSet;

use desired::Wanted;
use kinds::Phase;
use owned::{Key, Owned};

/// Who we are in the API server's record of managed fields.
pub const FIELD_MANAGER: &str = "telemetry-manager";
/// Label of all objects of a manager.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "telemetry-manager");
/// Label of the objects of one installation of a manager; its value is [`Ownership::instance`].
pub const OWNED_BY: &str = "telemetry.kyma-project.io/owned-by";
/// Annotation with the hash of what was applied.
pub const APPLIED: &str = "telemetry.kyma-project.io/applied";

/// Requests of one phase that are under way at once.
const CONCURRENCY: usize = 8;

/// Whose objects are made, and where.
#[derive(Clone, Debug)]
pub struct Ownership {
    /// Name of this installation, which no other one of the cluster has: a valid value of a label.
    pub instance: String,
    /// Namespaces that objects are made in. They are watched, and what is no longer desired is taken away there.
    pub namespaces: Vec<String>,
}

/// Makes the cluster as it is desired.
///
/// Watches its own objects for as long as it lives.
pub struct Applier {
    client: Client,
    ownership: Ownership,
    owned: Arc<Owned>,
    /// Objects that were deleted so that others take over what they have made, and what these are.
    made_way: Mutex<HashMap<Key, String>>,
    /// One call at a time: two would undo each other.
    turn: tokio::sync::Mutex<()>,
    _watches: JoinSet<()>,
}

impl Applier {
    /// Begins to watch. Has to be called in the runtime that it lives in.
    pub fn new(client: Client, ownership: Ownership) -> Self {
        let scopes = kinds::scopes(&ownership.namespaces);
        let owned = Arc::new(Owned::new(&scopes));
        let mut watches = JoinSet::new();
        for scope in scopes {
            watches.spawn(observe::follow(client.clone(), scope, ownership.instance.clone(), Arc::clone(&owned)));
        }
        Self {
            client,
            ownership,
            owned,
            made_way: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            _watches: watches,
        }
    }

    /// Makes the cluster so that exactly these objects are there. What fails is told and stops nothing else; called again
    /// with the same objects it writes only what failed or was changed by others.
    ///
    /// Objects carry no labels or annotations of this module, and Secrets at best `data` (`stringData` is turned into it).
    /// Replicas of a workload that one of the autoscalers here scales are left to that one. Namespaces are made, or completed
    /// if they are there, and never taken away: more than ours may be in them. Any other object that is there and is not ours
    /// is left alone.
    /// A StatefulSet of which a field has to change that never can is deleted without its pods, and made again around them.
    /// What is no longer desired and `keeps` says yes to stays for now.
    pub async fn apply(&self, objects: Vec<DynamicObject>, keeps: impl Fn(&ObjectRef) -> bool) -> Report {
        let _turn = self.turn.lock().await;
        let mut report = Report::default();
        for (reference, error) in self.owned.settled().await {
            report.fail(reference, error);
        }
        self.owned.looking();
        let (phases, wanted) = self.prepare(objects, &mut report);
        let mut is_silent = false;
        for objects in phases.into_values() {
            if is_silent {
                // Each would wait as long as those before did.
                let untried = || ApplyError::Unreachable("it did not answer for objects before this one".to_owned());
                objects.iter().for_each(|object| report.fail(object.key.reference(), untried()));
                continue;
            }
            let written = stream::iter(objects).map(|object| async {
                let key = object.key.clone();
                (key, self.write(object).await)
            });
            let outcomes: Vec<_> = written.buffer_unordered(CONCURRENCY).collect().await;
            is_silent = write::is_silence(outcomes.iter().map(|(_, outcome)| outcome));
            outcomes.into_iter().for_each(|(key, outcome)| report.wrote(&key, outcome));
        }
        if is_silent {
            report.sort();
            return report;
        }
        self.prune(&wanted, &keeps, &mut report).await;
        report.sort();
        report
    }

    /// Waits until somebody else has changed or deleted something that was applied here: then [`Self::apply`] is due.
    /// Changes since the last call count.
    pub async fn changed(&self) {
        self.owned.changed().await;
    }

    /// The objects by phase, ready to be sent, and the keys of all that is desired, of what cannot be applied as well.
    fn prepare(
        &self,
        objects: Vec<DynamicObject>,
        report: &mut Report,
    ) -> (BTreeMap<Phase, Vec<Wanted>>, HashSet<Key>) {
        let scaled = desired::scaled_by_others(&objects);
        let mut phases: BTreeMap<Phase, Vec<Wanted>> = BTreeMap::new();
        let mut keys = HashSet::new();
        for object in objects {
            let reference = ObjectRef::of(&object);
            match Wanted::new(object, &self.ownership, &scaled) {
                Ok(wanted) if keys.insert(wanted.key.clone()) => {
                    phases.entry(wanted.key.kind().phase).or_default().push(wanted);
                }
                Ok(_) => report.fail(reference, ApplyError::Twice),
                Err(error) => report.fail(reference, error),
            }
        }
        (phases, keys)
    }
}
