//! What API servers say in Kubernetes' protobuf: an answer in it is half as long as one in JSON, and costs the API server and
//! its reader a fraction.
//!
//! Messages have the few fields that are read, by their numbers in Kubernetes' `generated.proto` files, which never change;
//! everything else is skipped. Here is what an answer is, in `page` how a list is read from it, in `objects` what is read of
//! the objects.

#[cfg(feature = "metadata")]
mod objects;
pub(crate) mod page;

use kube::core::Status;
use prost::Message;

/// An object that can be read from Kubernetes' protobuf.
#[cfg(feature = "metadata")]
pub(crate) trait InProtobuf: Sized {
    /// Reads one.
    ///
    /// # Errors
    /// When the bytes are no protobuf, or a field is of another type.
    fn of_protobuf(bytes: &[u8]) -> Result<Self, prost::DecodeError>;
}

/// Reads a refusal; none of an answer that is something else.
pub(crate) fn status(answer: &[u8]) -> Option<Status> {
    let envelope = EnvelopeMessage::decode(answer.strip_prefix(page::MAGIC)?).ok()?;
    let found = StatusMessage::decode(&*envelope.content).ok()?;
    let code = u16::try_from(found.code).unwrap_or_default();
    Some(Status::failure(&text(found.message), &text(found.reason)).with_code(code))
}

/// A text. The API server takes texts that are not UTF-8 into some fields; in JSON it replaces what is wrong, too.
type Text = Vec<u8>;

/// What is around an object that is the whole answer.
#[derive(Clone, PartialEq, Message)]
struct EnvelopeMessage {
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct StatusMessage {
    #[prost(bytes = "vec", tag = "3")]
    message: Text,
    #[prost(bytes = "vec", tag = "4")]
    reason: Text,
    #[prost(int32, tag = "6")]
    code: i32,
}

fn text(bytes: Text) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
pub(crate) mod tests;
