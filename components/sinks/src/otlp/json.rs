//! Requests as OTLP/JSON. How JSON is written is the matter of `otlp`; here is where that happens.

use bytes::Bytes;
use otlp::{Rope, Wire};

/// Requests over this size are written on a thread of their own, so that the lane can go on.
const WRITTEN_INLINE: usize = 128 * 1024;

/// The request as JSON. Resources without a record are left out: the specification asks senders for it.
pub(super) async fn encoded(wire: Wire) -> Result<Rope, String> {
    let wire = wire.select(|resource| resource.records() > 0);
    if wire.len() <= WRITTEN_INLINE {
        return Ok(written(&wire));
    }
    let task = tokio::task::spawn_blocking(move || written(&wire));
    task.await.map_err(|error| format!("json cannot be written: {error}"))
}

fn written(wire: &Wire) -> Rope {
    Rope::from(Bytes::from(otlp::json::to_json(wire)))
}
