//! A new configuration reaches a pod when its kubelet looks again, which may take a minute and more. A changed annotation
//! makes it look at once. Gateways are touched so; agents, of which there may be thousands, wait.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::observe::Observed;
use super::workloads;
use crate::apply::Report;
use crate::plan::Desired;
use crate::render::config::RoleConfig;
use crate::render::objects::config_secret;
use crate::role::Role;
use crate::settings::Settings;

/// What the configuration of a pod is, as the manager has told its kubelet.
const CONFIG_ANNOTATION: &str = "telemetry.kyma-project.io/config";

/// Touches the pods of gateways whose kubelet has not been told of the newest configuration.
pub(super) async fn gateways(
    client: &Client,
    settings: &Settings,
    desired: &Desired,
    observed: &Observed,
    report: &Report,
) -> Result<(), String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &settings.namespace);
    for pod in observed.gateway_pods() {
        // A kubelet that looks before the Secret is there has looked in vain.
        let is_applied = |role: &Role| {
            let name = config_secret(*role, &settings.engine_version);
            report.written.iter().chain(&report.unchanged).any(|object| object.kind == "Secret" && object.name == name)
        };
        let role = workloads::role_of(&pod).filter(is_applied);
        let config = role.and_then(|role| desired.configs.get(&role));
        let Some(config) = config.filter(|_| pod.metadata.deletion_timestamp.is_none()) else { continue };
        let digest = digest(config);
        if pod.annotations().get(CONFIG_ANNOTATION) == Some(&digest) {
            continue;
        }
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { CONFIG_ANNOTATION: digest } } }));
        match pods.patch_metadata(&pod.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => {}
            // It has gone.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(format!("cannot touch Pod {}: {error}", pod.name_any())),
        }
    }
    Ok(())
}

/// What tells a configuration with its files from another.
fn digest(config: &RoleConfig) -> String {
    let mut all = Sha256::new();
    all.update(Sha256::digest(config.toml.as_bytes()));
    for (name, content) in &config.files {
        all.update(Sha256::digest(name.as_bytes()));
        all.update(Sha256::digest(content));
    }
    all.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
