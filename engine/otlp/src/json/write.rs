//! Writes OTLP/JSON straight from the bytes, by the table of messages.

use std::fmt::Write as _;

use crate::Wire;
use crate::protobuf::{Field, Fields, WireType, varint};
use crate::schema::{self, Kind, Message, Number};

/// Writes a request as OTLP/JSON on one line, without a line feed.
pub fn to_json(wire: &Wire) -> String {
    let body = wire.rope().into_bytes();
    let mut out = String::with_capacity(body.len() * 2);
    write_message(schema::request(wire.signal()), &body, &mut out);
    out
}

fn write_message(message: &'static Message, bytes: &[u8], out: &mut String) {
    out.push('{');
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
            out.push(',');
        }
        written |= 1 << field.number;
        write_key(known.name, out);
        if known.is_repeated() {
            out.push('[');
            let mut separator = "";
            for element in from_here.filter(|element| element.number == field.number) {
                write_elements(known.kind, &element, &mut separator, out);
            }
            out.push(']');
        } else {
            write_value(known.kind, &field, out);
        }
    }
    out.push('}');
}

/// Writes the elements that one occurrence of a repeated field holds: several when it is packed.
fn write_elements(kind: Kind, field: &Field<'_>, separator: &mut &str, out: &mut String) {
    let mut element = |write: &mut dyn FnMut(&mut String)| {
        out.push_str(separator);
        *separator = ",";
        write(out);
    };
    match (kind, field.wire) {
        (Kind::Varints, WireType::Length) => {
            let mut rest = field.payload;
            while let Some((value, len)) = varint(rest) {
                element(&mut |text| write_number(Number::U64, value, text));
                rest = &rest[len..];
            }
        }
        (Kind::Varints, _) => element(&mut |text| write_number(Number::U64, field.scalar, text)),
        (Kind::Fixed64s(number), WireType::Length) => {
            let (values, _) = field.payload.as_chunks::<8>();
            for value in values {
                element(&mut |text| write_number(number, u64::from_le_bytes(*value), text));
            }
        }
        _ => element(&mut |text| write_value(kind, field, text)),
    }
}

fn write_value(kind: Kind, field: &Field<'_>, out: &mut String) {
    match kind {
        Kind::Varint(number) | Kind::Fixed64(number) | Kind::Fixed64s(number) => {
            write_number(number, field.scalar, out);
        }
        Kind::Fixed32 => write_number(Number::U32, field.scalar, out),
        Kind::Varints => write_number(Number::U64, field.scalar, out),
        Kind::String => {
            let text = simdutf8::basic::from_utf8(field.payload).expect("admission proved that strings are UTF-8");
            write_string(text, out);
        }
        Kind::Bytes => write_base64(field.payload, out),
        Kind::Id => {
            out.push('"');
            for byte in field.payload {
                push(out, format_args!("{byte:02x}"));
            }
            out.push('"');
        }
        Kind::Message(inner) => write_message(inner, field.payload, out),
        Kind::Absent => {}
    }
}

fn write_number(number: Number, raw: u64, out: &mut String) {
    match number {
        Number::Bool => out.push_str(if raw == 0 { "false" } else { "true" }),
        Number::I32 => push(out, format_args!("{}", raw as i32)),
        Number::U32 => push(out, format_args!("{}", raw as u32)),
        Number::Zigzag32 => {
            let bits = raw as u32;
            push(out, format_args!("{}", (bits >> 1) as i32 ^ -((bits & 1) as i32)));
        }
        Number::I64 => push(out, format_args!("\"{}\"", raw as i64)),
        Number::U64 => push(out, format_args!("\"{raw}\"")),
        Number::Double => match f64::from_bits(raw) {
            value if value.is_nan() => out.push_str("\"NaN\""),
            f64::INFINITY => out.push_str("\"Infinity\""),
            f64::NEG_INFINITY => out.push_str("\"-Infinity\""),
            value => push(out, format_args!("{value:?}")),
        },
    }
}

/// Writes a field name in lowerCamelCase.
fn write_key(name: &str, out: &mut String) {
    out.push('"');
    for (index, word) in name.split('_').enumerate() {
        match word.as_bytes() {
            [first, ..] if index > 0 => {
                out.push(char::from(first.to_ascii_uppercase()));
                out.push_str(&word[1..]);
            }
            _ => out.push_str(word),
        }
    }
    out.push_str("\":");
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = 0;
    for (index, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[plain..index]);
        plain = index + 1;
        if escape.is_empty() {
            push(out, format_args!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

fn write_base64(bytes: &[u8], out: &mut String) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push('"');
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for index in 0..4 {
            if index <= group.len() {
                out.push(char::from(ALPHABET[(bits >> (18 - 6 * index) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out.push('"');
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a string does not fail");
}
