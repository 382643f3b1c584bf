//! What components want to know of pods, nodes and namespaces beyond names. The rest is not kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::intern::Interner;

/// Labels or annotations, by key or by the beginning of the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySelection {
    /// Whole keys.
    exact: Vec<String>,
    /// Beginnings of keys.
    prefixes: Vec<String>,
}

/// What is kept of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Labels of pods.
    pub pod_labels: KeySelection,
    /// Annotations of pods.
    pub pod_annotations: KeySelection,
    /// Labels of namespaces.
    pub namespace_labels: KeySelection,
    /// Annotations of namespaces.
    pub namespace_annotations: KeySelection,
    /// Labels of nodes.
    pub node_labels: KeySelection,
    /// Names and images of containers.
    pub containers: bool,
    /// Anything of nodes besides their names.
    pub nodes: bool,
}

/// Chosen labels or annotations, by key.
pub type Chosen = Box<[(Arc<str>, Arc<str>)]>;

impl KeySelection {
    /// Keys as they are written: with a `*` at the end they are beginnings.
    pub fn new<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Self {
        let mut selection = Self::default();
        for key in keys {
            match key.as_ref().strip_suffix('*') {
                Some(prefix) => selection.prefixes.push(prefix.to_owned()),
                None => selection.exact.push(key.as_ref().to_owned()),
            }
        }
        selection
    }

    /// Whether a key is chosen.
    pub fn contains(&self, key: &str) -> bool {
        self.exact.iter().any(|exact| exact == key) || self.prefixes.iter().any(|prefix| key.starts_with(prefix))
    }

    /// Whether nothing is chosen.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }

    /// Chooses what the other one chooses, too. Says whether that is more than before.
    fn add(&mut self, other: &Self) -> bool {
        let mut grew = false;
        for (mine, theirs) in [(&mut self.exact, &other.exact), (&mut self.prefixes, &other.prefixes)] {
            for key in theirs {
                if !mine.contains(key) {
                    mine.push(key.clone());
                    grew = true;
                }
            }
        }
        grew
    }

    /// The chosen ones of these.
    pub(crate) fn choose(&self, all: Option<&BTreeMap<String, String>>, interner: &mut Interner) -> Chosen {
        if self.is_empty() {
            return Chosen::default();
        }
        let chosen = all.into_iter().flatten().filter(|(key, _)| self.contains(key));
        chosen.map(|(key, value)| (interner.get(key), interner.get(value))).collect()
    }
}

impl Wanted {
    /// Wants what the other one wants, too. Says whether that is more than before.
    pub(crate) fn add(&mut self, other: &Self) -> bool {
        let mut grew = self.pod_labels.add(&other.pod_labels);
        grew |= self.pod_annotations.add(&other.pod_annotations);
        grew |= self.namespace_labels.add(&other.namespace_labels);
        grew |= self.namespace_annotations.add(&other.namespace_annotations);
        grew |= self.node_labels.add(&other.node_labels);
        for (mine, theirs) in [(&mut self.containers, other.containers), (&mut self.nodes, other.nodes)] {
            grew |= theirs && !*mine;
            *mine |= theirs;
        }
        grew
    }

    /// Whether more than one namespace is looked at: the cluster's own id is the uid of one.
    pub(crate) fn namespaces(&self) -> bool {
        !self.namespace_labels.is_empty() || !self.namespace_annotations.is_empty()
    }
}

/// The value of a key.
pub fn value_of<'c>(chosen: &'c [(Arc<str>, Arc<str>)], key: &str) -> Option<&'c str> {
    chosen.iter().find(|(known, _)| **known == *key).map(|(_, value)| &**value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys are chosen whole or by how they begin, and only what grows the choice says so.
    #[test]
    fn choices_add_up() {
        let mut selection = KeySelection::new(["app", "team.example.com/*"]);
        assert!(selection.contains("app") && selection.contains("team.example.com/name"));
        assert!(!selection.contains("apps") && !selection.contains("team.example"));
        assert!(!selection.add(&KeySelection::new(["app"])));
        assert!(selection.add(&KeySelection::new(["app*"])) && selection.contains("apps"));

        let mut wanted = Wanted::default();
        let more = Wanted { nodes: true, pod_labels: KeySelection::new(["app"]), ..Wanted::default() };
        assert!(wanted.add(&more) && !wanted.add(&more));
        assert_eq!(wanted, more);
    }
}
