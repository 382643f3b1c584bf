//! Walks the length prefixes of an export request to count its records and to list the keys of its resources and records.
//! Strings and values are skipped unread; this is no validation.

use anyhow::{Context, Result, bail, ensure};

use crate::signal::Signal;

/// Field numbers that the walk follows.
const ENTRIES: u64 = 1;
const RESOURCE: u64 = 1;
const ATTRIBUTES: u64 = 1;
const KEY: u64 = 1;
const SCOPES: u64 = 2;
const RECORDS: u64 = 2;
const DATA_POINTS: u64 = 1;
/// gauge, sum, histogram, exponential histogram and summary of a metric, each with the attributes of its data points.
const METRIC_DATA: [(u64, u64); 5] = [(5, 7), (7, 7), (9, 9), (10, 1), (11, 7)];

/// The number of log records, spans or data points in an export request.
///
/// # Errors
/// When a length does not fit its message.
pub fn count_records(signal: Signal, message: &[u8]) -> Result<u64> {
    let mut records = 0;
    for_each(message, ENTRIES, |entry| {
        for_each(entry, SCOPES, |scope| {
            for_each(scope, RECORDS, |record| {
                match signal {
                    Signal::Logs | Signal::Spans => records += 1,
                    Signal::Points => records += count_points(record)?,
                }
                Ok(())
            })
        })
    })?;
    Ok(records)
}

/// The attribute keys of each resource in an export request; all signals share this shape.
///
/// # Errors
/// When a length does not fit its message or a key is not UTF-8.
pub fn resource_attributes(message: &[u8]) -> Result<Vec<Vec<String>>> {
    let mut resources = Vec::new();
    for_each(message, ENTRIES, |entry| {
        let mut keys = Vec::new();
        for_each(entry, RESOURCE, |resource| list_keys(resource, ATTRIBUTES, &mut keys))?;
        resources.push(keys);
        Ok(())
    })?;
    Ok(resources)
}

/// The attribute keys of each log record, span or data point in an export request.
///
/// # Errors
/// When a length does not fit its message or a key is not UTF-8.
pub fn record_attributes(signal: Signal, message: &[u8]) -> Result<Vec<Vec<String>>> {
    let mut records = Vec::new();
    let mut list = |record: &[u8], attributes: u64| {
        let mut keys = Vec::new();
        list_keys(record, attributes, &mut keys)?;
        records.push(keys);
        Ok(())
    };
    for_each(message, ENTRIES, |entry| {
        for_each(entry, SCOPES, |scope| {
            for_each(scope, RECORDS, |record| match signal {
                Signal::Logs => list(record, 6),
                Signal::Spans => list(record, 9),
                Signal::Points => METRIC_DATA.into_iter().try_for_each(|(field, attributes)| {
                    for_each(record, field, |data| for_each(data, DATA_POINTS, |point| list(point, attributes)))
                }),
            })
        })
    })?;
    Ok(records)
}

fn list_keys(message: &[u8], attributes: u64, keys: &mut Vec<String>) -> Result<()> {
    for_each(message, attributes, |attribute| {
        for_each(attribute, KEY, |key| {
            keys.push(std::str::from_utf8(key)?.to_owned());
            Ok(())
        })
    })
}

fn count_points(metric: &[u8]) -> Result<u64> {
    let mut points = 0;
    let mut rest = metric;
    while !rest.is_empty() {
        if let (field, Some(data)) = take_field(&mut rest)?
            && METRIC_DATA.iter().any(|(number, _)| *number == field)
        {
            for_each(data, DATA_POINTS, |_| {
                points += 1;
                Ok(())
            })?;
        }
    }
    Ok(points)
}

/// Calls `visit` with each length-delimited field `wanted` of `message`.
fn for_each(message: &[u8], wanted: u64, mut visit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut rest = message;
    while !rest.is_empty() {
        if let (field, Some(content)) = take_field(&mut rest)?
            && field == wanted
        {
            visit(content)?;
        }
    }
    Ok(())
}

/// The number of the next field, and its content where it is length-delimited.
fn take_field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Option<&'a [u8]>)> {
    let tag = take_varint(rest)?;
    let field = tag >> 3;
    let skipped = match tag & 7 {
        0 => {
            take_varint(rest)?;
            return Ok((field, None));
        }
        1 => 8,
        5 => 4,
        2 => {
            let length = usize::try_from(take_varint(rest)?)?;
            let (content, after) = rest.split_at_checked(length).context("a length beyond its message")?;
            *rest = after;
            return Ok((field, Some(content)));
        }
        wire_type => bail!("wire type {wire_type} in an export request"),
    };
    ensure!(rest.len() >= skipped, "a fixed field beyond its message");
    *rest = &rest[skipped..];
    Ok((field, None))
}

fn take_varint(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for (index, &byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *rest = &rest[index + 1..];
            return Ok(value);
        }
    }
    bail!("a varint that does not end")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

    use super::*;
    use crate::payload::{Shape, request};

    /// The walk counts what the generator put in, for every signal and for merged requests.
    #[test]
    fn counts_every_record() {
        let shape = Shape { records: 120, resources: 3, resource_attributes: 12 };
        for signal in Signal::ALL {
            let message = request(signal, shape, 5);
            assert_eq!(count_records(signal, &message).unwrap(), 120);
            let merged = [&message[..], &message[..]].concat();
            assert_eq!(count_records(signal, &merged).unwrap(), 240);
        }
    }

    /// Every resource is listed with the keys of its attributes.
    #[test]
    fn lists_resource_attributes() {
        let message = request(Signal::Spans, Shape::STANDARD, 5);
        let resources = resource_attributes(&message).unwrap();
        assert_eq!(resources.len(), 5);
        assert!(resources.iter().all(|keys| keys.len() == 10 && keys[0] == "service.name"));
    }

    /// Every record is listed with the keys of its attributes, for every signal.
    #[test]
    fn lists_record_attributes() {
        for signal in Signal::ALL {
            let message = request(signal, Shape::STANDARD, 5);
            let records = record_attributes(signal, &message).unwrap();
            assert_eq!(records.len() as u64, count_records(signal, &message).unwrap());
            assert!(records.iter().all(|keys| !keys.is_empty() && keys[0].contains('.')), "{:?}", records[0]);
        }
    }

    /// A message that is cut short is an error, not a smaller count.
    #[test]
    fn refuses_what_is_cut() {
        let message = request(Signal::Logs, Shape::STANDARD, 5);
        assert!(count_records(Signal::Logs, &message[..message.len() - 1]).is_err());
    }
}
