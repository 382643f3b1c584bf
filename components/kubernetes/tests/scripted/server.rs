//! A server that lists and watches like an API server, and misbehaves when told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

type Body = BoxBody<Bytes, Infallible>;

/// The server.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    pods: Mutex<Vec<Value>>,
    token: Mutex<String>,
    requests: Mutex<Vec<String>>,
    /// Lines for watches of pods.
    events: broadcast::Sender<String>,
    /// Changes when every connection is to be broken.
    breaks: watch::Sender<u64>,
    /// The authority's certificate and what the server shows.
    tls: Mutex<Option<(String, Arc<ServerConfig>)>>,
}

/// An object with a version.
pub(crate) fn versioned(mut object: Value, version: u64) -> Value {
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    object
}

impl Server {
    /// A server in clear that takes this token.
    pub(crate) async fn start(token: &str) -> Self {
        Self::serve(token, None).await
    }

    /// The same with TLS.
    pub(crate) async fn start_tls(token: &str) -> Self {
        Self::serve(token, Some(certified())).await
    }

    async fn serve(token: &str, tls: Option<(String, Arc<ServerConfig>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            pods: Mutex::default(),
            token: Mutex::new(token.to_owned()),
            requests: Mutex::default(),
            events: broadcast::Sender::new(16),
            breaks: watch::Sender::new(0),
            tls: Mutex::new(tls),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(connection(Arc::clone(&accepting), socket));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.shared.tls.lock().unwrap().is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate of the authority that vouches for it now.
    pub(crate) fn authority(&self) -> String {
        self.shared.tls.lock().unwrap().as_ref().unwrap().0.clone()
    }

    /// From now on shows a certificate of another authority.
    pub(crate) fn certify_anew(&self) {
        *self.shared.tls.lock().unwrap() = Some(certified());
    }

    /// From now on takes another token only.
    pub(crate) fn accept(&self, token: &str) {
        *self.shared.token.lock().unwrap() = token.to_owned();
    }

    /// Lists one pod more, without telling watches.
    pub(crate) fn put(&self, pod: Value) {
        self.shared.pods.lock().unwrap().push(pod);
    }

    /// Tells the watch of pods, once there is one.
    pub(crate) async fn tell(&self, event: Value) {
        while self.shared.events.send(format!("{event}\n")).is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// Breaks all connections. Watches that come again are too old.
    pub(crate) fn forget_watches(&self) {
        self.shared.breaks.send_modify(|count| *count += 1);
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

async fn connection(shared: Arc<Shared>, socket: tokio::net::TcpStream) {
    let mut breaks = shared.breaks.subscribe();
    breaks.mark_unchanged();
    let tls = shared.tls.lock().unwrap().clone();
    let service_shared = Arc::clone(&shared);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&service_shared);
        async move { Ok::<_, Infallible>(answer(&shared, &request)) }
    });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let served = async {
        match tls {
            Some((_, config)) => {
                let Ok(stream) = TlsAcceptor::from(config).accept(socket).await else { return };
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            }
            None => drop(builder.serve_connection(TokioIo::new(socket), service).await),
        }
    };
    tokio::select! {
        () = served => {}
        _ = breaks.changed() => {}
    }
}

fn answer(shared: &Shared, request: &Request<Incoming>) -> Response<Body> {
    shared.requests.lock().unwrap().push(request.uri().to_string());
    let expected = format!("Bearer {}", shared.token.lock().unwrap());
    if request.headers().get(header::AUTHORIZATION).is_none_or(|token| token.as_bytes() != expected.as_bytes()) {
        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 401,
                             "reason": "Unauthorized", "message": "Unauthorized" });
        return reply(StatusCode::UNAUTHORIZED, status);
    }
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let parameter = |name: &str| {
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    if parameter("watch").is_some() {
        // A watch from before the pods that were put without a word is too old: a list follows.
        let is_stale = parameter("resourceVersion").is_some_and(|version| version != version_of(shared));
        if is_stale && *shared.breaks.borrow() > 0 {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
                                 "reason": "Expired", "message": "too old resource version" });
            // Servers say so in the stream; proxies and older ones in the answer itself.
            let in_answer = shared.breaks.borrow().is_multiple_of(2);
            return match in_answer {
                true => reply(StatusCode::GONE, status),
                false => reply(StatusCode::OK, json!({ "type": "ERROR", "object": status })),
            };
        }
        return Response::new(if path.ends_with("/pods") { watching(shared) } else { endless() });
    }
    let all = if path.ends_with("/pods") { shared.pods.lock().unwrap().clone() } else { Vec::new() };
    let limit: usize = parameter("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let first: usize = parameter("continue").and_then(|first| first.parse().ok()).unwrap_or(0);
    let items: Vec<Value> = all.iter().skip(first).take(limit).cloned().map(|pod| versioned(pod, 1)).collect();
    let end = first + items.len();
    let mut meta = json!({ "resourceVersion": version_of(shared) });
    if end < all.len() {
        meta["continue"] = json!(end.to_string());
    }
    reply(StatusCode::OK, json!({ "kind": "List", "apiVersion": "v1", "metadata": meta, "items": items }))
}

/// Grows with every pod that is put.
fn version_of(shared: &Shared) -> String {
    (100 + shared.pods.lock().unwrap().len()).to_string()
}

fn reply(status: StatusCode, body: Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())).boxed());
    *response.status_mut() = status;
    response
}

/// The events of pods as they are told.
fn watching(shared: &Shared) -> Body {
    let events = shared.events.subscribe();
    let lines = futures::stream::unfold(events, |mut events| async move {
        let line = events.recv().await.ok()?;
        Some((Ok(Frame::data(Bytes::from(line))), events))
    });
    BodyExt::boxed(StreamBody::new(Box::pin(lines)))
}

fn endless() -> Body {
    BodyExt::boxed(StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Infallible>>()))
}

/// A new authority, as PEM, and a server that it vouches for.
fn certified() -> (String, Arc<ServerConfig>) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], private).unwrap();
    (issuer.pem(), Arc::new(config))
}
