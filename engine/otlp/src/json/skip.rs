//! Values that are ignored, whatever is in them: checked to be JSON, in steps and without recursion.

use super::error::Fault;
use super::scan::{self, Skipped, byte, space};

/// A value that is being skipped.
#[derive(Debug, Default)]
pub(super) struct Skip {
    /// A bit for each open list (0) and object (1), the innermost last.
    kinds: Vec<u64>,
    depth: usize,
    /// Whether something stands before in the innermost of them.
    begun: bool,
    /// What the string is that was begun and not ended.
    string: Option<Role>,
}

/// What a string is.
#[derive(Copy, Clone, Debug)]
enum Role {
    /// A key, and its value follows.
    Key,
    Value,
}

impl Skip {
    /// Whether a value is being skipped.
    pub(super) const fn is_open(&self) -> bool {
        self.depth > 0 || self.string.is_some()
    }

    pub(super) const fn held_bytes(&self) -> usize {
        size_of::<u64>() * self.kinds.capacity()
    }

    /// Begins to skip the rest of a key, and the value behind it.
    pub(super) const fn begin_in_key(&mut self) {
        self.string = Some(Role::Key);
    }

    /// Skips the value at a position, or begins to when it is a list, an object or a string that goes on behind `stop`.
    /// Returns where to go on.
    pub(super) fn begin(&mut self, text: &[u8], at: usize, stop: usize) -> Result<usize, Fault> {
        match byte(text, at) {
            b'"' => match scan::skip_string(text, at + 1, stop)? {
                Skipped::All(end) => Ok(end),
                Skipped::Some(next) => {
                    self.string = Some(Role::Value);
                    Ok(next)
                }
            },
            b'{' => {
                self.open(1);
                Ok(at + 1)
            }
            b'[' => {
                self.open(0);
                Ok(at + 1)
            }
            b't' => scan::literal(text, at, "true"),
            b'f' => scan::literal(text, at, "false"),
            b'n' => scan::literal(text, at, "null"),
            _ => scan::number(text, at, "a value").map(|(_, end)| end),
        }
    }

    /// Goes on until the value ends, or `stop` is reached.
    pub(super) fn step(&mut self, text: &[u8], mut at: usize, stop: usize) -> Result<usize, Fault> {
        while self.is_open() && at < stop {
            if let Some(role) = self.string {
                at = match (scan::skip_string(text, at, stop)?, role) {
                    (Skipped::Some(next), _) => next,
                    (Skipped::All(end), Role::Value) => {
                        self.string = None;
                        end
                    }
                    (Skipped::All(end), Role::Key) => {
                        self.string = None;
                        let value = colon(text, end)?;
                        self.begin(text, value, stop)?
                    }
                };
                continue;
            }
            at = space(text, at);
            let is_object = self.is_object();
            let found = byte(text, at);
            if found == if is_object { b'}' } else { b']' } {
                self.depth -= 1;
                self.begun = true;
                at += 1;
                continue;
            }
            if self.begun {
                if found != b',' {
                    return Err(Fault::expected(at, if is_object { "`,` or `}`" } else { "`,` or `]`" }));
                }
                at = space(text, at + 1);
            }
            if is_object {
                if byte(text, at) != b'"' {
                    return Err(Fault::expected(at, "a key"));
                }
                self.begun = true;
                self.string = Some(Role::Key);
                at += 1;
                continue;
            }
            self.begun = true;
            at = self.begin(text, at, stop)?;
        }
        Ok(at)
    }

    fn open(&mut self, kind: u64) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.kinds.len() {
            self.kinds.push(0);
        }
        self.kinds[word] = self.kinds[word] & !(1 << bit) | kind << bit;
        self.depth += 1;
        self.begun = false;
    }

    fn is_object(&self) -> bool {
        let innermost = self.depth - 1;
        self.kinds[innermost / 64] >> (innermost % 64) & 1 == 1
    }
}

/// Where the value begins behind a key.
#[inline(always)]
pub(super) fn colon(text: &[u8], at: usize) -> Result<usize, Fault> {
    // Nearly always there is no space on either side.
    if byte(text, at) == b':' && byte(text, at + 1) > b' ' {
        return Ok(at + 1);
    }
    let colon = space(text, at);
    if byte(text, colon) != b':' {
        return Err(Fault::expected(colon, "`:`"));
    }
    Ok(space(text, colon + 1))
}
