//! What a configuration is judged against, as values: variables, secrets, memory, cores.
//!
//! Collecting them is the work of the command line; nothing here looks at the system.

use std::collections::{BTreeMap, BTreeSet};

use crate::secret::SecretRef;
use crate::size::ByteSize;

/// The surroundings of a configuration. `Unknown` skips every check that needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Environment {
    /// Somewhere else: the operator, or `validate --no-environment`.
    #[default]
    Unknown,
    /// Here.
    Known(Known),
}

/// What is known about the process that will run a configuration. Debug says the names of variables, not their values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// Whether references resolve, and if not, why (lower-case, without the value). A reference without an entry was
    /// not looked at and is not checked. `Pipeline::references` lists what to look at.
    pub secrets: BTreeMap<SecretRef, Result<(), String>>,
    /// Names of the files in the directory of secrets, for advice; empty where it was not looked at.
    pub secret_names: BTreeSet<String>,
    /// Memory limit of the control group, where there is one.
    pub memory_limit: Option<ByteSize>,
    /// Memory of the machine (MemTotal).
    pub memory_total: Option<ByteSize>,
    /// Available parallelism.
    pub cores: Option<usize>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Known")
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("secrets", &self.secrets)
            .field("secret_names", &self.secret_names)
            .field("memory_limit", &self.memory_limit)
            .field("memory_total", &self.memory_total)
            .field("cores", &self.cores)
            .finish()
    }
}

impl Environment {
    /// Whether anything is known.
    pub const fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        match self {
            Self::Known(known) => known.variables.get(name).map(String::as_str),
            Self::Unknown => None,
        }
    }

    /// Names of the files in the directory of secrets, as far as they are known.
    pub(crate) fn secret_names(&self) -> impl Iterator<Item = &str> {
        let known = match self {
            Self::Known(known) => Some(known),
            Self::Unknown => None,
        };
        known.into_iter().flat_map(|known| &known.secret_names).map(String::as_str)
    }

    /// Why a reference does not resolve; `None` when it does or was not looked at.
    pub fn why_unresolved(&self, reference: &SecretRef) -> Option<&str> {
        match self {
            Self::Known(known) => known.secrets.get(reference)?.as_ref().err().map(String::as_str),
            Self::Unknown => None,
        }
    }
}
