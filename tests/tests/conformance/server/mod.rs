//! What the `otlp` source answers.

mod access;
mod answers;
mod basics;
mod connections;
mod json;
mod limits;
mod malformed;
