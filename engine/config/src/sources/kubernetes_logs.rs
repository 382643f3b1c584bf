//! Options of the `kubernetes_logs` source.

use std::collections::BTreeSet;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::log_format::{Multiline, RecordKeys};
use super::reading::{self, Chosen, FileAttribute, Watch};
use crate::component::{Checker, ComponentOptions, Facts, Kind, ServiceId, Stability};
use crate::omit::is_default;
use crate::signal::SignalSet;
use crate::size::ByteSize;
use crate::span::Span;

/// Reads the logs of all containers on this node from the files that the kubelet keeps, and follows them as they grow and
/// rotate.
///
/// Every record's resource has `k8s.namespace.name`, `k8s.pod.name`, `k8s.pod.uid`, `k8s.container.name` and
/// `k8s.container.restart_count`, which are in the path of its file. A position is kept for every file and moves when the
/// backend has answered; after a crash at most `max_in_flight` is sent twice. Rotated files, compressed ones too, are read
/// where they were missed. Without positions of an earlier start the files that containers write to are read from their
/// beginning, and what was rotated before is not. When the sinks do not keep up, reading waits.
///
/// The logs of the engine's own pod are left out: the one whose uid is in the variable `POD_UID`, or whose name is in
/// `POD_NAME`, or in `HOSTNAME` while that is not set, in the namespace `POD_NAMESPACE` if that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesLogs {
    /// Where the kubelet keeps the logs of pods, as this program sees it.
    #[schemars(extend("format" = "absolute-path"))]
    pub directory: PathBuf,
    /// Namespaces whose logs are read.
    #[serde(skip_serializing_if = "is_default")]
    pub namespaces: Chosen,
    /// Containers whose logs are read, by their names in the pod.
    #[serde(skip_serializing_if = "is_default")]
    pub containers: Chosen,
    /// Read the logs of the engine's own pod as well. What the engine logs about these records comes back as further ones.
    pub own_logs: bool,
    /// Key of the annotation by which a pod has its logs left out, such as `"telemetry.example.com/exclude-logs"`: the value
    /// `"true"` stands for all of its containers, and any other one for the containers that it names, separated by commas.
    /// Without this key annotations are not looked at, and no cluster is asked.
    ///
    /// The annotation is looked at when a file is found: when a container starts, when its file rotates, and when the engine
    /// starts. What is decided then holds for that file. A file of a pod that is not known yet waits for it for 5s and is then
    /// read. How the cluster is reached is in `[kubernetes]`, whose `node` should be set: else every engine follows all pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "annotation-key"))]
    pub opt_out_annotation: Option<String>,
    /// Which keys of lines that are JSON objects are more than attributes.
    #[serde(skip_serializing_if = "is_default")]
    pub keys: RecordKeys,
    /// Lines of one stream that belong together become one record: a preset such as `"java"`, or a table. Lines that are JSON
    /// objects stay records of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiline: Option<Multiline>,
    /// Keep a line that is a JSON object as it was written in the attribute `log.original`.
    pub keep_original_body: bool,
    /// Attributes of each record that tell which file it is from.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub attributes: BTreeSet<FileAttribute>,
    /// Longer lines, with their parts joined, are cut to this, which counts as `lines_truncated`, and entries of several lines
    /// become several.
    #[schemars(extend("x-minimum" = "1KiB", "x-maximum" = "16MiB"))]
    pub max_line_size: ByteSize,
    /// Bytes of the files that may be read and not yet be kept as delivered: what is sent twice after a crash, at most. About
    /// half of it is held in memory while a backend is slow.
    #[schemars(extend("x-minimum" = "1MiB", "x-maximum" = "1GiB"))]
    pub max_in_flight: ByteSize,
    /// How changes are noticed.
    pub watch: Watch,
    /// Time between two looks where changes are not told by the kernel.
    #[schemars(extend("x-minimum" = "50ms", "x-maximum" = "1h"))]
    pub poll_interval: Span,
}

impl Default for KubernetesLogs {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("/var/log/pods"),
            namespaces: Chosen::default(),
            containers: Chosen::default(),
            own_logs: false,
            opt_out_annotation: None,
            keys: RecordKeys::default(),
            multiline: None,
            keep_original_body: true,
            attributes: BTreeSet::new(),
            max_line_size: reading::MAX_LINE,
            max_in_flight: reading::MAX_IN_FLIGHT,
            watch: Watch::default(),
            poll_interval: reading::POLL_INTERVAL,
        }
    }
}

impl ComponentOptions for KubernetesLogs {
    const KIND: Kind = Kind::Source;
    const TYPE: &'static str = "kubernetes_logs";
    const STABILITY: Stability = Stability::Beta;

    fn check(&self, checker: &mut Checker) {
        self.namespaces.check("namespaces", checker);
        self.containers.check("containers", checker);
        self.keys.check(["keys"], checker);
        if let Some(multiline) = &self.multiline {
            multiline.check(checker);
        }
        reading::check_sizes(self.max_line_size, self.max_in_flight, checker);
    }

    fn facts(&self) -> Facts {
        let facts = Facts { pull: true, rereads: true, is_of_its_node: true, ..Facts::source(SignalSet::LOGS) }
            .needs([], ServiceId::state());
        match self.opt_out_annotation {
            Some(_) => facts.needs(["opt_out_annotation"], ServiceId::kubernetes()),
            None => facts,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Catalog, Environment, ParseOptions, SourceFile, load};

    fn problems(keys: &str) -> String {
        let text = format!(
            "version = 1\n[state]\ndirectory = \"/state\"\n[sources.logs]\ntype = \"kubernetes_logs\"\n{keys}\n\
             [sinks.out]\ntype = \"blackhole\"\ninputs = [\"logs\"]\nacknowledge = \"delivered\"\n"
        );
        let files = [SourceFile::new("engine.toml", text)];
        let loaded = load(&files, &Catalog::builtin(), &Environment::Unknown, &ParseOptions::default());
        loaded.err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    /// It runs without any key; names that Kubernetes does not allow can match nothing and are refused.
    #[test]
    fn names_must_be_able_to_match() {
        assert_eq!(problems(""), "");
        assert_eq!(problems("namespaces.include = [\"shop\", \"team-*\"]\ncontainers.exclude = [\"istio-proxy\"]"), "");
        for (keys, words) in [
            ("namespaces.include = [\"Shop\"]", "can match no name of Kubernetes"),
            ("namespaces.exclude = [\"\"]", "can match no name of Kubernetes"),
            ("containers.include = [\"a/b\"]", "can match no name of Kubernetes"),
            ("containers.include = [\"[a\"]", "is no pattern"),
            ("containers = { include = [\"a\"], exclude = [\"a\"] }", "is excluded too"),
            ("directory = \"var/log/pods\"", "is not an absolute path"),
            ("namespaces.only = [\"a\"]", "only"),
            (
                "opt_out_annotation = \"\"",
                "sources.logs: `opt_out_annotation`: a key is empty, expected the key of an annotation",
            ),
            ("opt_out_annotation = \"a/b/c\"", "has more than one `/`"),
            ("opt_out_annotation = \"example.com/*\"", "has a name with other characters"),
        ] {
            let found = problems(keys);
            assert!(found.contains(words), "{keys}: {found}");
        }
    }
}
