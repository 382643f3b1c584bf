//! Requests that no gateway may let through.
//! Each has one fault in its last record, behind many valid ones, so that only a complete check finds it.

use bytes::Bytes;

use super::{Shape, request};
use crate::signal::Signal;

/// A request with a fault.
#[derive(Debug)]
pub struct Invalid {
    /// What is wrong, for the report.
    pub fault: &'static str,
    /// The encoded request.
    pub message: Bytes,
}

/// One request for each kind of fault; all must be refused with INVALID_ARGUMENT.
pub fn invalid_requests(signal: Signal) -> Vec<Invalid> {
    let valid = request(signal, Shape::STANDARD, 1);
    // Every record of every signal carries this attribute, so its last occurrence is in the last record.
    let key = b"http.response.status_code";
    let last_key =
        valid.windows(key.len()).rposition(|window| window == key).expect("every generated record has this attribute");

    let mut bad_text = valid.to_vec();
    bad_text[last_key + 3] = 0xff;

    // The length in front of the key, made to reach past the attribute that holds it.
    let mut bad_length = valid.to_vec();
    bad_length[last_key - 1] = 0x7f;

    let cut = valid.slice(..valid.len() - 1);
    vec![
        Invalid { fault: "a string that is not UTF-8", message: bad_text.into() },
        Invalid { fault: "a length beyond its message", message: bad_length.into() },
        Invalid { fault: "a message that ends early", message: cut },
    ]
}
