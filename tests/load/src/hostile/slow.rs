//! Connections that take a place and bring nothing: incomplete headers, bodies byte by byte, answers that nobody reads,
//! handshakes that stop half-way. They are slow: a flood would measure the cores that it takes from everybody.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use super::Victim;

/// Time between two bytes.
const DRIP: Duration = Duration::from_secs(1);
/// The preface and empty SETTINGS of HTTP/2: a connection that then says nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A GET that is answered at once with an error, and how many of them are sent before the first pause: their answers are
/// more than the small receive buffer of who does not read them.
const UNKNOWN: &[u8] = b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";
const UNREAD: usize = 200;
const RECEIVE_BUFFER: u32 = 4096;
/// How long the engine may take until the crowd has come to rest.
const SETTLED: Duration = Duration::from_secs(2);

/// Slow connections; they end when this is dropped.
#[derive(Debug)]
pub struct SlowCrowd {
    _tasks: JoinSet<()>,
}

/// What a connection does.
#[derive(Debug, Clone, Copy)]
enum Habit {
    /// Headers of HTTP/1, a byte a second.
    Headers,
    /// A body of HTTP/1, a byte a second.
    Body,
    /// Many requests, no answer read.
    Deaf,
    /// HTTP/2 without a request.
    Silent,
}

const HABITS: [Habit; 4] = [Habit::Headers, Habit::Body, Habit::Deaf, Habit::Silent];

impl SlowCrowd {
    /// Opens so many connections, a quarter for each habit, and waits until they have done what they do at first.
    ///
    /// # Errors
    /// When a connection cannot be opened.
    pub async fn gather(victim: &Victim, connections: usize) -> Result<SlowCrowd> {
        let mut tasks = JoinSet::new();
        for index in 0..connections {
            let habit = HABITS[index % HABITS.len()];
            let target: SocketAddr = match habit {
                Habit::Silent => victim.grpc,
                Habit::Headers | Habit::Body | Habit::Deaf => victim.http,
            };
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
            let stream = socket.connect(target).await?;
            // The engine may close the connection, which is what its time limits are for.
            tasks.spawn(async move { drop(habit.live(stream).await) });
        }
        tokio::time::sleep(SETTLED).await;
        Ok(SlowCrowd { _tasks: tasks })
    }
}

impl Habit {
    async fn live(self, mut stream: TcpStream) -> Result<()> {
        match self {
            Habit::Headers => stream.write_all(b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nX-Filler: ").await?,
            Habit::Body => {
                let head = b"POST /v1/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n\
                    Content-Length: 4000000\r\n\r\n";
                stream.write_all(head).await?;
            }
            Habit::Silent => stream.write_all(PREFACE).await?,
            Habit::Deaf => stream.write_all(&UNKNOWN.repeat(UNREAD)).await?,
        }
        loop {
            tokio::time::sleep(DRIP).await;
            match self {
                Habit::Headers | Habit::Body => stream.write_all(b"x").await?,
                Habit::Deaf => stream.write_all(UNKNOWN).await?,
                Habit::Silent => {}
            }
        }
    }
}
