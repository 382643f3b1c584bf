//! Bytes beyond ASCII, found and counted by words. What a region is made of is the matter of `scan`.

/// The highest bit of every byte of a word.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Whether no byte has its highest bit set.
#[inline(always)]
pub(super) fn is_ascii(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<32>();
    let mut all = [0_u64; 4];
    for chunk in chunks {
        for (sum, word) in all.iter_mut().zip(words_of(chunk)) {
            *sum |= word;
        }
    }
    let upper = all[0] | all[1] | all[2] | all[3];
    let (words, odd) = rest.as_chunks::<8>();
    let lower = words.iter().fold(upper, |sum, word| sum | u64::from_le_bytes(*word));
    (lower | last(bytes, odd)) & HIGH == 0
}

/// How many bytes have their highest bit set.
#[inline(always)]
pub(super) fn count_high(bytes: &[u8]) -> usize {
    let (chunks, rest) = bytes.as_chunks::<32>();
    let mut total = 0;
    // A sum of bytes has room for 63 in each of four words.
    for block in chunks.chunks(63) {
        let mut sums = [0_u64; 4];
        for chunk in block {
            for (sum, word) in sums.iter_mut().zip(words_of(chunk)) {
                *sum += (word & HIGH) >> 7;
            }
        }
        total += sum_of_bytes(sums[0] + sums[1] + sums[2] + sums[3]);
    }
    let (words, odd) = rest.as_chunks::<8>();
    let ones = |word: u64| (word & HIGH) >> 7;
    let lower = words.iter().fold(0, |sum, word| sum + ones(u64::from_le_bytes(*word)));
    total + sum_of_bytes(lower + ones(last(bytes, odd)))
}

#[inline(always)]
fn words_of(chunk: &[u8; 32]) -> [u64; 4] {
    let (words, _) = chunk.as_chunks::<8>();
    [0, 1, 2, 3].map(|index| u64::from_le_bytes(words[index]))
}

/// The fewer than 8 bytes `odd` at the end of `bytes` as a word.
#[inline(always)]
fn last(bytes: &[u8], odd: &[u8]) -> u64 {
    match bytes.last_chunk::<8>() {
        // Read eight bytes that end there, and push out those that do not belong to it.
        Some(_) if odd.is_empty() => 0,
        Some(word) => u64::from_le_bytes(*word) >> (64 - 8 * odd.len()),
        None => odd.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

#[inline(always)]
const fn sum_of_bytes(word: u64) -> usize {
    let even = 0x00ff_00ff_00ff_00ff;
    let pairs = (word & even) + (word >> 8 & even);
    (pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both are right for every length and position of a byte beyond ASCII.
    #[test]
    fn high_bytes_are_counted() {
        for len in (0..200).chain([2015, 2016, 2017, 5000]) {
            let mut bytes = vec![b'a'; len];
            assert!(is_ascii(&bytes) && count_high(&bytes) == 0, "{len}");
            for at in 0..len.min(300) {
                bytes[at] = 0x80;
                assert!(!is_ascii(&bytes), "{len} {at}");
                assert_eq!(count_high(&bytes), 1, "{len} {at}");
                bytes[at] = 0x7f;
            }
            let full = vec![0xff; len];
            assert_eq!(count_high(&full), len);
        }
    }
}
