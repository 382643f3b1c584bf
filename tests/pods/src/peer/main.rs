//! What speaks OTLP in pods of tests: it does what its arguments say, one after the other, and then stays until it is ended.
//!
//!   backend=PORT:ASKED            takes OTLP over gRPC at PORT, and tells everything that came, as JSON, whoever connects to
//!                                 ASKED
//!   send=SIGNAL:WAY:RATE:URL      sends so many numbered records a second with the OpenTelemetry SDK, whose retries are off,
//!                                 until somebody connects to port 7000. Then prints how many records it has made and how
//!                                 many exports have failed: `made 1200 failed 0`. SIGNAL is logs, metrics or traces, WAY
//!                                 grpc or http
//!
//! Not here: what pods do without OTLP (`pod`).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is what tests look at")]

mod client;

use std::net::{Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use pods::oracle::Oracle;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

fn main() -> Result<()> {
    let runtime = Runtime::new()?;
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("backend", value)) => runtime.block_on(backend(value))?,
            Some(("send", value)) => {
                // Exporters connect in a runtime, and their processors block in threads of their own.
                let _inside = runtime.enter();
                client::send(value)?;
            }
            _ => bail!("expected backend=PORT:ASKED or send=SIGNAL:WAY:RATE:URL, not `{argument}`"),
        }
    }
    loop {
        std::thread::park();
    }
}

async fn backend(value: &str) -> Result<()> {
    let (port, asked) = value.split_once(':').context("expected PORT:ASKED")?;
    let oracle = Oracle::default();
    oracle.serve_at(everywhere(port.parse()?)).await?;
    let listener = TcpListener::bind(everywhere(asked.parse()?)).await?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = serde_json::to_vec(&oracle.seen()).expect("texts and numbers are JSON");
            // Who went away does not read it.
            stream.write_all(&seen).await.ok();
        }
    });
    Ok(())
}

fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}
