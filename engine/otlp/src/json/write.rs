//! Writes OTLP/JSON straight from the bytes, by the table of messages.

use super::scan;
use super::text::{encode_base64, encode_hexadecimal};
use crate::Wire;
use crate::protobuf::{Field, Fields, WireType, varint};
use crate::schema::{self, Kind, Message, Number};

/// Writes a request as OTLP/JSON on one line, without a line feed.
pub fn to_json(wire: &Wire) -> String {
    let body = wire.rope().into_bytes();
    let mut out = Vec::with_capacity(body.len() * 5 / 2);
    write_message(schema::request(wire.signal()), &body, &mut out);
    String::from_utf8(out).expect("admission proved that strings are UTF-8")
}

fn write_message(message: &'static Message, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'{');
    let mut written = 0_u32;
    let mut rest = Fields::new(bytes);
    loop {
        let from_here = rest;
        let Some(field) = rest.next() else { break };
        let Some(known) = message.field(field.number) else { continue };
        if written & 1 << field.number != 0 {
            continue;
        }
        if written != 0 {
            out.push(b',');
        }
        written |= 1 << field.number;
        out.extend_from_slice(known.json.member());
        if known.is_repeated() {
            write_list(known.kind, from_here.filter(|element| element.number == field.number), out);
        } else {
            write_value(known.kind, &field, out);
        }
    }
    out.push(b'}');
}

/// Writes all occurrences of a repeated field. One of numbers may hold several when it is packed.
fn write_list<'a>(kind: Kind, occurrences: impl Iterator<Item = Field<'a>>, out: &mut Vec<u8>) {
    out.push(b'[');
    let start = out.len();
    for field in occurrences {
        match (kind, field.wire) {
            (Kind::Varints, WireType::Length) => {
                let mut rest = field.payload;
                while let Some((value, len)) = varint(rest) {
                    separate(start, out);
                    write_number(Number::U64, value, out);
                    rest = &rest[len..];
                }
            }
            (Kind::Fixed64s(number), WireType::Length) => {
                for value in field.payload.as_chunks::<8>().0 {
                    separate(start, out);
                    write_number(number, u64::from_le_bytes(*value), out);
                }
            }
            _ => {
                separate(start, out);
                write_value(kind, &field, out);
            }
        }
    }
    out.push(b']');
}

/// Puts a comma behind what stands before in a list that began at `start`.
#[inline]
fn separate(start: usize, out: &mut Vec<u8>) {
    if out.len() > start {
        out.push(b',');
    }
}

fn write_value(kind: Kind, field: &Field<'_>, out: &mut Vec<u8>) {
    match kind {
        Kind::Varint(number) | Kind::Fixed64(number) | Kind::Fixed64s(number) => {
            write_number(number, field.scalar, out);
        }
        Kind::Fixed32 => write_number(Number::U32, field.scalar, out),
        Kind::Varints => write_number(Number::U64, field.scalar, out),
        Kind::String => write_string(field.payload, out),
        Kind::Bytes => {
            out.push(b'"');
            encode_base64(field.payload, out);
            out.push(b'"');
        }
        Kind::Id => {
            out.push(b'"');
            encode_hexadecimal(field.payload, out);
            out.push(b'"');
        }
        Kind::Message(inner) => write_message(inner, field.payload, out),
        Kind::Absent => {}
    }
}

fn write_number(number: Number, raw: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    match number {
        Number::Bool => out.extend_from_slice(if raw == 0 { b"false" } else { b"true" }),
        Number::I32 => out.extend_from_slice(digits.format(raw as i32).as_bytes()),
        Number::U32 => out.extend_from_slice(digits.format(raw as u32).as_bytes()),
        Number::Zigzag32 => {
            let bits = raw as u32;
            let value = (bits >> 1) as i32 ^ -((bits & 1) as i32);
            out.extend_from_slice(digits.format(value).as_bytes());
        }
        Number::I64 => write_quoted(digits.format(raw as i64), out),
        Number::U64 => write_quoted(digits.format(raw), out),
        Number::Double => match f64::from_bits(raw) {
            value if value.is_nan() => out.extend_from_slice(b"\"NaN\""),
            f64::INFINITY => out.extend_from_slice(b"\"Infinity\""),
            f64::NEG_INFINITY => out.extend_from_slice(b"\"-Infinity\""),
            value => out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes()),
        },
    }
}

fn write_quoted(digits: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(digits.as_bytes());
    out.push(b'"');
}

fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut at = 0;
    loop {
        let end = scan::run(text, at).end;
        out.extend_from_slice(&text[at..end]);
        let Some(&special) = text.get(end) else { break };
        write_escape(special, out);
        at = end + 1;
    }
    out.push(b'"');
}

fn write_escape(special: u8, out: &mut Vec<u8>) {
    match special {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            encode_hexadecimal(&[special], out);
        }
    }
}
