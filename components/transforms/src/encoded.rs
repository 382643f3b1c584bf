//! Batches as bytes, which transforms edit and select in place. A batch is structs only behind a transform that needed a
//! tree.
//!
//! Not here: what is edited or selected.

use engine_core::batch::Batch;
use engine_core::contract::Outputs;
use engine_core::outcome::{Outcome, RejectionKind};
use engine_core::sink::UNENCODABLE;
use otlp::{Payload, Wire};

/// Changes the bytes of a batch. What has none, because a transform nested values too deeply for anybody to decode, is
/// counted as an error and as lost, and rejected as a sink would reject it; then there is no batch any more.
pub(crate) fn map_wire(batch: Batch, outputs: &Outputs<'_>, change: impl FnOnce(Wire) -> Wire) -> Option<Batch> {
    let encoded = match batch.payload() {
        Payload::Wire(_) => None,
        Payload::Decoded(decoded) => Some(decoded.encode()),
    };
    match encoded {
        None => Some(batch.map(|payload| match payload {
            Payload::Wire(wire) => change(wire).into(),
            Payload::Decoded(_) => unreachable!("structs were encoded just now"),
        })),
        Some(Ok(wire)) => Some(batch.map(|_| change(wire).into())),
        Some(Err(error)) => {
            outputs.telemetry().error(UNENCODABLE, error.to_string());
            outputs.telemetry().discarded(UNENCODABLE, batch.records());
            batch.answer(&Outcome::rejected(RejectionKind::Invalid, error.to_string()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use engine_core::contract::Transform;
    use engine_core::test_kit::apply;
    use futures::FutureExt;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, any_value::Value};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use otlp::Decoded;

    use super::*;

    /// Changes nothing.
    struct Same;

    impl Transform for Same {
        fn apply(&self, batch: Batch, outputs: &mut Outputs<'_>) {
            if let Some(same) = map_wire(batch, outputs, |wire| wire) {
                outputs.emit(same);
            }
        }
    }

    /// One log record whose body is a list in a list in a list.
    fn nested(levels: usize) -> Payload {
        let one = |value| AnyValue { value: Some(value) };
        let body = (0..levels)
            .fold(one(Value::BoolValue(true)), |inner, _| one(Value::ArrayValue(ArrayValue { values: vec![inner] })));
        let log_records = vec![LogRecord { body: Some(body), ..LogRecord::default() }];
        let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
        let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
        Decoded::Logs(ExportLogsServiceRequest { resource_logs }).into()
    }

    /// Structs become bytes; those that cannot are counted and their sender hears of it.
    #[test]
    fn structs_become_bytes_or_are_rejected() {
        let same = apply(&Same, Batch::unacknowledged(nested(3)));
        let [(_, batch)] = &same.emitted[..] else { panic!("{same:?}") };
        assert!(matches!(batch.payload(), Payload::Wire(_)) && batch.records() == 1);

        let (deep, receipt) = Batch::new(nested(100));
        let none = apply(&Same, deep);
        assert!(none.emitted.is_empty());
        assert!(matches!(receipt.now_or_never().unwrap(), Outcome::Rejected(_)));
        let counted = none.telemetry.read();
        assert_eq!((counted.discarded[UNENCODABLE], counted.errors[UNENCODABLE]), (1, 1));
    }
}
