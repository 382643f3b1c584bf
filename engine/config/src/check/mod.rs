//! Compares a document with the JSON Schema of what stands there, and finds everything that is wrong at once.
//!
//! Judges single values: names of keys, types, forms, ranges. What several keys say together is the business of the
//! option modules; what several components say together is the plan's. Only the part of JSON Schema is known that the
//! schemas of this crate use.

mod expect;
mod format;
mod nearest;

pub(crate) use nearest::did_you_mean;

use serde_json::{Map, Value as Json, json};

use crate::covered::may_hold_secrets;
use crate::document::{At, Entry, Finding, Node, Report, Value};
use crate::problem::Code;
use crate::schema::{branches_of, choices_of, types_of};
use crate::secret::SecretRef;

/// One walk through a document.
pub(crate) struct Check<'r, 'f> {
    report: &'r mut Report<'f>,
    component: Option<String>,
    path: Vec<String>,
}

impl<'r, 'f> Check<'r, 'f> {
    /// A walk whose findings belong to a component or table.
    pub(crate) fn new(report: &'r mut Report<'f>, component: Option<String>) -> Self {
        Self { report, component, path: Vec::new() }
    }

    /// Checks a value and returns it as JSON. The result is complete only if no error was reported. `place` is shown
    /// when something is missing.
    pub(crate) fn value(&mut self, node: &Node, schema: &Json, place: At) -> Json {
        if let Value::Unknown(text) = &node.value {
            return self.unknown(node, text, schema);
        }
        if let Some(choices) = choices_of(schema) {
            return self.choice(node, &choices, schema);
        }
        let branches = branches_of(schema);
        if !branches.is_empty() {
            return self.branch(node, branches, schema, place);
        }
        let types = types_of(schema);
        match &node.value {
            Value::Text(text) if types.contains(&"string") => self.text(node, text, schema),
            Value::Integer(number) if types.contains(&"integer") || types.contains(&"number") => {
                self.integer(node, *number, schema)
            }
            Value::Float(number) if types.contains(&"number") && number.is_finite() => {
                self.float(node, *number, schema)
            }
            Value::Bool(value) if types.contains(&"boolean") => json!(value),
            Value::List(items) if types.contains(&"array") => self.list(node, items, schema),
            Value::Table(entries) if types.contains(&"object") => self.table(entries, schema, place),
            _ => {
                self.wrong_type(node, schema);
                Json::Null
            }
        }
    }

    /// A value that depends on an unknown variable is taken as right: an example of its form stands in for it.
    fn unknown(&mut self, node: &Node, text: &str, schema: &Json) -> Json {
        if let Some(choices) = choices_of(schema) {
            return json!(choices.first());
        }
        let with_text = |candidate: &&Json| expect::fits(&node.value, candidate);
        let Some(schema) = std::iter::once(schema).chain(branches_of(schema)).find(with_text) else {
            self.wrong_type(node, schema);
            return Json::Null;
        };
        if let Some(choices) = choices_of(schema) {
            return json!(choices.first());
        }
        match format::of(schema).and_then(format::example) {
            Some(example) => json!(schema.get("default").and_then(Json::as_str).unwrap_or(example)),
            None if format::of(schema) == Some("input") => {
                let message = format!("{} depends on a variable, and the environment is not known", self.name());
                let finding = Finding::error(Code::MissingVariable, message).expected(expect::expected(schema));
                self.add(node.at, finding);
                Json::Null
            }
            None => json!(text),
        }
    }

    fn choice(&mut self, node: &Node, choices: &[&str], schema: &Json) -> Json {
        let Value::Text(text) = &node.value else {
            self.wrong_type(node, schema);
            return Json::Null;
        };
        if !choices.contains(&text.as_str()) {
            let message = format!("{} is {}", self.name(), expect::found(node, schema));
            let finding = Finding::error(Code::InvalidValue, message).expected(expect::expected(schema));
            self.add(
                node.at,
                finding.maybe_help(Self::variable_help(text)).maybe_help(did_you_mean(text, choices.iter().copied())),
            );
        }
        json!(text)
    }

    fn float(&mut self, node: &Node, number: f64, schema: &Json) -> Json {
        let limit = |keyword: &str| schema.get(keyword).and_then(Json::as_f64);
        let is_less = limit("minimum").is_some_and(|least| number < least);
        let is_more = limit("maximum").is_some_and(|most| number > most);
        if is_less || is_more {
            let message = format!("{} is {}", self.name(), expect::found(node, schema));
            self.add(node.at, Finding::error(Code::InvalidValue, message).expected(expect::expected(schema)));
        }
        json!(number)
    }

    /// Takes the branch of a choice that fits the value's type.
    fn branch(&mut self, node: &Node, branches: &[Json], schema: &Json, place: At) -> Json {
        let fitting = branches.iter().find(|branch| expect::fits(&node.value, branch));
        match fitting {
            Some(branch) => self.value(node, branch, place),
            None => {
                self.wrong_type(node, schema);
                Json::Null
            }
        }
    }

    fn text(&mut self, node: &Node, text: &str, schema: &Json) -> Json {
        if let Some(name) = format::of(schema)
            && let Err(refusal) = format::check(name, text, schema)
        {
            let message = format!("{}: {}", self.name(), refusal.reason);
            let finding = Finding::error(Code::InvalidValue, message).maybe_help(refusal.help);
            let finding = finding.maybe_help(Self::variable_help(text));
            self.add(node.at, finding.expected(expect::expected(schema)));
            return json!(text);
        }
        let length = text.chars().count() as u64;
        let limit = |keyword: &str| schema.get(keyword).and_then(Json::as_u64);
        let too_short = limit("minLength").is_some_and(|least| length < least);
        let too_long = limit("maxLength").is_some_and(|most| length > most);
        if too_short || too_long {
            let message = format!("{} has {length} characters", self.name());
            self.add(node.at, Finding::error(Code::InvalidValue, message).expected(expect::expected(schema)));
        }
        json!(text)
    }

    fn integer(&mut self, node: &Node, number: i64, schema: &Json) -> Json {
        if !expect::range(schema).contains(number) {
            let message = format!("{} is {number}", self.name());
            self.add(node.at, Finding::error(Code::InvalidValue, message).expected(expect::expected(schema)));
            return json!(number);
        }
        if let Some(name) = format::of(schema)
            && let Err(refusal) = format::check(name, &number.to_string(), schema)
        {
            let message = format!("{}: {}", self.name(), refusal.reason);
            self.add(node.at, Finding::error(Code::InvalidValue, message).expected(expect::expected(schema)));
        }
        json!(number)
    }

    fn list(&mut self, node: &Node, items: &[Node], schema: &Json) -> Json {
        let least = schema.get("minItems").and_then(Json::as_u64).unwrap_or(0);
        if (items.len() as u64) < least {
            let message = format!("{} is empty", self.name());
            self.add(node.at, Finding::error(Code::InvalidValue, message).expected(expect::expected(schema)));
        }
        let must_differ = schema.get("uniqueItems") == Some(&json!(true));
        let item_schema = schema.get("items").unwrap_or(&Json::Bool(true));
        let mut values: Vec<Json> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            self.path.push(format!("[{index}]"));
            let value = self.value(item, item_schema, item.at);
            if must_differ && values.contains(&value) {
                let message = format!("{} stands in the list already", self.name());
                self.add(item.at, Finding::error(Code::Duplicate, message).help("remove it"));
            }
            values.push(value);
            self.path.pop();
        }
        Json::Array(values)
    }

    fn table(&mut self, entries: &[Entry], schema: &Json, place: At) -> Json {
        let no_properties = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&no_properties);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let mut object = Map::new();
        for entry in entries {
            self.path.push(entry.key.clone());
            match properties.get(&entry.key).or(others) {
                Some(entry_schema) => {
                    if !properties.contains_key(&entry.key) {
                        self.key_form(entry, schema);
                    }
                    let value = self.value(&entry.node, entry_schema, entry.key_at);
                    object.insert(entry.key.clone(), value);
                }
                None => self.unknown_key(entry, properties),
            }
            self.path.pop();
        }
        for name in schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str) {
            if object.contains_key(name) || entries.iter().any(|entry| entry.key == name) {
                continue;
            }
            self.path.push(name.to_owned());
            let expected = properties.get(name).map(expect::expected).unwrap_or_default();
            let finding = Finding::error(Code::MissingKey, format!("{} is missing", self.name())).expected(expected);
            self.path.pop();
            self.add(place, finding);
        }
        let least = schema.get("minProperties").and_then(Json::as_u64).unwrap_or(0);
        if (entries.len() as u64) < least {
            let message = format!("{} is empty", self.name());
            self.add(place, Finding::error(Code::InvalidValue, message).expected("at least one key"));
        }
        Json::Object(object)
    }

    /// Keys of maps, such as names of headers, have forms too.
    fn key_form(&mut self, entry: &Entry, schema: &Json) {
        let Some(name) = schema.get("propertyNames").and_then(format::of) else { return };
        if let Err(refusal) = format::check(name, &entry.key, schema) {
            let message = format!("the key {}: {}", self.name(), refusal.reason);
            let expected = format::expected(name).unwrap_or_default();
            self.add(
                entry.key_at,
                Finding::error(Code::InvalidValue, message).expected(expected).maybe_help(refusal.help),
            );
        }
    }

    fn unknown_key(&mut self, entry: &Entry, properties: &Map<String, Json>) {
        let parent = &self.path[..self.path.len() - 1];
        let message = match parent.is_empty() {
            true => format!("unknown key `{}`", entry.key),
            false => format!("unknown key `{}` in `{}`", entry.key, expect::dotted(parent)),
        };
        let names = properties.keys().map(String::as_str);
        let help = did_you_mean(&entry.key, names).or_else(|| Some(expect::known_keys(properties)));
        self.add(entry.key_at, Finding::error(Code::UnknownKey, message).maybe_help(help));
    }

    fn wrong_type(&mut self, node: &Node, schema: &Json) {
        let message = format!("{} is {}", self.name(), expect::found(node, schema));
        let finding = Finding::error(Code::WrongType, message).expected(expect::expected(schema));
        self.add(node.at, finding.maybe_help(self.quote_help(node)).maybe_help(Self::list_help(node, schema)));
    }

    /// One value where a list of such values is due.
    fn list_help(node: &Node, schema: &Json) -> Option<String> {
        let Value::Text(text) = &node.value else { return None };
        if may_hold_secrets(schema) && text.parse::<SecretRef>().is_err() {
            return None;
        }
        let items =
            schema.get("items").filter(|items| expect::fits(&node.value, items) || choices_of(items).is_some())?;
        let is_choice = choices_of(items).is_none_or(|choices| choices.contains(&text.as_str()));
        is_choice.then(|| format!("write `[{text:?}]`"))
    }

    /// An attribute key that was not quoted becomes a chain of tables.
    fn quote_help(&self, node: &Node) -> Option<String> {
        let mut key = self.path.last()?.clone();
        let mut inner = node;
        while let [entry] = inner.entries() {
            key = format!("{key}.{}", entry.key);
            inner = &entry.node;
        }
        (!std::ptr::eq(inner, node)).then(|| format!("to write a key with dots, put it in quotes: `\"{key}\"`"))
    }

    fn name(&self) -> String {
        if self.path.is_empty() { "this".to_owned() } else { format!("`{}`", expect::dotted(&self.path)) }
    }

    /// A variable that is still there was not meant as text.
    fn variable_help(text: &str) -> Option<String> {
        let help = "environment variables are replaced only where that is switched on";
        text.contains("${").then(|| help.to_owned())
    }

    fn add(&mut self, at: At, finding: Finding) {
        self.report.add(at, self.component.as_deref(), finding);
    }
}
