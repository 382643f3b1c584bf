//! The API server's own log of who has written what. Reads are not in it.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The files in the folder of a cluster.
pub(crate) const POLICY: &str = "audit-policy.json";
pub(crate) const LOG: &str = "audit.log";

/// A write that the API server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Who asked, such as `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The resource, with what is written of it if that is not the whole: `leases`, `logpipelines/status`.
    pub resource: String,
    /// Namespace and name, as far as the request says them.
    pub object: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

/// Writes what is to be logged into the folder of a cluster whose API server has not been started yet.
pub(crate) fn write_policy(folder: &Path) -> Result<()> {
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"] },
            { "level": "None" },
        ],
    });
    let path = folder.join(POLICY);
    std::fs::write(&path, policy.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

/// What was logged so far.
pub(crate) fn read(folder: &Path) -> Result<Vec<AuditEvent>> {
    let path = folder.join(LOG);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    // The last line may be one that is being written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(parse).collect()
}

fn parse(line: &str) -> Result<AuditEvent> {
    let event: Value = serde_json::from_str(line).context("a line of the audit log is JSON")?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let joined = |parts: [String; 2]| parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
    Ok(AuditEvent {
        user: text("/user/username"),
        verb: text("/verb"),
        resource: joined([text("/objectRef/resource"), text("/objectRef/subresource")]),
        object: joined([text("/objectRef/namespace"), text("/objectRef/name")]),
        code: u16::try_from(code).context("a status of HTTP is a small number")?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    /// Who wrote what is read, of parts of an object and of objects without a namespace too; a line that is not whole is not.
    #[test]
    fn lines_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let line = |reference: Value| {
            let user = json!({ "username": "system:serviceaccount:shop:manager" });
            json!({ "verb": "patch", "user": user, "objectRef": reference, "responseStatus": { "code": 200 } })
        };
        let status = line(json!({ "resource": "logpipelines", "subresource": "status", "name": "shop" }));
        let lease = line(json!({ "resource": "leases", "namespace": "shop", "name": "manager" }));
        std::fs::write(folder.path().join(LOG), format!("{status}\n{lease}\n{{\"verb\"")).unwrap();
        let events = read(folder.path()).unwrap();
        let told: Vec<_> = events.iter().map(|event| (event.resource.as_str(), event.object.as_str())).collect();
        assert_eq!(told, [("logpipelines/status", "shop"), ("leases", "shop/manager")]);
        assert_eq!((events[0].user.as_str(), events[0].code), ("system:serviceaccount:shop:manager", 200));
    }
}
