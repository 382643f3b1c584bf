//! Claims of volumes that are to grow. Their StatefulSet makes them and never changes them again, so they are changed here, one by
//! one, and only where their StorageClass lets them.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::plan::Desired;
use crate::quantity;
use crate::settings::Settings;

/// Asks for the sizes that claims are to have.
pub(super) async fn grow(client: &Client, settings: &Settings, desired: &Desired) -> Result<(), String> {
    let Some(storage) = &desired.storage else { return Ok(()) };
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &settings.namespace);
    for (name, size) in &storage.room.growing {
        let requests = json!({ "storage": quantity::text(*size) });
        let patch = Patch::Merge(json!({ "spec": { "resources": { "requests": requests } } }));
        match claims.patch(name, &PatchParams::default(), &patch).await {
            Ok(_) => tracing::info!(claim = name, size = quantity::text(*size), "a volume is to grow"),
            // It has gone.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(format!("cannot let PersistentVolumeClaim {name} grow: {error}")),
        }
    }
    Ok(())
}
