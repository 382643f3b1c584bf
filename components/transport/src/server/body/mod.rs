//! Request bodies: frames in, one charged allocation out, copied at most once.
//!
//! A body that came in one large frame is that frame. A small one is copied, because it shares the connection's read
//! buffer with its neighbours and would keep all of it alive. One in several frames is joined in memory reserved once.

use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use engine_core::budget::{Budget, Charge, Exhausted};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::compression::{self, Encoding, InflateError};

/// A body in one frame below this size is copied out of the read buffer.
const COPY_BELOW: usize = 64 * 1024;

/// Charged when a body is announced, before any of it has come.
const FIRST_CHARGE: usize = 64 * 1024;

/// A peer's word is believed for a first allocation of at most this size; beyond, memory follows what has come.
const TRUSTED_RESERVATION: usize = 4 * 1024 * 1024;

/// The compressed flag and the length before a gRPC message.
const PREFIX: usize = 5;

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("request body is larger than the limit of {0} bytes")]
    TooLarge(usize),
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    #[error("{0}")]
    Malformed(String),
    #[error("request body ended early: {0}")]
    Interrupted(hyper::Error),
    #[error("request body did not arrive within {0:?}")]
    TimedOut(Duration),
}

/// A body, and the size it had on the wire.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) body: Bytes,
    pub(super) charge: Charge,
    pub(super) wire_bytes: u64,
}

/// How a body shall be read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) budget: &'a Budget,
    pub(super) max_size: usize,
    pub(super) timeout: Duration,
}

/// Reads an HTTP request body and inflates it.
pub(super) async fn read_http(
    incoming: &mut Incoming,
    encoding: Option<Encoding>,
    reading: Reading<'_>,
) -> Result<Received, BodyError> {
    let declared = incoming.size_hint().exact();
    if declared.is_some_and(|length| length > reading.max_size as u64) {
        return Err(BodyError::TooLarge(reading.max_size));
    }
    let declared = declared.and_then(|length| usize::try_from(length).ok());
    let mut assembly = Assembly::new(reading.budget, declared, reading.max_size)?;
    within(reading.timeout, async {
        while let Some(frame) = next_data(incoming).await? {
            assembly.push(frame)?;
        }
        Ok(())
    })
    .await?;
    finish(assembly, encoding, reading).await
}

/// Reads the one message of a unary gRPC request and inflates it if its flag says so.
pub(super) async fn read_grpc(
    incoming: &mut Incoming,
    encoding: Option<Encoding>,
    reading: Reading<'_>,
) -> Result<Received, BodyError> {
    let mut message = GrpcMessage::new();
    within(reading.timeout, async {
        while let Some(frame) = next_data(incoming).await? {
            message.push(frame, reading)?;
        }
        Ok(())
    })
    .await?;
    let GrpcMessage::Body { compressed, assembly } = message else {
        return Err(BodyError::Malformed("grpc request without a message".to_owned()));
    };
    if compressed && encoding.is_none() {
        return Err(BodyError::Malformed("grpc message is flagged as compressed without grpc-encoding".to_owned()));
    }
    finish(assembly, encoding.filter(|_| compressed), reading).await
}

async fn finish(assembly: Assembly, encoding: Option<Encoding>, reading: Reading<'_>) -> Result<Received, BodyError> {
    let wire_bytes = assembly.len() as u64;
    let Some(encoding) = encoding else {
        let (body, charge) = assembly.finish()?;
        return Ok(Received { body, charge, wire_bytes });
    };
    let (wire, _charge) = assembly.finish_shared()?;
    let (body, charge) = compression::inflate(encoding, &wire, reading.max_size, reading.budget).await?;
    Ok(Received { body, charge, wire_bytes })
}

/// The next piece of data, or `None` at the end. Trailers say nothing to us.
pub(super) async fn next_data(incoming: &mut Incoming) -> Result<Option<Bytes>, BodyError> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context)).await;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(BodyError::Interrupted(error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The timer starts to cost something only when the body is not there yet.
async fn within<T>(timeout: Duration, read: impl Future<Output = Result<T, BodyError>>) -> Result<T, BodyError> {
    tokio::time::timeout(timeout, read).await.unwrap_or(Err(BodyError::TimedOut(timeout)))
}

impl From<InflateError> for BodyError {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooLarge(limit) => Self::TooLarge(limit),
            InflateError::Exhausted(exhausted) => Self::Exhausted(exhausted),
            InflateError::Malformed { .. } => Self::Malformed(error.to_string()),
        }
    }
}

/// A length-prefixed message in arrival.
enum GrpcMessage {
    Prefix { filled: usize, bytes: [u8; PREFIX] },
    Body { compressed: bool, assembly: Assembly },
}

impl GrpcMessage {
    fn new() -> Self {
        Self::Prefix { filled: 0, bytes: [0; PREFIX] }
    }

    fn push(&mut self, mut frame: Bytes, reading: Reading<'_>) -> Result<(), BodyError> {
        if let Self::Prefix { filled, bytes } = self {
            let taken = frame.len().min(PREFIX - *filled);
            bytes[*filled..*filled + taken].copy_from_slice(&frame[..taken]);
            frame.advance(taken);
            *filled += taken;
            if *filled < PREFIX {
                return Ok(());
            }
            let [flag, length @ ..] = *bytes;
            if flag > 1 {
                return Err(BodyError::Malformed(format!("grpc compression flag is {flag}, expected 0 or 1")));
            }
            let length = usize::try_from(u32::from_be_bytes(length)).expect("usize has at least 32 bits");
            if length > reading.max_size {
                return Err(BodyError::TooLarge(reading.max_size));
            }
            let assembly = Assembly::new(reading.budget, Some(length), reading.max_size)?;
            *self = Self::Body { compressed: flag == 1, assembly };
        }
        let Self::Body { assembly, .. } = self else { return Ok(()) };
        assembly.push(frame)
    }
}

/// Pieces of a body, charged as they come.
struct Assembly {
    declared: Option<usize>,
    max_size: usize,
    charge: Charge,
    first: Bytes,
    joined: Vec<u8>,
}

impl Assembly {
    fn new(budget: &Budget, declared: Option<usize>, max_size: usize) -> Result<Self, BodyError> {
        let charge = budget.try_charge(declared.unwrap_or(0).min(FIRST_CHARGE))?;
        Ok(Self { declared, max_size, charge, first: Bytes::new(), joined: Vec::new() })
    }

    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, frame: Bytes) -> Result<(), BodyError> {
        // The end of a stream often comes as an empty frame of its own, which must not cost a copy.
        if frame.is_empty() {
            return Ok(());
        }
        let length = self.len() + frame.len();
        if length > self.max_size {
            return Err(BodyError::TooLarge(self.max_size));
        }
        if let Some(declared) = self.declared
            && length > declared
        {
            return Err(BodyError::Malformed(format!("request body goes on after the {declared} bytes it declared")));
        }
        if length > self.charge.bytes() {
            self.charge.resize(length)?;
        }
        if length == frame.len() {
            self.first = frame;
            return Ok(());
        }
        if self.joined.capacity() < length {
            let declared = self.declared.unwrap_or(0).min(TRUSTED_RESERVATION);
            // Beyond what is trusted, room for as much again as there is keeps the copying bounded.
            let room = declared.max(length).max((2 * self.joined.len()).min(self.max_size));
            self.joined.reserve_exact(room - self.joined.len());
        }
        self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        self.joined.extend_from_slice(&frame);
        Ok(())
    }

    /// The body in an allocation that no other body shares, and its charge.
    fn finish(self) -> Result<(Bytes, Charge), BodyError> {
        let (body, charge, shared) = self.end()?;
        let own = if shared && body.len() < COPY_BELOW { Bytes::copy_from_slice(&body) } else { body };
        Ok((own, charge))
    }

    /// The body as it came, with its charge beside it.
    fn finish_shared(self) -> Result<(Bytes, Charge), BodyError> {
        let (body, charge, _) = self.end()?;
        Ok((body, charge))
    }

    /// The body, its charge, and whether it lies in the connection's read buffer.
    fn end(mut self) -> Result<(Bytes, Charge, bool), BodyError> {
        let length = self.len();
        if let Some(declared) = self.declared
            && length < declared
        {
            return Err(BodyError::Malformed(format!("request body ends after {length} of {declared} bytes")));
        }
        self.charge.resize(length)?;
        if self.joined.is_empty() {
            return Ok((self.first, self.charge, true));
        }
        if self.joined.capacity() > length + length / 8 {
            self.joined.shrink_to_fit();
        }
        Ok((Bytes::from(self.joined), self.charge, false))
    }
}

#[cfg(test)]
mod tests;
