//! Mistakes generated from the schema: for every key of every component and settings table a wrong type, a value beyond
//! its limits and a misspelling. Each must be answered with file, line, component and remedy.

use std::collections::BTreeMap;

use engine_config::{ByteSize, Code, Entry, Kind, Span, schema};
use serde_json::Value as Json;

use crate::{CATALOG, judge};

/// One mistake in an otherwise harmless document.
struct Mistake {
    /// `sinks.x` or `admin`.
    component: String,
    /// Lines of the component's table, by key.
    lines: BTreeMap<String, String>,
    /// The key with the mistake.
    key: String,
    /// The codes that may answer it.
    codes: &'static [Code],
    /// What the help must name.
    help: Option<String>,
}

impl Mistake {
    /// The document, and the line of the mistake.
    fn document(&self) -> (String, usize) {
        let mut text = format!("version = 1\n[{}]\n", self.component);
        let mut line = 0;
        for (key, value) in &self.lines {
            if *key == self.key {
                line = text.lines().count() + 1;
            }
            text.push_str(&format!("{key} = {value}\n"));
        }
        (text, line)
    }

    fn check(&self) {
        let (text, line) = self.document();
        let problems = match judge(&text) {
            Ok(_) => panic!("accepted:\n{text}"),
            Err(problems) => problems,
        };
        let answers = |problem: &&engine_config::Problem| problem.line == line && self.codes.contains(&problem.code);
        let answer = problems.iter().find(answers);
        let answer = answer.unwrap_or_else(|| panic!("no answer at line {line} of\n{text}but\n{problems}"));
        assert_eq!(answer.file.as_deref(), Some("engine.toml"));
        assert_eq!(answer.component.as_deref(), Some(self.component.as_str()), "{answer}");
        assert!(answer.column >= 1 && !answer.span.is_empty(), "{answer}");
        let remedy =
            format!("{}{}", answer.expected.as_deref().unwrap_or_default(), answer.help.as_deref().unwrap_or_default());
        assert!(remedy.len() > 3, "no remedy: {answer}");
        if let Some(help) = &self.help {
            assert_eq!(answer.help.as_ref(), Some(help), "{answer}");
        }
        assert!(!answer.message.ends_with('.') && !answer.message.starts_with(char::is_uppercase), "{answer}");
    }
}

/// Every key of a schema with its dotted path.
fn keys(schema: &Json, prefix: &str, found: &mut Vec<(String, Json)>) {
    for (name, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let path = format!("{prefix}{name}");
        found.push((path.clone(), property.clone()));
        below(property, &path, found);
    }
}

/// The keys below a value: of tables, of maps with free keys, of the table branch of a choice.
fn below(schema: &Json, path: &str, found: &mut Vec<(String, Json)>) {
    keys(schema, &format!("{path}."), found);
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        let path = format!("{path}.name");
        found.push((path.clone(), values.clone()));
        below(values, &path, found);
    }
    for branch in schema.get("anyOf").and_then(Json::as_array).into_iter().flatten() {
        below(branch, path, found);
    }
}

/// The types that a schema admits, those of its branches included.
fn types(schema: &Json) -> Vec<String> {
    let own = match schema.get("type") {
        Some(Json::String(name)) => vec![name.clone()],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let branches = ["anyOf", "oneOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
    let is_text = schema.get("const").is_some_and(Json::is_string);
    own.into_iter().chain(branches.flat_map(types)).chain(is_text.then(|| "string".to_owned())).collect()
}

fn is_free_text(schema: &Json) -> bool {
    let has_form = ["enum", "const", "oneOf", "format"].iter().any(|keyword| schema.get(keyword).is_some());
    match schema.get("anyOf").and_then(Json::as_array) {
        Some(branches) => {
            branches.iter().any(|branch| types(branch).contains(&"string".to_owned()) && is_free_text(branch))
        }
        None => !has_form,
    }
}

/// Forms that hardly any text breaks.
fn takes_any_text(schema: &Json) -> bool {
    let form = schema.get("format").and_then(Json::as_str);
    form.is_some_and(|form| ["file-path", "attribute-key", "header-text", "rust-regex"].contains(&form))
}

/// Values that a schema does not admit, each with the codes that may answer.
fn wrong_values(schema: &Json) -> Vec<(String, &'static [Code])> {
    const TYPE: &[Code] = &[Code::WrongType, Code::UnknownType];
    const VALUE: &[Code] = &[Code::InvalidValue, Code::WrongType, Code::UnknownType];
    let types = types(schema);
    let has = |name: &str| types.iter().any(|admitted| admitted == name);
    let mut wrong: Vec<(String, &'static [Code])> = vec![("1979-05-27T07:32:00Z".to_owned(), TYPE)];
    let candidates = [
        ("string", "\"wrong?\""),
        ("integer", "7"),
        ("boolean", "true"),
        ("number", "1.5"),
        ("array", "[[]]"),
        ("object", "{ a = [] }"),
    ];
    for (name, value) in candidates {
        let is_number = name == "integer" && has("number");
        if !has(name) && !is_number {
            wrong.push((value.to_owned(), VALUE));
        }
    }
    if has("string") && !is_free_text(schema) && !takes_any_text(schema) {
        wrong.push(("\"wrong value?\"".to_owned(), VALUE));
    }
    if has("array") {
        let item = &schema["items"];
        wrong.extend(wrong_values(item).into_iter().map(|(value, codes)| (format!("[{value}]"), codes)));
    }
    wrong
}

/// Values beyond the limits of a schema.
fn beyond(schema: &Json) -> Vec<String> {
    let mut values = Vec::new();
    let number = |keyword: &str| schema.get(keyword).and_then(Json::as_i64);
    values.extend(number("minimum").map(|least| (least - 1).to_string()));
    values.extend(number("maximum").map(|most| (most + 1).to_string()));
    values.extend(number("minItems").filter(|least| *least > 0).map(|_| "[]".to_owned()));
    values.extend(number("minProperties").filter(|least| *least > 0).map(|_| "{}".to_owned()));
    values.extend(number("minLength").filter(|least| *least > 0).map(|_| "\"\"".to_owned()));
    values.extend(number("maxLength").map(|most| format!("\"{}\"", "x".repeat(usize::try_from(most).unwrap() + 1))));
    let text = |keyword: &str| schema.get(keyword).and_then(Json::as_str);
    match schema.get("format").and_then(Json::as_str) {
        Some("byte-size") => {
            let size = |keyword: &str| text(keyword).map(|text| text.parse::<ByteSize>().unwrap().0);
            values.extend(size("x-minimum").map(|least| (least - 1).to_string()));
            values.extend(size("x-maximum").map(|most| format!("\"{}B\"", most + 1)));
        }
        Some("time-span") => {
            let millis = |keyword: &str| text(keyword).map(|text| text.parse::<Span>().unwrap().as_millis());
            values.extend(millis("x-minimum").map(|least| format!("\"{}ms\"", least - 1)));
            values.extend(millis("x-maximum").map(|most| format!("\"{}ms\"", most + 1)));
        }
        Some("uint8") => values.push("256".to_owned()),
        Some("uint32") => values.push("4294967296".to_owned()),
        _ => {}
    }
    values
}

/// The lines that a component cannot do without.
fn required(entry: &Entry) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::from([("type".to_owned(), format!("\"{}\"", entry.type_name()))]);
    if entry.kind() != Kind::Source {
        lines.insert("inputs".to_owned(), "[\"somewhere\"]".to_owned());
    }
    for name in entry.schema()["required"].as_array().unwrap().iter().filter_map(Json::as_str) {
        let value = match entry.schema()["properties"][name]["format"].as_str() {
            Some("endpoint") => "\"http://localhost:4317\"",
            Some("file-path") => "\"/tmp/out.json\"",
            _ => continue,
        };
        lines.insert(name.to_owned(), value.to_owned());
    }
    lines
}

/// Every table of the language: its name, the lines it cannot do without, its schema.
fn tables() -> Vec<(String, BTreeMap<String, String>, Json)> {
    let catalog = &*CATALOG;
    let whole = schema(catalog);
    let settings = ["admin", "status", "memory", "shutdown", "engine", "secrets", "state", "kubernetes"];
    let settings = settings.map(|name| {
        let lines = match name {
            "status" => [("listen", "\"[::]:8889\""), ("token", "\"file:/token\"")].as_slice(),
            _ => &[],
        };
        let lines = lines.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        (name.to_owned(), lines, whole["properties"][name].clone())
    });
    let components =
        catalog.entries().map(|entry| (format!("{}.x", entry.kind().table()), required(entry), entry.schema().clone()));
    settings.into_iter().chain(components).collect()
}

fn mistakes(mut of_key: impl FnMut(&str, &Json) -> Vec<(String, String, &'static [Code], Option<String>)>) -> usize {
    let mut count = 0;
    for (component, lines, schema) in tables() {
        let mut found = Vec::new();
        keys(&schema, "", &mut found);
        assert!(!found.is_empty(), "{component} has no keys");
        for (path, property) in found {
            for (key, value, codes, help) in of_key(&path, &property) {
                let mut lines = lines.clone();
                lines.insert(key.clone(), value);
                Mistake { component: component.clone(), lines, key, codes, help }.check();
                count += 1;
            }
        }
    }
    count
}

/// A value of the wrong type or form is answered at its line with what was expected.
#[test]
fn wrong_types() {
    let count = mistakes(|path, schema| {
        let wrong = wrong_values(schema).into_iter();
        wrong.map(|(value, codes)| (path.to_owned(), value, codes, None)).collect()
    });
    assert!(count > 800, "only {count} mistakes");
}

/// A value beyond its limits is answered at its line with the limits.
#[test]
fn out_of_range() {
    let count = mistakes(|path, schema| {
        let beyond = beyond(schema).into_iter();
        beyond.map(|value| (path.to_owned(), value, [Code::InvalidValue].as_slice(), None)).collect()
    });
    assert!(count > 80, "only {count} mistakes");
}

/// A misspelt key is answered at its line with the right one.
#[test]
fn misspelt_keys() {
    let count = mistakes(|path, _| {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        if name == "name" {
            // A key that users choose cannot be misspelt.
            return Vec::new();
        }
        let separator = if parent.is_empty() { "" } else { "." };
        let help = format!("did you mean `{name}`?");
        let swapped = format!("{parent}{separator}{}", swap_last_two(name));
        let doubled = format!("{parent}{separator}{name}{}", &name[name.len() - 1..]);
        let mistake = |key: String| (key, "true".to_owned(), [Code::UnknownKey].as_slice(), Some(help.clone()));
        [swapped, doubled].into_iter().filter(|key| key != path).map(mistake).collect()
    });
    assert!(count > 200, "only {count} mistakes");
}

fn swap_last_two(name: &str) -> String {
    let mut characters: Vec<char> = name.chars().collect();
    let last = characters.len() - 1;
    characters.swap(last, last - 1);
    characters.into_iter().collect()
}

/// What the checks refuse for its type or its name, the schema that editors use refuses too.
#[test]
fn editors_agree() {
    let validator = jsonschema::validator_for(&schema(&CATALOG)).unwrap();
    let mut count = 0;
    for (component, lines, table) in tables() {
        let mut found = Vec::new();
        keys(&table, "", &mut found);
        for (path, property) in found {
            for (value, _) in wrong_values(&property) {
                let mut lines = lines.clone();
                lines.insert(path.clone(), value.clone());
                let mistake =
                    Mistake { component: component.clone(), lines, key: path.clone(), codes: &[], help: None };
                let (text, _) = mistake.document();
                // JSON has no dates.
                let Ok(document) = toml::from_str::<Json>(&text) else { continue };
                if value.contains("1979") || value.contains("wrong") {
                    continue;
                }
                assert!(!validator.is_valid(&document), "editors accept\n{text}");
                count += 1;
            }
        }
    }
    assert!(count > 500, "only {count} documents");
}
