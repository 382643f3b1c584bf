//! Rules of a schema about several fields, in the Common Expression Language, as an API server evaluates them: of its own
//! functions those that our rules use.

use std::sync::Arc;

use cel::extractors::This;
use cel::{Context, ExecutionError, Program, Value as Cel};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, ValidationRule};
use k8s_openapi::jiff::SignedDuration;
use serde_json::Value;

use crate::quantity;

/// What a rule about a change calls the value before it. There is none in a manifest.
const BEFORE: &str = "oldSelf";
/// The format of texts that rules see as a length of time.
const DURATION: &str = "duration";

/// Why a rule does not hold for a value with all its defaults; nothing where all of them do.
pub(super) fn broken(schema: &JSONSchemaProps, value: &Value) -> Vec<String> {
    let rules = schema.x_kubernetes_validations.iter().flatten().filter(|rule| !rule.rule.contains(BEFORE));
    rules.filter_map(|rule| broken_rule(rule, schema, value)).collect()
}

fn broken_rule(rule: &ValidationRule, schema: &JSONSchemaProps, value: &Value) -> Option<String> {
    let message = || rule.message.clone().unwrap_or_else(|| format!("this does not hold: {}", rule.rule));
    match evaluate(&rule.rule, schema, value) {
        Ok(true) => None,
        Ok(false) => Some(message()),
        Err(error) => Some(format!("{} ({error})", message())),
    }
}

fn evaluate(rule: &str, schema: &JSONSchemaProps, value: &Value) -> Result<bool, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let program = Program::compile(rule).map_err(|error| said(&error))?;
    let mut context = Context::default();
    let added = [
        context.add_function("quantity", quantity_of),
        context.add_function("compareTo", compare),
        context.add_function("duration", seconds),
        context.add_function("isURL", is_url),
    ];
    added.into_iter().collect::<Result<(), _>>().map_err(|error| said(&error))?;
    let is_duration = schema.format.as_deref() == Some(DURATION);
    match value.as_str().filter(|_| is_duration) {
        Some(text) => {
            let length = seconds(Arc::new(text.to_owned())).map_err(|error| said(&error))?;
            context.add_variable_from_value("self", length);
        }
        None => context.add_variable("self", value).map_err(|error| said(&error))?,
    }
    match program.execute(&context).map_err(|error| said(&error))? {
        Cel::Bool(holds) => Ok(holds),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

fn quantity_of(text: Arc<String>) -> Result<f64, ExecutionError> {
    quantity::amount(&text).ok_or_else(|| ExecutionError::function_error("quantity", format!("'{text}' is no amount")))
}

fn compare(This(one): This<f64>, other: f64) -> i64 {
    one.total_cmp(&other) as i64
}

fn seconds(text: Arc<String>) -> Result<f64, ExecutionError> {
    let length: Result<SignedDuration, _> = text.parse();
    let length = length.map_err(|error| ExecutionError::function_error(DURATION, error))?;
    Ok(length.as_secs_f64())
}

/// An absolute URI, or an absolute path.
fn is_url(text: Arc<String>) -> bool {
    text.starts_with('/') || text.parse::<http::Uri>().is_ok_and(|uri| uri.scheme().is_some())
}
