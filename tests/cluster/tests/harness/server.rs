//! An API server that is paused, killed and started again.

use std::time::Duration;

use cluster::{ControlPlane, or_skip};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

/// A paused API server keeps a request waiting, and answers it when it goes on.
#[tokio::test]
async fn a_paused_server_answers_later() {
    let Some(control_plane) = or_skip(ControlPlane::start_own().await) else { return };
    let namespaces = Api::<Namespace>::all(control_plane.client().await.unwrap());
    namespaces.get("default").await.unwrap();
    control_plane.pause_api_server().await.unwrap();
    let mut request = std::pin::pin!(namespaces.get("default"));
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut request).await.is_err(), "it answers while paused");
    control_plane.resume_api_server().await.unwrap();
    request.await.unwrap();
}

/// A killed API server refuses connections; started again, it has what was stored.
#[tokio::test]
async fn a_killed_server_comes_back_with_its_objects() {
    let Some(control_plane) = or_skip(ControlPlane::start_own().await) else { return };
    let namespace = control_plane.namespace("kept").await.unwrap();
    let namespaces = Api::<Namespace>::all(control_plane.client().await.unwrap());
    control_plane.kill_api_server().await.unwrap();
    assert!(namespaces.get(&namespace).await.is_err(), "it answers although it is dead");
    control_plane.start_api_server().await.unwrap();
    assert_eq!(namespaces.get(&namespace).await.unwrap().metadata.name, Some(namespace));
}
