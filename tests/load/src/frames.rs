//! HTTP/2 frame and window sizes that a process of a measurement advertises.
//! What is sent is up to the other side: HTTP/2 limits the receiver's frames only.

use serde::{Deserialize, Serialize};

/// Sizes in bytes that one side of a connection advertises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frames {
    /// Largest DATA frame that may be sent to this side.
    pub max_frame: u32,
    /// Flow control window of one request.
    pub stream_window: u32,
    /// Flow control window of one connection.
    pub connection_window: u32,
}

impl Frames {
    /// What the engine advertises while connections are few.
    pub const LARGE: Frames = Frames { max_frame: 1 << 20, stream_window: 2 << 20, connection_window: 16 << 20 };

    /// What the engine advertises when connections are many.
    pub const SMALL: Frames = Frames { max_frame: 16 << 10, stream_window: 64 << 10, connection_window: 256 << 10 };

    /// Frames of the protocol's default size with windows that never stall the sender.
    pub const SMALL_FRAME_LARGE_WINDOW: Frames =
        Frames { max_frame: 16 << 10, stream_window: 2 << 20, connection_window: 16 << 20 };
}
