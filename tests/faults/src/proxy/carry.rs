//! Carries one connection, and does to it what is ordered.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::answers::Answers;
use super::{Mode, Shared};

/// Bytes that are carried at once.
const PIECE: usize = 64 << 10;
/// Pieces a second of a connection that is slow.
const SLOW_PIECES: u64 = 20;

/// Carries a connection to its end.
pub(super) async fn carry(mut client: TcpStream, shared: Arc<Shared>, number: u64) {
    let mut cut = shared.cut.subscribe();
    cut.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(shared.server).await else {
        reset(&client);
        return;
    };
    // A connection that is gone already ends with its first read.
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let is_cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let requests = requests(from_client, to_server, &shared);
        let answers = answers(from_server, to_client, &shared);
        tokio::select! {
            carried = async { tokio::try_join!(requests, answers) } => carried.is_err(),
            () = ordered(&shared, cut, number) => true,
        }
    };
    if is_cut {
        shared.counters.cut.fetch_add(1, Ordering::Relaxed);
        reset(&client);
        reset(&server);
    }
}

/// Has the kernel reset the connection when it is closed.
fn reset(stream: &TcpStream) {
    // It fails for a connection that is gone already.
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok();
}

/// Waits until this connection is to be cut.
async fn ordered(shared: &Shared, mut cut: watch::Receiver<(u64, u64)>, number: u64) {
    let mut mode = shared.mode.subscribe();
    let mut random = StdRng::seed_from_u64(number);
    let drawn = async {
        while cut.changed().await.is_ok() {
            let (_, of_ten) = *cut.borrow_and_update();
            if random.random_range(0..10) < of_ten {
                return;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        _ = mode.wait_for(|mode| *mode == Mode::Refuse) => {}
        () = drawn => {}
    }
}

async fn requests(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, shared: &Shared) -> io::Result<()> {
    let mut mode = shared.mode.subscribe();
    let mut piece = vec![0; PIECE];
    loop {
        let length = next(&mut from, &mut piece, &mut mode, Mode::holds_requests).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let mut rest = &piece[..length];
        while !rest.is_empty() {
            let now = *mode.borrow_and_update();
            if now.holds_requests() {
                changed(&mut mode).await?;
            } else if let Mode::Slow(bytes) = now {
                let length = usize::try_from((bytes / SLOW_PIECES).max(1)).unwrap_or(PIECE).min(rest.len());
                write(&mut to, &rest[..length], &shared.counters.to_server).await?;
                rest = &rest[length..];
                let pause = Duration::from_secs_f64(length as f64 / bytes as f64);
                // A new order is obeyed at once.
                tokio::time::timeout(pause, mode.changed()).await.ok();
            } else {
                write(&mut to, rest, &shared.counters.to_server).await?;
                break;
            }
        }
    }
}

async fn answers(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, shared: &Shared) -> io::Result<()> {
    let mut mode = shared.mode.subscribe();
    let mut piece = vec![0; PIECE];
    let mut frames = Answers::default();
    loop {
        let length = next(&mut from, &mut piece, &mut mode, Mode::holds_answers).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let begun = frames.walk(&piece[..length]);
        for begins in begun {
            let number = shared.counters.answers.fetch_add(1, Ordering::Relaxed) + 1;
            if matches!(*mode.borrow(), Mode::LoseAnswers(of) if number.is_multiple_of(of)) {
                write(&mut to, &piece[..begins], &shared.counters.to_client).await?;
                shared.counters.lost_answers.fetch_add(1, Ordering::Relaxed);
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        let delay = match *mode.borrow() {
            Mode::Delay(delay) => Some(delay),
            _ => None,
        };
        if let Some(delay) = delay {
            tokio::time::timeout(delay, mode.wait_for(|mode| !matches!(mode, Mode::Delay(_)))).await.ok();
        }
        while mode.borrow_and_update().holds_answers() {
            changed(&mut mode).await?;
        }
        write(&mut to, &piece[..length], &shared.counters.to_client).await?;
    }
}

/// Reads the next bytes once nothing holds them.
async fn next(
    from: &mut ReadHalf<'_>,
    piece: &mut [u8],
    mode: &mut watch::Receiver<Mode>,
    is_held: fn(Mode) -> bool,
) -> io::Result<usize> {
    loop {
        if is_held(*mode.borrow_and_update()) {
            changed(mode).await?;
            continue;
        }
        tokio::select! {
            read = from.read(piece) => return read,
            gone = changed(mode) => gone?,
        }
    }
}

async fn changed(mode: &mut watch::Receiver<Mode>) -> io::Result<()> {
    mode.changed().await.map_err(|_| io::ErrorKind::ConnectionReset.into())
}

async fn write(to: &mut WriteHalf<'_>, bytes: &[u8], counter: &AtomicU64) -> io::Result<()> {
    to.write_all(bytes).await?;
    counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Ok(())
}
