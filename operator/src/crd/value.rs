//! Values that stand in the object itself or in a Secret.
//!
//! Not here: reading the Secret (`collect`).

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A value, or where to find it. A value that is set here can be read by everybody who may read the object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!(has(self.value) && has(self.valueFrom))", "Only one of 'value' or 'valueFrom' can be set"))]
pub struct ValueType {
    /// The value itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<InlineValue>,
    /// Where the value is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValueFrom {
    /// A key of a Secret. Neither has to exist when the object is created: the pipeline starts when they do.
    pub secret_key_ref: SecretKeyRef,
}

/// A key of a Secret in any namespace whose Secrets pipelines may use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema)]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Namespace of the Secret.
    #[schemars(length(min = 1))]
    pub namespace: String,
    /// Key in the Secret.
    #[schemars(length(min = 1))]
    pub key: String,
}

/// A value that somebody wrote into an object. It may be secret, so `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct InlineValue(String);

/// What a [`ValueType`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueOrRef<'a> {
    /// The value itself, possibly empty.
    Value(&'a InlineValue),
    /// Where it is.
    Ref(&'a SecretKeyRef),
}

impl ValueType {
    /// What is set; nothing where neither is. The schema refuses both at once.
    pub fn value_or_ref(&self) -> Option<ValueOrRef<'_>> {
        let reference = self.value_from.as_ref().map(|from| ValueOrRef::Ref(&from.secret_key_ref));
        reference.or_else(|| self.value.as_ref().map(ValueOrRef::Value))
    }

    /// The reference, if it is one.
    pub fn secret_key_ref(&self) -> Option<&SecretKeyRef> {
        self.value_from.as_ref().map(|from| &from.secret_key_ref)
    }
}

impl InlineValue {
    /// The value in the clear, for whoever needs it to connect.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for InlineValue {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for InlineValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(hidden)")
    }
}
