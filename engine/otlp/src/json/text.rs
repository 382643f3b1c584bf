//! Hexadecimal and base64, both ways.

/// The value of each hexadecimal digit of either case, and `NO_DIGIT`.
static HEXADECIMAL: [u8; 256] = digits(b"0123456789abcdef", b"0123456789ABCDEF");

/// The value of each digit of base64, in the standard and in the URL alphabet, and `NO_DIGIT`.
static BASE64: [u8; 256] = digits(STANDARD, URL);

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Above all digits, also once it is shifted into the upper half of a byte.
const NO_DIGIT: u8 = 0xff;

const fn digits<const N: usize>(first: &[u8; N], second: &[u8; N]) -> [u8; 256] {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < N {
        table[first[value] as usize] = value as u8;
        table[second[value] as usize] = value as u8;
        value += 1;
    }
    table
}

/// Appends what hexadecimal says. `None` when it is not hexadecimal, and then some of it may be appended.
pub(super) fn decode_hexadecimal(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let mut seen = 0;
    out.extend(pairs.iter().map(|[high, low]| {
        let (high, low) = (HEXADECIMAL[usize::from(*high)], HEXADECIMAL[usize::from(*low)]);
        seen |= high | low;
        high << 4 | low
    }));
    (seen < 16).then_some(())
}

/// Appends bytes in hexadecimal.
pub(super) fn encode_hexadecimal(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Appends what base64 of the standard or the URL alphabet says, with or without padding. `None` when it is not
/// base64, and then some of it may be appended.
pub(super) fn decode_base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let (groups, last) = text[..text.len() - padding].as_chunks::<4>();
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) || last.len() == 1 {
        return None;
    }
    out.reserve(3 * groups.len() + 2);
    let mut seen = 0;
    for group in groups {
        let [first, second, third, fourth] = group.map(|digit| BASE64[usize::from(digit)]);
        seen |= first | second | third | fourth;
        out.extend_from_slice(&[first << 2 | second >> 4, second << 4 | third >> 2, third << 6 | fourth]);
    }
    let mut bits = 0;
    for digit in last {
        let value = BASE64[usize::from(*digit)];
        seen |= value;
        bits = bits << 6 | u32::from(value);
    }
    if let Some(bytes) = last.len().checked_sub(1) {
        bits <<= 6 * (4 - last.len());
        out.extend_from_slice(&bits.to_be_bytes()[1..=bytes]);
    }
    (seen < 64).then_some(())
}

/// How many bytes valid base64 is.
pub(super) fn base64_len(text: &[u8]) -> usize {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = text.len() - padding;
    digits / 4 * 3 + (digits % 4).saturating_sub(1)
}

/// Appends bytes in base64 of the standard alphabet, padded.
pub(super) fn encode_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let digit = |bits: u32, index: usize| STANDARD[(bits >> (18 - 6 * index) & 63) as usize];
    let (groups, last) = bytes.as_chunks::<3>();
    out.reserve(4 * groups.len() + 4);
    for [first, second, third] in groups {
        let bits = u32::from_be_bytes([0, *first, *second, *third]);
        out.extend_from_slice(&[digit(bits, 0), digit(bits, 1), digit(bits, 2), digit(bits, 3)]);
    }
    match *last {
        [first] => {
            let bits = u32::from_be_bytes([0, first, 0, 0]);
            out.extend_from_slice(&[digit(bits, 0), digit(bits, 1), b'=', b'=']);
        }
        [first, second] => {
            let bits = u32::from_be_bytes([0, first, second, 0]);
            out.extend_from_slice(&[digit(bits, 0), digit(bits, 1), digit(bits, 2), b'=']);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of every length come back, in both alphabets and with and without padding.
    #[test]
    fn bytes_come_back() {
        for len in 0..70_u8 {
            let bytes: Vec<u8> = (0..len).map(|index| index.wrapping_mul(83).wrapping_add(len)).collect();
            let mut text = Vec::new();
            encode_base64(&bytes, &mut text);
            let url: Vec<u8> = text
                .iter()
                .map(|byte| {
                    if *byte == b'+' {
                        b'-'
                    } else if *byte == b'/' {
                        b'_'
                    } else {
                        *byte
                    }
                })
                .collect();
            for form in [&text[..], &url, text.trim_suffix_of(b'='), url.trim_suffix_of(b'=')] {
                let mut again = Vec::new();
                assert!(decode_base64(form, &mut again).is_some());
                assert_eq!((again.len(), again), (base64_len(form), bytes.clone()));
            }
            let mut text = Vec::new();
            encode_hexadecimal(&bytes, &mut text);
            for form in [text.to_ascii_lowercase(), text.to_ascii_uppercase()] {
                let mut again = Vec::new();
                assert!(decode_hexadecimal(&form, &mut again).is_some());
                assert_eq!(again, bytes);
            }
        }
        let mut text = Vec::new();
        encode_base64(b"any carnal pleas", &mut text);
        assert_eq!(text, b"YW55IGNhcm5hbCBwbGVhcw==");
    }

    /// What is neither is refused.
    #[test]
    fn other_text_is_refused() {
        for wrong in ["A", "AAAAA", "AA=", "A===", "=", "==", "AA==AA==", "AA A", "A*AA", "\u{e4}AA"] {
            assert!(decode_base64(wrong.as_bytes(), &mut Vec::new()).is_none(), "{wrong}");
        }
        for wrong in ["a", "0g", "g0", "0x", " 0", "00 0", "-1"] {
            assert!(decode_hexadecimal(wrong.as_bytes(), &mut Vec::new()).is_none(), "{wrong}");
        }
    }

    trait TrimSuffix {
        fn trim_suffix_of(&self, byte: u8) -> &[u8];
    }

    impl TrimSuffix for Vec<u8> {
        fn trim_suffix_of(&self, byte: u8) -> &[u8] {
            let end = self.iter().rposition(|found| *found != byte).map_or(0, |last| last + 1);
            &self[..end]
        }
    }
}
