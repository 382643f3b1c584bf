//! Records about the usual shape: every field in the forms that `usual` and `fast` look at byte by byte, with lengths
//! about their bounds, varints of every form, text that is not ASCII, and changes where framing stands. What the fast ways
//! accept, the reference checker and prost accept, and count the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::check::{Checker, State};
use super::{RECORD_DEPTH, fast, usual};
use crate::Signal;
use crate::schema::{self, Kind, Message};

/// A record, or a data point in a metric of its own.
struct Shape {
    name: &'static str,
    signal: Signal,
    usual: fn(&[u8], usize, usize) -> Option<()>,
    fast: fn(&mut Checker<'_>, &[u8], usize, usize, u32) -> Option<u64>,
    prost: fn(&[u8]) -> bool,
    write: fn(&mut Writer),
    /// The field of a metric that has the data point.
    data: Option<u32>,
}

static SHAPES: [Shape; 4] = [
    Shape {
        name: "log record",
        signal: Signal::Logs,
        usual: usual::log_record,
        fast: |checker, body, at, end, depth| fast::log_record(checker, body, at, end, depth).map(|()| 1),
        prost: |record| LogRecord::decode(record).is_ok(),
        write: log_record,
        data: None,
    },
    Shape {
        name: "span",
        signal: Signal::Traces,
        usual: usual::span,
        fast: |checker, body, at, end, depth| fast::span(checker, body, at, end, depth).map(|()| 1),
        prost: |record| Span::decode(record).is_ok(),
        write: span,
        data: None,
    },
    Shape {
        name: "number point",
        signal: Signal::Metrics,
        usual: usual::number_point,
        fast: fast::metric,
        prost: |record| Metric::decode(record).is_ok(),
        write: number_point,
        data: Some(5),
    },
    Shape {
        name: "histogram point",
        signal: Signal::Metrics,
        usual: usual::histogram_point,
        fast: fast::metric,
        prost: |record| Metric::decode(record).is_ok(),
        write: histogram_point,
        data: Some(9),
    },
];

/// Lengths about the bounds of what takes one byte, two, and three, of a window, and of a step.
const LENGTHS: &[usize] = &[
    0, 0, 1, 2, 3, 5, 8, 16, 30, 31, 32, 33, 64, 90, 115, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129,
    130, 131, 132, 200, 253, 254, 255, 256, 257, 258, 300,
];
const LONG: &[usize] = &[16_370, 16_378, 16_380, 16_381, 16_382, 16_383, 16_384, 16_385];

/// Writes one message, and remembers where keys, lengths and numbers stand.
struct Writer {
    seed: u64,
    /// Odd lengths and texts of a thousand. They go together: a fault in one may hide behind another.
    odd: usize,
    out: Vec<u8>,
    framing: Vec<usize>,
}

impl Writer {
    fn random(&mut self, bound: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % bound
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.random(100) < percent
    }

    /// One of three oddities, sometimes.
    fn oddity(&mut self) -> Option<usize> {
        (self.random(1000) < self.odd).then(|| self.random(3))
    }

    fn key(&mut self, key: &[u8]) {
        for byte in key {
            self.framing.push(self.out.len());
            self.out.push(*byte);
        }
    }

    /// A varint: mostly as short as it can be, else padded, or low bits without the bit that says that more follow.
    fn varint(&mut self, value: u64) {
        let mut bytes = Vec::new();
        crate::protobuf::put_varint(&mut bytes, value);
        match self.oddity() {
            Some(0) => bytes = vec![value as u8 & 0x7f, (value >> 7) as u8 & 0x7f],
            Some(_) if bytes.len() < 9 => {
                *bytes.last_mut().unwrap() |= 0x80;
                bytes.resize(bytes.len() + self.random(2), 0x80);
                bytes.push(0);
            }
            _ => {}
        }
        self.key(&bytes);
    }

    fn len(&mut self) -> usize {
        match self.random(if self.odd > 0 { 60 } else { 600 }) {
            0 => LONG[self.random(LONG.len())],
            1..20 => LENGTHS[self.random(LENGTHS.len())],
            _ => self.random(24),
        }
    }

    fn text(&mut self) {
        let len = self.len();
        let mut text: Vec<u8> = (0..len).map(|_| b' ' + self.random(95) as u8).collect();
        match self.oddity() {
            Some(0) if len > 0 => text[self.random(len)] = 0x80 | self.random(128) as u8,
            Some(1) if len > 1 => text.splice(0..2, "ü".bytes()).for_each(drop),
            Some(_) if len > 1 => text.splice(len - 2..len, "ü".bytes()).for_each(drop),
            _ => {}
        }
        self.varint(len as u64);
        self.out.append(&mut text);
    }

    fn fixed(&mut self, width: usize) {
        for _ in 0..width {
            let byte = self.random(256) as u8;
            self.out.push(byte);
        }
    }

    fn number(&mut self) {
        let choices = [0, 1, 2, 127, 128, 16_383, 16_384, u64::from(u32::MAX), 1 << 62, u64::MAX];
        let bound = if self.odd > 0 { choices.len() } else { 4 };
        let value = choices[self.random(bound)];
        self.varint(value);
    }

    fn nested(&mut self, key: &[u8], write: impl FnOnce(&mut Self)) {
        self.key(key);
        let outer = (std::mem::take(&mut self.out), std::mem::take(&mut self.framing));
        write(self);
        let (content, framing) =
            (std::mem::replace(&mut self.out, outer.0), std::mem::replace(&mut self.framing, outer.1));
        self.varint(content.len() as u64);
        let at = self.out.len();
        self.framing.extend(framing.iter().map(|place| at + place));
        self.out.extend(content);
    }

    fn value(&mut self) {
        // Mostly texts.
        match self.random(if self.odd > 0 { 20 } else { 40 }) {
            0 => {}
            1 | 2 => {
                self.key(&[0x10]);
                let flag = [0, 1, 1, 2, 127, 128][self.random(6)];
                self.varint(flag);
            }
            3..8 => {
                self.key(&[0x18]);
                self.number();
            }
            8 | 9 => {
                self.key(&[0x21]);
                self.fixed(8);
            }
            10 => {
                self.key(&[0x3a]);
                self.text();
            }
            11 => self.nested(&[0x2a], |list| list.nested(&[0x0a], Self::value)),
            12 => {
                self.key(&[0x40]);
                self.number();
            }
            13 => {
                // Two members.
                self.key(&[0x10, 1, 0x0a]);
                self.text();
            }
            _ => {
                self.key(&[0x0a]);
                self.text();
            }
        }
    }

    fn attribute(&mut self, tag: u8) {
        self.nested(&[tag], |attribute| {
            let form = attribute.random(if attribute.odd > 0 { 24 } else { 200 });
            if form == 0 {
                attribute.nested(&[0x12], Self::value);
            }
            if form != 1 {
                attribute.key(&[0x0a]);
                attribute.text();
            }
            if form > 2 {
                attribute.nested(&[0x12], Self::value);
            }
            if form == 3 {
                attribute.key(&[0x18]);
                attribute.number();
            }
        });
    }

    fn attributes(&mut self, tag: u8) {
        for _ in 0..self.random(5) {
            self.attribute(tag);
        }
    }

    fn fixed_field(&mut self, percent: usize, key: &[u8], width: usize) {
        if self.chance(percent) {
            self.key(key);
            self.fixed(width);
        }
    }

    fn number_field(&mut self, percent: usize, tag: u8) {
        if self.chance(percent) {
            self.key(&[tag]);
            self.number();
        }
    }

    fn text_field(&mut self, percent: usize, tag: u8) {
        if self.chance(percent) {
            self.key(&[tag]);
            self.text();
        }
    }

    fn id_field(&mut self, percent: usize, tag: u8, usual: usize) {
        if self.chance(percent) {
            let len = if self.chance(95) { usual } else { self.random(20) };
            self.key(&[tag]);
            self.varint(len as u64);
            self.fixed(len);
        }
    }

    fn packed_field(&mut self, tag: u8) {
        if self.chance(80) {
            let len = if self.chance(95) { 8 * self.random(40) } else { self.random(40) };
            self.key(&[tag]);
            self.varint(len as u64);
            self.fixed(len);
        }
    }

    /// Changes bytes, mostly of the framing.
    fn change(&mut self) {
        for _ in 0..=self.random(3) {
            if self.out.is_empty() {
                return;
            }
            let anywhere = self.framing.is_empty() || self.chance(20);
            let place = self.random(if anywhere { self.out.len() } else { self.framing.len() });
            let at = if anywhere { place } else { self.framing[place] };
            let Some(byte) = self.out.get(at).copied() else { continue };
            match self.random(12) {
                // What is too much in the framing and what is too much in the text may make up for each other.
                8.. => {
                    self.out.insert(at + 1, 0);
                    let other = self.random(self.out.len());
                    self.out[other] |= 0x80;
                }
                0 => self.out[at] = byte ^ 0x80,
                1 => self.out[at] = byte.wrapping_add(1),
                2 => self.out[at] = byte.wrapping_sub(1),
                3 => self.out.insert(at + 1, 0),
                4 => self.out.insert(at, 0x80),
                5 => drop(self.out.remove(at)),
                6 => self.out[at] = self.random(256) as u8,
                _ => self.out[at] = byte ^ 1 << self.random(8),
            }
        }
    }
}

fn log_record(log: &mut Writer) {
    log.fixed_field(90, &[0x09], 8);
    log.number_field(60, 0x10);
    log.text_field(70, 0x1a);
    if log.chance(80) {
        log.nested(&[0x2a], Writer::value);
    }
    log.attributes(0x32);
    log.number_field(5, 0x38);
    log.fixed_field(40, &[0x45], 4);
    if log.chance(50) {
        log.id_field(95, 0x4a, 16);
        log.id_field(95, 0x52, 8);
    }
    log.fixed_field(80, &[0x59], 8);
    log.text_field(5, 0x62);
}

fn span(span: &mut Writer) {
    span.id_field(97, 0x0a, 16);
    span.id_field(97, 0x12, 8);
    span.text_field(5, 0x1a);
    span.id_field(60, 0x22, 8);
    span.text_field(90, 0x2a);
    span.number_field(60, 0x30);
    span.fixed_field(95, &[0x39], 8);
    span.fixed_field(95, &[0x41], 8);
    span.attributes(0x4a);
    span.number_field(5, 0x50);
    if span.chance(10) {
        span.nested(&[0x5a], |event| {
            event.fixed_field(80, &[0x09], 8);
            event.text_field(80, 0x12);
            event.attributes(0x1a);
        });
    }
    match span.random(6) {
        0 => span.key(&[0x7a, 0]),
        1 => span.key(&[0x7a, 2, 0x18, 2]),
        2 => span.nested(&[0x7a], |status| {
            status.text_field(50, 0x12);
            status.number_field(80, 0x18);
        }),
        _ => {}
    }
    span.fixed_field(60, &[0x85, 0x01], 4);
}

fn number_point(point: &mut Writer) {
    point.fixed_field(97, &[0x11], 8);
    point.fixed_field(97, &[0x19], 8);
    let tag = [0x21, 0x31][point.random(2)];
    point.fixed_field(97, &[tag], 8);
    point.attributes(0x3a);
    point.number_field(5, 0x40);
}

fn histogram_point(point: &mut Writer) {
    for tag in [0x11, 0x19, 0x21, 0x29] {
        point.fixed_field(97, &[tag], 8);
    }
    point.packed_field(0x32);
    point.packed_field(0x3a);
    point.attributes(0x4a);
    point.number_field(5, 0x50);
    point.fixed_field(70, &[0x59], 8);
    point.fixed_field(70, &[0x61], 8);
}

/// The table of the messages in a field.
fn inner(message: &Message, number: u32) -> &'static Message {
    match message.field(number).unwrap().kind {
        Kind::Message(inner) => inner,
        kind => panic!("field {number} is {kind:?}"),
    }
}

/// What follows a message in the body.
fn tail(writer: &mut Writer, message: &[u8]) -> Vec<u8> {
    match writer.random(5) {
        0 => Vec::new(),
        1 => vec![0xff; 600],
        2 => message.repeat(4),
        3 => vec![0; writer.random(300)],
        _ => vec![0; 600],
    }
}

/// How a record was judged: the cheapest way that accepted it.
fn judge(shape: &Shape, writer: &mut Writer, content: &[u8]) -> &'static str {
    let table = schema::record(shape.signal);
    let mut record = content.to_vec();
    let mut before = 0;
    if let Some(number) = shape.data {
        for key in [0x0a, (number << 3 | 2) as u8] {
            let inside = std::mem::take(&mut record);
            record.push(key);
            crate::protobuf::put_varint(&mut record, inside.len() as u64);
            before += record.len();
            record.extend(inside);
        }
    }
    let start = writer.random(3);
    let (at, end) = (start, start + record.len());
    let body = [&vec![0xff; start][..], &record, &tail(writer, &record)].concat();
    let judged_by_prost = (shape.prost)(&record);
    let mut reference = Checker::new(&record, State::default());
    let sound = reference.message(table, 0, record.len(), RECORD_DEPTH).is_some();
    assert_eq!(sound, judged_by_prost, "{}: {:?} {record:02x?}", shape.name, reference.fault);
    let ways = [false, true].map(|exact| {
        let mut checker = Checker::new(&body, State { exact, ..State::default() });
        let records = (shape.fast)(&mut checker, &body, at, end, RECORD_DEPTH)?;
        let expected = reference.state.records + u64::from(shape.data.is_none());
        assert!(sound, "{} exact {exact}: {:?} in {record:02x?}", shape.name, reference.fault);
        assert_eq!(records, expected, "{} exact {exact}: {record:02x?}", shape.name);
        let found = (checker.state.irregular, checker.state.repeats);
        assert_eq!(found, (reference.state.irregular, reference.state.repeats), "{}: {record:02x?}", shape.name);
        Some(())
    });
    if (shape.usual)(&body, at + before, end).is_some() {
        let message = shape.data.map_or(table, |number| inner(inner(table, number), 1));
        let mut checker = Checker::new(&body, State::default());
        let accepted = checker.message(message, at + before, end, RECORD_DEPTH).is_some();
        assert!(accepted && !checker.state.irregular, "{}: {:?} in {record:02x?}", shape.name, checker.fault);
        assert!(ways[1].is_some(), "{}: {record:02x?}", shape.name);
        return "usual";
    }
    match ways {
        [Some(()), exact] => {
            assert!(exact.is_some(), "{}: {record:02x?}", shape.name);
            "fast"
        }
        [None, Some(())] => "exact",
        [None, None] if sound => "reference",
        [None, None] => "refused",
    }
}

/// `PROPTEST_CASES` sets the number of records of each shape.
#[test]
fn records_about_the_usual_shape_are_judged_as_prost_does() {
    let cases = std::env::var("PROPTEST_CASES").map_or(20_000, |cases| cases.parse().unwrap());
    for shape in &SHAPES {
        let mut tally = BTreeMap::new();
        let mut writer = Writer { seed: 1, odd: 0, out: Vec::new(), framing: Vec::new() };
        for case in 0..cases {
            writer.seed = writer.seed.wrapping_add(case);
            writer.odd = [0, 0, 0, 20, 60, 200][writer.random(6)];
            writer.out.clear();
            writer.framing.clear();
            (shape.write)(&mut writer);
            if writer.chance(40) {
                writer.change();
            }
            let content = writer.out.clone();
            *tally.entry(judge(shape, &mut writer, &content)).or_insert(0_u64) += 1;
        }
        for way in ["usual", "fast", "exact", "reference", "refused"] {
            let times = tally.get(way).copied().unwrap_or_default();
            assert!(times > cases / 400, "{} of {cases}: {way} {times} times: {tally:?}", shape.name);
        }
    }
}
