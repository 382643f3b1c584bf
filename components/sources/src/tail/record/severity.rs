//! Severities by name and by number.

use otlp::json::Value;

/// The severity of a record.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Severity<'a> {
    /// From 1 (TRACE) to 24 (FATAL4), as OpenTelemetry numbers them.
    pub(super) number: u8,
    /// As it is written.
    pub(super) text: &'a [u8],
}

impl<'a> Severity<'a> {
    /// What a value says. `raw` is the value as it is written.
    pub(super) fn of(value: Value<'a>, raw: &'a [u8]) -> Option<Self> {
        let (number, text) = match value {
            Value::String(text) => (named(text)?, text),
            Value::Int(number) => (numbered(number)?, raw),
            _ => return None,
        };
        Some(Self { number, text })
    }
}

/// A severity by its name, of any case. Names of syslog, Python, Java, .NET and zap are known besides OpenTelemetry's.
fn named(name: &[u8]) -> Option<u8> {
    let mut lower = [0; 16];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"trace" | b"finest" | b"verbose" => 1,
        b"trace2" | b"finer" => 2,
        b"trace3" => 3,
        b"trace4" => 4,
        b"debug" | b"fine" => 5,
        b"debug2" | b"config" => 6,
        b"debug3" => 7,
        b"debug4" => 8,
        b"info" | b"information" | b"informational" => 9,
        b"info2" | b"notice" => 10,
        b"info3" => 11,
        b"info4" => 12,
        b"warn" | b"warning" => 13,
        b"warn2" | b"warning2" => 14,
        b"warn3" | b"warning3" => 15,
        b"warn4" | b"warning4" => 16,
        b"error" | b"err" | b"severe" => 17,
        b"error2" | b"err2" | b"dpanic" => 18,
        b"error3" | b"err3" => 19,
        b"error4" | b"err4" => 20,
        b"fatal" | b"critical" | b"crit" | b"panic" => 21,
        b"fatal2" | b"alert" => 22,
        b"fatal3" => 23,
        b"fatal4" | b"emergency" | b"emerg" => 24,
        digits => return numbered(std::str::from_utf8(digits).ok()?.parse().ok()?),
    })
}

/// A severity by its number. The tens are those of pino and bunyan, which nearly all numbers in logs are; others are
/// OpenTelemetry's.
fn numbered(number: i64) -> Option<u8> {
    match number {
        10 => Some(1),
        20 => Some(5),
        30 => Some(9),
        40 => Some(13),
        50 => Some(17),
        60 => Some(21),
        1..=24 => u8::try_from(number).ok(),
        _ => None,
    }
}
