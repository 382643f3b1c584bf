//! Environment variables in string values: `${NAME}`, `${NAME:-default}`, and `$${` for a literal `${`.
//!
//! Works on values after parsing, so that no variable can change the structure of a document. Keys stay as written.

use super::{Finding, Node, Report, Value};
use crate::environment::Environment;
use crate::problem::Code;
use crate::secret::is_variable_name;

/// A text after expansion.
enum Expanded {
    Text(String),
    /// The environment is not known and a variable has no default.
    Unknown(String),
}

/// Expands every string of a tree in place.
pub(crate) fn expand(node: &mut Node, environment: &Environment, report: &mut Report<'_>) {
    match &mut node.value {
        Value::Text(text) if text.contains("${") => match expand_text(text, environment) {
            Ok(Expanded::Text(expanded)) => node.value = Value::Text(expanded),
            Ok(Expanded::Unknown(original)) => node.value = Value::Unknown(original),
            Err(finding) => {
                let original = std::mem::take(text);
                report.add(node.at, None, finding);
                node.value = Value::Unknown(original);
            }
        },
        Value::List(items) => items.iter_mut().for_each(|item| expand(item, environment, report)),
        Value::Table(entries) => entries.iter_mut().for_each(|entry| expand(&mut entry.node, environment, report)),
        _ => {}
    }
}

fn expand_text(text: &str, environment: &Environment) -> Result<Expanded, Finding> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            expanded.push_str(&rest[..start]);
            expanded.push('{');
            rest = &rest[start + 2..];
            continue;
        }
        expanded.push_str(&rest[..start]);
        let after = &rest[start + 2..];
        let Some(end) = after.find('}') else {
            let finding = Finding::error(Code::Syntax, "`${` without `}`");
            return Err(finding.help("close it, or write `$${` for a literal `${`"));
        };
        let (name, default) = match after[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&after[..end], None),
        };
        if !is_variable_name(name) {
            let finding = Finding::error(Code::Syntax, format!("`{name}` is not the name of a variable"));
            return Err(finding.help("write `${NAME}` or `${NAME:-default}`, or `$${` for a literal `${`"));
        }
        match (environment.variable(name), default) {
            (Some(value), _) => expanded.push_str(value),
            (None, Some(default)) => expanded.push_str(default),
            (None, None) if !environment.is_known() => return Ok(Expanded::Unknown(text.to_owned())),
            (None, None) => {
                let finding =
                    Finding::error(Code::MissingVariable, format!("the environment variable `{name}` is not set"));
                return Err(finding.help(format!("set it, or write `${{{name}:-default}}`")));
            }
        }
        rest = &after[end + 1..];
    }
    expanded.push_str(rest);
    Ok(Expanded::Text(expanded))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::environment::Known;

    fn expanded(text: &str, environment: &Environment) -> String {
        match expand_text(text, environment) {
            Ok(Expanded::Text(text)) => text,
            Ok(Expanded::Unknown(text)) => format!("unknown: {text}"),
            Err(finding) => format!("{finding:?}"),
        }
    }

    /// Variables, defaults and the escape; a value is never expanded again.
    #[test]
    fn forms_of_variables() {
        let variables = [("HOST".to_owned(), "backend".to_owned()), ("TWICE".to_owned(), "${HOST}".to_owned())];
        let known = Environment::Known(Known { variables: variables.into(), ..Known::default() });
        assert_eq!(expanded("http://${HOST}:4317", &known), "http://backend:4317");
        assert_eq!(expanded("${TWICE}", &known), "${HOST}");
        assert_eq!(expanded("${PORT:-4317}", &known), "4317");
        assert_eq!(expanded("$${HOST} ${HOST}", &known), "${HOST} backend");
        assert!(expanded("${PORT}", &known).contains("`PORT` is not set"));
        assert!(expanded("${PO RT}", &known).contains("not the name of a variable"));
        assert!(expanded("${HOST", &known).contains("without `}`"));
        assert_eq!(expanded("${PORT}", &Environment::Unknown), "unknown: ${PORT}");
    }
}
