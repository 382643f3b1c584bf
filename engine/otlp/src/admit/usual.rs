//! Records of the usual shape: fields in the order of their numbers, ids of the usual lengths, nothing but plain
//! attributes. They are nearly all there are, and are proven with few comparisons; of any other record this says
//! nothing, and `fast` must be asked.
//!
//! Every read lies in a window of fixed size, so that a window of which there is less than that is left (in the last few
//! hundred bytes of a body) is somebody else's matter too. Reads may go beyond a record that is broken: where its last
//! field ends is compared with where the record ends, and only that must not be overlooked.

use super::attribute::{pass_attributes, short_length};
use super::scan::is_proven;

/// A record of which a part is read.
struct Usual<'a> {
    body: &'a [u8],
    /// What is left of the body.
    rest: &'a [u8],
    /// Bytes of text and framing that are known to have their highest bit set.
    high: usize,
}

/// Checks a log record.
#[inline(never)]
pub(super) fn log_record(body: &[u8], at: usize, end: usize) -> Option<()> {
    let mut log = Usual::new(body, at)?;
    log.fixed::<9>(0x09)?;
    let text = log.at();
    log.small_number(0x10)?;
    log.text(0x1a)?;
    log.text_value(0x2a)?;
    log.attributes(0x32);
    let text_end = log.at();
    log.fixed::<5>(0x45)?;
    if let [0x4a, 16, ids @ ..] = log.window::<28>()? {
        (ids[16] == 0x52 && ids[17] == 8).then_some(())?;
        log.pass::<28>();
    }
    log.fixed::<9>(0x59)?;
    log.ends_at(end)?;
    log.proves(text, text_end)
}

/// Checks a span.
#[inline(never)]
pub(super) fn span(body: &[u8], at: usize, end: usize) -> Option<()> {
    let mut span = Usual::new(body, at)?;
    let [0x0a, 16, ids @ ..] = span.window::<28>()? else { return None };
    (ids[16] == 0x12 && ids[17] == 8).then_some(())?;
    span.pass::<28>();
    if let [0x22, 8, ..] = span.window::<10>()? {
        span.pass::<10>();
    }
    let name = span.at();
    span.text(0x2a)?;
    span.small_number(0x30)?;
    let name_end = span.at();
    let times = span.window::<18>()?;
    (times[0] == 0x39 && times[9] == 0x41).then_some(())?;
    span.pass::<18>();
    let text = span.at();
    span.attributes(0x4a);
    match *span.window::<4>()? {
        [0x7a, 0, ..] => span.pass::<2>(),
        [0x7a, 2, 0x18, 0..0x80] => span.pass::<4>(),
        _ => {}
    }
    let text_end = span.at();
    if let [0x85, 0x01, ..] = span.window::<6>()? {
        span.pass::<6>();
    }
    span.ends_at(end)?;
    is_proven(body.get(name..name_end)?, 0).then_some(())?;
    span.proves(text, text_end)
}

/// Checks a data point of a sum or gauge.
#[inline(never)]
pub(super) fn number_point(body: &[u8], at: usize, end: usize) -> Option<()> {
    let mut point = Usual::new(body, at)?;
    let head = point.window::<27>()?;
    (head[0] == 0x11 && head[9] == 0x19 && matches!(head[18], 0x21 | 0x31)).then_some(())?;
    point.pass::<27>();
    let text = point.at();
    point.attributes(0x3a);
    let text_end = point.at();
    point.ends_at(end)?;
    point.proves(text, text_end)
}

/// Checks a data point of a histogram.
#[inline(never)]
pub(super) fn histogram_point(body: &[u8], at: usize, end: usize) -> Option<()> {
    let mut point = Usual::new(body, at)?;
    let head = point.window::<36>()?;
    (head[0] == 0x11 && head[9] == 0x19 && head[18] == 0x21 && head[27] == 0x29).then_some(())?;
    point.pass::<36>();
    point.packed(0x32)?;
    point.packed(0x3a)?;
    let text = point.at();
    point.attributes(0x4a);
    let text_end = point.at();
    point.fixed::<9>(0x59)?;
    point.fixed::<9>(0x61)?;
    point.ends_at(end)?;
    point.proves(text, text_end)
}

impl<'a> Usual<'a> {
    #[inline(always)]
    fn new(body: &'a [u8], at: usize) -> Option<Self> {
        Some(Self { body, rest: body.get(at..)?, high: 0 })
    }

    #[inline(always)]
    const fn at(&self) -> usize {
        self.body.len() - self.rest.len()
    }

    /// The next bytes.
    #[inline(always)]
    fn window<const LEN: usize>(&self) -> Option<&'a [u8; LEN]> {
        self.rest.first_chunk()
    }

    /// Passes bytes of which a window was seen.
    #[inline(always)]
    fn pass<const LEN: usize>(&mut self) {
        self.rest = &self.rest[LEN..];
    }

    /// Passes a field of `LEN` bytes if it is the next one.
    #[inline(always)]
    fn fixed<const LEN: usize>(&mut self, tag: u8) -> Option<()> {
        if self.window::<LEN>()?[0] == tag {
            self.pass::<LEN>();
        }
        Some(())
    }

    /// Passes a number below 128 if its field is the next one.
    #[inline(always)]
    fn small_number(&mut self, tag: u8) -> Option<()> {
        if matches!(self.window()?, [next, 0..0x80] if *next == tag) {
            self.pass::<2>();
        }
        Some(())
    }

    /// Passes a text shorter than 128 bytes if its field is the next one.
    #[inline(always)]
    fn text(&mut self, tag: u8) -> Option<()> {
        if let [next, len @ 0..0x80] = self.window()?
            && *next == tag
        {
            self.rest = self.rest.get(2 + usize::from(*len)..)?;
        }
        Some(())
    }

    /// Passes a value that is a text if its field is the next one.
    #[inline(always)]
    fn text_value(&mut self, tag: u8) -> Option<()> {
        let [next, head @ ..] = self.window::<6>()?;
        if *next != tag {
            return Some(());
        }
        // The value's length, what it has to be by the length of the text, and the bytes of the former.
        let (value_len, by_text, len_len) = match *head {
            [value @ 0..0x80, 0x0a, text @ 0..0x80, ..] => (usize::from(value), usize::from(text) + 2, 1),
            [low @ 0x80..=0xff, high @ 0..0x80, 0x0a, text @ 0..0x80, _] => {
                self.high += 1;
                (two_bytes(low, high), usize::from(text) + 2, 2)
            }
            [low @ 0x80..=0xff, high @ 0..0x80, 0x0a, text_low @ 0x80..=0xff, text_high @ 0..0x80] => {
                self.high += 2;
                (two_bytes(low, high), two_bytes(text_low, text_high) + 3, 2)
            }
            _ => return None,
        };
        (value_len == by_text).then_some(())?;
        self.rest = self.rest.get(1 + len_len + value_len..)?;
        Some(())
    }

    /// Passes packed numbers of eight bytes if their field is the next one.
    #[inline(always)]
    fn packed(&mut self, tag: u8) -> Option<()> {
        let head = self.window::<3>()?;
        if head[0] == tag {
            let (len, len_len) = short_length(head, 1)?;
            len.is_multiple_of(8).then_some(())?;
            self.rest = self.rest.get(1 + len_len + len..)?;
        }
        Some(())
    }

    /// Passes the attributes that follow.
    #[inline(always)]
    fn attributes(&mut self, tag: u8) {
        let (len, high) = pass_attributes(self.rest, 0, tag, false);
        self.rest = &self.rest[len..];
        self.high += high;
    }

    /// Whether all fields that were passed fill the record, and nothing else.
    #[inline(always)]
    fn ends_at(&self, end: usize) -> Option<()> {
        (self.at() == end).then_some(())
    }

    /// Proves the text of the only region that may have lengths and numbers of several bytes.
    #[inline(always)]
    fn proves(&self, text: usize, text_end: usize) -> Option<()> {
        is_proven(self.body.get(text..text_end)?, self.high).then_some(())
    }
}

/// A length of two bytes.
#[inline(always)]
fn two_bytes(low: u8, high: u8) -> usize {
    usize::from(low & 0x7f) | usize::from(high) << 7
}
