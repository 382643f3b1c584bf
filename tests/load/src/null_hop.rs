//! The yardstick: a tonic server and a tonic client that forward OTLP bodies unread.
//! It admits, checks, edits, queues and counts nothing; a gateway that costs no more than this costs nothing.

use std::{
    convert::Infallible,
    marker::PhantomData,
    net::SocketAddr,
    task::{Context, Poll},
};

use anyhow::Result;
use bytes::{Buf, BufMut, Bytes};
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, uri::PathAndQuery};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tonic::{
    Status,
    body::Body,
    client::GrpcService,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::Service,
    server::{NamedService, UnaryService},
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

use crate::{compression::Compression, frames::Frames, signal::Signal};

/// Above any request of a measurement.
const MAX_MESSAGE: usize = 64 << 20;

/// What a null hop is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it forwards to.
    pub endpoint: SocketAddr,
    /// What it advertises to its clients.
    pub frames: Frames,
    /// How requests come in and go out; decompressed and compressed again in between.
    pub compression: Compression,
}

/// Binds the address of the spec and serves until the runtime ends.
///
/// # Errors
/// When the socket cannot be bound.
pub async fn serve(spec: Spec) -> Result<()> {
    serve_on(TcpListener::bind(spec.listen).await?, spec).await
}

/// Serves on a bound socket until the runtime ends.
///
/// # Errors
/// When the socket breaks.
pub async fn serve_on(listener: TcpListener, spec: Spec) -> Result<()> {
    let channel = Endpoint::from_shared(format!("http://{}", spec.endpoint))?
        .tcp_nodelay(true)
        .initial_stream_window_size(spec.frames.stream_window)
        .initial_connection_window_size(spec.frames.connection_window)
        .connect_lazy();
    let forward = Forward { channel, compression: spec.compression };
    Server::builder()
        .max_frame_size(spec.frames.max_frame)
        .initial_stream_window_size(spec.frames.stream_window)
        .initial_connection_window_size(spec.frames.connection_window)
        .add_service(Export::<LogsService>::new(forward.clone()))
        .add_service(Export::<TraceService>::new(forward.clone()))
        .add_service(Export::<MetricsService>::new(forward))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}

/// Where requests go, and how they are compressed.
#[derive(Debug, Clone)]
struct Forward {
    channel: Channel,
    compression: Compression,
}

/// One call in flight.
#[derive(Debug)]
struct Call {
    forward: Forward,
    path: PathAndQuery,
}

impl UnaryService<Bytes> for Call {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let forward = self.forward.clone();
        let path = self.path.clone();
        let codec = Raw { compression: forward.compression };
        Box::pin(async move {
            let mut client = tonic::client::Grpc::new(forward).max_encoding_message_size(MAX_MESSAGE);
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let body = request.into_inner();
            client.unary(tonic::Request::new(body), path, codec).await
        })
    }
}

/// A service of the OTLP protocol.
trait Otlp: Send + Sync + 'static {
    const NAME: &'static str;
}

struct LogsService;
struct TraceService;
struct MetricsService;

impl Otlp for LogsService {
    const NAME: &'static str = "opentelemetry.proto.collector.logs.v1.LogsService";
}

impl Otlp for TraceService {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Otlp for MetricsService {
    const NAME: &'static str = "opentelemetry.proto.collector.metrics.v1.MetricsService";
}

/// The export call of one OTLP service.
struct Export<S> {
    forward: Forward,
    service: PhantomData<S>,
}

impl<S> Export<S> {
    fn new(forward: Forward) -> Self {
        Export { forward, service: PhantomData }
    }
}

impl<S> Clone for Export<S> {
    fn clone(&self) -> Self {
        Export::new(self.forward.clone())
    }
}

impl<S: Otlp> NamedService for Export<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Otlp> Service<Request<Body>> for Export<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let forward = self.forward.clone();
        let path = Signal::from_path(request.uri().path()).map(|signal| PathAndQuery::from_static(signal.path()));
        Box::pin(async move {
            let Some(path) = path else {
                return Ok(Status::unimplemented("no such call").into_http());
            };
            let codec = Raw { compression: Compression::None };
            let mut server = tonic::server::Grpc::new(codec).max_decoding_message_size(MAX_MESSAGE);
            server = match forward.compression {
                Compression::None => server,
                Compression::Gzip => server.accept_compressed(CompressionEncoding::Gzip),
                Compression::Zstd => server.accept_compressed(CompressionEncoding::Zstd),
            };
            Ok(server.unary(Call { forward, path }, request).await)
        })
    }
}

/// A codec of bytes: takes the body out of tonic's buffer, and writes it into one.
///
/// tonic compresses at a fixed level, so compression at level 1 happens here.
#[derive(Debug, Clone, Copy)]
struct Raw {
    compression: Compression,
}

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        *self
    }

    fn decoder(&mut self) -> Raw {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, body: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        if self.compression == Compression::None {
            out.put(body);
            return Ok(());
        }
        Ok(self.compression.compress(&body, out.writer())?)
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, body: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(body.copy_to_bytes(body.remaining())))
    }
}

/// The channel, marking each message as compressed where the codec has compressed it.
impl Service<Request<Body>> for Forward {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        GrpcService::poll_ready(&mut self.channel, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(encoding) = self.compression.encoding() else {
            return Service::call(&mut self.channel, request);
        };
        let (mut parts, body) = request.into_parts();
        parts.headers.insert("grpc-encoding", HeaderValue::from_static(encoding));
        let mut flag_set = false;
        let flagged = body.map_frame(move |frame| {
            frame.map_data(|data| {
                if flag_set || data.is_empty() {
                    return data;
                }
                flag_set = true;
                let mut message = data.try_into_mut().unwrap_or_else(|shared| shared[..].into());
                message[0] = 1;
                message.freeze()
            })
        });
        Service::call(&mut self.channel, Request::from_parts(parts, Body::new(flagged)))
    }
}
