//! Puts records of many files together into one `ExportLogsServiceRequest`, as bytes, with one Resource for each turn of a
//! file. Not here: records (`record`), and what becomes of a request.

use bytes::{BufMut, Bytes, BytesMut};

/// Field numbers on the way down to a record, each a message with its length.
const RESOURCE_LOGS: u32 = 1;
const RESOURCE: u32 = 1;
const SCOPE_LOGS: u32 = 2;
const SCOPE: u32 = 1;

/// A request in the making.
#[derive(Debug)]
pub(super) struct Request {
    body: BytesMut,
    records: u64,
    /// Bytes of the last request: the next one is likely to be as large.
    last_len: usize,
    /// The scope of all records, as field of ScopeLogs.
    scope: Bytes,
}

impl Request {
    /// Whose records have a scope of this name.
    pub(super) fn new(scope_name: &str) -> Self {
        let mut scope = BytesMut::new();
        put_text(&mut scope, 1, scope_name);
        put_text(&mut scope, 2, env!("CARGO_PKG_VERSION"));
        let mut field = BytesMut::new();
        put_head(&mut field, SCOPE, scope.len());
        field.extend_from_slice(&scope);
        Self { body: BytesMut::new(), records: 0, last_len: 0, scope: field.freeze() }
    }

    /// Adds records, each a `log_records` field of ScopeLogs, under a [`resource`].
    pub(super) fn add(&mut self, resource: &[u8], log_records: &[u8], count: u64) {
        let scope_logs = self.scope.len() + log_records.len();
        let resource_logs = resource.len() + head_len(scope_logs) + scope_logs;
        let added = head_len(resource_logs) + resource_logs;
        self.body.reserve(if self.body.is_empty() { added.max(self.last_len) } else { added });
        put_head(&mut self.body, RESOURCE_LOGS, resource_logs);
        self.body.extend_from_slice(resource);
        put_head(&mut self.body, SCOPE_LOGS, scope_logs);
        self.body.extend_from_slice(&self.scope);
        self.body.extend_from_slice(log_records);
        self.records += count;
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    /// Records so far.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// What was added since the last time.
    pub(super) fn take(&mut self) -> Bytes {
        self.records = 0;
        self.last_len = self.body.len();
        std::mem::take(&mut self.body).freeze()
    }
}

/// A Resource with text attributes, as field of ResourceLogs.
pub(crate) fn resource<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Bytes {
    let mut content = BytesMut::new();
    for (key, value) in attributes {
        put_attribute(&mut content, 1, key, value);
    }
    let mut field = BytesMut::new();
    put_head(&mut field, RESOURCE, content.len());
    field.extend_from_slice(&content);
    field.freeze()
}

/// Text attributes as fields of LogRecord.
pub(super) fn record_attributes<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Bytes {
    const ATTRIBUTES: u32 = 6;
    let mut fields = BytesMut::new();
    for (key, value) in attributes {
        put_attribute(&mut fields, ATTRIBUTES, key, value);
    }
    fields.freeze()
}

/// A KeyValue whose value is a text.
fn put_attribute(out: &mut BytesMut, number: u32, key: &str, value: &str) {
    let value_len = head_len(value.len()) + value.len();
    put_head(out, number, head_len(key.len()) + key.len() + head_len(value_len) + value_len);
    put_text(out, 1, key);
    put_head(out, 2, value_len);
    put_text(out, 1, value);
}

fn put_text(out: &mut BytesMut, number: u32, text: &str) {
    put_head(out, number, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Key and length of a field below 16 that has a length.
pub(super) fn put_head(out: &mut BytesMut, number: u32, len: usize) {
    const LENGTH_DELIMITED: u8 = 2;
    out.put_u8((number as u8) << 3 | LENGTH_DELIMITED);
    let mut rest = len;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// Bytes of [`put_head`].
pub(super) const fn head_len(len: usize) -> usize {
    let bits = usize::BITS - (len | 1).leading_zeros();
    1 + bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ScopeLogs};
    use prost::Message;

    use super::*;

    /// What is written is what others decode, with lengths of one, two and three bytes.
    #[test]
    fn others_can_read_it() {
        let mut request = Request::new("telemetry-engine/file");
        for size in [1_usize, 200, 40_000] {
            let attributes = record_attributes([("log.file.name", "a.log")]);
            let record = LogRecord { severity_text: "x".repeat(size), ..LogRecord::default() };
            let mut record = record.encode_to_vec();
            record.extend_from_slice(&attributes);
            let mut field = BytesMut::new();
            put_head(&mut field, 2, record.len());
            field.extend_from_slice(&record);
            request.add(&resource([("k8s.pod.name", "shop-1"), ("empty", "")]), &field, 1);
        }
        assert_eq!(request.records(), 3);
        let whole = request.take();
        assert_eq!((request.len(), request.records()), (0, 0));
        let wire = otlp::admit(otlp::Signal::Logs, whole.clone()).unwrap();
        assert_eq!((wire.records(), wire.normalised()), (3, false));
        let decoded = ExportLogsServiceRequest::decode(whole).unwrap();
        for (entry, size) in decoded.resource_logs.iter().zip([1, 200, 40_000]) {
            let of_resource = &entry.resource.as_ref().unwrap().attributes;
            assert_eq!(of_resource[0].key, "k8s.pod.name");
            assert_eq!(of_resource[0].value.as_ref().unwrap().value, Some(Value::StringValue("shop-1".to_owned())));
            let ScopeLogs { scope, log_records, .. } = &entry.scope_logs[0];
            assert_eq!(scope.as_ref().unwrap().name, "telemetry-engine/file");
            assert_eq!(log_records[0].severity_text.len(), size);
            assert_eq!(log_records[0].attributes[0].key, "log.file.name");
        }
    }

    /// The length of a head is that of what is written.
    #[test]
    fn heads_are_as_long_as_they_say() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 1 << 21, 1 << 28] {
            let mut out = BytesMut::new();
            put_head(&mut out, 2, len);
            assert_eq!(out.len(), head_len(len), "{len}");
        }
    }
}
