//! Bytes beyond ASCII, found and counted many at a time. What a region is made of is the matter of `scan`.
//!
//! Regions are short and differ in length from record to record, and a loop over what is left behind the last whole
//! step would cost the processor a wrong guess each time. So what is left is read as one more step, which overlaps with
//! the one before.

/// Bytes that are looked at in one step.
const STEP: usize = 32;

/// The highest bit of every byte of a word.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// From position `n` on, `STEP` bytes of which the last `n` are set.
static LAST: [u8; 2 * STEP] = {
    let mut mask = [0; 2 * STEP];
    let mut at = STEP;
    while at < 2 * STEP {
        mask[at] = 0xff;
        at += 1;
    }
    mask
};

/// Whether no byte has its highest bit set.
#[inline(always)]
pub(super) fn is_ascii(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<STEP>() {
        let mut all = *last;
        for step in bytes.as_chunks::<STEP>().0 {
            for (sum, byte) in all.iter_mut().zip(step) {
                *sum |= byte;
            }
        }
        return all.iter().fold(0, |sum, byte| sum | byte) < 0x80;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<16>(), bytes.last_chunk::<16>()) {
        let all = u128::from_le_bytes(*first) | u128::from_le_bytes(*last);
        return (all as u64 | (all >> 64) as u64) & HIGH == 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return (u64::from_le_bytes(*first) | u64::from_le_bytes(*last)) & HIGH == 0;
    }
    bytes.iter().fold(0, |sum, byte| sum | byte) < 0x80
}

/// How many bytes have their highest bit set.
#[inline(always)]
pub(super) fn count_high(bytes: &[u8]) -> usize {
    let Some(last) = bytes.last_chunk::<STEP>() else {
        return bytes.iter().map(|byte| usize::from(byte >> 7)).sum();
    };
    let (steps, left) = bytes.as_chunks::<STEP>();
    let mut total = 0;
    // What is left, first; then as many steps as a byte can count.
    let mut sums = [0_u8; STEP];
    for ((sum, byte), mask) in sums.iter_mut().zip(last).zip(&LAST[left.len()..]) {
        *sum = (byte & mask) >> 7;
    }
    let mut blocks = steps.chunks(254);
    loop {
        for step in blocks.next().unwrap_or_default() {
            for (sum, byte) in sums.iter_mut().zip(step) {
                // The highest bit, as 0 or -1.
                *sum = sum.wrapping_sub((byte.cast_signed() >> 7).cast_unsigned());
            }
        }
        total += sums.iter().map(|sum| usize::from(*sum)).sum::<usize>();
        if blocks.len() == 0 {
            return total;
        }
        sums = [0; STEP];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both are right for every length and position of a byte beyond ASCII.
    #[test]
    fn high_bytes_are_counted() {
        for len in (0..200).chain([8127, 8128, 8160, 8200, 20_000]) {
            let mut bytes = vec![b'a'; len];
            assert!(is_ascii(&bytes) && count_high(&bytes) == 0, "{len}");
            for at in 0..len.min(300) {
                bytes[at] = 0x80;
                assert!(!is_ascii(&bytes), "{len} {at}");
                assert_eq!(count_high(&bytes), 1, "{len} {at}");
                bytes[at] = 0x7f;
            }
            let full = vec![0xff; len];
            assert_eq!(count_high(&full), len, "{len}");
        }
    }
}
