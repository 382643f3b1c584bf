//! Our gRPC client against our server, tonic servers, and scripted ones.

use bytes::{Buf as _, Bytes};
use engine_core::outcome::Outcome;
use otlp::{Rope, Signal};
use transport::client::{Client, ClientOptions};
use transport::{Compression, Protocol};

use crate::harness::{TestServer, logs_bytes};

/// K1, K17: a rope arrives joined, whatever the compression, over gRPC and HTTP, and counts as delivered.
#[tokio::test]
async fn delivers_to_our_server() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        for compression in [Compression::None, Compression::GZIP, Compression::ZSTD] {
            let server = TestServer::builder(protocol).start();
            let mut options = ClientOptions::new(server.uri(), protocol);
            options.compression = compression;
            let client = Client::new(options).unwrap();
            for size in [0, 10, 100_000, 3_000_000] {
                let bytes = Bytes::from(logs_bytes(size));
                let rope: Rope =
                    (0..bytes.len()).step_by(70_000).map(|at| bytes.slice(at..bytes.len().min(at + 70_000))).collect();
                assert_eq!(rope.remaining(), bytes.len());
                assert_eq!(
                    client.export(Signal::Logs, rope).await,
                    Outcome::Delivered,
                    "{protocol:?} {compression:?} {size}"
                );
                let received = server.handler.requests.lock().unwrap().pop().unwrap();
                assert_eq!((received.signal, received.body), (Signal::Logs, bytes));
            }
            drop(client);
            server.stop().await;
        }
    }
}
