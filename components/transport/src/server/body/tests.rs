//! Bodies from frames, and proof that a body in one frame is not copied on its way through hyper.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::convert::Infallible;

use http_body_util::{Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;

use super::*;
use crate::server::limits::Windows;

const LIMIT: usize = 1024 * 1024;

fn reading(budget: &Budget) -> Reading<'_> {
    Reading { budget, max_size: LIMIT, timeout: Duration::from_secs(10) }
}

fn message(frames: &[&[u8]], budget: &Budget) -> Result<Bytes, BodyError> {
    let mut message = GrpcMessage::new();
    for frame in frames {
        message.push(Bytes::copy_from_slice(frame), reading(budget))?;
    }
    match message {
        GrpcMessage::Body { assembly, .. } => assembly.finish().map(|(body, _charge)| body),
        GrpcMessage::Prefix { .. } => panic!("the prefix never ended"),
    }
}

/// A message cut anywhere is the same message.
#[test]
fn joins_at_any_cut() {
    let budget = Budget::new(LIMIT);
    let whole = b"\0\0\0\0\x06abcdef";
    for first in 0..=whole.len() {
        for second in first..=whole.len() {
            let frames = [&whole[..first], &whole[first..second], &whole[second..]];
            assert_eq!(message(&frames, &budget).unwrap(), b"abcdef"[..]);
        }
    }
    assert_eq!(budget.used(), 0);
}

/// A large frame is kept as it is, an empty one behind it changes nothing, and the charge is the body's size.
#[test]
fn keeps_a_large_frame() {
    let budget = Budget::new(LIMIT);
    let frame = Bytes::from(vec![7; COPY_BELOW]);
    let mut assembly = Assembly::new(&budget, Some(frame.len()), LIMIT).unwrap();
    assembly.push(frame.clone()).unwrap();
    assembly.push(Bytes::new()).unwrap();
    let (body, charge) = assembly.finish().unwrap();
    assert_eq!((body.as_ptr(), body.len()), (frame.as_ptr(), frame.len()));
    assert_eq!((budget.used(), charge.bytes()), (frame.len(), frame.len()));
    drop(charge);
    assert_eq!(budget.used(), 0);
}

/// A small frame is copied, so that it does not keep its neighbours' memory.
#[test]
fn frees_a_small_frame() {
    let budget = Budget::new(LIMIT);
    let frame = Bytes::from(vec![7; COPY_BELOW - 1]);
    let mut assembly = Assembly::new(&budget, None, LIMIT).unwrap();
    assembly.push(frame.clone()).unwrap();
    let (body, _charge) = assembly.finish().unwrap();
    assert_ne!(body.as_ptr(), frame.as_ptr());
    assert_eq!(body, frame);
}

/// What is announced is charged up to 64 KiB; the rest only as it comes; all of it goes back when the body is given up.
#[test]
fn charges_as_it_comes() {
    let budget = Budget::new(LIMIT);
    let mut assembly = Assembly::new(&budget, Some(LIMIT), LIMIT).unwrap();
    assert_eq!(budget.used(), FIRST_CHARGE);
    assembly.push(Bytes::from(vec![0; 300_000])).unwrap();
    assembly.push(Bytes::from(vec![0; 100_000])).unwrap();
    assert_eq!(budget.used(), 400_000);
    let rest = budget.try_charge(LIMIT - 400_000).unwrap();
    assert!(matches!(assembly.push(Bytes::from_static(b"x")), Err(BodyError::Exhausted(_))));
    drop((assembly, rest));
    assert_eq!(budget.used(), 0);
    let announced = Budget::new(100);
    assert!(matches!(Assembly::new(&announced, Some(101), LIMIT), Err(BodyError::Exhausted(_))));
}

/// More than declared, less than declared, and more than allowed are told apart.
#[test]
fn refuses_wrong_lengths() {
    let budget = Budget::new(2 * LIMIT);
    let refusal = |frames: &[&[u8]]| message(frames, &budget).unwrap_err().to_string();
    assert_eq!(refusal(&[b"\0\0\0\0\x02abc"]), "request body goes on after the 2 bytes it declared");
    assert_eq!(refusal(&[b"\0\0\0\0\x04ab", b"c"]), "request body ends after 3 of 4 bytes");
    assert_eq!(refusal(&[b"\0\x7f\0\0\0"]), format!("request body is larger than the limit of {LIMIT} bytes"));
    assert_eq!(refusal(&[b"\x07\0\0\0\0"]), "grpc compression flag is 7, expected 0 or 1");
    let mut unannounced = Assembly::new(&budget, None, 10).unwrap();
    unannounced.push(Bytes::from_static(b"0123456789")).unwrap();
    assert!(matches!(unannounced.push(Bytes::from_static(b"x")), Err(BodyError::TooLarge(10))));
}

/// With the windows that a connection is offered, a body of 440 kB comes as one frame and is handed on where hyper
/// put it.
#[tokio::test]
async fn copies_nothing_of_a_body_in_one_frame() {
    const SIZE: usize = 440_000;
    let (near, far) = tokio::io::duplex(LIMIT);
    let (report, mut reported) = mpsc::unbounded_channel();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let report = report.clone();
        async move {
            let budget = Budget::new(LIMIT);
            let mut incoming = request.into_body();
            let mut message = GrpcMessage::new();
            let mut frames = Vec::new();
            while let Some(frame) = next_data(&mut incoming).await.unwrap() {
                frames.push((frame.as_ptr() as usize, frame.len()));
                message.push(frame, reading(&budget)).unwrap();
            }
            let GrpcMessage::Body { assembly, .. } = message else { panic!("there was a message") };
            let (body, _charge) = assembly.finish().unwrap();
            report.send((frames, body.as_ptr() as usize)).unwrap();
            Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    server
        .max_frame_size(Windows::LARGE.frame)
        .initial_stream_window_size(Windows::LARGE.stream)
        .initial_connection_window_size(Windows::LARGE.connection);
    tokio::spawn(server.serve_connection(TokioIo::new(far), service));

    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    // The first request only lets the client learn the server's settings.
    for size in [1, SIZE] {
        let mut body = vec![0; PREFIX + size];
        body[1..PREFIX].copy_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
        let request = http::Request::post("http://test/").body(Full::new(Bytes::from(body))).unwrap();
        sender.send_request(request).await.unwrap();
    }
    drop(reported.recv().await.unwrap());
    let (frames, body_at) = reported.recv().await.unwrap();
    let filled: Vec<_> = frames.into_iter().filter(|(_, length)| *length > 0).collect();
    assert_eq!(filled, [(body_at - PREFIX, PREFIX + SIZE)]);
}
