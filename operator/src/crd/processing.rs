//! What users do to their data on its way, in OTTL.
//!
//! Not here: whether the text is OTTL (`plan`).

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Statements that change data, after it was enriched and before it is filtered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Transform {
    /// OTTL conditions of all the statements: they run where one of these is true. Unset means always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// OTTL statements, which run in this order. Paths begin with their context, such as `log.attributes["key"]`. A
    /// statement that fails on some data leaves it as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<String>,
}

/// Conditions of data that is dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Filter {
    /// OTTL conditions: what one of these is true for is dropped. Paths begin with their context, such as
    /// `log.severity_number`. A condition that fails on some data drops nothing of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
}
