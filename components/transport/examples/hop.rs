//! A gateway of nothing but this crate and admission: takes OTLP/gRPC, checks it, passes it on. What is measured when
//! the transport shall be compared with another one without the rest of the engine:
//!
//! `cargo bars hop --peer-command "target/release/examples/hop {listen} {endpoint}"`
//!
//! A third argument, `gzip` or `zstd`, compresses what goes out.
#![allow(clippy::print_stderr, reason = "a command line program reports on its standard streams")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;

use engine_core::budget::Budget;
use engine_core::lane::LaneThreads;
use tokio_util::sync::CancellationToken;
use transport::client::{Client, ClientOptions};
use transport::server::{Handler, Reply, Request, ServerOptions, serve};
use transport::{Compression, Protocol, address};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BUDGET: usize = 256 * 1024 * 1024;

struct Forward(Client);

impl Handler for Forward {
    async fn handle(&self, request: Request) -> Reply {
        match otlp::admit(request.signal, request.body) {
            Ok(wire) => self.0.export(request.signal, wire.into_rope()).await.into(),
            Err(error) => Reply::Invalid { message: error.to_string(), field: None },
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(endpoint)) = (arguments.next(), arguments.next()) else {
        return Err("usage: hop LISTEN ENDPOINT [gzip|zstd]".into());
    };
    let compression = match arguments.next().as_deref() {
        None => Compression::None,
        Some("gzip") => Compression::GZIP,
        Some("zstd") => Compression::ZSTD,
        Some(other) => return Err(format!("unknown compression {other}").into()),
    };
    let listen: SocketAddr = listen.parse()?;
    let endpoint = if endpoint.contains("://") { endpoint } else { format!("http://{endpoint}") };
    let mut options = ClientOptions::new(endpoint.parse()?, Protocol::Grpc);
    options.compression = compression;
    let client = Client::new(options)?;
    let lanes = LaneThreads::start(available_parallelism()?.get())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(address::bind(listen)?)?;
        let drain = CancellationToken::new();
        let options = ServerOptions::new(Protocol::Grpc);
        let report =
            serve(listener, lanes.lanes(), Budget::new(BUDGET), options, Arc::new(Forward(client)), drain).await;
        eprintln!("{report:?}");
        Ok(())
    })
}
