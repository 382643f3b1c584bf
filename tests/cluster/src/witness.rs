//! Follows objects of several kinds and remembers what becomes of each: its latest content, and whether it was ever deleted.
//!
//! What it tells is the API server's word. Not here: anything that was there before it began and changed before that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::StreamExt as _;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long the first lists may take.
const LIST_LIMIT: Duration = Duration::from_secs(60);

/// Objects of one kind in one namespace, or in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Followed {
    /// `v1`, `apps/v1` and the like.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; nothing for kinds of the cluster.
    pub namespace: Option<String>,
    /// Labels that they have.
    pub labels: Option<String>,
}

/// Names an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    /// The kind.
    pub kind: String,
    /// The namespace; empty for an object of the cluster.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// Objects with their content.
pub type Objects = BTreeMap<ObjectId, Value>;

/// What happens to an object, as it is told to who judges it.
type Judge = Box<dyn Fn(&ObjectId, Option<&Value>) -> Option<String> + Send + Sync>;

/// Who follows. It stops when this is dropped.
pub struct Witness {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    judge: Judge,
}

#[derive(Default)]
struct State {
    objects: Objects,
    /// What the judge has said.
    complaints: Vec<String>,
    /// Kinds whose first list is not there yet.
    unlisted: usize,
}

impl Witness {
    /// Follows these, and returns when all of them were listed once.
    ///
    /// # Errors
    /// When something cannot be listed.
    pub async fn start(client: &Client, followed: impl IntoIterator<Item = Followed>) -> Result<Self> {
        Self::with_judge(client, followed, |_, _| None).await
    }

    /// The same with a judge, who sees everything that happens from the first list on: an object with its content, or without
    /// when it is deleted. What it finds wrong is kept for [`Self::complaints`].
    ///
    /// # Errors
    /// When something cannot be listed.
    pub async fn with_judge(
        client: &Client,
        followed: impl IntoIterator<Item = Followed>,
        judge: impl Fn(&ObjectId, Option<&Value>) -> Option<String> + Send + Sync + 'static,
    ) -> Result<Self> {
        let followed: Vec<_> = followed.into_iter().collect();
        let state = State { unlisted: followed.len(), ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new(), judge: Box::new(judge) });
        let mut tasks = JoinSet::new();
        for one in followed {
            tasks.spawn(follow(client.clone(), one, Arc::clone(&shared)));
        }
        let witness = Self { shared, _tasks: tasks };
        let is_listed = || (witness.shared.state.lock().unlisted == 0).then_some(()).ok_or_else(String::new);
        witness.wait("the first lists", LIST_LIMIT, is_listed).await?;
        Ok(witness)
    }

    /// What is there now.
    pub fn objects(&self) -> Objects {
        self.shared.state.lock().objects.clone()
    }

    /// What the judge has complained of so far.
    pub fn complaints(&self) -> Vec<String> {
        self.shared.state.lock().complaints.clone()
    }

    /// Waits until what is there is as somebody wants it, who says what is missing meanwhile. Returns when that was told.
    ///
    /// # Errors
    /// When it takes too long, with what is still missing.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&Objects) -> Result<(), String>,
    ) -> Result<Instant> {
        self.wait(what, limit, || look(&self.shared.state.lock().objects)).await
    }

    async fn wait(&self, what: &str, limit: Duration, mut look: impl FnMut() -> Result<(), String>) -> Result<Instant> {
        let end = Instant::now() + limit;
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            let Err(missing) = look() else { return Ok(Instant::now()) };
            if tokio::time::timeout_at(end, changed).await.is_err() {
                bail!("waited for {} s: {what}: {missing}", limit.as_secs_f32());
            }
        }
    }
}

impl Followed {
    /// Where objects like these are, as far as they have the labels.
    pub fn like<'o>(objects: impl IntoIterator<Item = &'o Value>, labels: Option<&str>) -> Vec<Self> {
        let of = |object: &Value| {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            Self {
                api_version: text("/apiVersion").unwrap_or_default(),
                kind: text("/kind").unwrap_or_default(),
                namespace: text("/metadata/namespace"),
                labels: labels.map(str::to_owned),
            }
        };
        objects.into_iter().map(of).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Shared {
    fn put(&self, id: ObjectId, followed: &Followed, object: &DynamicObject) {
        let mut content = serde_json::to_value(object).unwrap_or_default();
        // What is listed does not say it.
        content["apiVersion"] = followed.api_version.as_str().into();
        content["kind"] = followed.kind.as_str().into();
        let complaint = (self.judge)(&id, Some(&content));
        let mut state = self.state.lock();
        state.complaints.extend(complaint);
        state.objects.insert(id, content);
    }

    fn remove(&self, id: &ObjectId) {
        let complaint = (self.judge)(id, None);
        let mut state = self.state.lock();
        state.complaints.extend(complaint);
        state.objects.remove(id);
    }
}

async fn follow(client: Client, followed: Followed, shared: Arc<Shared>) {
    let (group, version) = followed.api_version.split_once('/').unwrap_or(("", &followed.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &followed.kind));
    let api: Api<DynamicObject> = match &followed.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let config = followed.labels.iter().fold(watcher::Config::default(), |config, labels| config.labels(labels));
    let id = |object: &DynamicObject| ObjectId {
        kind: followed.kind.clone(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    };
    let is_of_this = |id: &ObjectId| {
        id.kind == followed.kind && followed.namespace.as_ref().is_none_or(|namespace| *namespace == id.namespace)
    };
    let mut events = pin!(watcher::watcher(api, config).default_backoff());
    let (mut listed, mut is_first) = (Vec::new(), true);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => listed.push(object),
            Ok(Event::InitDone) => {
                let there: Vec<_> = listed.iter().map(&id).collect();
                let known: Vec<_> = shared.state.lock().objects.keys().filter(|id| is_of_this(id)).cloned().collect();
                known.iter().filter(|known| !there.contains(known)).for_each(|gone| shared.remove(gone));
                listed.drain(..).for_each(|object| shared.put(id(&object), &followed, &object));
                shared.state.lock().unlisted -= usize::from(std::mem::take(&mut is_first));
            }
            Ok(Event::Apply(object)) => shared.put(id(&object), &followed, &object),
            Ok(Event::Delete(object)) => shared.remove(&id(&object)),
            // It goes on by itself; who waits for something in vain says so.
            Err(_) => continue,
        }
        shared.changed.notify_waiters();
    }
}

impl ObjectId {
    /// That of an object in JSON.
    pub fn of(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { kind: text("/kind"), namespace: text("/metadata/namespace"), name: text("/metadata/name") }
    }
}

impl fmt::Display for ObjectId {
    /// `Deployment shop/web`, or `ClusterRole reader`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(formatter, "{} {}", self.kind, self.name),
            namespace => write!(formatter, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

/// Whether exactly these objects are there. `compare` says of one that is there whether its content is as wanted.
///
/// # Errors
/// The first difference.
pub fn exactly(
    objects: &Objects,
    wanted: &[Value],
    compare: impl Fn(&Value, &Value) -> Result<(), String>,
) -> Result<(), String> {
    let mut others: BTreeSet<_> = objects.keys().cloned().collect();
    for wanted in wanted {
        let id = ObjectId::of(wanted);
        let found = objects.get(&id).ok_or_else(|| format!("there is no {id}"))?;
        compare(found, wanted).map_err(|place| format!("{id} {place}"))?;
        others.remove(&id);
    }
    others.first().map_or(Ok(()), |other| Err(format!("there is still {other}")))
}

/// Whether JSON has everything of some other JSON, to which the API server may have added: keys of objects, at any depth, but no
/// elements of lists. If not, says where it differs.
///
/// # Errors
/// The first place that differs.
pub fn contains(there: &Value, wanted: &Value) -> Result<(), String> {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => wanted.iter().try_for_each(|(key, wanted)| {
            let found = there.get(key).unwrap_or(&Value::Null);
            contains(found, wanted).map_err(|place| format!("{key}.{place}"))
        }),
        (Value::Array(there), Value::Array(wanted)) if there.len() == wanted.len() => {
            there.iter().zip(wanted).enumerate().try_for_each(|(number, (there, wanted))| {
                contains(there, wanted).map_err(|place| format!("{number}.{place}"))
            })
        }
        // What is empty may be left out.
        (Value::Null, Value::Object(wanted)) if wanted.is_empty() => Ok(()),
        (Value::Null, Value::Array(wanted)) if wanted.is_empty() => Ok(()),
        (there, wanted) if there == wanted => Ok(()),
        (there, wanted) => Err(format!(": {there}, not {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Something that is not wanted is a difference, as well as something that is missing.
    #[test]
    fn nothing_else_may_be_there() {
        let service = json!({ "kind": "Service", "metadata": { "name": "web" } });
        let objects = Objects::from([(ObjectId::of(&service), service.clone())]);
        assert_eq!(exactly(&objects, std::slice::from_ref(&service), contains), Ok(()));
        assert_eq!(exactly(&objects, &[], contains), Err("there is still Service web".to_owned()));
        assert_eq!(exactly(&Objects::new(), &[service], contains), Err("there is no Service web".to_owned()));
    }

    /// Keys may be added at any depth; elements of lists may not, and other values are told with their place.
    #[test]
    fn additions_of_the_server_are_no_difference() {
        let there = json!({ "spec": { "ports": [{ "port": 1, "protocol": "TCP" }], "type": "ClusterIP" } });
        assert_eq!(contains(&there, &json!({ "spec": { "ports": [{ "port": 1 }], "selector": {} } })), Ok(()));
        let fewer = contains(&there, &json!({ "spec": { "ports": [] } }));
        assert!(fewer.is_err_and(|place| place.starts_with("spec.ports.:")));
        assert_eq!(
            contains(&there, &json!({ "spec": { "ports": [{ "port": 2 }] } })),
            Err("spec.ports.0.port.: 1, not 2".to_owned())
        );
    }
}
