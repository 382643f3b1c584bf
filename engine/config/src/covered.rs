//! The text of a file as it may be shown: what may be a secret is covered with `*`, byte for byte, so that places stay.
//!
//! Secrets belong into files and variables, and people write them into configurations all the same: pasted in place of a
//! reference, under a misspelt key, as a header. What is drawn of a wrong file ends in logs. Covering errs on the safe
//! side; values of known keys that hold no secret stay readable.

use serde_json::Value as Json;

use crate::SourceFile;
use crate::catalog::Catalog;
use crate::component::Kind;
use crate::document::{At, Files, Node, Report, Value, read};
use crate::schema::{self, branches_of, properties_of, types_of};
use crate::secret::SecretRef;
use crate::settings::Settings;

/// The text of a file with everything covered that may be a secret. It is as long as the text.
pub fn covered(file: &SourceFile, catalog: &Catalog) -> String {
    let files = Files::new(std::slice::from_ref(file));
    let mut report = Report::new(&files);
    let document = read(0, &file.text, &mut report);
    let mut cover = Cover { bytes: file.text.clone().into_bytes() };
    if report.error_count() > 0 {
        cover.unread_text(&file.text);
    } else {
        cover.document(&document, catalog);
    }
    // Whole values are covered, and each byte of a character becomes a character.
    String::from_utf8(cover.bytes).unwrap_or_else(|_| "*".repeat(file.text.len()))
}

/// Whether a value of this schema, or something in it, is a secret or may be sensitive.
pub(crate) fn may_hold_secrets(schema: &Json) -> bool {
    let is_secret =
        schema.get("x-sensitive").is_some() || schema.get("format").and_then(Json::as_str) == Some("secret");
    let inner = [schema.get("items"), schema.get("additionalProperties")];
    is_secret
        || branches_of(schema).iter().any(may_hold_secrets)
        || properties_of(schema).any(|(_, property)| may_hold_secrets(property))
        || inner.into_iter().flatten().any(may_hold_secrets)
}

/// Keys whose values are names of this language, whatever the component is.
const NAMES: [&str; 3] = ["type", "inputs", "signals"];

struct Cover {
    bytes: Vec<u8>,
}

impl Cover {
    fn document(&mut self, document: &Node, catalog: &Catalog) {
        let settings = schema::of_settings();
        for entry in document.entries().iter().filter(|entry| entry.key != "version") {
            let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.table() == entry.key) else {
                let section = properties_of(settings).find(|(name, _)| **name == entry.key);
                self.value(&entry.node, section.map(|(_, section)| section));
                continue;
            };
            for component in entry.node.entries() {
                let type_name = component.node.entry("type").map(|written| &written.node.value);
                let found = match type_name {
                    Some(Value::Text(type_name)) => catalog.get(kind, type_name),
                    _ => None,
                };
                for key in component.node.entries().iter().filter(|key| !NAMES.contains(&key.key.as_str())) {
                    let property = found.and_then(|found| property_of(found.schema(), &key.key));
                    self.value(&key.node, property);
                }
                if component.node.entries().is_empty() {
                    self.value(&component.node, None);
                }
            }
        }
    }

    /// Covers what a schema says may be secret, and everything that no schema knows.
    fn value(&mut self, node: &Node, schema: Option<&Json>) {
        match &node.value {
            Value::Table(entries) => {
                for entry in entries {
                    self.value(&entry.node, schema.and_then(|schema| property_of(schema, &entry.key)));
                }
            }
            Value::List(items) => {
                let of_items = schema.and_then(|schema| branch(schema, "array")).and_then(|list| list.get("items"));
                items.iter().for_each(|item| self.value(item, of_items));
            }
            Value::Text(text) | Value::Unknown(text) => {
                let is_harmless = schema.is_some_and(|schema| {
                    let is_reference = text.parse::<SecretRef>().is_ok();
                    (is_reference || !may_hold_secrets(schema)) && !names_somebody(text)
                });
                if !is_harmless {
                    self.place(node.at);
                }
            }
            _ if schema.is_none_or(may_hold_secrets) => self.place(node.at),
            _ => {}
        }
    }

    fn place(&mut self, at: At) {
        let Some(bytes) = self.bytes.get_mut(at.start..at.end) else { return };
        for byte in bytes.iter_mut().filter(|byte| !matches!(byte, b'"' | b'\'' | b'\n' | b'\r')) {
            *byte = b'*';
        }
    }

    /// Where the structure is not known, everything that is written behind `=` or in a line without one. Punctuation
    /// stays: it is what errors of syntax are about.
    fn unread_text(&mut self, text: &str) {
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let inside = line.trim_start().trim_start_matches('[').trim_start();
            let mut tables = Kind::ALL.map(Kind::table).into_iter().chain(Settings::TABLES);
            let is_header = line.trim_start().starts_with('[') && tables.any(|table| inside.starts_with(table));
            let from = match line.find('=') {
                None if is_header => line.len(),
                None => 0,
                Some(equals) => equals,
            };
            for byte in &mut self.bytes[start + from..start + line.len()] {
                if byte.is_ascii_alphanumeric() || !byte.is_ascii() {
                    *byte = b'*';
                }
            }
            start += line.len();
        }
    }
}

/// The schema of a key in a table, if the schema is one of tables and knows the key.
fn property_of<'s>(schema: &'s Json, key: &str) -> Option<&'s Json> {
    let table = branch(schema, "object")?;
    let property = properties_of(table).find(|(name, _)| *name == key).map(|(_, property)| property);
    property.or_else(|| table.get("additionalProperties").filter(|others| others.is_object()))
}

/// The schema itself, or the one of its choices, that is of a type.
fn branch<'s>(schema: &'s Json, type_name: &str) -> Option<&'s Json> {
    std::iter::once(schema).chain(branches_of(schema)).find(|candidate| types_of(candidate).contains(&type_name))
}

/// Whether an address has a name, and maybe a password, before its host.
fn names_somebody(text: &str) -> bool {
    let authority = text.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    authority.is_some_and(|authority| authority.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(text: &str) -> String {
        covered(&SourceFile::new("engine.toml", text), &Catalog::builtin())
    }

    /// References and values of known keys stay; what may be a secret does not, wherever it was put, and places stay.
    #[test]
    fn covers_what_may_be_secret() {
        for (line, shown) in [
            ("endpoint = \"http://a:1\"", "endpoint = \"http://a:1\""),
            ("auth.bearer.token = \"env:T\"", "auth.bearer.token = \"env:T\""),
            ("auth.bearer.token = \"k3y\"", "auth.bearer.token = \"***\""),
            ("auth.bearer.token = 123", "auth.bearer.token = ***"),
            ("auth.bearer.tokn = 'k3y'", "auth.bearer.tokn = '***'"),
            ("auth.bearer = \"k3y\"", "auth.bearer = \"***\""),
            ("auth = [\"k3y\"]", "auth = [\"***\"]"),
            ("token = { deep = \"k\u{e9}y\" }", "token = { deep = \"****\" }"),
            ("headers.x-key = \"k3y\"", "headers.x-key = \"***\""),
            ("headers.x-key.secret = \"file:/k\"", "headers.x-key.secret = \"file:/k\""),
            ("endpoint = \"http://me:k3y@a:1\"", "endpoint = \"*****************\""),
        ] {
            let before = "version = 1\n[sinks.backend]\ntype = \"otlp\"\ninputs = [\"apps\"]\n";
            assert_eq!(cover(&format!("{before}{line}\n")), format!("{before}{shown}\n"));
        }
        assert_eq!(cover("[sinks.a]\ntype = \"otpl\"\nkey = \"k3y\"\n"), "[sinks.a]\ntype = \"otpl\"\nkey = \"***\"\n");
    }

    /// Where a file cannot be read, punctuation is shown, and names of tables and keys.
    #[test]
    fn covers_what_cannot_be_read() {
        let text = "[sinks.backend]\ntype = \"otlp\"\nauth.bearer.token = \"k3y\nk3y\n[\"k3y\",\n";
        let shown = "[sinks.backend]\ntype = \"****\"\nauth.bearer.token = \"***\n***\n[\"***\",\n";
        assert_eq!(cover(text), shown);
    }
}
