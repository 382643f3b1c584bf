//! What is sent: log records whose whole content follows from who sends them, their number and when, so that a record that
//! comes tells whether it is the one that was sent.

use std::ops::Range;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// The attribute of a resource that names its sender.
const CLIENT: &str = "service.name";
/// The attribute of a resource that pipelines select by.
const GROUP: &str = "group";
/// The severity of all records: INFO.
const SEVERITY: i32 = 9;
/// The shortest text behind a number, and how much longer others are at most, in bytes.
const SHORTEST: usize = 40;
const LONGER: u64 = 120;

/// What texts are cut from.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let words = ["order", "accepted", "payment", "declined", "user", "cart", "retry", "timeout", "shipped", "stock"];
    let word = |index: u64| words[(xxh3_64_with_seed(&index.to_le_bytes(), 1) % words.len() as u64) as usize];
    (0..800).map(word).collect::<Vec<_>>().join(" ")
});

/// Which record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Who sends it.
    pub client: u32,
    /// Its number among those of its sender, from 0.
    pub number: u64,
}

/// A record as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    /// Which one it is.
    pub id: Id,
    /// When it was sent for the first time, as [`now`] says it.
    pub sent: u64,
}

/// Nanoseconds since 1970 on a clock that nobody sets while this process runs.
pub fn now() -> u64 {
    static BEGAN: LazyLock<(Instant, u64)> = LazyLock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        (Instant::now(), u64::try_from(since.as_nanos()).expect("the year is before 2554"))
    });
    let (began, at) = *BEGAN;
    at + u64::try_from(began.elapsed().as_nanos()).expect("a process does not run for centuries")
}

/// A framed gRPC message with these records of a client, and `group` as the attribute of their resource.
pub fn frame(client: u32, group: &str, numbers: Range<u64>, sent: u64) -> Bytes {
    let attribute = |key: &str, text: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(text)) }),
        ..KeyValue::default()
    };
    let attributes = vec![attribute(CLIENT, name_of(client)), attribute(GROUP, group.to_owned())];
    let log_records = numbers.map(|number| record(Id { client, number }, sent)).collect();
    let message = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_logs: vec![ScopeLogs { log_records, ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }],
    };
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(length + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).expect("a request is smaller than 4 GiB"));
    message.encode(&mut frame).expect("a buffer grows");
    frame.freeze()
}

/// What came in a message: every record in turn, or nothing in the place of one that is not as it was sent.
///
/// # Errors
/// When it is no export request.
pub fn read(message: &[u8]) -> Result<Vec<Option<Came>>, prost::DecodeError> {
    let request = ExportLogsServiceRequest::decode(message)?;
    let mut came = Vec::new();
    for entry in request.resource_logs {
        let resource = entry.resource.unwrap_or_default();
        let names = resource.attributes.iter().filter(|attribute| attribute.key == CLIENT);
        let names: Vec<_> = names.filter_map(|attribute| text(attribute.value.as_ref()?)).collect();
        for found in entry.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
            let intact = check(&found).filter(|came| names == [name_of(came.id.client)]);
            came.push(intact);
        }
    }
    Ok(came)
}

fn check(found: &LogRecord) -> Option<Came> {
    let (id, _) = text(found.body.as_ref()?)?.split_once(' ')?;
    let (client, number) = id.split_once('.')?;
    let id = Id { client: client.parse().ok()?, number: number.parse().ok()? };
    let sent = found.time_unix_nano;
    (*found == record(id, sent)).then_some(Came { id, sent })
}

fn record(id: Id, sent: u64) -> LogRecord {
    let Id { client, number } = id;
    let seed = xxh3_64_with_seed(&number.to_le_bytes(), u64::from(client));
    let length = SHORTEST + (seed % LONGER) as usize;
    let start = (seed >> 32) as usize % (TEXT.len() - length);
    let body = format!("{client}.{number} {}", &TEXT[start..start + length]);
    LogRecord {
        time_unix_nano: sent,
        severity_number: SEVERITY,
        trace_id: xxh3_128_with_seed(body.as_bytes(), sent).to_le_bytes().to_vec(),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        ..LogRecord::default()
    }
}

fn name_of(client: u32) -> String {
    format!("client-{client}")
}

fn text(value: &AnyValue) -> Option<&str> {
    match value.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use super::*;

    /// What was sent is known again, with its time.
    #[test]
    fn records_are_known_again() {
        let frame = frame(7, "a", 3..5, 99);
        let came = read(&frame[5..]).unwrap();
        let expected = [3, 4].map(|number| Some(Came { id: Id { client: 7, number }, sent: 99 }));
        assert_eq!(came, expected);
    }

    /// No flipped bit gives a record that is taken for one that was sent, wherever it is in the record.
    #[test]
    fn every_flipped_bit_is_seen() {
        let sent = 1_700_000_000_000_000_000;
        let frame = frame(7, "a", 3..4, sent);
        let whole = record(Id { client: 7, number: 3 }, sent).encode_to_vec();
        let start = frame.windows(whole.len()).position(|window| window == whole).unwrap();
        let mut flipped = frame.to_vec();
        for bit in start * 8..(start + whole.len()) * 8 {
            flipped[bit / 8] ^= 1 << (bit % 8);
            let came = read(&flipped[5..]).unwrap_or_default();
            assert!(came.iter().all(Option::is_none), "bit {bit}: {came:?}");
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
