//! Writes OTLP requests the way no library does: fields in any order, singular fields twice, unknown fields, groups,
//! packed and unpacked lists, overlong varints, empty envelopes, duplicate keys, values nested to the limit and
//! beyond. It has a table of its own, and knows nothing of the crate under test.

use std::collections::BTreeMap;

use otlp::Signal;

/// A small generator of pseudo-random numbers (SplitMix64): a seed is a test case.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// True `per_mille` times of a thousand.
    pub fn rarely(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// How often each feature was written.
pub type Features = BTreeMap<&'static str, u64>;

enum Kind {
    /// A varint of which most values are small.
    Small,
    /// A varint of any size.
    Varint,
    Fixed64,
    Fixed32,
    /// A list of fixed64.
    Fixed64s,
    /// A list of varints.
    Varints,
    Text,
    Key,
    Bytes(usize),
    Message(&'static Shape),
}

/// Field number, kind, and the most occurrences (1: singular).
type Row = (u32, Kind, usize);

struct Shape {
    rows: &'static [Row],
    /// Members of the message's oneof.
    oneof: &'static [u32],
}

const fn shape(rows: &'static [Row]) -> Shape {
    Shape { rows, oneof: &[] }
}

use Kind::{Bytes, Fixed32, Fixed64, Fixed64s, Key, Message, Small, Text, Varint, Varints};

static LOGS: Shape = shape(&[(1, Message(&RESOURCE_LOGS), 4)]);
static METRICS: Shape = shape(&[(1, Message(&RESOURCE_METRICS), 4)]);
static TRACES: Shape = shape(&[(1, Message(&RESOURCE_SPANS), 4)]);
static RESOURCE_LOGS: Shape = shape(&[(1, Message(&RESOURCE), 1), (2, Message(&SCOPE_LOGS), 3), (3, Text, 1)]);
static RESOURCE_METRICS: Shape = shape(&[(1, Message(&RESOURCE), 1), (2, Message(&SCOPE_METRICS), 3), (3, Text, 1)]);
static RESOURCE_SPANS: Shape = shape(&[(1, Message(&RESOURCE), 1), (2, Message(&SCOPE_SPANS), 3), (3, Text, 1)]);
static SCOPE_LOGS: Shape = shape(&[(1, Message(&SCOPE), 1), (2, Message(&LOG), 6), (3, Text, 1)]);
static SCOPE_METRICS: Shape = shape(&[(1, Message(&SCOPE), 1), (2, Message(&METRIC), 4), (3, Text, 1)]);
static SCOPE_SPANS: Shape = shape(&[(1, Message(&SCOPE), 1), (2, Message(&SPAN), 5), (3, Text, 1)]);
static RESOURCE: Shape = shape(&[(1, Message(&KEY_VALUE), 6), (2, Varint, 1), (3, Message(&ENTITY_REF), 1)]);
static ENTITY_REF: Shape = shape(&[(1, Text, 1), (2, Text, 1), (3, Key, 2), (4, Key, 2)]);
static SCOPE: Shape = shape(&[(1, Text, 1), (2, Text, 1), (3, Message(&KEY_VALUE), 2), (4, Varint, 1)]);
static KEY_VALUE: Shape = shape(&[(1, Key, 1), (2, Message(&ANY_VALUE), 1)]);
static ARRAY: Shape = shape(&[(1, Message(&ANY_VALUE), 3)]);
static MAP: Shape = shape(&[(1, Message(&KEY_VALUE), 3)]);
static ANY_VALUE: Shape = Shape {
    rows: &[
        (1, Text, 1),
        (2, Small, 1),
        (3, Varint, 1),
        (4, Fixed64, 1),
        (5, Message(&ARRAY), 1),
        (6, Message(&MAP), 1),
        (7, Bytes(0), 1),
    ],
    oneof: &[1, 1, 1, 1, 1, 1, 2, 3, 3, 4, 5, 6, 7],
};
static LOG: Shape = shape(&[
    (1, Fixed64, 1),
    (2, Small, 1),
    (3, Text, 1),
    (5, Message(&ANY_VALUE), 1),
    (6, Message(&KEY_VALUE), 5),
    (7, Small, 1),
    (8, Fixed32, 1),
    (9, Bytes(16), 1),
    (10, Bytes(8), 1),
    (11, Fixed64, 1),
    (12, Text, 1),
]);
static SPAN: Shape = shape(&[
    (1, Bytes(16), 1),
    (2, Bytes(8), 1),
    (3, Text, 1),
    (4, Bytes(8), 1),
    (5, Text, 1),
    (6, Small, 1),
    (7, Fixed64, 1),
    (8, Fixed64, 1),
    (9, Message(&KEY_VALUE), 5),
    (10, Small, 1),
    (11, Message(&EVENT), 2),
    (12, Small, 1),
    (13, Message(&LINK), 2),
    (14, Small, 1),
    (15, Message(&STATUS), 1),
    (16, Fixed32, 1),
]);
static EVENT: Shape = shape(&[(1, Fixed64, 1), (2, Text, 1), (3, Message(&KEY_VALUE), 2), (4, Small, 1)]);
static LINK: Shape = shape(&[
    (1, Bytes(16), 1),
    (2, Bytes(8), 1),
    (3, Text, 1),
    (4, Message(&KEY_VALUE), 2),
    (5, Small, 1),
    (6, Fixed32, 1),
]);
static STATUS: Shape = shape(&[(2, Text, 1), (3, Small, 1)]);
static METRIC: Shape = Shape {
    rows: &[
        (1, Text, 1),
        (2, Text, 1),
        (3, Text, 1),
        (5, Message(&GAUGE), 1),
        (7, Message(&SUM), 1),
        (9, Message(&HISTOGRAM), 1),
        (10, Message(&EXPONENTIAL), 1),
        (11, Message(&SUMMARY), 1),
        (12, Message(&KEY_VALUE), 1),
    ],
    oneof: &[5, 7, 9, 10, 11],
};
static GAUGE: Shape = shape(&[(1, Message(&NUMBER_POINT), 5)]);
static SUM: Shape = shape(&[(1, Message(&NUMBER_POINT), 5), (2, Small, 1), (3, Small, 1)]);
static HISTOGRAM: Shape = shape(&[(1, Message(&HISTOGRAM_POINT), 4), (2, Small, 1)]);
static EXPONENTIAL: Shape = shape(&[(1, Message(&EXPONENTIAL_POINT), 3), (2, Small, 1)]);
static SUMMARY: Shape = shape(&[(1, Message(&SUMMARY_POINT), 3)]);
static NUMBER_POINT: Shape = Shape {
    rows: &[
        (2, Fixed64, 1),
        (3, Fixed64, 1),
        (4, Fixed64, 1),
        (5, Message(&EXEMPLAR), 1),
        (6, Fixed64, 1),
        (7, Message(&KEY_VALUE), 4),
        (8, Small, 1),
    ],
    oneof: &[4, 6],
};
static HISTOGRAM_POINT: Shape = shape(&[
    (2, Fixed64, 1),
    (3, Fixed64, 1),
    (4, Fixed64, 1),
    (5, Fixed64, 1),
    (6, Fixed64s, 1),
    (7, Fixed64s, 1),
    (8, Message(&EXEMPLAR), 1),
    (9, Message(&KEY_VALUE), 3),
    (10, Small, 1),
    (11, Fixed64, 1),
    (12, Fixed64, 1),
]);
static EXPONENTIAL_POINT: Shape = shape(&[
    (1, Message(&KEY_VALUE), 3),
    (2, Fixed64, 1),
    (3, Fixed64, 1),
    (4, Fixed64, 1),
    (5, Fixed64, 1),
    (6, Varint, 1),
    (7, Fixed64, 1),
    (8, Message(&BUCKETS), 1),
    (9, Message(&BUCKETS), 1),
    (10, Small, 1),
    (11, Message(&EXEMPLAR), 1),
    (12, Fixed64, 1),
    (13, Fixed64, 1),
    (14, Fixed64, 1),
]);
static BUCKETS: Shape = shape(&[(1, Varint, 1), (2, Varints, 1)]);
static SUMMARY_POINT: Shape = shape(&[
    (2, Fixed64, 1),
    (3, Fixed64, 1),
    (4, Fixed64, 1),
    (5, Fixed64, 1),
    (6, Message(&QUANTILE), 3),
    (7, Message(&KEY_VALUE), 3),
    (8, Small, 1),
]);
static QUANTILE: Shape = shape(&[(1, Fixed64, 1), (2, Fixed64, 1)]);
static EXEMPLAR: Shape = Shape {
    rows: &[
        (2, Fixed64, 1),
        (3, Fixed64, 1),
        (4, Bytes(8), 1),
        (5, Bytes(16), 1),
        (6, Fixed64, 1),
        (7, Message(&KEY_VALUE), 2),
    ],
    oneof: &[3, 6],
};

/// Keys that records and resources use, few so that duplicates and edits meet.
pub const KEYS: &[&str] =
    &["service.name", "host.name", "k8s.pod.name", "k8s.namespace.name", "a", "b", "", "http.response.status_code"];

/// A field: whole, or a message whose length follows from what is inside.
#[derive(Clone)]
enum Node {
    Leaf(Vec<u8>),
    Nested { number: u32, key_padding: usize, len_padding: usize, inside: Vec<Node> },
}

/// How odd the messages are.
struct Writer<'a> {
    rng: &'a mut Rng,
    features: &'a mut Features,
    /// Oddities per thousand fields.
    odd: usize,
    /// Messages without optional parts and with long texts: what real clients send.
    long_texts: bool,
}

/// Writes a request. Mutated ones are mostly refused; of those left as they are, only the too deeply nested ones.
pub fn request(signal: Signal, rng: &mut Rng, features: &mut Features) -> (Vec<u8>, Mutated) {
    let odd = *rng.pick(&[0, 0, 0, 5, 20, 100]);
    let long_texts = rng.chance(30);
    let root = match signal {
        Signal::Logs => &LOGS,
        Signal::Metrics => &METRICS,
        Signal::Traces => &TRACES,
    };
    let mut writer = Writer { rng, features, odd, long_texts };
    let mut nodes = writer.message(root, 5);
    if writer.rng.chance(8) {
        writer.nest(&mut nodes);
    }
    let mut mutated = Mutated::No;
    if writer.rng.chance(40) {
        mutated = Mutated::Yes;
        for _ in 0..=writer.rng.below(3) {
            writer.count("mutation with lengths repaired");
            writer.mutate(&mut nodes);
        }
    }
    let mut out = Vec::new();
    nodes.iter().for_each(|node| encode(node, &mut out));
    if rng.chance(10) && !out.is_empty() {
        mutated = Mutated::Yes;
        *features.entry("mutation of raw bytes").or_default() += 1;
        mutate_bytes(rng, &mut out);
    }
    (out, mutated)
}

/// Whether the bytes were changed after they had been written as a message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Mutated {
    Yes,
    No,
}

impl Writer<'_> {
    fn count(&mut self, feature: &'static str) {
        *self.features.entry(feature).or_default() += 1;
    }

    fn odd(&mut self, feature: &'static str) -> bool {
        let odd = self.odd;
        let is_odd = self.rng.rarely(odd);
        if is_odd {
            self.count(feature);
        }
        is_odd
    }

    /// `levels` of values may follow.
    fn message(&mut self, shape: &'static Shape, levels: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        let member = if shape.oneof.is_empty() { 0 } else { *self.rng.pick(shape.oneof) };
        for (number, kind, most) in shape.rows {
            let in_oneof = shape.oneof.contains(number);
            if in_oneof && *number != member && !self.odd("two members of a oneof") {
                continue;
            }
            let times = match *most {
                1 if in_oneof => 1,
                1 => usize::from(self.rng.chance(75)),
                most => self.rng.below(most + 1),
            };
            if *most == 1 && times == 1 && self.odd("singular field twice") {
                if matches!(kind, Message(_)) {
                    self.count("singular message twice");
                }
                self.field(*number, kind, levels, &mut nodes);
            }
            for _ in 0..times {
                self.field(*number, kind, levels, &mut nodes);
            }
        }
        if nodes.is_empty() {
            self.count("empty message");
        }
        if std::ptr::eq(shape, &raw const RESOURCE) {
            self.note_duplicate_keys(&nodes);
        }
        if self.odd("unknown field") {
            let unknown = self.unknown(0);
            let at = self.rng.below(nodes.len() + 1);
            nodes.insert(at, Node::Leaf(unknown));
        }
        if self.odd("fields in any order") {
            for index in (1..nodes.len()).rev() {
                let other = self.rng.below(index + 1);
                nodes.swap(index, other);
            }
        }
        nodes
    }

    fn field(&mut self, number: u32, kind: &Kind, levels: usize, nodes: &mut Vec<Node>) {
        let mut out = Vec::new();
        let padding = if self.odd("overlong key") { 1 + self.rng.below(3) } else { 0 };
        match kind {
            Message(inner) => {
                let is_value = std::ptr::eq(*inner, &raw const ARRAY) || std::ptr::eq(*inner, &raw const MAP);
                let inside = if is_value && levels == 0 {
                    Vec::new()
                } else {
                    self.message(inner, levels - usize::from(is_value))
                };
                let len_padding = if self.odd("overlong length") { 1 + self.rng.below(3) } else { 0 };
                nodes.push(Node::Nested { number, key_padding: padding, len_padding, inside });
                return;
            }
            Small | Varint => {
                put_key(&mut out, number, 0, padding);
                let value = self.varint_value(matches!(kind, Small));
                self.put_value(&mut out, value);
            }
            Fixed64 => {
                put_key(&mut out, number, 1, padding);
                let value = self.fixed_value();
                out.extend_from_slice(&value.to_le_bytes());
            }
            Fixed32 => {
                put_key(&mut out, number, 5, padding);
                out.extend_from_slice(&(self.rng.next() as u32 & 0x1ff).to_le_bytes());
            }
            Fixed64s | Varints => {
                let values: Vec<u64> = (0..self.rng.below(6)).map(|_| self.fixed_value()).collect();
                let fixed = matches!(kind, Fixed64s);
                if self.rng.chance(80) {
                    self.count("packed list");
                    let mut content = Vec::new();
                    for value in values {
                        if fixed {
                            content.extend_from_slice(&value.to_le_bytes());
                        } else {
                            self.put_value(&mut content, value);
                        }
                    }
                    put_key(&mut out, number, 2, padding);
                    put_varint(&mut out, content.len() as u64, 0);
                    out.extend_from_slice(&content);
                } else {
                    for value in values {
                        self.count("unpacked list element");
                        put_key(&mut out, number, if fixed { 1 } else { 0 }, padding);
                        if fixed {
                            out.extend_from_slice(&value.to_le_bytes());
                        } else {
                            self.put_value(&mut out, value);
                        }
                    }
                }
            }
            Text | Key | Bytes(_) => {
                let content = match kind {
                    Key => self.key(),
                    Bytes(usual) => self.bytes(*usual),
                    _ => self.text(),
                };
                put_key(&mut out, number, 2, padding);
                let len_padding = if self.odd("overlong length") { 1 + self.rng.below(3) } else { 0 };
                put_varint(&mut out, content.len() as u64, len_padding);
                out.extend_from_slice(&content);
            }
        }
        if !out.is_empty() {
            nodes.push(Node::Leaf(out));
        }
    }

    fn put_value(&mut self, out: &mut Vec<u8>, value: u64) {
        let padding = if self.odd("overlong value") { 1 + self.rng.below(3) } else { 0 };
        put_varint(out, value, padding);
    }

    fn varint_value(&mut self, small: bool) -> u64 {
        match self.rng.below(if small { 20 } else { 8 }) {
            0 => self.rng.next(),
            1 => u64::MAX,
            2 => self.rng.next() >> 40,
            3 => 0,
            4 => 99,
            _ => self.rng.next() & 15,
        }
    }

    fn fixed_value(&mut self) -> u64 {
        match self.rng.below(8) {
            0 => f64::NAN.to_bits(),
            1 => f64::INFINITY.to_bits(),
            2 => u64::MAX,
            3 => 0,
            4 => (-0.0_f64).to_bits(),
            5 => self.rng.next() & 0x7f7f_7f7f_7f7f_7f7f,
            _ => 1_700_000_000_000_000_000 + (self.rng.next() >> 20),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        match self.rng.below(40) {
            0 => self.text(),
            1 => "k".repeat(130 + self.rng.below(20)).into_bytes(),
            2 => "schlüssel".as_bytes().to_vec(),
            _ => self.rng.pick(KEYS).as_bytes().to_vec(),
        }
    }

    fn text(&mut self) -> Vec<u8> {
        let mut text = match self.rng.below(30) {
            0 => {
                self.count("text that is not ASCII");
                "grüße, 世界 🦀".to_owned()
            }
            1 => String::new(),
            2 => "x".repeat(self.rng.below(400)),
            3 => "\0\n\"\\\u{7f}\u{1b}".to_owned(),
            _ => format!("text {}", self.rng.below(1000)),
        };
        if self.long_texts && self.rng.chance(20) {
            self.count("long text");
            text.push_str(&"lorem ipsum ".repeat(self.rng.below(120)));
        }
        text.into_bytes()
    }

    fn bytes(&mut self, usual: usize) -> Vec<u8> {
        let len = if usual == 0 || self.rng.chance(5) { self.rng.below(40) } else { usual };
        (0..len).map(|_| self.rng.next() as u8).collect()
    }

    fn unknown(&mut self, level: usize) -> Vec<u8> {
        let number = *self.rng.pick(&[4, 17, 99, 1000, 0x1fff_ffff]);
        let mut out = Vec::new();
        match self.rng.below(5) {
            0 => {
                put_key(&mut out, number, 0, 0);
                let value = self.rng.next();
                put_varint(&mut out, value, 0);
            }
            1 => {
                put_key(&mut out, number, 1, 0);
                out.extend_from_slice(&self.rng.next().to_le_bytes());
            }
            2 => {
                put_key(&mut out, number, 5, 0);
                out.extend_from_slice(&(self.rng.next() as u32).to_le_bytes());
            }
            3 => {
                self.count("group");
                put_key(&mut out, number, 3, 0);
                if level < 4 {
                    for _ in 0..self.rng.below(3) {
                        let inner = self.unknown(level + 1);
                        out.extend_from_slice(&inner);
                    }
                }
                put_key(&mut out, number, 4, 0);
            }
            _ => {
                put_key(&mut out, number, 2, 0);
                put_varint(&mut out, 11, 0);
                out.extend_from_slice(b"unknown \xff\xfe\xfd");
            }
        }
        out
    }

    fn note_duplicate_keys(&mut self, attributes: &[Node]) {
        let mut encoded: Vec<Vec<u8>> = attributes
            .iter()
            .filter_map(|node| match node {
                Node::Nested { number: 1, inside, .. } => inside.first(),
                _ => None,
            })
            .map(|key| {
                let mut out = Vec::new();
                encode(key, &mut out);
                out
            })
            .collect();
        encoded.sort();
        let all = encoded.len();
        encoded.dedup();
        if encoded.len() < all {
            self.count("duplicate attribute key");
        }
    }

    /// Puts lists in lists, about as deep as the limit, in place of some value.
    fn nest(&mut self, nodes: &mut Vec<Node>) {
        let levels = *self.rng.pick(&[10, 30, 43, 44, 45, 46, 47, 48, 49, 50, 55, 200]);
        let maps = self.rng.chance(30);
        let levels = if maps { levels * 2 / 3 } else { levels };
        self.count(if levels > 60 { "nesting far beyond the limit" } else { "nesting about the limit" });
        let nested = |number, inside| Node::Nested { number, key_padding: 0, len_padding: 0, inside };
        let mut value = match self.rng.below(3) {
            0 => vec![],
            1 => vec![Node::Leaf(self.unknown(0))],
            _ => vec![Node::Leaf(vec![0x10, 1])],
        };
        for _ in 0..levels {
            value = if maps {
                vec![nested(6, vec![nested(1, vec![nested(2, value)])])]
            } else {
                vec![nested(5, vec![nested(1, value)])]
            };
        }
        // The first list in the request that has a message in field 2 or 9 takes it as an attribute's value.
        let mut at = nodes;
        for _ in 0..self.rng.below(4) {
            let Some(index) = at.iter().position(|node| matches!(node, Node::Nested { .. })) else { break };
            let Node::Nested { inside, .. } = &mut at[index] else { return };
            at = inside;
        }
        at.push(nested(*self.rng.pick(&[1, 2, 5, 6, 9]), vec![nested(2, value.clone()), nested(1, value)]));
    }

    /// Changes one place of the tree.
    fn mutate(&mut self, nodes: &mut Vec<Node>) {
        let mut at = nodes;
        loop {
            if at.is_empty() {
                let unknown = self.unknown(0);
                at.push(Node::Leaf(unknown));
                return;
            }
            let index = self.rng.below(at.len());
            let descend = matches!(at[index], Node::Nested { .. }) && self.rng.chance(88);
            if !descend {
                self.mutate_child(at, index);
                return;
            }
            let Node::Nested { inside, .. } = &mut at[index] else { return };
            at = inside;
        }
    }

    fn mutate_child(&mut self, siblings: &mut Vec<Node>, index: usize) {
        match self.rng.below(8) {
            0 => {
                siblings.remove(index);
            }
            1 => {
                let copy = siblings[index].clone();
                let at = self.rng.below(siblings.len() + 1);
                siblings.insert(at, copy);
            }
            2 => {
                let other = self.rng.below(siblings.len());
                siblings.swap(index, other);
            }
            3 => {
                let mut raw = Vec::new();
                encode(&siblings[index], &mut raw);
                mutate_bytes(self.rng, &mut raw);
                siblings[index] = Node::Leaf(raw);
            }
            _ => match &mut siblings[index] {
                Node::Leaf(bytes) => mutate_bytes(self.rng, bytes),
                Node::Nested { number, inside, .. } => {
                    if self.rng.chance(50) {
                        *number = 1 + self.rng.below(17) as u32;
                    } else {
                        let junk = (0..self.rng.below(4)).map(|_| self.rng.next() as u8).collect();
                        inside.push(Node::Leaf(junk));
                    }
                }
            },
        }
    }
}

/// Changes some bytes.
pub fn mutate_bytes(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(2) {
        if bytes.is_empty() {
            bytes.push(rng.next() as u8);
        }
        let at = rng.below(bytes.len());
        match rng.below(7) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = rng.next() as u8,
            2 => bytes[at] = *rng.pick(&[0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x12, 0x0b, 0x0c]),
            3 => bytes[at] = bytes[at].wrapping_add(1),
            4 => bytes[at] = bytes[at].wrapping_sub(1),
            5 => bytes.insert(at, rng.next() as u8),
            _ => {
                bytes.remove(at);
            }
        }
    }
}

fn encode(node: &Node, out: &mut Vec<u8>) {
    match node {
        Node::Leaf(bytes) => out.extend_from_slice(bytes),
        Node::Nested { number, key_padding, len_padding, inside } => {
            let mut content = Vec::new();
            inside.iter().for_each(|inner| encode(inner, &mut content));
            put_key(out, *number, 2, *key_padding);
            put_varint(out, content.len() as u64, *len_padding);
            out.extend_from_slice(&content);
        }
    }
}

fn put_key(out: &mut Vec<u8>, number: u32, wire: u32, padding: usize) {
    put_varint(out, u64::from(number << 3 | wire), padding);
}

/// Writes a varint with up to `padding` needless bytes.
fn put_varint(out: &mut Vec<u8>, mut value: u64, padding: usize) {
    let mut len = 1;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
        len += 1;
    }
    let padding = padding.min(10 - len);
    if padding == 0 {
        out.push(value as u8);
        return;
    }
    out.push(value as u8 | 0x80);
    for _ in 1..padding {
        out.push(0x80);
    }
    out.push(0);
}
