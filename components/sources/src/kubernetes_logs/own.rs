//! The pod that this process runs in, so that its logs are left out: what it logs about records would come back as further
//! ones.

use super::pods::Container;

/// What is known of the own pod. Without anything known no pod is the own one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnPod {
    uid: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

impl OwnPod {
    /// What the variables of the environment say.
    pub(super) fn of_this_process() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }

    /// A pod of this name.
    #[cfg(test)]
    pub(super) fn named(namespace: &str, name: &str) -> Self {
        Self { uid: None, namespace: Some(namespace.to_owned()), name: Some(name.to_owned()) }
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name: &str| variable(name).filter(|text| !text.is_empty());
        Self {
            uid: value("POD_UID"),
            namespace: value("POD_NAMESPACE"),
            name: value("POD_NAME").or_else(|| value("HOSTNAME")),
        }
    }

    /// Whether a container is of this pod.
    pub(super) fn has(&self, container: &Container<'_>) -> bool {
        let is_own = |own: &Option<String>, text: &str| own.as_deref() == Some(text);
        let is_in_own_namespace = self.namespace.is_none() || is_own(&self.namespace, container.namespace);
        is_own(&self.uid, container.uid) || (is_in_own_namespace && is_own(&self.name, container.pod))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The uid says it, or the name in the namespace, or the host name where nothing else is said.
    #[test]
    fn who_is_the_own_pod() {
        let container =
            Container { namespace: "telemetry", pod: "agent-x7", uid: "7c9f", container: "agent", restart_count: "0" };
        for (variables, is_own) in [
            (&[("POD_UID", "7c9f")][..], true),
            (&[("POD_UID", "other")], false),
            (&[("POD_NAME", "agent-x7"), ("POD_NAMESPACE", "telemetry")], true),
            (&[("POD_NAME", "agent-x7"), ("POD_NAMESPACE", "shop")], false),
            (&[("HOSTNAME", "agent-x7")], true),
            (&[("POD_NAME", "other"), ("HOSTNAME", "agent-x7")], false),
            (&[("POD_UID", "")], false),
            (&[], false),
        ] {
            let found = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned());
            assert_eq!(OwnPod::of(found).has(&container), is_own, "{variables:?}");
        }
        assert!(!OwnPod::default().has(&container));
    }
}
