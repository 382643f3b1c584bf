//! Rewrites a message so that every singular field and oneof occurs at most once and no group is left, which is what
//! the rest of the crate relies on. The result means what the original means to a protobuf decoder: the last scalar
//! wins, messages merge, a oneof keeps its last member. Unknown fields survive; groups do not. Records that hold an id
//! of a wrong length are left out.
//!
//! It works on bytes, so that its cost is bounded by the size of the input (decoding 20 MB of empty records into
//! structs takes gigabytes). The input has been checked.

use smallvec::SmallVec;

use crate::protobuf::{Field, Fields, WireType, field_head, put_length_head, varint, varint_len};
use crate::schema::{self, Kind, Message};

/// Merging is concatenation: a message given in several parts is the fields of all parts in order.
type Parts<'a> = SmallVec<[&'a [u8]; 2]>;

/// Which occurrence of each singular field counts.
struct Census {
    /// Ordinal of the last occurrence by bit.
    last: [u32; 32],
    /// How many occurrences each bit has.
    times: [u32; 32],
    /// The oneof's member in force, and the ordinal from which its occurrences are not interrupted by another member.
    member: u32,
    member_since: u32,
}

/// Appends the normal form of the message whose content is `parts`, and answers how many records it leaves out.
///
/// Lengths come first, in the order in which they are written: else every level of nesting would copy its content.
pub(super) fn rewrite(message: &'static Message, parts: &[&[u8]], out: &mut Vec<u8>) -> u64 {
    let mut lengths = Vec::new();
    let mut left_out = 0;
    measure(message, parts, &mut lengths, &mut left_out);
    write(message, parts, &mut lengths.into_iter(), out);
    left_out
}

/// The length of a message's normal form; those of all messages inside are added to `lengths`.
fn measure(message: &'static Message, parts: &[&[u8]], lengths: &mut Vec<usize>, left_out: &mut u64) -> usize {
    let (mut len, mut inside) = (0, 0);
    *left_out += walk(message, parts, |field, inner| {
        let Some((inner, content)) = inner else {
            len += field.raw.len();
            return;
        };
        let place = lengths.len();
        lengths.push(0);
        let content_len = measure(inner, &content, lengths, &mut inside);
        lengths[place] = content_len;
        len += varint_len(u64::from(field.number) << 3) + varint_len(content_len as u64) + content_len;
    });
    *left_out += inside;
    len
}

fn write(message: &'static Message, parts: &[&[u8]], lengths: &mut std::vec::IntoIter<usize>, out: &mut Vec<u8>) {
    walk(message, parts, |field, inner| {
        let Some((inner, content)) = inner else {
            out.extend_from_slice(field.raw);
            return;
        };
        put_length_head(out, field.number, lengths.next().expect("every message was measured"));
        write(inner, &content, lengths, out);
    });
}

/// Calls `each` with the fields that count, and with the content of those that are messages, in all its parts. Answers how
/// many records do not count.
fn walk<'a>(
    message: &'static Message,
    parts: &[&'a [u8]],
    mut each: impl FnMut(&Field<'a>, Option<(&'static Message, Parts<'a>)>),
) -> u64 {
    let mut left_out = 0;
    let census = Census::of(message, parts);
    for (ordinal, field) in (0..).zip(fields(parts)) {
        let Some(known) = message.field(field.number) else {
            each(&field, None);
            continue;
        };
        let bit = known.once.trailing_zeros() as usize;
        if !known.is_repeated() && census.last[bit] != ordinal {
            continue;
        }
        let Kind::Message(inner) = known.kind else {
            each(&field, None);
            continue;
        };
        if known.record && !has_sound_ids(inner, field.payload) {
            left_out += 1;
            continue;
        }
        let is_alone = known.is_repeated() || census.times[bit] == 1;
        let content = if is_alone { Parts::from_slice(&[field.payload]) } else { merged(parts, &field, &census) };
        each(&field, Some((inner, content)));
    }
    left_out
}

/// Whether all ids in a record, its links and its exemplars are of the right length.
fn has_sound_ids(message: &'static Message, record: &[u8]) -> bool {
    let mut unsound = 0_u32;
    for field in fields(&[record]) {
        let Some(known) = message.field(field.number) else { continue };
        match known.kind {
            // The last occurrence counts.
            Kind::Id if known.is_id_of(field.payload.len()) => unsound &= !known.once,
            Kind::Id => unsound |= known.once,
            Kind::Message(inner) if holds_ids(inner) && !has_sound_ids(inner, field.payload) => return false,
            _ => {}
        }
    }
    unsound == 0
}

/// Whether this message inside of a record has ids.
fn holds_ids(message: &'static Message) -> bool {
    std::ptr::eq(message, &schema::LINK) || std::ptr::eq(message, &schema::EXEMPLAR)
}

impl Census {
    fn of(message: &'static Message, parts: &[&[u8]]) -> Self {
        let mut census = Self { last: [0; 32], times: [0; 32], member: 0, member_since: 0 };
        for (ordinal, field) in (0..).zip(fields(parts)) {
            let Some(known) = message.field(field.number).filter(|known| !known.is_repeated()) else {
                continue;
            };
            let bit = known.once.trailing_zeros();
            census.last[bit as usize] = ordinal;
            census.times[bit as usize] += 1;
            // A bit that is not the field's own number is the oneof's.
            if bit != field.number && census.member != field.number {
                census.member = field.number;
                census.member_since = ordinal;
            }
        }
        census
    }
}

/// The contents of all occurrences of a singular message field that merge into its last one.
fn merged<'a>(parts: &[&'a [u8]], last: &Field<'a>, census: &Census) -> Parts<'a> {
    let since = if census.member == last.number { census.member_since } else { 0 };
    (0..)
        .zip(fields(parts))
        .filter(|(ordinal, field)| *ordinal >= since && field.number == last.number)
        .map(|(_, field)| field.payload)
        .collect()
}

/// The fields of all parts, groups left out.
fn fields<'a>(parts: &[&'a [u8]]) -> impl Iterator<Item = Field<'a>> {
    parts.iter().flat_map(|part| {
        let mut rest = *part;
        std::iter::from_fn(move || {
            rest = after_groups(rest);
            let field = Fields::new(rest).next()?;
            rest = &rest[field.raw.len()..];
            Some(field)
        })
    })
}

/// Skips the groups at the start of `bytes`, nested ones included.
fn after_groups(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    let mut open = 0_u32;
    while let Some((key, key_len)) = varint(rest) {
        let skipped = match WireType::from_key(key) {
            Some(WireType::StartGroup) => {
                open += 1;
                Some(key_len)
            }
            Some(WireType::EndGroup) => {
                open = open.saturating_sub(1);
                Some(key_len)
            }
            _ if open == 0 => return rest,
            _ => field_head(rest).map(|head| head.len + head.payload),
        };
        let Some(tail) = skipped.and_then(|len| rest.get(len..)) else {
            return &[];
        };
        rest = tail;
    }
    rest
}
