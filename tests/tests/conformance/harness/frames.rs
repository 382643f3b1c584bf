//! HTTP/2 by the frame (RFC 9113, section 4), for peers that do what no library does.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::within;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const ACK: u8 = 1;

/// The identifier of SETTINGS_MAX_CONCURRENT_STREAMS.
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// One end of a connection.
pub(crate) struct Wire(TcpStream);

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// The HEADERS of a request, as literals that enter no table.
    pub(crate) fn request(stream: u32, fields: &[(&str, &str)]) -> Self {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for part in [name, value] {
                let length = u8::try_from(part.len()).unwrap();
                assert!(length < 127, "a longer text has a longer prefix");
                block.push(length);
                block.extend_from_slice(part.as_bytes());
            }
        }
        Self::new(HEADERS, END_HEADERS, stream, block)
    }

    /// GOAWAY without an error: streams above `last` were not looked at.
    pub(crate) fn go_away(last: u32) -> Self {
        Self::new(GOAWAY, 0, 0, [last.to_be_bytes(), [0; 4]].concat())
    }

    fn is_ack(&self) -> bool {
        matches!(self.kind, SETTINGS | PING) && self.flags & ACK != 0
    }
}

impl Wire {
    /// Connects as a client and says the preface.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut wire = Self(TcpStream::connect(address).await.unwrap());
        wire.0.write_all(PREFACE).await.unwrap();
        wire.send(Frame::new(SETTINGS, 0, 0, [])).await;
        wire
    }

    /// Takes a client's preface on an accepted connection.
    pub(crate) async fn accept(socket: TcpStream) -> Self {
        let mut wire = Self(socket);
        let mut preface = [0; PREFACE.len()];
        within("a preface", wire.0.read_exact(&mut preface)).await.unwrap();
        assert_eq!(preface, PREFACE);
        wire.send(Frame::new(SETTINGS, 0, 0, [])).await;
        wire
    }

    pub(crate) async fn send(&mut self, frame: Frame) {
        let length = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[frame.kind, frame.flags], &frame.stream.to_be_bytes()].concat();
        self.0.write_all(&[head, frame.payload].concat()).await.unwrap();
    }

    /// The next frame, or `None` at the end. Settings are confirmed on the way, and pings answered.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        // A reset is an end as well.
        within("a frame", self.0.read_exact(&mut head)).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        within("a frame", self.0.read_exact(&mut payload)).await.ok()?;
        let frame = Frame { kind, flags, stream: u32::from_be_bytes(stream), payload };
        if matches!(kind, SETTINGS | PING) && !frame.is_ack() {
            let payload = if kind == PING { frame.payload.clone() } else { Vec::new() };
            self.send(Frame::new(kind, ACK, 0, payload)).await;
        }
        Some(frame)
    }

    /// Reads until a frame of a kind comes; `None` when the connection ends before.
    pub(crate) async fn until(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind && !frame.is_ack() {
                return Some(frame);
            }
        }
    }

    /// Sends a PING and waits for its answer; false when the connection ends before.
    pub(crate) async fn ping(&mut self, payload: [u8; 8]) -> bool {
        self.send(Frame::new(PING, 0, 0, payload)).await;
        while let Some(frame) = self.next().await {
            if frame == Frame::new(PING, ACK, 0, payload) {
                return true;
            }
        }
        false
    }
}

/// The value of a setting, if the frame names it.
pub(crate) fn setting(settings: &Frame, wanted: u16) -> Option<u32> {
    let (entries, _) = settings.payload.as_chunks::<6>();
    entries.iter().find(|entry| u16::from_be_bytes([entry[0], entry[1]]) == wanted).map(|entry| {
        let [_, _, value @ ..] = *entry;
        u32::from_be_bytes(value)
    })
}
