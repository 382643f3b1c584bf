//! Why a pipeline does not run, in the words of its condition `ConfigurationGenerated`.

use std::fmt;

/// One mistake of one pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// What kind.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

/// Kinds of mistakes. Where a pipeline has several, the first one in this order is its reason, and all of them are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// More pipelines than are allowed, and this is one of the newest.
    MaxPipelinesExceeded,
    /// It asks for something that this version cannot do.
    FieldNotSupported,
    /// The manager may not read a Secret.
    ReferencedSecretForbidden,
    /// A Secret, or an entry of it, is not there.
    ReferencedSecretMissing,
    /// An entry of a Secret cannot be used.
    ReferencedSecretInvalid,
    /// The address of the backend is none.
    EndpointInvalid,
    /// A certificate is not valid any more.
    TlsCertificateExpired,
    /// Certificates or keys cannot be used.
    TlsConfigurationInvalid,
    /// Selectors that contradict one another, or name what cannot be.
    SelectorInvalid,
    /// The engine would not take it.
    ConfigurationInvalid,
    /// All pipelines of this kind together would not fit into what a Secret can hold.
    ConfigurationTooLarge,
    /// The memory of the gateway, divided by its pipelines, would be too little for one more.
    MemoryExceeded,
    /// The volumes of the gateway have no room for one more buffer on disk.
    StorageExceeded,
}

impl Problem {
    /// A problem.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::MaxPipelinesExceeded,
        Self::FieldNotSupported,
        Self::ReferencedSecretForbidden,
        Self::ReferencedSecretMissing,
        Self::ReferencedSecretInvalid,
        Self::EndpointInvalid,
        Self::TlsCertificateExpired,
        Self::TlsConfigurationInvalid,
        Self::SelectorInvalid,
        Self::ConfigurationInvalid,
        Self::ConfigurationTooLarge,
        Self::MemoryExceeded,
        Self::StorageExceeded,
    ];

    /// As it stands in a condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxPipelinesExceeded => "MaxPipelinesExceeded",
            Self::FieldNotSupported => "FieldNotSupported",
            Self::ReferencedSecretForbidden => "ReferencedSecretForbidden",
            Self::ReferencedSecretMissing => "ReferencedSecretMissing",
            Self::ReferencedSecretInvalid => "ReferencedSecretInvalid",
            Self::EndpointInvalid => "EndpointInvalid",
            Self::TlsCertificateExpired => "TLSCertificateExpired",
            Self::TlsConfigurationInvalid => "TLSConfigurationInvalid",
            Self::SelectorInvalid => "SelectorInvalid",
            Self::ConfigurationInvalid => "ConfigurationInvalid",
            Self::ConfigurationTooLarge => "ConfigurationTooLarge",
            Self::MemoryExceeded => "MemoryExceeded",
            Self::StorageExceeded => "StorageExceeded",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
