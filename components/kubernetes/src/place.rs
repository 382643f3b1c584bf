//! What is kept of nodes and namespaces: where pods live.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::runtime::watcher::Event;

use crate::intern::Interner;
use crate::object::{NamespaceObject, NodeObject};
use crate::wanted::{Chosen, Wanted};

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
const ARCHITECTURE: &str = "kubernetes.io/arch";

/// A node.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Its unique id.
    pub uid: Box<str>,
    /// The region of the cloud that it is in.
    pub region: Option<Arc<str>>,
    /// The zone in the region.
    pub zone: Option<Arc<str>>,
    /// The type of its machine.
    pub instance_type: Option<Arc<str>>,
    /// The architecture of its processor, as Go names it.
    pub architecture: Option<Arc<str>>,
    /// The scheme of its provider's id, such as `aws`.
    pub provider: Option<Arc<str>>,
    /// Chosen labels.
    pub labels: Chosen,
}

/// A namespace.
#[derive(Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// Its unique id.
    pub uid: Box<str>,
    /// Chosen labels.
    pub labels: Chosen,
    /// Chosen annotations.
    pub annotations: Chosen,
}

/// Nodes or namespaces by name.
#[derive(Debug)]
pub(crate) struct Places<T> {
    known: HashMap<Arc<str>, Arc<T>>,
    /// Those that the list in progress has named.
    listed: HashSet<Arc<str>>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), listed: HashSet::new() }
    }
}

impl<T: PartialEq> Places<T> {
    pub(crate) fn get(&self, name: &str) -> Option<Arc<T>> {
        self.known.get(name).map(Arc::clone)
    }

    /// Takes what a watch tells, read by `read`. Says whether that is news.
    pub(crate) fn take<K>(&mut self, event: Event<K>, read: impl FnOnce(&K) -> Option<(Arc<str>, T)>) -> bool {
        match event {
            Event::Init => {
                self.listed.clear();
                false
            }
            Event::InitApply(object) => {
                let Some((name, place)) = read(&object) else { return false };
                self.listed.insert(Arc::clone(&name));
                self.put(name, place)
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let before = self.known.len();
                self.known.retain(|name, _| listed.contains(name));
                self.known.len() != before
            }
            Event::Apply(object) => read(&object).is_some_and(|(name, place)| self.put(name, place)),
            Event::Delete(object) => read(&object).is_some_and(|(name, _)| self.known.remove(&name).is_some()),
        }
    }

    fn put(&mut self, name: Arc<str>, place: T) -> bool {
        let is_news = self.known.get(&name).is_none_or(|known| **known != place);
        if is_news {
            self.known.insert(name, Arc::new(place));
        }
        is_news
    }
}

impl Node {
    pub(crate) fn of(object: &NodeObject, wanted: &Wanted, interner: &mut Interner) -> Option<Self> {
        let meta = &object.metadata;
        let labels = meta.labels.as_ref();
        let mut label = |key: &str| labels.and_then(|all| all.get(key)).map(|value| interner.get(value));
        let (region, zone) = (label(REGION), label(ZONE));
        let (instance_type, architecture) = (label(INSTANCE_TYPE), label(ARCHITECTURE));
        let scheme = object.spec.provider_id.as_deref().and_then(|id| id.split_once("://"));
        Some(Self {
            name: interner.get(meta.name.as_deref()?),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            region,
            zone,
            instance_type,
            architecture,
            provider: scheme.map(|(scheme, _)| interner.get(scheme)),
            labels: wanted.node_labels.choose(labels, interner),
        })
    }
}

impl Namespace {
    pub(crate) fn of(object: &NamespaceObject, wanted: &Wanted, interner: &mut Interner) -> Option<Self> {
        let meta = &object.metadata;
        Some(Self {
            name: interner.get(meta.name.as_deref()?),
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            labels: wanted.namespace_labels.choose(meta.labels.as_ref(), interner),
            annotations: wanted.namespace_annotations.choose(meta.annotations.as_ref(), interner),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use serde_json::json;

    use super::*;
    use crate::wanted::KeySelection;

    /// What is kept of a node and of a namespace.
    #[test]
    fn keeps_what_is_wanted() {
        let mut interner = Interner::default();
        let wanted = Wanted {
            node_labels: KeySelection::new(["pool"]),
            namespace_labels: KeySelection::new(["team"]),
            ..Wanted::default()
        };
        let node = json!({
            "metadata": { "name": "node-1", "uid": "u", "labels": {
                "topology.kubernetes.io/region": "eu-central-1", "topology.kubernetes.io/zone": "eu-central-1a",
                "node.kubernetes.io/instance-type": "m5.large", "kubernetes.io/arch": "amd64", "pool": "blue", "x": "y",
            } },
            "spec": { "providerID": "aws:///eu-central-1a/i-0" },
        });
        let node = Node::of(&serde_json::from_value(node).unwrap(), &wanted, &mut interner).unwrap();
        let found = [&node.region, &node.zone, &node.instance_type, &node.architecture, &node.provider];
        let expected = ["eu-central-1", "eu-central-1a", "m5.large", "amd64", "aws"];
        assert_eq!(found.map(|text| text.as_deref().unwrap()), expected);
        assert_eq!(node.labels.len(), 1);
        let namespace = json!({ "metadata": { "name": "shop", "uid": "n", "labels": { "team": "a", "x": "y" } } });
        let object = serde_json::from_value(namespace).unwrap();
        let namespace = Namespace::of(&object, &wanted, &mut interner).unwrap();
        assert_eq!((&*namespace.name, &*namespace.uid, namespace.labels.len()), ("shop", "n", 1));
    }
}
