//! What a connection reads from and writes to: a socket that counts, and a stream whose first bytes are looked at.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::server::Counters;

/// The first bytes of every HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A reader that asks for less than this at a time is one of small frames.
const SMALL_READ: usize = 32 * 1024;

/// After this many small reads in a row that were filled, the socket is read ahead. A connection with large frames
/// reads the rest of each at once in between and never comes so far: reading ahead would copy what now is not copied.
const READ_AHEAD_AFTER: u8 = 4;

/// What is read ahead at once: eight frames of usual size with one system call instead of two for each.
const READ_AHEAD: usize = 128 * 1024;

/// Read-ahead buffers kept per thread. A connection has one only while there is something in it.
const KEPT_BUFFERS: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A socket that counts what goes through it, and reads ahead for peers that send small frames.
pub(super) struct Socket {
    stream: TcpStream,
    counters: Arc<Counters>,
    filled_small_reads: u8,
    ahead: Option<Ahead>,
}

/// Bytes that were read and not asked for yet.
struct Ahead {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// A stream whose first bytes were read to see what is spoken, and are read again.
pub(super) struct Replayed<S> {
    stream: S,
    first: [u8; PREFACE.len()],
    read: usize,
    filled: usize,
}

impl<S: AsyncRead + Unpin> Replayed<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, first: [0; PREFACE.len()], read: 0, filled: 0 }
    }

    /// Whether the peer speaks HTTP/2: reads until its bytes differ from the preface or are all of it. `None` if the
    /// peer closed before it said anything.
    pub(super) async fn detect(&mut self) -> io::Result<Option<bool>> {
        while self.filled < PREFACE.len() && self.first[..self.filled] == PREFACE[..self.filled] {
            let read = self.stream.read(&mut self.first[self.filled..]).await?;
            if read == 0 {
                return if self.filled == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            self.filled += read;
        }
        Ok(Some(self.first == *PREFACE))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replayed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read == self.filled {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = buffer.remaining().min(self.filled - self.read);
        buffer.put_slice(&self.first[self.read..self.read + count]);
        self.read += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replayed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(ahead) = self.ahead.take() {
            self.ahead = ahead.hand_out(buffer);
            return Poll::Ready(Ok(()));
        }
        if self.filled_small_reads >= READ_AHEAD_AFTER && buffer.remaining() < SMALL_READ {
            return self.poll_read_ahead(context, buffer);
        }
        let wanted = buffer.remaining();
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        if read > 0 {
            self.counters.receive(read);
            let is_filled_small_read = wanted < SMALL_READ && read == wanted;
            self.filled_small_reads = if is_filled_small_read { self.filled_small_reads.saturating_add(1) } else { 0 };
        }
        result
    }
}

impl Ahead {
    fn take_buffer() -> Box<[u8]> {
        let kept = BUFFERS.with_borrow_mut(Vec::pop);
        kept.unwrap_or_else(|| vec![0; READ_AHEAD].into_boxed_slice())
    }

    fn give_back(buffer: Box<[u8]>) {
        BUFFERS.with_borrow_mut(|kept| {
            if kept.len() < KEPT_BUFFERS {
                kept.push(buffer);
            }
        });
    }

    /// Copies out what fits; what remains stays ahead.
    fn hand_out(mut self, buffer: &mut ReadBuf<'_>) -> Option<Self> {
        let count = buffer.remaining().min(self.end - self.start);
        buffer.put_slice(&self.buffer[self.start..self.start + count]);
        self.start += count;
        if self.start < self.end {
            return Some(self);
        }
        Self::give_back(self.buffer);
        None
    }
}

impl Socket {
    /// Small answers leave at once.
    pub(super) fn new(stream: TcpStream, counters: Arc<Counters>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, counters, filled_small_reads: 0, ahead: None })
    }

    fn poll_read_ahead(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut bytes = Ahead::take_buffer();
        let mut read = ReadBuf::new(&mut bytes);
        let result = Pin::new(&mut self.stream).poll_read(context, &mut read);
        let end = read.filled().len();
        self.counters.receive(end);
        if result.is_ready() && end < READ_AHEAD / 8 {
            // Hardly more than was asked for: the peer has calmed down, or sends large frames now.
            self.filled_small_reads = 0;
        }
        self.ahead = Ahead { buffer: bytes, start: 0, end }.hand_out(buffer);
        result
    }

    fn sent(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = result {
            self.counters.send(count);
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.sent(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// Whatever sizes are asked for, what comes out is what was sent, to the end, and is counted once.
    #[tokio::test]
    async fn reads_ahead_without_a_trace() {
        let content: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 251) as u8).collect();
        for sizes in [&[1000][..], &[16_393, 9], &[8192, 500_000], &[16_000, 16_000, 16_000, 16_000, 16_000, 400_000]] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let sent = content.clone();
            tokio::spawn(async move { sender.write_all(&sent).await });
            let counters = Arc::new(Counters::default());
            let mut socket = Socket::new(listener.accept().await.unwrap().0, Arc::clone(&counters)).unwrap();
            let mut received = Vec::new();
            for size in sizes.iter().cycle() {
                let mut chunk = vec![0; *size];
                let read = socket.read(&mut chunk).await.unwrap();
                if read == 0 {
                    break;
                }
                received.extend_from_slice(&chunk[..read]);
            }
            assert!(received == content, "{sizes:?}");
            assert_eq!(counters.snapshot().received_bytes, content.len() as u64);
            assert!(socket.ahead.is_none());
        }
    }
}
