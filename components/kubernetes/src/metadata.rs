//! The service: what the cluster says of pods, nodes and namespaces, once a process.
//!
//! Components say what they want to know while they are built; the watches begin when the service runs, and begin anew
//! when somebody wants more later. Not here: what is put into data (`transforms`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine_config::{KubernetesSettings, ServiceId};
use engine_core::contract::ComponentError;
use engine_core::registry::BuildError;
use engine_core::service::{Service, ServiceContext, ServiceRegistration};
use futures::future::{BoxFuture, OptionFuture};
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Origin};
use crate::backlog::Backlog;
use crate::index::{Attribution, Contact, Index, Told};
use crate::intern::Interner;
use crate::object::{NamespaceObject, NodeObject, PodObject};
use crate::place::{Namespace, Node, Places};
use crate::pod::{Pod, Uid};
use crate::wanted::Wanted;
use crate::watch::{Interruption, News, Selection, follow_in_protobuf};

/// The process is ready without the first lists after this time: data without metadata is better than no data.
const WAIT_FOR_SYNC: Duration = Duration::from_secs(30);
/// A watch that cannot go on fails again within this time. One that goes on tells of it by an event only, and there may be none.
const PROBLEM_LASTS: Duration = Duration::from_secs(90);
/// How often what is gone is looked at.
const FORGET_EVERY: Duration = Duration::from_secs(10);
/// The namespace whose id is the cluster's.
const SYSTEM_NAMESPACE: &str = "kube-system";

/// What the cluster says, and how to ask it.
#[derive(Debug)]
pub struct Metadata {
    /// None of one that is filled by hand.
    access: Option<Arc<Access>>,
    settings: KubernetesSettings,
    wishes: Mutex<Wishes>,
    /// Told when somebody wants more.
    grown: Notify,
    tables: RwLock<Tables>,
    progress: Mutex<Progress>,
    /// What keeps watches from going on.
    problems: Mutex<BTreeMap<Kind, Problem>>,
    /// Counts changes of nodes and namespaces.
    places: AtomicU64,
    /// Counts changes.
    changes: watch::Sender<u64>,
}

/// What was wanted at a moment, to ask later whether pods are known so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wish(u64);

/// What is wanted now.
#[derive(Clone, Debug, Default)]
struct Wishes {
    wanted: Wanted,
    latest: Wish,
}

/// Everything that is known.
#[derive(Debug, Default)]
struct Tables {
    pods: Index,
    /// What the watch of pods may not have told yet.
    backlog: Backlog,
    nodes: Places<Node>,
    namespaces: Places<Namespace>,
    texts: Interner,
}

/// How far the first lists are.
#[derive(Clone, Debug, Default)]
struct Progress {
    started: Option<Instant>,
    /// What the watches ask for.
    asked: Wish,
    /// What they asked for when all pods had been listed.
    pods: Option<Wish>,
    nodes: bool,
    namespaces: bool,
    is_synced: bool,
}

/// Why a watch was interrupted last.
#[derive(Clone, Debug)]
struct Problem {
    at: Instant,
    why: Interruption,
    text: String,
}

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Pods,
    Nodes,
    Namespaces,
}

impl Kind {
    fn plural(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::Namespaces => "namespaces",
        }
    }
}

inventory::submit! { ServiceRegistration::of::<Metadata>() }

impl Service for Metadata {
    const TYPE: &'static str = ServiceId::KUBERNETES;

    fn open(context: &ServiceContext<'_>) -> Result<Self, BuildError> {
        let settings = context.settings.kubernetes.clone();
        let origin = Origin::find(settings.kubeconfig.as_deref());
        let origin = origin.and_then(|origin| origin.check().map(|()| origin));
        let origin = origin.map_err(|error| BuildError::caused(error.to_string(), error))?;
        Ok(Self::new(settings, Some(Access::new(origin))))
    }

    fn waits_for(&self) -> Option<&'static str> {
        let progress = self.progress.lock();
        let is_over = progress.started.is_some_and(|started| started.elapsed() >= WAIT_FOR_SYNC);
        let is_forbidden = |problem: &Problem| problem.why == Interruption::Forbidden;
        let problems = self.problems.lock();
        let forbidden = problems.iter().find(|(_, problem)| is_forbidden(problem)).map(|(what, _)| *what);
        (!progress.is_synced && !is_over).then_some(match forbidden {
            None => "waiting for the first list of the cluster's pods",
            Some(Kind::Pods) => "waiting for the right to list and watch pods",
            Some(Kind::Nodes) => "waiting for the right to list and watch nodes",
            Some(Kind::Namespaces) => "waiting for the right to list and watch namespaces",
        })
    }

    fn problem(&self) -> Option<String> {
        let problems = self.problems.lock();
        let lasting = problems.iter().filter(|(_, problem)| problem.at.elapsed() < PROBLEM_LASTS);
        let (what, problem) = lasting.max_by_key(|(_, problem)| problem.at)?;
        Some(format!("cannot follow {}: {}", what.plural(), problem.text))
    }

    fn run(self: Arc<Self>, stop: CancellationToken) -> BoxFuture<'static, Result<(), ComponentError>> {
        Box::pin(async move {
            let Some(access) = &self.access else {
                stop.cancelled().await;
                return Ok(());
            };
            self.progress.lock().started = Some(Instant::now());
            loop {
                // The client's tasks end with it.
                let client = access.client();
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = self.grown.notified() => {}
                    () = self.forget_now_and_then() => {}
                    () = self.warn_when_late() => {}
                    () = self.watch(client) => {}
                }
            }
        })
    }
}

impl Metadata {
    fn new(settings: KubernetesSettings, access: Option<Access>) -> Self {
        Self {
            access: access.map(Arc::new),
            settings,
            wishes: Mutex::default(),
            grown: Notify::new(),
            tables: RwLock::default(),
            progress: Mutex::default(),
            problems: Mutex::default(),
            places: AtomicU64::new(0),
            changes: watch::Sender::new(0),
        }
    }

    /// Has more kept than before. Asked for while components are built; later it costs another list of everything, and
    /// until [`grants`](Self::grants) says so, pods are known without it.
    pub fn want(&self, more: &Wanted) -> Wish {
        let (grew, latest) = {
            let mut wishes = self.wishes.lock();
            let grew = wishes.wanted.add(more);
            wishes.latest.0 += u64::from(grew);
            (grew, wishes.latest)
        };
        if grew && self.progress.lock().started.is_some() {
            self.grown.notify_one();
        }
        latest
    }

    /// Whether all pods have been listed with what was wanted by then, so that what a pod lacks it does not have.
    pub fn grants(&self, wish: Wish) -> bool {
        self.progress.lock().pods.is_some_and(|listed| listed >= wish)
    }

    /// The pod of this id, until two minutes after its end.
    pub fn pod(&self, uid: Uid) -> Option<Arc<Pod>> {
        self.tables.read().pods.pod(uid).map(Arc::clone)
    }

    /// Who had an address.
    pub fn holder(&self, address: IpAddr, contact: &Contact) -> Attribution {
        self.tables.read().pods.holder(address, contact)
    }

    /// Whether somebody got an address or let it go since some moment.
    pub fn has_changed(&self, address: IpAddr, since: Instant) -> bool {
        self.tables.read().pods.has_changed(address, since)
    }

    /// A node.
    pub fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.tables.read().nodes.get(name)
    }

    /// A namespace; only that of the system when nobody wants labels or annotations of namespaces.
    pub fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        self.tables.read().namespaces.get(name)
    }

    /// The id of the cluster: that of its system's namespace.
    pub fn cluster_uid(&self) -> Option<Box<str>> {
        self.namespace(SYSTEM_NAMESPACE).map(|namespace| namespace.uid.clone())
    }

    /// The name of the cluster, which its users give it.
    pub fn cluster_name(&self) -> Option<&str> {
        self.settings.cluster_name.as_deref()
    }

    /// Grows when a node or namespace has changed in what is kept of it.
    pub fn places(&self) -> u64 {
        self.places.load(Ordering::Relaxed)
    }

    /// Pods that are known.
    pub fn pods(&self) -> usize {
        self.tables.read().pods.len()
    }

    /// Whether all pods have been listed once, whatever is known of nodes and namespaces.
    pub fn has_listed_pods(&self) -> bool {
        self.progress.lock().pods.is_some()
    }

    /// Whether everything has been listed once.
    pub fn is_synced(&self) -> bool {
        self.progress.lock().is_synced
    }

    /// A client for the same cluster, as whoever this process is by the time of each request. None of metadata that is
    /// filled by hand. It belongs to the runtime it was asked for on.
    pub fn client(&self) -> Option<Client> {
        self.access.as_ref().map(Access::client)
    }

    /// Tells of changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Follows everything that is wanted. Does not end.
    async fn watch(&self, client: Client) {
        let Wishes { wanted, latest } = self.wishes.lock().clone();
        self.progress.lock().asked = latest;
        let of_this_node = |field: &str| self.settings.node.as_deref().map(|node| format!("{field}={node}"));
        let selection = |fields| Selection { fields, ..Selection::all(self.settings.page_size) };
        let pods =
            follow_in_protobuf(Api::all(client.clone()), selection(of_this_node("spec.nodeName")), |news| match news {
                News::Event(event) => self.take_pod(event, &wanted),
                News::Interrupted(why, text) => self.interrupted(Kind::Pods, why, text),
            });
        let nodes = wanted.nodes.then(|| {
            let selection = selection(of_this_node("metadata.name"));
            follow_in_protobuf(Api::all(client.clone()), selection, |news| match news {
                News::Event(event) => self.take_node(event, &wanted),
                News::Interrupted(why, text) => self.interrupted(Kind::Nodes, why, text),
            })
        });
        // An id that stands in one object is no reason to watch thousands.
        let only_system = (!wanted.namespaces()).then(|| format!("metadata.name={SYSTEM_NAMESPACE}"));
        let namespaces = follow_in_protobuf(Api::all(client), selection(only_system), |news| match news {
            News::Event(event) => self.take_namespace(event, &wanted),
            News::Interrupted(why, text) => self.interrupted(Kind::Namespaces, why, text),
        });
        futures::join!(pods, OptionFuture::from(nodes), namespaces);
    }

    async fn forget_now_and_then(&self) {
        loop {
            tokio::time::sleep(FORGET_EVERY).await;
            self.tables.write().pods.forget(Instant::now());
        }
    }

    async fn warn_when_late(&self) {
        tokio::time::sleep(WAIT_FOR_SYNC).await;
        if !self.is_synced() {
            tracing::warn!(waited = ?WAIT_FOR_SYNC, "the cluster's pods are not known yet, data goes on without them");
        }
        std::future::pending().await
    }

    fn take_pod(&self, event: Event<PodObject>, wanted: &Wanted) {
        self.goes_on(Kind::Pods, &event);
        let is_listed = matches!(event, Event::InitDone);
        let mut tables = self.tables.write();
        let Tables { pods, texts, backlog, .. } = &mut *tables;
        let now = Instant::now();
        let changed = match event {
            Event::Init => {
                pods.list_begins();
                backlog.list_begins(now);
                false
            }
            Event::InitApply(object) => Pod::of(&object, wanted, texts).is_some_and(|pod| {
                pods.lists(pod.uid);
                pods.apply(pod, Told::since(now, backlog.of_list()))
            }),
            Event::InitDone => {
                pods.list_ends(Told::since(now, backlog.of_list()));
                backlog.list_ends(now);
                true
            }
            Event::Apply(object) => {
                let told = Told::since(now, Some(backlog.of_event(now)));
                Pod::of(&object, wanted, texts).is_some_and(|pod| pods.apply(pod, told))
            }
            Event::Delete(object) => {
                let told = Told::since(now, Some(backlog.of_event(now)));
                if let Some(uid) = object.metadata.uid.as_deref().and_then(Uid::parse) {
                    pods.delete(uid, told);
                }
                true
            }
        };
        drop(tables);
        self.tell(changed);
        if is_listed {
            self.listed(wanted, |progress| progress.pods = Some(progress.asked));
        }
    }

    fn take_node(&self, event: Event<NodeObject>, wanted: &Wanted) {
        self.goes_on(Kind::Nodes, &event);
        let is_listed = matches!(event, Event::InitDone);
        let mut tables = self.tables.write();
        let Tables { nodes, texts, .. } = &mut *tables;
        let changed = nodes.take(event, |object| Node::of(object, wanted, texts).map(|node| (node.name.clone(), node)));
        drop(tables);
        self.places.fetch_add(u64::from(changed), Ordering::Relaxed);
        self.tell(changed);
        if is_listed {
            self.listed(wanted, |progress| progress.nodes = true);
        }
    }

    fn take_namespace(&self, event: Event<NamespaceObject>, wanted: &Wanted) {
        self.goes_on(Kind::Namespaces, &event);
        let is_listed = matches!(event, Event::InitDone);
        let mut tables = self.tables.write();
        let Tables { namespaces, texts, .. } = &mut *tables;
        let mut read = |object: &NamespaceObject| Namespace::of(object, wanted, texts);
        let changed = namespaces.take(event, |object| read(object).map(|found| (found.name.clone(), found)));
        drop(tables);
        self.places.fetch_add(u64::from(changed), Ordering::Relaxed);
        self.tell(changed);
        if is_listed {
            self.listed(wanted, |progress| progress.namespaces = true);
        }
    }

    /// Something is told of a kind of object again.
    fn goes_on<K>(&self, what: Kind, event: &Event<K>) {
        // That a list begins is told before the server has answered.
        if !matches!(event, Event::Init) {
            self.problems.lock().remove(&what);
        }
    }

    /// Nothing is told of a kind of object at the moment.
    fn interrupted(&self, what: Kind, why: Interruption, text: String) {
        let now = Instant::now();
        self.problems.lock().insert(what, Problem { at: now, why, text });
        if what == Kind::Pods {
            self.tables.write().backlog.begins(now);
        }
    }

    /// One of the first lists is complete.
    fn listed(&self, wanted: &Wanted, which: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress.lock();
        which(&mut progress);
        let is_synced = progress.pods.is_some() && progress.namespaces && (progress.nodes || !wanted.nodes);
        if is_synced && !progress.is_synced {
            let took = progress.started.map(|started| started.elapsed()).unwrap_or_default();
            tracing::info!(pods = self.pods(), ?took, "the cluster's pods are known");
        }
        progress.is_synced |= is_synced;
    }

    fn tell(&self, changed: bool) {
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

#[cfg(feature = "test-kit")]
impl Metadata {
    /// One that knows what it is told by [`put`](Self::put), and asks nobody.
    pub fn by_hand(settings: KubernetesSettings) -> Self {
        Self::new(settings, None)
    }

    /// Learns of an object as a watch would tell of it.
    ///
    /// # Panics
    /// When its kind is none that is watched, or it cannot be read.
    pub fn put(&self, object: serde_json::Value) {
        fn read<K: serde::de::DeserializeOwned>(object: serde_json::Value) -> Event<K> {
            Event::Apply(serde_json::from_value(object).expect("a test writes objects that can be read"))
        }
        let wanted = self.wishes.lock().wanted.clone();
        match object["kind"].as_str() {
            Some("Pod") => self.take_pod(read(object), &wanted),
            Some("Node") => self.take_node(read(object), &wanted),
            Some("Namespace") => self.take_namespace(read(object), &wanted),
            other => panic!("{other:?} is not watched"),
        }
    }

    /// Waits until it is so.
    ///
    /// # Panics
    /// When it is not within a minute.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let mut changes = self.changes();
        let waiting = async {
            while !is_so(self) {
                // Completing the lists is told a moment after the last change.
                drop(tokio::time::timeout(Duration::from_millis(20), changes.changed()).await);
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), waiting).await.is_ok(), "waited for a minute: {what}");
    }

    /// Learns that a pod is gone.
    pub fn remove_pod(&self, uid: Uid) {
        self.tables.write().pods.delete(uid, Told::at_once(Instant::now()));
        self.tell(true);
    }

    /// All lists are complete, with everything that is wanted by now.
    pub fn complete(&self) {
        self.progress.lock().is_synced = true;
        self.complete_pods();
    }

    /// The list of pods is complete, with everything that is wanted by now.
    pub fn complete_pods(&self) {
        let latest = self.wishes.lock().latest;
        self.progress.lock().pods = Some(latest);
        self.tell(true);
    }
}

#[cfg(test)]
mod tests;
