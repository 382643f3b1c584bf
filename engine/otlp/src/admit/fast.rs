//! The checker for messages as clients write them: the same judgement as the reference checker at a fraction of its
//! cost, or no judgement. Where it answers `None` the reference checker must be asked. Fields may come in any order,
//! since clients differ; how their content is checked is the matter of `scan`.

use super::check::Checker;
use super::scan::Scan;
use super::usual;
use crate::schema;

/// Checks a log record in `at..end` of the checker's body.
pub(super) fn log_record(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(checker, body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x32 => {
                scan.attributes(0x32, checker)?;
                continue;
            }
            0x09 | 0x59 => scan.binary(9)?,
            0x10 | 0x38 => scan.varint()?,
            0x1a | 0x62 => scan.string()?,
            0x2a => scan.value(checker)?,
            0x45 => scan.binary(5)?,
            0x4a => scan.id::<16>()?,
            0x52 => scan.id::<8>()?,
            _ => return None,
        }
        once(&mut seen, 1 << (tag >> 3))?;
    }
    scan.prove()
}

/// Checks a span.
pub(super) fn span(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(checker, body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x4a => {
                scan.attributes(0x4a, checker)?;
                continue;
            }
            0x5a => {
                let (start, next) = scan.nested()?;
                event(checker, body, start, next, depth.checked_sub(1)?)?;
                continue;
            }
            0x6a => {
                scan.delegate(&schema::LINK, checker)?;
                continue;
            }
            0x0a => scan.id::<16>()?,
            0x12 | 0x22 => scan.id::<8>()?,
            0x1a | 0x2a => scan.string()?,
            0x30 | 0x50 | 0x60 | 0x70 => scan.varint()?,
            0x39 | 0x41 => scan.binary(9)?,
            0x7a => scan.status(checker)?,
            0x85 => {
                // The key of field 16 has two bytes.
                if scan.bytes.get(scan.at + 1) != Some(&0x01) {
                    return None;
                }
                scan.binary(6)?;
            }
            _ => return None,
        }
        once(&mut seen, 1 << (tag >> 3))?;
    }
    scan.prove()
}

fn event(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(checker, body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x1a => {
                scan.attributes(0x1a, checker)?;
                continue;
            }
            0x09 => scan.binary(9)?,
            0x12 => scan.string()?,
            0x20 => scan.varint()?,
            _ => return None,
        }
        once(&mut seen, 1 << (tag >> 3))?;
    }
    scan.prove()
}

/// Checks a metric and returns how many data points it has.
pub(super) fn metric(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<u64> {
    let mut scan = Scan::new(checker, body, at, end, depth)?;
    let mut seen = 0_u32;
    let mut points = 0;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x0a | 0x12 | 0x1a => {
                scan.string()?;
                once(&mut seen, 1 << (tag >> 3))?;
            }
            0x2a | 0x3a | 0x4a => {
                let (start, next) = scan.nested()?;
                let inner_depth = depth.checked_sub(1)?;
                points += if tag == 0x4a {
                    data(checker, body, start, next, inner_depth, usual::histogram_point, histogram_point)?
                } else {
                    data(checker, body, start, next, inner_depth, usual::number_point, number_point)?
                };
                once(&mut seen, 1 << 5)?;
            }
            0x62 => scan.attributes(0x62, checker)?,
            _ => return None,
        }
    }
    scan.prove()?;
    Some(points)
}

type UsualPoint = fn(&[u8], usize, usize) -> Option<()>;
type Point = fn(&mut Checker<'_>, &[u8], usize, usize, u32) -> Option<()>;

/// Checks a gauge, sum or histogram: data points, temporality, monotony.
#[inline]
fn data(
    checker: &mut Checker<'_>,
    body: &[u8],
    at: usize,
    end: usize,
    depth: u32,
    usual: UsualPoint,
    point: Point,
) -> Option<u64> {
    let mut scan = Scan::new(checker, body, at, end, depth)?;
    let mut seen = 0_u32;
    let mut points = 0;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x0a => {
                let (start, next) = scan.nested()?;
                if checker.state.exact || usual(body, start, next).is_none() {
                    point(checker, body, start, next, depth.checked_sub(1)?)?;
                }
                points += 1;
            }
            0x10 => {
                scan.varint()?;
                once(&mut seen, 1)?;
            }
            // Monotony: an unknown field of gauges and histograms, for which a varint is as good.
            0x18 => {
                scan.varint()?;
                once(&mut seen, 2)?;
            }
            _ => return None,
        }
    }
    Some(points)
}

fn number_point(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(checker, body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x3a => {
                scan.attributes(0x3a, checker)?;
                continue;
            }
            0x2a => {
                scan.delegate(&schema::EXEMPLAR, checker)?;
                continue;
            }
            0x11 | 0x19 => scan.binary(9)?,
            // The value is a double or an integer.
            0x21 | 0x31 => {
                scan.binary(9)?;
                once(&mut seen, 1)?;
                continue;
            }
            0x40 => scan.varint()?,
            _ => return None,
        }
        once(&mut seen, 1 << (tag >> 3))?;
    }
    scan.prove()
}

fn histogram_point(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(checker, body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x4a => {
                scan.attributes(0x4a, checker)?;
                continue;
            }
            0x42 => {
                scan.delegate(&schema::EXEMPLAR, checker)?;
                continue;
            }
            0x32 | 0x3a => {
                let (start, next) = scan.nested()?;
                if !(next - start).is_multiple_of(8) {
                    return None;
                }
                continue;
            }
            0x11 | 0x19 | 0x21 | 0x29 | 0x59 | 0x61 => scan.binary(9)?,
            0x50 => scan.varint()?,
            _ => return None,
        }
        once(&mut seen, 1 << (tag >> 3))?;
    }
    scan.prove()
}

/// Checks an instrumentation scope.
pub(super) fn scope(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(checker, body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x1a => {
                scan.attributes(0x1a, checker)?;
                continue;
            }
            0x0a | 0x12 => scan.string()?,
            0x20 => scan.varint()?,
            _ => return None,
        }
        once(&mut seen, 1 << (tag >> 3))?;
    }
    scan.prove()
}

/// Checks a Resource.
pub(super) fn resource(checker: &mut Checker<'_>, body: &[u8], at: usize, end: usize, depth: u32) -> Option<()> {
    let mut scan = Scan::new(checker, body, at, end, depth)?;
    let mut seen = 0_u32;
    while let Some(&tag) = scan.bytes.get(scan.at) {
        match tag {
            0x0a => scan.attributes(0x0a, checker)?,
            0x1a => scan.delegate(&schema::ENTITY_REF, checker)?,
            0x10 => {
                scan.varint()?;
                once(&mut seen, 1)?;
            }
            _ => return None,
        }
    }
    scan.prove()
}

/// Notes a singular field; `None` when it occurs again.
#[inline(always)]
fn once(seen: &mut u32, bit: u32) -> Option<()> {
    if *seen & bit != 0 {
        return None;
    }
    *seen |= bit;
    Some(())
}
