//! `LogRecord` as a field of `ScopeLogs`, its fields in the order of their numbers, in which admission is fastest.

use prost::encoding::encode_varint;

use super::severity::Severity;
use super::trace::Trace;

/// `attributes` of `LogRecord`.
pub(super) const ATTRIBUTES: u32 = 6;
/// `body` of `LogRecord`.
pub(super) const BODY: u32 = 5;

/// Keys of fields, with their wire types.
const LOG_RECORDS: u8 = 2 << 3 | 2;
const TIME: u8 = 1 << 3 | 1;
const SEVERITY_NUMBER: u8 = 2 << 3;
const SEVERITY_TEXT: u8 = 3 << 3 | 2;
const FLAGS: u8 = 8 << 3 | 5;
const TRACE_ID: u8 = 9 << 3 | 2;
const SPAN_ID: u8 = 10 << 3 | 2;
const OBSERVED_TIME: u8 = 11 << 3 | 1;

/// Bytes that are left for the length of a record: most have 128 to 16383 bytes.
const WIDTH: usize = 2;

/// Begins a record with its time in nanoseconds since 1970, 0 when it is not known, and returns where its content begins.
/// The body comes next.
#[inline]
pub(super) fn begin(time: u64, severity: Option<Severity<'_>>, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[LOG_RECORDS, 0, 0]);
    let start = out.len();
    if time != 0 {
        put_fixed64(TIME, time, out);
    }
    if let Some(Severity { number, text }) = severity {
        out.extend_from_slice(&[SEVERITY_NUMBER, number, SEVERITY_TEXT]);
        encode_varint(text.len() as u64, out);
        out.extend_from_slice(text);
    }
    start
}

/// Ends a record behind its attributes.
#[inline]
pub(super) fn end(start: usize, trace: Option<Trace>, observed: u64, out: &mut Vec<u8>) {
    if let Some(Trace { trace_id, span_id, flags }) = trace {
        if let Some(flags) = flags.filter(|flags| *flags != 0) {
            out.extend_from_slice(&[FLAGS, flags, 0, 0, 0]);
        }
        out.extend_from_slice(&[TRACE_ID, 16]);
        out.extend_from_slice(&trace_id);
        if let Some(span_id) = span_id {
            out.extend_from_slice(&[SPAN_ID, 8]);
            out.extend_from_slice(&span_id);
        }
    }
    if observed != 0 {
        put_fixed64(OBSERVED_TIME, observed, out);
    }
    let len = out.len() - start;
    if (1 << 7..1 << 14).contains(&len) {
        out[start - 2] = len as u8 | 0x80;
        out[start - 1] = (len >> 7) as u8;
        return;
    }
    let mut encoded = Vec::with_capacity(10);
    encode_varint(len as u64, &mut encoded);
    out.splice(start - WIDTH..start, encoded);
}

#[inline]
fn put_fixed64(key: u8, value: u64, out: &mut Vec<u8>) {
    let mut field = [key; 9];
    field[1..].copy_from_slice(&value.to_le_bytes());
    out.extend_from_slice(&field);
}
