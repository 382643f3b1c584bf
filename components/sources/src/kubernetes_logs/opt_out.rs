//! Pods whose owners do not want their logs to be read, and say so in an annotation.
//!
//! The value `true` is for all containers of the pod; any other one names some of them, separated by commas. So `false`,
//! and names that no container has, leave nothing out. Not here: how pods are known (`kubernetes`).

use std::sync::Arc;

use kubernetes::{KeySelection, Metadata, Uid, Wanted, Wish, value_of};

use super::pods::{Consent, Container};
use crate::tail::Decision;

/// The value that stands for all containers.
const ALL: &str = "true";

/// Asks the annotations of pods.
#[derive(Debug)]
pub(super) struct OptOut {
    annotation: Box<str>,
    metadata: Arc<Metadata>,
    /// Pods known from before it was granted may have the annotation all the same.
    wish: Wish,
}

impl OptOut {
    /// By the annotation with this key.
    pub(super) fn new(annotation: &str, metadata: Arc<Metadata>) -> Self {
        let wanted = Wanted { pod_annotations: KeySelection::new([annotation]), ..Wanted::default() };
        let wish = metadata.want(&wanted);
        Self { annotation: annotation.into(), metadata, wish }
    }
}

impl Consent for OptOut {
    fn is_collected(&self, container: &Container<'_>) -> Decision {
        if !self.metadata.grants(self.wish) {
            return Decision::Unknown;
        }
        let Some(pod) = Uid::parse(container.uid).and_then(|uid| self.metadata.pod(uid)) else {
            return Decision::Unknown;
        };
        let is_left_out = value_of(&pod.annotations, &self.annotation)
            .is_some_and(|value| value == ALL || value.split(',').any(|name| name.trim() == container.container));
        if is_left_out { Decision::Skip } else { Decision::Collect }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use engine_config::KubernetesSettings;
    use serde_json::{Value, json};

    use super::*;

    const KEY: &str = "example.com/no-logs";
    const UID: &str = "0f1e2d3c-0000-4000-8000-000000000001";

    fn metadata() -> Arc<Metadata> {
        Arc::new(Metadata::by_hand(KubernetesSettings::default()))
    }

    fn pod(uid: &str, annotations: Value) -> Value {
        let meta = json!({ "name": "cart-7d4b", "namespace": "shop", "uid": uid, "annotations": annotations });
        json!({ "kind": "Pod", "metadata": meta })
    }

    fn decision(opt_out: &OptOut, uid: &str, container: &str) -> Decision {
        opt_out.is_collected(&Container { namespace: "shop", pod: "cart-7d4b", uid, container, restart_count: "0" })
    }

    /// `true` is for all containers, names are for those containers, and everything else leaves nothing out.
    #[test]
    fn values() {
        let metadata = metadata();
        let opt_out = OptOut::new(KEY, Arc::clone(&metadata));
        metadata.complete();
        for (annotations, app, sidecar) in [
            (json!({}), Decision::Collect, Decision::Collect),
            (json!({ KEY: "true" }), Decision::Skip, Decision::Skip),
            (json!({ KEY: "app" }), Decision::Skip, Decision::Collect),
            (json!({ KEY: "sidecar , app" }), Decision::Skip, Decision::Skip),
            (json!({ KEY: "ap,sidecar," }), Decision::Collect, Decision::Skip),
            (json!({ KEY: "false" }), Decision::Collect, Decision::Collect),
            (json!({ KEY: "" }), Decision::Collect, Decision::Collect),
            (json!({ "example.com/no-logs-at-all": "true" }), Decision::Collect, Decision::Collect),
        ] {
            metadata.put(pod(UID, annotations.clone()));
            assert_eq!(decision(&opt_out, UID, "app"), app, "{annotations}");
            assert_eq!(decision(&opt_out, UID, "sidecar"), sidecar, "{annotations}");
        }
    }

    /// A pod decides once it is known; one that will never be, because its directory has no id, does not.
    #[test]
    fn pods_that_are_not_known_yet() {
        let metadata = metadata();
        let opt_out = OptOut::new(KEY, Arc::clone(&metadata));
        metadata.complete();
        assert_eq!(decision(&opt_out, UID, "app"), Decision::Unknown);
        metadata.put(pod(UID, json!({ KEY: "true" })));
        assert_eq!(decision(&opt_out, UID, "app"), Decision::Skip);
        assert_eq!(decision(&opt_out, "no-id", "app"), Decision::Unknown);
        metadata.remove_pod(Uid::parse(UID).unwrap());
        assert_eq!(decision(&opt_out, UID, "app"), Decision::Skip, "it is known for a while after its end");
    }

    /// A pod that is known from before anybody asked for this annotation decides nothing until pods are listed again.
    #[test]
    fn pods_that_were_known_before() {
        let metadata = metadata();
        metadata.put(pod(UID, json!({ KEY: "true" })));
        metadata.complete();
        let opt_out = OptOut::new(KEY, Arc::clone(&metadata));
        assert_eq!(decision(&opt_out, UID, "app"), Decision::Unknown);
        metadata.put(pod(UID, json!({ KEY: "true" })));
        metadata.complete();
        assert_eq!(decision(&opt_out, UID, "app"), Decision::Skip);
    }

    /// A static pod's directory is named by the hash of its configuration, and its annotations are those of its mirror.
    #[test]
    fn static_pods() {
        let metadata = metadata();
        let opt_out = OptOut::new(KEY, Arc::clone(&metadata));
        metadata.complete();
        let hash = "0123456789abcdef0123456789abcdef";
        metadata.put(pod(UID, json!({ KEY: "true", "kubernetes.io/config.hash": hash })));
        assert_eq!(decision(&opt_out, hash, "app"), Decision::Skip);
    }
}
