//! Peers that answer what a test tells them to, right or wrong.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use transport::Protocol;

/// What a script answers.
pub(crate) type Scripted = Response<BoxBody<Bytes, Infallible>>;

/// Makes the same answer again and again.
pub(crate) type Script = Box<dyn Fn() -> Scripted + Send + Sync>;

/// A server that reads each request to its end and lets a script answer it. Runs until the test's runtime ends.
pub(crate) struct ScriptedServer {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl ScriptedServer {
    pub(crate) async fn start<F>(protocol: Protocol, script: F) -> Self
    where
        F: Fn(Request<Bytes>) -> Scripted + Send + Sync + 'static,
    {
        let script = Arc::new(script);
        Self::raw(move |socket| {
            let script = Arc::clone(&script);
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let script = Arc::clone(&script);
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        Ok::<_, hyper::Error>(script(Request::from_parts(head, body)))
                    }
                });
                let socket = TokioIo::new(socket);
                // A peer that goes away is no matter here.
                drop(match protocol {
                    Protocol::Grpc => {
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(socket, service)
                            .await
                    }
                    Protocol::Http => {
                        hyper::server::conn::http1::Builder::new().serve_connection(socket, service).await
                    }
                });
            }
        })
        .await
    }

    /// A server that does to each connection what `serve` says.
    pub(crate) async fn raw<F, S>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(socket));
            }
        });
        Self { address, connections }
    }

    pub(crate) fn uri(&self) -> http::Uri {
        format!("http://{}", self.address).parse().unwrap()
    }
}

/// An answer with a body.
pub(crate) fn answer(head: http::response::Builder, body: impl Into<Bytes>) -> Scripted {
    head.body(http_body_util::Full::new(body.into()).boxed()).unwrap()
}

/// A gRPC answer: a message and trailers.
pub(crate) fn grpc_answer(message: Vec<u8>, trailers: &[(&'static str, &str)]) -> Scripted {
    let trailers: HeaderMap =
        trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let frames = [Frame::data(Bytes::from(message)), Frame::trailers(trailers)];
    let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, Infallible>))).boxed();
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// A gRPC answer without a message, its status in the headers.
pub(crate) fn grpc_failure(headers: &[(&'static str, &str)]) -> Scripted {
    let head = Response::builder().header("content-type", "application/grpc");
    let head = headers.iter().fold(head, |head, (name, value)| head.header(*name, *value));
    head.body(http_body_util::Empty::new().boxed()).unwrap()
}
