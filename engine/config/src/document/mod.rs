//! A TOML document as a tree in which every key and value knows its place.
//!
//! Knows nothing about pipelines. All values stay as written; types are the business of `check`.

mod expand;
mod files;

pub(crate) use expand::expand;
pub(crate) use files::{At, Files, Finding, Report};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Code;

/// A value and where it stands. Debug says the place only: the value may be sensitive.
#[derive(Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) value: Value,
}

/// The types of TOML.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    /// A text with a variable whose value nobody knows here: its form cannot be judged.
    Unknown(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Date(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// One key of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: At,
    pub(crate) node: Node,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Node").field("at", &self.at).finish_non_exhaustive()
    }
}

impl Node {
    /// The entries of a table, none for every other type.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The place of the longest part of `path` that is written down; the value's for a whole path, else the key's.
    pub(crate) fn place(&self, path: &[String], otherwise: At) -> At {
        let mut place = otherwise;
        let mut node = self;
        for (depth, segment) in path.iter().enumerate() {
            let next = match &node.value {
                Value::List(items) => {
                    segment.parse::<usize>().ok().and_then(|index| items.get(index)).map(|item| (item, item.at))
                }
                _ => node.entry(segment).map(|entry| (&entry.node, entry.key_at)),
            };
            let Some((next_node, key_at)) = next else { return place };
            let is_last = depth + 1 == path.len();
            let is_table = matches!(next_node.value, Value::Table(_));
            place = if is_last && !is_table { next_node.at } else { key_at };
            node = next_node;
        }
        place
    }
}

/// Parses one file. Syntax errors go to the report; what could be read comes back all the same.
pub(crate) fn read(file: usize, text: &str, report: &mut Report<'_>) -> Node {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().trim_end_matches('.');
        let finding = match (message, text.get(span.clone())) {
            ("duplicate key", Some(key)) => {
                let finding = Finding::error(Code::Duplicate, format!("`{key}` stands here for the second time"));
                finding.help("join the two, or give one of them another name")
            }
            _ => Finding::error(Code::Syntax, message),
        };
        report.add(At::new(file, span), None, finding);
    }
    let span = table.span();
    let entries = convert_table(file, table.get_ref(), report);
    Node { at: At::new(file, span), value: Value::Table(entries) }
}

fn convert_table(file: usize, table: &DeTable<'_>, report: &mut Report<'_>) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        let key_at = At::new(file, key.span());
        let node = convert_value(file, value, key_at, report);
        entries.push(Entry { key: key.get_ref().to_string(), key_at, node });
    }
    entries.sort_by_key(|entry| entry.key_at.start);
    entries
}

fn convert_value(file: usize, value: &Spanned<DeValue<'_>>, key_at: At, report: &mut Report<'_>) -> Node {
    let span = value.span();
    let at = if span.is_empty() { key_at } else { At::new(file, span) };
    let converted = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => {
                let message = format!("the integer {integer} does not fit into 64 bits");
                report.add(at, None, Finding::error(Code::InvalidValue, message).help("write a smaller number"));
                Value::Integer(0)
            }
        },
        DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Value::Bool(*boolean),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(array) => Value::List(array.iter().map(|item| convert_value(file, item, at, report)).collect()),
        DeValue::Table(table) => Value::Table(convert_table(file, table, report)),
    };
    Node { at, value: converted }
}
