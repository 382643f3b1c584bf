//! One page of a list: asked for, read while it comes, and handed out object by object.
//!
//! The answer says whether it is protobuf or JSON. Of protobuf nothing is held but the object that is coming; a page in JSON
//! is held once as a whole. Not here: which page comes next (`watch`).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::Client;
use kube::client::Body;
use kube::core::params::ListParams;
use kube::core::{Request, Status};
use prost::DecodeError;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use crate::protobuf;
use crate::protobuf::page::PageReader;

/// What is asked for of objects that can be read from protobuf. Servers and proxies that do not know it answer in JSON.
const PROTOBUF_OR_JSON: HeaderValue = HeaderValue::from_static("application/vnd.kubernetes.protobuf, application/json");
/// How the type of an answer in protobuf begins.
const PROTOBUF: &[u8] = b"application/vnd.kubernetes.protobuf";
/// Others on the same thread have a turn whenever so many bytes have been read.
const BYTES_A_TURN: usize = 256 << 10;
/// And whenever so many objects of a page in JSON have been handed out.
const OBJECTS_A_TURN: usize = 256;
/// As much of a refusal is read.
const LONGEST_REFUSAL: usize = 256 << 10;
/// Room that is made at once for an answer, however long it says that it is.
const MOST_ROOM: usize = 64 << 20;

/// How an object is read from protobuf.
pub(super) type Decode<K> = fn(&[u8]) -> Result<K, DecodeError>;

/// Asks for pages of lists of one kind.
pub(super) struct Lister<K> {
    pub(super) client: Client,
    /// Where the objects are.
    pub(super) path: Arc<str>,
    /// The kind of the objects.
    pub(super) kind: String,
    /// None of objects that are only read from JSON.
    pub(super) decode: Option<Decode<K>>,
}

/// What a page says at its end.
#[derive(Debug)]
pub(super) struct PageEnd {
    /// The version of the list.
    pub(super) version: Option<String>,
    /// Asks for the next page; none in the last one.
    pub(super) more: Option<String>,
    /// How much it was, if it was protobuf.
    pub(super) size: Option<PageSize>,
}

/// How much a page was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageSize {
    pub(super) bytes: u64,
    pub(super) objects: u64,
}

/// A page in JSON.
#[derive(Deserialize)]
#[serde(bound(deserialize = "K: DeserializeOwned"))]
struct JsonPage<K> {
    #[serde(default)]
    metadata: ListMeta,
    /// Absent and `null` are none.
    items: Option<Vec<K>>,
}

impl<K: DeserializeOwned> Lister<K> {
    /// Hands out the objects of a page, and says what comes behind it. When it fails some may have been handed out.
    pub(super) async fn page(&self, params: &ListParams, mut take: impl FnMut(K)) -> Result<PageEnd, Failure> {
        let request = Request::new(&*self.path).list(params).map_err(kube::Error::BuildRequest);
        let mut request = request.map_err(Failure::Request)?.map(Body::from);
        if self.decode.is_some() {
            request.headers_mut().insert(header::ACCEPT, PROTOBUF_OR_JSON);
        }
        let response = self.client.send(request).await.map_err(Failure::of_request)?;
        if !response.status().is_success() {
            return Err(Failure::Refused(Box::new(refusal(response).await)));
        }
        match self.decode {
            Some(decode) if is_protobuf(response.headers()) => self.in_protobuf(response, decode, take).await,
            _ => in_json(response, &mut take).await,
        }
    }

    async fn in_protobuf(
        &self,
        response: Response<Body>,
        decode: Decode<K>,
        mut take: impl FnMut(K),
    ) -> Result<PageEnd, Failure> {
        let mut reader = PageReader::new(format!("{}List", self.kind));
        let mut size = PageSize { bytes: 0, objects: 0 };
        let mut body = response.into_body();
        while let Some(bytes) = piece(&mut body).await? {
            size.bytes += bytes.len() as u64;
            for part in bytes.chunks(BYTES_A_TURN) {
                reader.push(part);
                while let Some(object) = reader.next(decode)? {
                    size.objects += 1;
                    take(object);
                }
                tokio::task::yield_now().await;
            }
        }
        let meta = reader.finish()?;
        Ok(PageEnd { version: some(meta.resource_version), more: some(meta.more), size: Some(size) })
    }
}

async fn in_json<K: DeserializeOwned>(response: Response<Body>, take: &mut impl FnMut(K)) -> Result<PageEnd, Failure> {
    let length = response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut whole = Vec::with_capacity(length.unwrap_or(0usize).min(MOST_ROOM));
    let mut body = response.into_body();
    while let Some(bytes) = piece(&mut body).await? {
        whole.extend_from_slice(&bytes);
    }
    let page: JsonPage<K> = serde_json::from_slice(&whole).map_err(Failure::Json)?;
    drop(whole);
    for (number, object) in page.items.into_iter().flatten().enumerate() {
        if number % OBJECTS_A_TURN == 0 {
            tokio::task::yield_now().await;
        }
        take(object);
    }
    let ListMeta { resource_version, continue_, .. } = page.metadata;
    let some = |text: Option<String>| text.and_then(some);
    Ok(PageEnd { version: some(resource_version), more: some(continue_), size: None })
}

/// What comes next of an answer; none at its end.
async fn piece(body: &mut Body) -> Result<Option<Bytes>, Failure> {
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.map_err(Failure::Broken)?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// What a refusal says, in whatever form it comes.
async fn refusal(response: Response<Body>) -> Status {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LONGEST_REFUSAL).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let found =
        if is_protobuf(&head.headers) { protobuf::status(&body) } else { serde_json::from_slice::<Status>(&body).ok() };
    let said = || Status::failure(String::from_utf8_lossy(&body).trim(), "");
    let status = found.unwrap_or_else(said);
    if status.code == 0 { status.with_code(head.status.as_u16()) } else { status }
}

fn is_protobuf(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(PROTOBUF))
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
