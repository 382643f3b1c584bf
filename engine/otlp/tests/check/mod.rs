//! What must hold for any bytes, as functions that panic when it does not. The property tests, the replay of the
//! fuzzing corpus and the fuzz targets all call them; prost (through opentelemetry-proto) is the judge.
#![allow(unreachable_pub, reason = "the fuzz crate includes this module by path")]
#![allow(dead_code, reason = "each user of this module calls some of it")]
#![allow(clippy::unwrap_used, reason = "a check fails by panicking")]

pub mod generate;
pub mod json;
pub mod model;
pub mod views;

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use otlp::{
    Admission, AdmitError, AttributeEdit, AttributeEdits, AttributeValue, Decoded, EditAction, Fault, KeyPattern,
    Progress, ResourceEdit, ResourceEdits, ResourceView, Signal, SplitLimits, ValueView, Wire, WireEdits, admit,
    readmit,
};

use self::generate::{KEYS, Rng};

/// How admission and prost judged the same bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Both take it as it is.
    Accepted,
    /// Both take it; admission had to rewrite it.
    Normalised,
    /// Both refuse it.
    Refused,
    /// Admission refuses what prost takes.
    FalseRefusal(Fault),
}

/// Admission accepts nothing that prost refuses, means the same, counts the same, and is the same in steps.
pub fn admission(signal: Signal, body: &[u8]) -> (Verdict, Option<Wire>) {
    let admitted = admit(signal, Bytes::copy_from_slice(body));
    in_steps_the_same(signal, body, &admitted);
    let judged = Decoded::decode(signal, Bytes::copy_from_slice(body));
    match (admitted, judged) {
        (Ok(wire), Ok(mut decoded)) => {
            assert_eq!(wire.left_out(), model::drop_records_with_wrong_ids(&mut decoded), "wrong ids are counted");
            model::drop_entries_without_records(&mut decoded);
            assert_eq!(wire.records(), decoded.records(), "records are counted as prost sees them");
            assert!(same(&wire.decode(), &decoded), "admission keeps the meaning");
            views::agree(&wire, &decoded);
            audit(&wire);
            (if wire.normalised() { Verdict::Normalised } else { Verdict::Accepted }, Some(wire))
        }
        (Ok(_), Err(error)) => panic!("admission accepts what prost refuses: {error}"),
        (Err(error), Ok(_)) => {
            let AdmitError::Malformed { fault, .. } = error else { panic!("unexpected refusal: {error}") };
            (Verdict::FalseRefusal(fault), None)
        }
        (Err(error), Err(_)) => {
            assert!(!error.to_string().is_empty());
            (Verdict::Refused, None)
        }
    }
}

fn in_steps_the_same(signal: Signal, body: &[u8], at_once: &Result<Wire, AdmitError>) {
    let mut admission = Admission::new(signal, Bytes::copy_from_slice(body));
    let stepped = loop {
        match admission.step(1) {
            Ok(Progress::More) => {}
            // Everything is longer than one byte.
            Ok(Progress::Long) => match admission.step_long() {
                Ok(Progress::Long) => panic!("nothing is too long for a long step"),
                Ok(Progress::More) => {}
                Ok(Progress::Done(wire)) => break Ok(wire),
                Err(error) => break Err(error),
            },
            Ok(Progress::Done(wire)) => break Ok(wire),
            Err(error) => break Err(error),
        }
    };
    match (at_once, stepped) {
        (Ok(whole), Ok(stepped)) => {
            assert_eq!(whole.rope(), stepped.rope());
            assert_eq!(whole.records(), stepped.records());
            assert_eq!(whole.left_out(), stepped.left_out());
            assert_eq!(records_by_resource(whole), records_by_resource(&stepped));
        }
        (Err(whole), Err(stepped)) => assert_eq!(*whole, stepped),
        (whole, stepped) => panic!("at once {whole:?}, in steps {stepped:?}"),
    }
}

fn records_by_resource(wire: &Wire) -> Vec<(usize, u64)> {
    wire.resources().map(|resource| (resource.len(), resource.records())).collect()
}

/// What an operation gives out is what admission would make of its bytes.
pub fn audit(wire: &Wire) {
    let again = readmit(wire.signal(), wire.rope().into_bytes()).expect("an operation's result is admitted again");
    assert!(!again.normalised(), "an operation's result is in normal form");
    assert_eq!(again.len(), wire.len());
    assert_eq!(records_by_resource(&again), records_by_resource(wire));
    assert_eq!(again.records(), wire.records());
    assert!(wire.rope().pieces().iter().all(|piece| !piece.is_empty()), "no piece is empty");
    assert!(wire.retained_bytes() >= wire.len() || wire.is_empty(), "at least its own bytes are kept alive");
}

/// Every operation does to the bytes what the same operation does to the structs.
pub fn operations(wire: &Wire, rng: &mut Rng) {
    let decoded = wire.decode();
    let edited = edits(wire, &decoded, rng);
    attribute_edits(wire, &decoded, rng);
    partitions(wire, &decoded, rng);
    deals(wire, &decoded, rng);
    splits(wire, &decoded, rng);
    halves(wire, &decoded);
    concatenations(wire, &decoded, rng);
    // Once more on a rope of several pieces.
    let decoded = edited.decode();
    views::agree(&edited, &decoded);
    splits(&edited, &decoded, rng);
    let joined = Wire::concat(edited.clone().split(&limits(rng, &edited)));
    let decoded = joined.decode();
    edits(&joined, &decoded, rng);
    attribute_edits(&joined, &decoded, rng);
    partitions(&joined, &decoded, rng);
    deals(&joined, &decoded, rng);
    splits(&joined, &decoded, rng);
    views::agree(&joined, &decoded);
    let compact = joined.clone().into_compact();
    assert_eq!(compact.rope(), joined.rope());
    assert_eq!((compact.retained_bytes(), compact.rope().pieces().len() <= 1), (joined.len(), true));
}

fn edits(wire: &Wire, decoded: &Decoded, rng: &mut Rng) -> Wire {
    let list: Vec<ResourceEdit> = (0..rng.below(9)).map(|_| edit(rng)).collect();
    let edited = wire.clone().edit_resources(&ResourceEdits::new(list.clone()));
    audit(&edited);
    let mut expected = decoded.clone();
    model::edit_resources(&mut expected, &list);
    let mut found = edited.decode();
    // A key that is removed and set again may stay where it was.
    model::sort_resource_attributes(&mut expected);
    model::sort_resource_attributes(&mut found);
    assert!(same(&found, &expected), "edits {list:?}\nof {decoded:?}\nfound {found:?}\nexpected {expected:?}");
    edited
}

fn attribute_edits(wire: &Wire, decoded: &Decoded, rng: &mut Rng) {
    let (of_resources, resource) = some_attribute_edits(rng);
    let (of_scopes, scope) = some_attribute_edits(rng);
    let (of_records, record) = some_attribute_edits(rng);
    let edited = wire.clone().edit_attributes(&WireEdits { resource, scope, record });
    audit(&edited);
    let mut expected = decoded.clone();
    model::edit_attributes(&mut expected, [&of_resources, &of_scopes, &of_records]);
    let found = edited.decode();
    assert!(
        same(&found, &expected),
        "resources {of_resources:?}\nscopes {of_scopes:?}\nrecords {of_records:?}\nof {decoded:?}\nfound {found:?}\n\
         expected {expected:?}"
    );
}

/// Edits of one place; none of them is for what another one is for.
fn some_attribute_edits(rng: &mut Rng) -> (Vec<AttributeEdit>, AttributeEdits) {
    let mut edits = Vec::new();
    let mut prepared = AttributeEdits::default();
    let tries = if rng.chance(60) { rng.below(6) } else { 0 };
    for _ in 0..tries {
        let mut longer = edits.clone();
        longer.push(attribute_edit(rng));
        if let Ok(accepted) = AttributeEdits::new(&longer) {
            (edits, prepared) = (longer, accepted);
        }
    }
    assert_eq!(prepared.is_empty(), edits.is_empty());
    (edits, prepared)
}

fn attribute_edit(rng: &mut Rng) -> AttributeEdit {
    let key = some_key(rng);
    let pattern = |key: String, rng: &mut Rng| match rng.below(4) {
        0 => KeyPattern::Prefix(key.chars().take(rng.below(6)).collect()),
        _ => KeyPattern::Exact(key),
    };
    match rng.below(6) {
        0 => AttributeEdit::Insert(key, some_value(rng)),
        1 => AttributeEdit::Update(key, some_value(rng)),
        2 => AttributeEdit::Upsert(key, some_value(rng)),
        3 => AttributeEdit::Delete(pattern(key, rng)),
        4 => AttributeEdit::Hash(pattern(key, rng)),
        _ => AttributeEdit::Rename { from: key, to: some_key(rng) },
    }
}

fn edit(rng: &mut Rng) -> ResourceEdit {
    let value = some_value(rng);
    let action = match rng.below(5) {
        0 => EditAction::Insert(value),
        3 => EditAction::Fill(value),
        1 => EditAction::Update(value),
        2 => EditAction::Upsert(value),
        _ => EditAction::Delete,
    };
    ResourceEdit { key: some_key(rng), action }
}

fn some_key(rng: &mut Rng) -> String {
    if rng.chance(90) { (*rng.pick(KEYS)).to_owned() } else { "new.".repeat(1 + rng.below(40)) }
}

fn some_value(rng: &mut Rng) -> AttributeValue {
    match rng.below(4) {
        0 => AttributeValue::Bool(rng.chance(50)),
        1 => AttributeValue::Int(rng.next() as i64 >> rng.below(64)),
        2 => AttributeValue::Double(rng.below(100) as f64 / 8.0),
        _ => AttributeValue::String("v".repeat(rng.below(200))),
    }
}

fn partitions(wire: &Wire, decoded: &Decoded, rng: &mut Rng) {
    let salt = rng.next();
    let modulus = 1 + rng.below(3) as u64;
    let chosen = |name: &str| {
        let mut hasher = DefaultHasher::new();
        (salt, name).hash(&mut hasher);
        hasher.finish().is_multiple_of(modulus)
    };
    let by_view = |resource: &ResourceView<'_>| chosen(&format!("{:?}", resource.get("service.name").map(plain)));
    let (yes, no) = wire.clone().partition(by_view);
    let (expected_yes, expected_no) = model::partition(decoded, |name| chosen(name));
    for (found, expected) in [(&yes, &expected_yes), (&no, &expected_no)] {
        audit(found);
        assert!(same(&found.decode(), expected), "a partition takes whole entries in order");
    }
    let selected = wire.clone().select(by_view);
    assert_eq!(selected.rope(), yes.rope());
    audit(&selected);
    shares(wire, rng);
}

/// What several takers get at once is what each of them would select.
fn shares(wire: &Wire, rng: &mut Rng) {
    let takers = rng.below(130);
    // Some take everything, some nothing, some by the name.
    let salts: Vec<u64> = (0..takers).map(|_| rng.next() >> rng.below(64)).collect();
    let takes = |salt: u64, name: &str| {
        let mut hasher = DefaultHasher::new();
        (salt, name).hash(&mut hasher);
        match salt % 5 {
            0 => false,
            1 => true,
            _ => hasher.finish().is_multiple_of(2),
        }
    };
    let name = |resource: &ResourceView<'_>| format!("{:?}", resource.get("service.name").map(plain));
    let shared = wire.share_out(takers, |resource, chosen| {
        let name = name(resource);
        for (taker, _) in salts.iter().enumerate().filter(|(_, salt)| takes(**salt, &name)) {
            chosen[taker / 64] |= 1 << (taker % 64);
        }
    });
    let mut shared = shared.into_iter().peekable();
    for (taker, salt) in salts.iter().enumerate() {
        let alone = wire.clone().select(|resource| takes(*salt, &name(resource)));
        match shared.next_if(|(next, _)| *next == taker) {
            Some((_, share)) => {
                audit(&share);
                assert_eq!((share.rope(), share.records()), (alone.rope(), alone.records()));
                assert_eq!(share.resource_count(), alone.resource_count());
                assert_eq!(share.retained_bytes(), alone.retained_bytes());
            }
            None => assert_eq!(alone.resource_count(), 0, "whoever takes an entry gets it"),
        }
    }
    assert!(shared.next().is_none(), "only those who are there get something");
}

fn deals(wire: &Wire, decoded: &Decoded, rng: &mut Rng) {
    let parts = 1 + rng.below(4);
    let choices: Vec<usize> = model::weights(decoded).iter().map(|_| rng.below(parts)).collect();
    let mut asked = choices.iter();
    let dealt = wire.clone().partition_records(parts, |_, _| *asked.next().expect("asked once a record"));
    assert_eq!(asked.next(), None, "every record is asked for");
    assert_eq!(dealt.len(), parts);
    let places = model::weights(decoded).into_iter().zip(choices);
    let places: Vec<usize> = places.flat_map(|(weight, choice)| std::iter::repeat_n(choice, weight)).collect();
    let flat = model::flatten(decoded);
    for (place, part) in dealt.iter().enumerate() {
        audit(part);
        let expected: Vec<_> = flat
            .iter()
            .zip(&places)
            .filter(|(_, choice)| **choice == place)
            .map(|(record, _)| record.clone())
            .collect();
        assert_eq!(model::flatten(&part.decode()), expected, "a part has its records, in order, with their heads");
    }
}

/// The string of a value, in the form in which the model prints it.
fn plain(value: ValueView<'_>) -> Option<&str> {
    value.as_str()
}

fn limits(rng: &mut Rng, wire: &Wire) -> SplitLimits {
    let max_records = match rng.below(3) {
        0 => u64::MAX,
        1 => 1 + rng.next() % 3,
        _ => 1 + rng.next() % wire.records().max(1),
    };
    let max_bytes = match rng.below(4) {
        0 => usize::MAX,
        1 => rng.below(200),
        _ => rng.below(wire.len() + 1),
    };
    SplitLimits { max_bytes, max_records }
}

fn splits(wire: &Wire, decoded: &Decoded, rng: &mut Rng) {
    let limits = limits(rng, wire);
    let parts = wire.clone().split(&limits);
    if let [only] = &parts[..]
        && only.len() == wire.len()
    {
        return;
    }
    let mut found = Vec::new();
    for part in &parts {
        audit(part);
        assert!(part.records() > 0, "a part has records");
        assert!(part.records() <= limits.max_records, "{} records, {limits:?}", part.records());
        assert!(
            part.len() <= limits.max_bytes || part.records() == 1,
            "{} bytes, {limits:?} {:?}",
            part.len(),
            part.decode()
        );
        found.extend(model::flatten(&part.decode()));
    }
    assert_eq!(found, model::flatten(decoded), "a split keeps every record, its order and its heads");
}

fn halves(wire: &Wire, decoded: &Decoded) {
    match wire.clone().halve() {
        Ok((left, right)) => {
            assert_eq!(left.records(), wire.records() / 2);
            assert_eq!(right.records(), wire.records() - wire.records() / 2);
            audit(&left);
            audit(&right);
            let mut found = model::flatten(&left.decode());
            found.extend(model::flatten(&right.decode()));
            assert_eq!(found, model::flatten(decoded));
        }
        Err(whole) => {
            assert!(whole.records() < 2);
            assert_eq!(whole.rope(), wire.rope());
        }
    }
}

fn concatenations(wire: &Wire, decoded: &Decoded, rng: &mut Rng) {
    let times = 1 + rng.below(4);
    let joined = Wire::concat(std::iter::repeat_n(wire.clone(), times));
    audit(&joined);
    assert_eq!(joined.records(), wire.records() * times as u64);
    let mut expected = Decoded::empty(wire.signal());
    (0..times).for_each(|_| model::append(&mut expected, decoded.clone()));
    assert!(same(&joined.decode(), &expected), "concatenation keeps all entries in order");
}

/// OTLP/JSON written from the bytes means what the bytes mean.
pub fn json_comes_back(wire: &Wire) {
    let text = otlp::json::to_json(wire);
    assert!(!text.contains('\n'), "one line");
    serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON");
    match otlp::json::from_json(wire.signal(), text.as_bytes()) {
        // The debug form does not tell one NaN from another, as JSON does not.
        Ok(again) => assert_eq!(format!("{:?}", again.decode()), format!("{:?}", wire.decode()), "{text}"),
        Err(error) => panic!("cannot read {text}: {error}"),
    }
}

/// Equality by encoding, for which NaN equals NaN.
pub fn same(left: &Decoded, right: &Decoded) -> bool {
    model::encode(left) == model::encode(right)
}

/// Any text is judged as with-serde does, where with-serde is right, and refused or a request that is the same after it
/// was written and read again.
pub fn json_text(signal: Signal, text: &[u8]) {
    json::judged_as_with_serde(signal, text);
    let Ok(wire) = otlp::json::from_json(signal, text) else { return };
    audit(&wire);
    json_comes_back(&wire);
}

/// The signal that the first byte of a fuzzing input chooses, and the rest.
fn chosen(data: &[u8]) -> Option<(Signal, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((Signal::ALL[usize::from(*first) % 3], rest))
}

pub fn fuzz_admit(data: &[u8]) {
    let Some((signal, body)) = chosen(data) else { return };
    if let (Verdict::FalseRefusal(fault), _) = admission(signal, body) {
        let limits = [Fault::TooManyRepeats, Fault::TooManyEntries, Fault::TooManyRecords];
        assert!(limits.contains(&fault), "refused what prost accepts: {fault:?}");
    }
}

pub fn fuzz_operations(data: &[u8]) {
    let Some((signal, rest)) = chosen(data) else { return };
    let Some((seed, body)) = rest.split_first_chunk::<8>() else { return };
    let Ok(wire) = admit(signal, Bytes::copy_from_slice(body)) else { return };
    operations(&wire, &mut Rng::new(u64::from_le_bytes(*seed)));
    json_comes_back(&wire);
}

pub fn fuzz_json(data: &[u8]) {
    let Some((signal, text)) = chosen(data) else { return };
    json_text(signal, text);
}
