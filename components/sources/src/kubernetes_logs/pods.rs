//! The directories of the kubelet: `NAMESPACE_POD_UID/CONTAINER/RESTARTS.log`. Which of them are read, and the Resource that
//! is in their names.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use engine_config::sources::KubernetesLogs;
use engine_config::sources::reading::{Chosen, FileAttribute};
use engine_core::registry::BuildError;
use glob::Pattern;

use super::own::OwnPod;
use crate::tail::{Decision, Description, Selection, file_attributes, resource};

/// A container, as the path of its log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Container<'p> {
    pub(super) namespace: &'p str,
    pub(super) pod: &'p str,
    pub(super) uid: &'p str,
    pub(super) container: &'p str,
    pub(super) restart_count: &'p str,
}

/// Says whether a container's logs may be read, beyond what the options say. It is asked in the reading thread, for each file
/// that is found; as long as it answers [`Decision::Unknown`] of a new log, again every quarter of a second, for 5 s at most.
pub(super) trait Consent: Send {
    fn is_collected(&self, container: &Container<'_>) -> Decision;
}

/// The containers that are read.
pub(super) struct Pods {
    root: PathBuf,
    namespaces: Names,
    containers: Names,
    own: OwnPod,
    consent: Box<dyn Consent>,
    attributes: BTreeSet<FileAttribute>,
}

/// Some names.
#[derive(Clone, Debug)]
struct Names {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Pods {
    pub(super) fn new(options: &KubernetesLogs, own: OwnPod, consent: Box<dyn Consent>) -> Result<Self, BuildError> {
        Ok(Self {
            root: options.directory.clone(),
            namespaces: Names::new(&options.namespaces)?,
            containers: Names::new(&options.containers)?,
            own,
            consent,
            attributes: options.attributes.clone(),
        })
    }

    /// The container whose log has this path; none when it is no path of a log, or not to be read.
    fn container<'p>(&self, path: &'p Path) -> Option<Container<'p>> {
        let mut names = path.strip_prefix(&self.root).ok()?.iter().map(|name| name.to_str());
        let (pod, container, file) = (names.next()??, names.next()??, names.next()??);
        let (namespace, pod, uid) = pod_of(pod)?;
        let restart_count = file.strip_suffix(".log")?;
        let is_count = !restart_count.is_empty() && restart_count.bytes().all(|byte| byte.is_ascii_digit());
        let found = Container { namespace, pod, uid, container, restart_count };
        (names.next().is_none() && is_count && self.has(&found)).then_some(found)
    }

    fn has(&self, found: &Container<'_>) -> bool {
        self.namespaces.has(found.namespace) && self.containers.has(found.container) && !self.own.has(found)
    }
}

impl Selection for Pods {
    fn roots(&self) -> Vec<PathBuf> {
        vec![self.root.clone()]
    }

    fn enters(&self, directory: &Path) -> bool {
        // The search may begin above the root, while that is not there.
        if self.root.starts_with(directory) {
            return true;
        }
        let Ok(below) = directory.strip_prefix(&self.root) else { return false };
        let mut names = below.iter().map(|name| name.to_str());
        let Some((namespace, pod, uid)) = names.next().flatten().and_then(pod_of) else { return false };
        let container = match (names.next(), names.next()) {
            (None, _) => None,
            (Some(Some(container)), None) => Some(container),
            _ => return false,
        };
        let of_pod = Container { namespace, pod, uid, container: container.unwrap_or_default(), restart_count: "" };
        self.namespaces.has(namespace)
            && !self.own.has(&of_pod)
            && container.is_none_or(|name| self.containers.has(name))
    }

    fn log(&self, path: &Path) -> Option<Description> {
        let found = self.container(path)?;
        let attributes = file_attributes(&self.attributes, path);
        Some(Description { resource: resource(found.attributes()), attributes })
    }

    fn decide(&self, path: &Path) -> Decision {
        self.container(path).map_or(Decision::Skip, |found| self.consent.is_collected(&found))
    }
}

impl<'p> Container<'p> {
    /// The attributes of its Resource, named by the semantic conventions.
    fn attributes(&self) -> [(&'static str, &'p str); 5] {
        [
            ("k8s.namespace.name", self.namespace),
            ("k8s.pod.name", self.pod),
            ("k8s.pod.uid", self.uid),
            ("k8s.container.name", self.container),
            ("k8s.container.restart_count", self.restart_count),
        ]
    }
}

impl Names {
    fn new(chosen: &Chosen) -> Result<Self, BuildError> {
        let patterns = |texts: &[String]| {
            let pattern = |text: &String| {
                Pattern::new(text).map_err(|error| BuildError::caused(format!("`{text}` is no pattern"), error))
            };
            texts.iter().map(pattern).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { include: patterns(&chosen.include)?, exclude: patterns(&chosen.exclude)? })
    }

    fn has(&self, name: &str) -> bool {
        let is_of = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.include.is_empty() || is_of(&self.include)) && !is_of(&self.exclude)
    }
}

impl fmt::Debug for Pods {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pods").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Namespace, name and uid in the name of a pod's directory. None of them has `_` in it.
fn pod_of(directory: &str) -> Option<(&str, &str, &str)> {
    let mut parts = directory.split('_');
    let found = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && !found.0.is_empty() && !found.1.is_empty() && !found.2.is_empty();
    is_whole.then_some(found)
}
