//! A plan as text. Values of Secrets are never part of it.

use std::io::Write;

use engine_config::{Environment, ParseOptions, REDACTED, SourceFile, parse};
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use crate::manifests::yaml as yaml_of;
use crate::plan::Desired;
use crate::render::config::{RoleConfig, catalog};
use crate::render::objects::{CONFIG_FILE, config_secret};
use crate::role::Fleet;
use crate::status::ConditionReport;

/// Conditions as comments, then every object, with configurations in the clear.
pub(super) fn yaml(desired: &Desired, out: &mut dyn Write) -> std::io::Result<()> {
    for (name, conditions) in conditions(desired) {
        writeln!(out, "# {name}")?;
        for condition in conditions {
            let ConditionReport { kind, status, reason, message } = condition;
            let end = if message.is_empty() { String::new() } else { format!(": {message}") };
            writeln!(out, "#   {kind} {} {reason}{end}", status.as_str())?;
        }
    }
    for object in &desired.objects {
        writeln!(out, "---\n{}", yaml_of(&shown(object, desired)).trim_end())?;
    }
    Ok(())
}

/// Everything in one object, for programs.
pub(super) fn json(desired: &Desired, out: &mut dyn Write) -> std::io::Result<()> {
    let objects: Vec<Value> = desired.objects.iter().map(|object| shown(object, desired)).collect();
    let conditions: Map<String, Value> = conditions(desired)
        .map(|(name, conditions)| {
            let conditions = conditions.iter().map(|condition| {
                json!({
                    "type": condition.kind,
                    "status": condition.status.as_str(),
                    "reason": condition.reason,
                    "message": condition.message,
                })
            });
            (name, conditions.collect())
        })
        .collect();
    let configs: Map<String, Value> =
        desired.configs.iter().map(|(fleet, config)| (fleet.role.name().to_owned(), redacted(config).into())).collect();
    let all = json!({ "conditions": conditions, "configurations": configs, "objects": objects });
    serde_json::to_writer_pretty(&mut *out, &all).map_err(std::io::Error::other)?;
    writeln!(out)
}

/// Everything that conditions are of, with them.
fn conditions(desired: &Desired) -> impl Iterator<Item = (String, &[ConditionReport])> {
    let telemetries = desired.telemetries.iter();
    let telemetries = telemetries
        .map(|((namespace, name), report)| (format!("Telemetry/{namespace}/{name}"), report.conditions.as_slice()));
    let pipelines = desired.pipelines.iter().map(|(id, report)| (id.to_string(), report.conditions.as_slice()));
    telemetries.chain(pipelines)
}

/// An object as people read it: the configuration in a Secret as text, and the rest of it covered.
fn shown(object: &DynamicObject, desired: &Desired) -> Value {
    let mut json = serde_json::to_value(object).expect("objects are plain values");
    let name = object.metadata.name.as_deref().unwrap_or_default();
    // Only a Secret of the same version of the engine is planned.
    let is_its = |fleet: &Fleet| name.starts_with(&config_secret(*fleet, ""));
    let config = desired.configs.iter().filter(|(fleet, _)| is_its(fleet)).max_by_key(|(fleet, _)| fleet.workload);
    let config = config.map(|(_, config)| config);
    let is_secret = json.get("kind").and_then(Value::as_str) == Some("Secret");
    let (true, Some(config), Some(fields)) = (is_secret, config, json.as_object_mut()) else { return json };
    fields.remove("data");
    let mut texts: Map<String, Value> = config.files.keys().map(|name| (name.clone(), REDACTED.into())).collect();
    texts.insert(CONFIG_FILE.to_owned(), redacted(config).into());
    fields.insert("stringData".to_owned(), Value::Object(texts));
    json
}

/// A configuration without what can be secret in it.
fn redacted(config: &RoleConfig) -> String {
    let text = if config.holds_secrets { covered(config) } else { config.toml.clone() };
    config.secret_texts.iter().fold(text, |text, secret| text.replace(secret.expose(), REDACTED))
}

/// With values covered that can be secret wherever they stand.
fn covered(config: &RoleConfig) -> String {
    let files = [SourceFile::new(CONFIG_FILE, config.toml.as_str())];
    let options = ParseOptions { expand_environment: config.expands_environment };
    match parse(&files, catalog(), &Environment::Unknown, &options) {
        Ok(pipeline) => pipeline.to_toml_redacted(catalog()),
        Err(_) => REDACTED.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::input::Input;
    use crate::manifests;
    use crate::plan::plan;
    use crate::role::Role;

    /// Configurations are shown, those in which variables stand too, and values that can be secret are covered.
    #[test]
    fn configurations_are_shown_without_secrets() {
        let headers = json!([{ "name": "x-token", "value": "canary" }]);
        let output = json!({ "otlp": { "endpoint": { "value": "https://example.com:4317" }, "headers": headers } });
        let pipeline = json!({ "metadata": { "name": "shop" }, "spec": { "output": output } });
        let input = Input { logs: vec![serde_json::from_value(pipeline).unwrap()], ..Input::default() };
        let desired = plan(&input);
        let [agent, gateway] = [Role::LogAgent, Role::LogGateway].map(|role| redacted(&desired.configs[&role.fleet()]));
        assert!(agent.contains("kubernetes_logs") && agent.contains("${NODE_NAME}"), "{agent}");
        assert!(gateway.contains("x-token") && !gateway.contains("canary"), "{gateway}");
    }

    /// An address that came from a Secret may hold a key.
    #[test]
    fn addresses_of_secrets_are_covered() {
        let from = json!({ "secretKeyRef": { "name": "backend", "namespace": "shop", "key": "endpoint" } });
        let output = json!({ "otlp": { "protocol": "http", "endpoint": { "valueFrom": from } } });
        let pipeline = json!({ "metadata": { "name": "shop" }, "spec": { "output": output } });
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "backend", "namespace": "shop" },
            "stringData": { "endpoint": "https://ingest.example.com/tenant/canary" },
        });
        let mut input = Input { traces: vec![serde_json::from_value(pipeline).unwrap()], ..Input::default() };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), secret.to_string()).unwrap();
        for document in manifests::read(&[file.path().to_owned()]).unwrap() {
            assert_eq!(manifests::add(document, &mut input), [""; 0]);
        }
        let text = redacted(&plan(&input).configs[&Role::TraceRouter.fleet()]);
        assert!(text.contains("endpoint = ") && !text.contains("canary"), "{text}");
    }
}
