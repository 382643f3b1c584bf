//! A new configuration reaches a pod when its kubelet looks again, which may take a minute and more. A changed annotation
//! makes it look at once. Gateways are touched so; agents, of which there may be thousands, wait. In the same write a pod that is
//! to go loses the label by which Services find it, and one that is to stay after all gets it back.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::observe::Observed;
use super::workloads;
use crate::apply::Report;
use crate::plan::Desired;
use crate::render::config::RoleConfig;
use crate::render::objects::{RECEIVES_LABEL, config_secret};
use crate::role::Fleet;
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
        let is_applied = |fleet: &Fleet| {
            let name = config_secret(*fleet, &settings.engine_version);
            report.written.iter().chain(&report.unchanged).any(|object| object.kind == "Secret" && object.name == name)
        };
        if pod.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let fleet = workloads::fleet_of(&pod);
        let config = fleet.filter(is_applied).and_then(|fleet| desired.configs.get(&fleet));
        let mut metadata = Map::new();
        let digest = config.map(digest).filter(|digest| pod.annotations().get(CONFIG_ANNOTATION) != Some(digest));
        if let Some(digest) = digest {
            metadata.insert("annotations".to_owned(), json!({ CONFIG_ANNOTATION: digest }));
        }
        if let Some(label) = fleet.and_then(|fleet| label(&pod, fleet, desired)) {
            metadata.insert("labels".to_owned(), label);
        }
        if metadata.is_empty() {
            continue;
        }
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        match pods.patch_metadata(&pod.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => {}
            // It has gone.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(format!("cannot touch Pod {}: {error}", pod.name_any())),
        }
    }
    Ok(())
}

/// The label by which Services find a pod with a volume, where it does not have what it is to have.
fn label(pod: &Pod, fleet: Fleet, desired: &Desired) -> Option<Value> {
    let storage = desired.storage.as_ref().filter(|_| fleet == Fleet::DURABLE)?;
    let receives = !storage.leaving.contains(&pod.name_any());
    let value = if receives { Value::from(RECEIVES_LABEL.1) } else { Value::Null };
    (receives != workloads::receives(pod)).then(|| json!({ RECEIVES_LABEL.0: value }))
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
