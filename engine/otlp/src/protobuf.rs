//! The protobuf wire format: varints, keys and fields. Which fields a message has is `schema`'s matter; whether bytes
//! may be trusted is `admit`'s.

/// How a field's value is framed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum WireType {
    Varint,
    Fixed64,
    Length,
    StartGroup,
    EndGroup,
    Fixed32,
}

/// One field of a message whose framing is known to be sound.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) wire: WireType,
    /// The value of a varint or fixed field.
    pub(crate) scalar: u64,
    /// The content of a length-delimited field.
    pub(crate) payload: &'a [u8],
    /// The whole field, from its key on.
    pub(crate) raw: &'a [u8],
}

/// Reads the fields of a message that was admitted. It ends where the framing does.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl WireType {
    pub(crate) const fn from_key(key: u64) -> Option<Self> {
        match key & 7 {
            0 => Some(Self::Varint),
            1 => Some(Self::Fixed64),
            2 => Some(Self::Length),
            3 => Some(Self::StartGroup),
            4 => Some(Self::EndGroup),
            5 => Some(Self::Fixed32),
            _ => None,
        }
    }
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The payload of the length-delimited field with this number, if the message has it.
    #[inline]
    pub(crate) fn payload(self, number: u32) -> Option<&'a [u8]> {
        let mut fields = self;
        fields.find(|field| field.number == number && field.wire == WireType::Length).map(|field| field.payload)
    }

    /// The value of the varint or fixed field with this number, if the message has it.
    #[inline]
    pub(crate) fn scalar(self, number: u32) -> Option<u64> {
        let mut fields = self;
        fields.find(|field| field.number == number && field.wire != WireType::Length).map(|field| field.scalar)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        let whole = self.rest;
        if whole.is_empty() {
            return None;
        }
        let head = field_head(whole)?;
        let end = head.len.checked_add(head.payload)?;
        let payload = whole.get(head.len..end)?;
        let scalar = match head.wire {
            WireType::Varint => head.scalar,
            WireType::Fixed64 => u64::from_le_bytes(payload.try_into().ok()?),
            WireType::Fixed32 => u64::from(u32::from_le_bytes(payload.try_into().ok()?)),
            _ => 0,
        };
        self.rest = &whole[end..];
        Some(Field { number: head.number, wire: head.wire, scalar, payload, raw: &whole[..end] })
    }
}

/// The key of a field and what follows from it.
#[derive(Copy, Clone, Debug)]
pub(crate) struct FieldHead {
    pub(crate) number: u32,
    pub(crate) wire: WireType,
    /// Bytes of key and length; for a varint, of key and value.
    pub(crate) len: usize,
    /// Bytes after the head.
    pub(crate) payload: usize,
    /// Value of a varint.
    pub(crate) scalar: u64,
}

/// Reads the head of the field at the start of `bytes`, `None` when it is not sound (groups included).
#[inline]
pub(crate) fn field_head(bytes: &[u8]) -> Option<FieldHead> {
    let (key, key_len) = varint(bytes)?;
    let wire = WireType::from_key(key)?;
    let number = u32::try_from(key >> 3).ok()?;
    match wire {
        WireType::Length => {
            let (payload, len) = varint(&bytes[key_len..])?;
            let payload = usize::try_from(payload).ok()?;
            Some(FieldHead { number, wire, len: key_len + len, payload, scalar: 0 })
        }
        WireType::Varint => {
            let (scalar, len) = varint(&bytes[key_len..])?;
            Some(FieldHead { number, wire, len: key_len + len, payload: 0, scalar })
        }
        WireType::Fixed64 => Some(FieldHead { number, wire, len: key_len, payload: 8, scalar: 0 }),
        WireType::Fixed32 => Some(FieldHead { number, wire, len: key_len, payload: 4, scalar: 0 }),
        WireType::StartGroup | WireType::EndGroup => None,
    }
}

/// Reads the varint at the start of `bytes`: its value and its length. `None` when it is cut off or exceeds 64 bits.
#[inline]
pub(crate) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    match *bytes {
        [first, ..] if first < 0x80 => Some((u64::from(first), 1)),
        [first, second, ..] if second < 0x80 => Some((u64::from(first & 0x7f) | u64::from(second) << 7, 2)),
        _ => long_varint(bytes),
    }
}

fn long_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            // The tenth byte holds the 64th bit only.
            return (index < 9 || byte < 2).then_some((value, index + 1));
        }
    }
    None
}

/// Bytes of a varint.
pub(crate) const fn varint_len(value: u64) -> usize {
    ((63 - (value | 1).leading_zeros()) as usize * 9 + 73) / 64
}

/// Bytes of a length-delimited field with a one-byte key.
pub(crate) const fn field_len(payload: usize) -> usize {
    1 + varint_len(payload as u64) + payload
}

pub(crate) fn put_varint(out: &mut impl bytes::BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes key and length of a length-delimited field.
pub(crate) fn put_length_head(out: &mut impl bytes::BufMut, number: u32, payload: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, payload as u64);
}
