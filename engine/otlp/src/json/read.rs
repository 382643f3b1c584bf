//! Reads OTLP/JSON into protobuf by the table of messages: one pass over the text, without recursion, in steps. It
//! accepts what the protobuf JSON mapping accepts, with the exceptions that OTLP makes: ids are hexadecimal,
//! enumerations are numbers, unknown keys are ignored.

use bytes::Bytes;

use super::error::{Fault, JsonError, Problem};
use super::output::{Head, Output};
use super::scan::{self, byte, space};
use super::skip::{Skip, colon};
use super::usual;
use super::value::{self, Key};
use crate::schema::{self, Field, Kind, Message, Number};
use crate::{Signal, Wire, admit};

/// Keys that were ignored and look like the name of a field: whoever wrote them expects them to be read.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SnakeCase {
    /// The first of them.
    pub first: &'static str,
    /// How many there are.
    pub keys: u64,
}

/// A request that was read from JSON.
#[derive(Debug)]
#[non_exhaustive]
pub struct FromJson {
    /// The request.
    pub wire: Wire,
    /// Names in snake_case, which OTLP/JSON does not know, if there are any.
    pub snake_case: Option<SnakeCase>,
}

/// What a [`Conversion`] has made: a request that is not admitted yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct Converted {
    /// The request in protobuf.
    pub body: Bytes,
    /// Names in snake_case, which OTLP/JSON does not know, if there are any.
    pub snake_case: Option<SnakeCase>,
}

/// Reads a request from OTLP/JSON. Unknown keys are ignored, as the specification demands.
///
/// # Errors
///
/// [`JsonError`].
pub fn from_json(signal: Signal, text: &[u8]) -> Result<Wire, JsonError> {
    Ok(read(signal, text)?.wire)
}

/// Reads a request from OTLP/JSON, and says which of the ignored keys are the name of a field in snake_case, as other
/// JSON of protobuf may have it.
///
/// # Errors
///
/// [`JsonError`].
pub fn read(signal: Signal, text: &[u8]) -> Result<FromJson, JsonError> {
    let mut reader = Reader::new(signal, text.len(), usize::MAX);
    loop {
        if let Some(Converted { body, snake_case }) = reader.step(text, usize::MAX)? {
            return Ok(FromJson { wire: admit(signal, body)?, snake_case });
        }
    }
}

/// Turns OTLP/JSON into protobuf in steps, for a caller that must not hold its thread for long. Admission of what it
/// makes is the caller's.
#[derive(Debug)]
pub struct Conversion {
    text: Bytes,
    reader: Reader,
}

impl Conversion {
    /// Starts to read a text. No work is done yet. What becomes larger than `max_bytes` is refused.
    pub fn new(signal: Signal, text: Bytes, max_bytes: usize) -> Self {
        Self { reader: Reader::new(signal, text.len(), max_bytes), text }
    }

    /// Reads about `bytes` more of the text. Not divided are white space, a key, and what stands in an ignored string
    /// between two escapes. `None` means that there is more to read.
    ///
    /// # Errors
    ///
    /// [`JsonError`], after which the conversion is spent, as it is after the end.
    pub fn step(&mut self, bytes: usize) -> Result<Option<Converted>, JsonError> {
        self.reader.step(&self.text, bytes)
    }

    /// Bytes of memory that the conversion holds, beside the text.
    pub fn held_bytes(&self) -> usize {
        self.reader.out.held_bytes() + self.reader.skip.held_bytes() + self.reader.scratch.capacity()
    }
}

/// Bytes of the longest character: a piece of a string has at least one.
const LONGEST_CHARACTER: usize = 4;

/// Levels of messages that are read, with the request itself: those that protobuf decodes.
const DEPTH_LIMIT: usize = 101;

/// A reader between two steps.
#[derive(Debug)]
struct Reader {
    /// Where it is in the text.
    at: usize,
    stack: Vec<Frame>,
    /// Objects among the frames.
    depth: usize,
    /// What is ignored.
    skip: Skip,
    /// A string that is being read piece by piece.
    string: Option<Begun>,
    out: Output,
    max_bytes: usize,
    /// Strings with escapes that are no string values, and what is not yet decoded of a long one.
    scratch: Vec<u8>,
    snake_case: Option<SnakeCase>,
}

/// A string that is long or has escapes.
#[derive(Copy, Clone, Debug)]
struct Begun {
    head: Head,
    /// Of hexadecimal or base64: which of them, and where it begins.
    encoded: Option<(Kind, usize)>,
}

/// An object or a list that was begun.
#[derive(Debug)]
enum Frame {
    Object(Object),
    List(List),
}

/// An object, which becomes a message.
#[derive(Debug)]
struct Object {
    message: &'static Message,
    head: Head,
    /// A bit for each field that was met.
    seen: u32,
    /// A bit for each field and oneof that has a value.
    members: u32,
    /// Whether a member stands before.
    begun: bool,
    /// The field whose value is read, if one is.
    reading: Option<&'static Field>,
    /// The number that the next field has if fields come in their order.
    next: usize,
}

/// The values of a repeated field.
#[derive(Debug)]
struct List {
    number: u32,
    kind: Kind,
    /// Of numbers, which are packed into one field.
    packed: Option<Head>,
    begun: bool,
    index: usize,
}

impl Reader {
    fn new(signal: Signal, text_len: usize, max_bytes: usize) -> Self {
        // Protobuf is about half as long as JSON.
        let out = Output::with_capacity((text_len / 2).min(max_bytes));
        let root = Object::new(schema::request(signal), out.root());
        let mut stack = Vec::with_capacity(16);
        stack.push(Frame::Object(root));
        Self {
            at: 0,
            stack,
            depth: 0,
            skip: Skip::default(),
            string: None,
            out,
            max_bytes,
            scratch: Vec::new(),
            snake_case: None,
        }
    }

    fn step(&mut self, text: &[u8], bytes: usize) -> Result<Option<Converted>, JsonError> {
        match self.advance(text, self.at.saturating_add(bytes.max(1))) {
            Ok(false) => Ok(None),
            Ok(true) => {
                let out = std::mem::replace(&mut self.out, Output::with_capacity(0));
                let body = out.finish();
                if body.len() > self.max_bytes {
                    return Err(JsonError::TooLarge(self.max_bytes));
                }
                Ok(Some(Converted { body: Bytes::from(body), snake_case: self.snake_case }))
            }
            Err(Fault { problem: Problem::TooLarge, .. }) => Err(JsonError::TooLarge(self.max_bytes)),
            Err(fault) => Err(fault.in_text(text, self.path())),
        }
    }

    /// Reads until `stop` is reached or the text ends, and says whether it has ended.
    fn advance(&mut self, text: &[u8], stop: usize) -> Result<bool, Fault> {
        if self.depth == 0 && !self.stack.is_empty() {
            let start = space(text, self.at);
            if byte(text, start) != b'{' {
                return Err(Fault::expected(start, "an object"));
            }
            self.depth = 1;
            self.at = start + 1;
        }
        while self.at < stop {
            if let Some(begun) = self.string {
                match begun.encoded {
                    None => self.string_piece(text, begun.head, stop)?,
                    Some(encoded) => self.encoded_piece(text, begun.head, encoded, stop)?,
                }
                continue;
            }
            if self.skip.is_open() {
                self.at = self.skip.step(text, self.at, stop)?;
                continue;
            }
            match self.stack.last() {
                Some(Frame::Object(_)) => self.object(text, stop)?,
                Some(Frame::List(_)) => self.list(text, stop)?,
                None => {
                    let end = space(text, self.at);
                    if end < text.len() {
                        return Err(Fault::expected(end, "the end of the text"));
                    }
                    return Ok(true);
                }
            }
            if self.out.len() > self.max_bytes {
                return Err(Fault { at: self.at, problem: Problem::TooLarge });
            }
        }
        Ok(false)
    }

    /// Reads members of the innermost object, until it ends or a member is no scalar.
    fn object(&mut self, text: &[u8], stop: usize) -> Result<(), Fault> {
        let Some(Frame::Object(object)) = self.stack.last_mut() else { return Ok(()) };
        let mut at = self.at;
        while at < stop {
            object.reading = None;
            at = space(text, at);
            let found = byte(text, at);
            if found == b'}' {
                self.at = at + 1;
                self.out.close(object.head);
                self.stack.pop();
                self.depth -= 1;
                return Ok(());
            }
            if object.begun {
                if found != b',' {
                    return Err(Fault::expected(at, "`,` or `}`"));
                }
                at = space(text, at + 1);
            }
            object.begun = true;
            let key_at = at;
            if byte(text, key_at) != b'"' {
                return Err(Fault::expected(key_at, "a key"));
            }
            let (key, key_end) = value::key(text, key_at + 1, &mut self.scratch)?;
            if let Key::Long = key {
                self.skip.begin_in_key();
                at = key_end;
                break;
            }
            at = colon(text, key_end)?;
            let Some((number, field)) = object.field(key) else {
                count_snake_case(&mut self.snake_case, object.message, key);
                at = self.skip.begin(text, at, stop)?;
                if self.skip.is_open() {
                    break;
                }
                continue;
            };
            object.reading = Some(field);
            if object.seen & 1 << number != 0 {
                return Err(value::duplicate(key_at));
            }
            object.seen |= 1 << number;
            object.next = number as usize + 1;
            if byte(text, at) == b'n' {
                at = scan::literal(text, at, "null").map_err(|_| Fault::expected(at, value::expected(field.kind)))?;
                continue;
            }
            if field.once & object.members != 0 {
                return Err(Fault { at: key_at, problem: Problem::SecondMember });
            }
            object.members |= field.once;
            if field.is_repeated() {
                if byte(text, at) != b'[' {
                    return Err(Fault::expected(at, "a list"));
                }
                self.at = at + 1;
                self.stack.push(Frame::List(List::new(number, field.kind)));
                return Ok(());
            }
            match field.kind {
                Kind::Message(message) => {
                    if std::ptr::eq(message, &raw const schema::ANY_VALUE)
                        && self.depth < DEPTH_LIMIT
                        && let Some(end) = usual::any_value(text, at, number, &mut self.out)
                    {
                        at = end;
                        continue;
                    }
                    self.at = at;
                    return self.begin_object(text, number, message);
                }
                Kind::String => match value::plain_string(text, at, number, &mut self.out)? {
                    Some(end) => at = end,
                    None => {
                        self.at = at + 1;
                        self.string = Some(Begun { head: self.out.open(number, self.depth), encoded: None });
                        return Ok(());
                    }
                },
                kind @ (Kind::Bytes | Kind::Id) => {
                    match value::plain_encoded(text, at, (number, kind), &mut self.out)? {
                        Some(end) => at = end,
                        None => {
                            self.at = at + 1;
                            self.scratch.clear();
                            let head = self.out.open(number, self.depth);
                            self.string = Some(Begun { head, encoded: Some((kind, at)) });
                            return Ok(());
                        }
                    }
                }
                kind => match value::read(text, at, (number, kind), &mut self.out, &mut self.scratch) {
                    Ok(end) => at = end,
                    Err(fault) => {
                        let is_integer = std::ptr::eq(object.message, &raw const schema::ANY_VALUE)
                            && matches!(kind, Kind::Varint(Number::I64))
                            && !matches!(fault.problem, Problem::LongNumber);
                        let double = is_integer.then(|| value::whole_double(text, at)).flatten();
                        let (bits, end) = double.ok_or(fault)?;
                        self.out.put_fixed64_field(schema::DOUBLE_VALUE, bits);
                        at = end;
                    }
                },
            }
        }
        self.at = at;
        Ok(())
    }

    /// Reads elements of the innermost list, until it ends or an element is no scalar.
    fn list(&mut self, text: &[u8], stop: usize) -> Result<(), Fault> {
        let Some(Frame::List(list)) = self.stack.last_mut() else { return Ok(()) };
        let mut at = self.at;
        while at < stop {
            at = space(text, at);
            let found = byte(text, at);
            if found == b']' {
                self.at = at + 1;
                if let Some(head) = list.packed {
                    self.out.close(head);
                }
                self.stack.pop();
                return Ok(());
            }
            if list.begun {
                if found != b',' {
                    return Err(Fault::expected(at, "`,` or `]`"));
                }
                at = space(text, at + 1);
                list.index += 1;
            }
            list.begun = true;
            let number = list.number;
            match list.kind {
                Kind::Message(message) => {
                    if std::ptr::eq(message, &raw const schema::KEY_VALUE)
                        && self.depth + 1 < DEPTH_LIMIT
                        && let Some(end) = usual::attribute(text, at, number, &mut self.out)
                    {
                        at = end;
                        continue;
                    }
                    self.at = at;
                    return self.begin_object(text, number, message);
                }
                Kind::String => match value::plain_string(text, at, number, &mut self.out)? {
                    Some(end) => at = end,
                    None => {
                        self.at = at + 1;
                        self.string = Some(Begun { head: self.out.open(number, self.depth), encoded: None });
                        return Ok(());
                    }
                },
                kind => {
                    if list.packed.is_none() {
                        list.packed = Some(self.out.open(number, self.depth));
                    }
                    at = value::read(text, at, (number, kind), &mut self.out, &mut self.scratch)?;
                    if self.out.len() > self.max_bytes {
                        return Err(Fault { at, problem: Problem::TooLarge });
                    }
                }
            }
        }
        self.at = at;
        Ok(())
    }

    /// Begins the object at the present position.
    fn begin_object(&mut self, text: &[u8], number: u32, message: &'static Message) -> Result<(), Fault> {
        if byte(text, self.at) != b'{' {
            return Err(Fault::expected(self.at, "an object"));
        }
        if self.depth == DEPTH_LIMIT {
            return Err(Fault { at: self.at, problem: Problem::Depth });
        }
        let head = self.out.open(number, self.depth);
        self.stack.push(Frame::Object(Object::new(message, head)));
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Reads on in a string.
    fn string_piece(&mut self, text: &[u8], head: Head, stop: usize) -> Result<(), Fault> {
        let content = self.out.content();
        let within = scan::up_to(text, stop.max(self.at + LONGEST_CHARACTER));
        while self.at < within.len() || within.len() == text.len() {
            let end = scan::text_run(within, self.at)?;
            content.extend_from_slice(&text[self.at..end]);
            self.at = end;
            match byte(text, end) {
                _ if end == within.len() && end < text.len() => {}
                b'"' => {
                    self.at = end + 1;
                    self.out.close(head);
                    self.string = None;
                    return Ok(());
                }
                b'\\' => self.at = scan::unescape(text, end, content)?,
                _ => return Err(scan::end_fault(text, end)),
            }
        }
        Ok(())
    }

    /// Reads on in a string of hexadecimal or base64.
    fn encoded_piece(
        &mut self,
        text: &[u8],
        head: Head,
        (kind, start): (Kind, usize),
        stop: usize,
    ) -> Result<(), Fault> {
        let wrong = Fault::expected(start, value::expected(kind));
        let within = &text[..text.len().min(stop.max(self.at + LONGEST_CHARACTER))];
        while self.at < within.len() || within.len() == text.len() {
            let end = scan::run(within, self.at).end;
            self.scratch.extend_from_slice(&text[self.at..end]);
            self.at = end;
            match byte(text, end) {
                _ if end == within.len() && end < text.len() => {}
                b'"' => {
                    self.at = end + 1;
                    value::decode(kind, &self.scratch, &mut self.out).ok_or(wrong)?;
                    self.out.close(head);
                    self.string = None;
                    return Ok(());
                }
                b'\\' => self.at = scan::unescape(text, end, &mut self.scratch)?,
                _ => return Err(scan::end_fault(text, end)),
            }
        }
        value::decode_beginning(kind, &mut self.scratch, &mut self.out).ok_or(wrong)
    }

    /// The field that is being read.
    #[cold]
    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.stack {
            match frame {
                Frame::Object(Object { reading: Some(field), .. }) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(field.json.as_str());
                }
                Frame::Object(_) => {}
                Frame::List(list) => path.push_str(&format!("[{}]", list.index)),
            }
        }
        path
    }
}

impl Object {
    const fn new(message: &'static Message, head: Head) -> Self {
        Self { message, head, seen: 0, members: 0, begun: false, reading: None, next: 1 }
    }

    #[inline]
    fn field(&self, key: Key) -> Option<(u32, &'static Field)> {
        match key {
            Key::Short(words) => self.message.named(words, self.next),
            Key::Other | Key::Long => None,
        }
    }
}

impl List {
    const fn new(number: u32, kind: Kind) -> Self {
        Self { number, kind, packed: None, begun: false, index: 0 }
    }
}

/// Counts a key that no field has as its name in JSON, if a field has it as its name in protobuf.
#[cold]
fn count_snake_case(snake_case: &mut Option<SnakeCase>, message: &'static Message, key: Key) {
    let Some((_, meant)) = message.fields().find(|(_, field)| key.is(field.name)) else { return };
    let so_far = snake_case.unwrap_or(SnakeCase { first: meant.name, keys: 0 });
    *snake_case = Some(SnakeCase { keys: so_far.keys + 1, ..so_far });
}
