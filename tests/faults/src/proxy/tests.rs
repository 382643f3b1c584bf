//! The proxy does to real connections what it says.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Mode, Proxy};

const PATIENCE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);

/// A proxy in front of a server that sends everything back.
async fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
            });
        }
    });
    proxy
}

async fn round(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<()> {
    stream.write_all(text).await?;
    let mut came = vec![0; text.len()];
    timeout(PATIENCE, stream.read_exact(&mut came)).await.unwrap()?;
    assert_eq!(came, text);
    Ok(())
}

/// While it refuses nobody can connect and what stood is reset; afterwards the same port takes connections again.
#[tokio::test]
async fn it_refuses_and_takes_again() {
    let proxy = echo().await;
    for _ in 0..3 {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        round(&mut stream, b"one").await.unwrap();
        proxy.set(Mode::Refuse);
        let error = timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        timeout(PATIENCE, async {
            while TcpStream::connect(proxy.address()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        let error = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        proxy.set(Mode::Pass);
        timeout(PATIENCE, async {
            while TcpStream::connect(proxy.address()).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
    assert!(proxy.passed().cut >= 3);
}

/// What is held passes when it is no longer held, in order and complete, whichever way is held.
#[tokio::test]
async fn it_holds_and_lets_go() {
    let proxy = echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    for (mode, reaches) in [(Mode::Hold, 3), (Mode::HoldAnswers, 12)] {
        round(&mut stream, b"one").await.unwrap();
        proxy.set(mode);
        stream.write_all(b"two").await.unwrap();
        assert!(timeout(SHORT, stream.read(&mut [0])).await.is_err(), "{mode:?}");
        assert_eq!(proxy.passed().to_server, reaches);
        proxy.set(Mode::Pass);
        let mut came = [0; 3];
        timeout(PATIENCE, stream.read_exact(&mut came)).await.unwrap().unwrap();
        assert_eq!(&came, b"two");
        assert_eq!(proxy.passed().to_client, proxy.passed().to_server);
    }
}

/// A slow way takes its time and a late answer is late; nothing is lost by either.
#[tokio::test]
async fn it_slows_and_delays() {
    let proxy = echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    for mode in [Mode::Slow(10_000), Mode::Delay(Duration::from_millis(200))] {
        proxy.set(mode);
        let began = tokio::time::Instant::now();
        round(&mut stream, &[7; 2000]).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(150), "{mode:?}");
    }
}

/// One connection of all is cut, or some, as ordered.
#[tokio::test]
async fn it_cuts() {
    let proxy = echo().await;
    let mut streams = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        round(&mut stream, b"one").await.unwrap();
        streams.push(stream);
    }
    proxy.cut(3);
    timeout(PATIENCE, async {
        while proxy.passed().cut == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let mut alive = 0;
    for stream in &mut streams {
        alive += usize::from(round(stream, b"two").await.is_ok());
    }
    assert!((10..40).contains(&alive), "{alive} of 40 live");
}
