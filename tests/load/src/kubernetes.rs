//! The API server as bars fill it: raw requests with JSON, many at once. What the objects say is in [`objects`].

use std::time::Duration;

use anyhow::{Context, Result};
use cluster::Access;
use futures::{StreamExt, TryStreamExt};
use http::{Request, header};
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

pub mod objects;

/// Requests in flight while many objects are written.
const AT_ONCE: usize = 64;
/// Objects in a page of a list.
const PAGE: usize = 1000;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Answers with the metadata of objects and nothing else of them.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// The way to an API server; clones share connections.
#[derive(Clone)]
pub struct ApiServer {
    client: Client,
}

/// What is read of the metadata of an object.
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    /// Its unique id.
    pub uid: String,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMetadata,
    items: Vec<Object>,
}

#[derive(Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue", default)]
    more: String,
}

impl ApiServer {
    /// The API server of a control plane, on the current runtime.
    ///
    /// # Errors
    /// When its kubeconfig is of no use.
    pub async fn of(access: &Access) -> Result<ApiServer> {
        Ok(ApiServer { client: access.client().await? })
    }

    /// Creates an object in a collection, and returns its unique id.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn create(&self, collection: &str, object: &Value) -> Result<String> {
        let request = Request::post(collection)
            .header(header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(object)?)?;
        let answer =
            self.ask(request).await.with_context(|| format!("cannot create {} in {collection}", name(object)))?;
        Ok(serde_json::from_str::<Object>(&answer)?.metadata.uid)
    }

    /// Writes the status of an object, as its controller or kubelet does.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn set_status(&self, path: &str, status: &Value) -> Result<()> {
        let request = Request::patch(format!("{path}/status"))
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(serde_json::to_vec(&json!({ "status": status }))?)?;
        self.ask(request).await.with_context(|| format!("cannot set the status of {path}"))?;
        Ok(())
    }

    /// Deletes an object at once.
    ///
    /// # Errors
    /// When the API server refuses that.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let request = Request::delete(format!("{path}?gracePeriodSeconds=0")).body(Vec::new())?;
        self.ask(request).await.with_context(|| format!("cannot delete {path}"))?;
        Ok(())
    }

    /// The unique ids of all pods.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn pod_uids(&self) -> Result<Vec<String>> {
        let (mut uids, mut more) = (Vec::new(), String::new());
        loop {
            let request = Request::get(format!("/api/v1/pods?limit={PAGE}&continue={more}"))
                .header(header::ACCEPT, METADATA_ONLY)
                .body(Vec::new())?;
            let page: List = serde_json::from_str(&self.ask(request).await?)?;
            uids.extend(page.items.into_iter().map(|object| object.metadata.uid));
            if page.metadata.more.is_empty() {
                return Ok(uids);
            }
            more = page.metadata.more;
        }
    }

    /// Bytes of a pod in JSON as clients get it, on average over a page of them.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn bytes_of_a_pod(&self) -> Result<f64> {
        let request = Request::get("/api/v1/pods?limit=200").body(Vec::new())?;
        let answer = self.ask(request).await?;
        let count = serde_json::from_str::<List>(&answer)?.items.len();
        Ok(answer.len() as f64 / count as f64)
    }

    async fn ask(&self, request: Request<Vec<u8>>) -> Result<String> {
        let answer = tokio::time::timeout(TIMEOUT, self.client.request_text(request)).await;
        Ok(answer.context("the API server did not answer in time")??)
    }
}

/// Does all of this, many at once, and waits for the end of it.
///
/// # Errors
/// The first one.
pub async fn at_once<F: Future<Output = Result<()>>>(work: impl Iterator<Item = F>) -> Result<()> {
    futures::stream::iter(work).buffer_unordered(AT_ONCE).try_collect().await
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or("an object")
}
