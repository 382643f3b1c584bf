//! OTLP bytes are the event: an `Export*ServiceRequest` is checked once, kept as the bytes that arrived, and read,
//! edited, split, selected and joined in that form.
//!
//! [`admit`] turns a body into a [`Wire`], after which nothing needs checking again. [`Wire`] hands out views
//! ([`ResourceView`] and below), and its operations share record bytes instead of copying them. [`Payload`] is what
//! a batch carries: a [`Wire`], or the decoded structs while a transform needs a tree.
//!
//! This crate has no runtime, does no I/O and knows nothing of gRPC or HTTP.

mod admit;
mod decoded;
pub mod json;
mod payload;
mod protobuf;
mod rope;
mod schema;
mod signal;
mod view;
mod wire;

pub use admit::{Admission, AdmitError, Fault, Progress, admit, readmit};
pub use decoded::{Decoded, EncodeError};
pub use payload::Payload;
pub use rope::Rope;
pub use signal::{Signal, UnknownSignal};
pub use view::{
    ArrayView, AttributeView, Attributes, BucketsView, DataPointView, DistributionView, Entries, EventView,
    ExemplarView, ExponentialHistogramView, HistogramView, LinkView, LogRecordView, MapView, MetricView, PointKind,
    QuantileView, RecordView, Records, ResourceView, Resources, ScopeView, Scopes, SpanView, SummaryView, ValueView,
    Values,
};
pub use wire::{
    AttributeEdit, AttributeEdits, AttributeValue, EditAction, KeyPattern, OverlappingEdits, ResourceEdit,
    ResourceEdits, SplitLimits, TextEdits, Wire, WireEdits,
};
