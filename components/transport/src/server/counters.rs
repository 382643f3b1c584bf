//! What a server counts. The source that owns the server exposes it; nothing is exported from here.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::server::Reply;

/// Why a connection or a request was turned away before or instead of its handler's success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// More connections than allowed; closed at once.
    Connections,
    /// More connections of one address than allowed; closed at once.
    ConnectionsPerAddress,
    /// TLS or the HTTP/2 preface failed or took too long; no request was read.
    Handshake,
    /// The memory budget had no room for the body.
    Memory,
    /// The body, inflated, is over the limit.
    TooLarge,
    /// The body could not be read: framing, compression, or it ended early.
    Malformed,
    /// The body took longer than allowed.
    Timeout,
    /// No or wrong credentials.
    Unauthorized,
    /// A page asked whether it may send, and may not.
    Origin,
    /// An unknown path, method, content type or encoding.
    Unsupported,
    /// The handler called the data invalid.
    Invalid,
    /// The handler could not take the data now.
    Unavailable,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Self; 12] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::Handshake,
        Self::Memory,
        Self::TooLarge,
        Self::Malformed,
        Self::Timeout,
        Self::Unauthorized,
        Self::Origin,
        Self::Unsupported,
        Self::Invalid,
        Self::Unavailable,
    ];

    /// The label value for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::Handshake => "handshake",
            Self::Memory => "memory",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
            Self::Unauthorized => "unauthorized",
            Self::Origin => "origin",
            Self::Unsupported => "unsupported",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Counts of one server, readable at any time.
#[derive(Debug, Default)]
pub struct Counters {
    connections_opened: AtomicU64,
    connections_closed: AtomicU64,
    requests_accepted: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

/// [`Counters`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// Connections dealt to a lane since the start.
    pub connections_opened: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// Requests answered with success, partial success included.
    pub requests_accepted: u64,
    /// Bytes read from sockets, TLS included.
    pub received_bytes: u64,
    /// Bytes written to sockets, TLS included.
    pub sent_bytes: u64,
    /// Connections and requests turned away, in the order of [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
}

impl Counters {
    /// The counts now. Fields are read one after the other, so they agree exactly only at rest.
    pub fn snapshot(&self) -> CountersSnapshot {
        let closed = self.connections_closed.load(Ordering::Relaxed);
        let opened = self.connections_opened.load(Ordering::Relaxed);
        CountersSnapshot {
            connections_opened: opened,
            connections_open: opened.saturating_sub(closed),
            requests_accepted: self.requests_accepted.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            refused: std::array::from_fn(|index| self.refused[index].load(Ordering::Relaxed)),
        }
    }

    pub(super) fn refuse(&self, reason: Refusal) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the answer to one request.
    pub(super) fn answer(&self, reply: &Reply) {
        match reply.refusal() {
            None => {
                self.requests_accepted.fetch_add(1, Ordering::Relaxed);
            }
            Some(reason) => self.refuse(reason),
        }
    }

    pub(super) fn open_connection(&self) {
        self.connections_opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn close_connection(&self) {
        self.connections_closed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn receive(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn send(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl CountersSnapshot {
    /// How often this reason turned something away.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused[reason as usize]
    }
}
