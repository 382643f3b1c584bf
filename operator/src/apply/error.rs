//! Why an object is not as it is desired.

use kube::core::response::StatusCause;

/// Why an object is not as it is desired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Somebody changed it at the same time.
    #[error("somebody else changes it at the same time: {0}")]
    Conflict(String),
    /// Another manager has set a field of it to another value, and it was not ours before.
    #[error("another manager has set a field of it: {0}")]
    Contested(String),
    /// It is on its way out, and is made again when it is gone.
    #[error("it is being deleted")]
    Leaving,
    /// An object of that name exists that we have not made. It is left alone.
    #[error("an object of that name exists already that is not of this installation; it is left alone")]
    Foreign,
    /// The API server finds it wrong.
    #[error("the API server finds it wrong: {0}")]
    Invalid(String),
    /// It has a field that can never be changed.
    #[error("it has a field that can never be changed: {0}")]
    Immutable(String),
    /// We lack a right.
    #[error("we lack a right: {0}")]
    Forbidden(String),
    /// The API server refuses it for another reason.
    #[error("the API server answers {code}: {message}")]
    Refused {
        /// The status code.
        code: u16,
        /// What the API server says.
        message: String,
    },
    /// There was no answer, or none that could be read.
    #[error("no answer of the API server: {0}")]
    Unreachable(String),
    /// It has a kind that this module does not make.
    #[error("objects of this kind are not made here")]
    UnknownKind,
    /// It is in a namespace that is not ours, or in none.
    #[error("it is in no namespace that objects are made in")]
    UnknownNamespace,
    /// It is desired twice; the first one was applied.
    #[error("it is desired twice")]
    Twice,
    /// What is there cannot be told, so nothing of this kind is taken away.
    #[error("cannot tell which objects are there: {0}")]
    Unobserved(String),
}

impl ApplyError {
    /// Whether it passes when it is tried again soon, so that nobody needs to be told.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Leaving)
    }

    /// One word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "conflict",
            Self::Contested(_) => "contested",
            Self::Leaving => "leaving",
            Self::Foreign => "foreign",
            Self::Invalid(_) => "invalid",
            Self::Immutable(_) => "immutable",
            Self::Forbidden(_) => "forbidden",
            Self::Refused { .. } => "refused",
            Self::Unreachable(_) => "unreachable",
            Self::UnknownKind => "unknown_kind",
            Self::UnknownNamespace => "unknown_namespace",
            Self::Twice => "twice",
            Self::Unobserved(_) => "unobserved",
        }
    }
}

impl From<kube::Error> for ApplyError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Unreachable(chain(&error)) };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let has_cause = |reason: &str, field: &str| {
            let is_it = |cause: &StatusCause| cause.reason == reason && (field.is_empty() || cause.field == field);
            causes.clone().any(is_it)
        };
        let is_about_fields = has_cause("FieldManagerConflict", "");
        match status.code {
            // What is forbidden below `spec` is a value of a field, and not that it is another one than before.
            422 if has_cause("FieldValueForbidden", "spec") => Self::Immutable(status.message),
            400 | 422 => Self::Invalid(status.message),
            403 => Self::Forbidden(status.message),
            409 if is_about_fields => Self::Contested(status.message),
            409 => Self::Conflict(status.message),
            code => Self::Refused { code, message: status.message },
        }
    }
}

/// An error with its causes on one line; causes that their errors have said already are left out.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    /// Each answer of the API server is told for what it is; only what passes by itself is said to.
    #[test]
    fn answers_are_told_apart() {
        let answer = |code: u16, cause: &str| {
            let details = json!({ "causes": [{ "reason": cause, "message": "", "field": "" }] });
            let status: Status =
                serde_json::from_value(json!({ "code": code, "message": "why", "details": details })).unwrap();
            ApplyError::from(kube::Error::Api(Box::new(status)))
        };
        let why = || "why".to_owned();
        assert_eq!(answer(409, "FieldManagerConflict"), ApplyError::Contested(why()));
        assert_eq!(answer(409, ""), ApplyError::Conflict(why()));
        assert_eq!(answer(422, "FieldValueInvalid"), ApplyError::Invalid(why()));
        let details = json!({ "causes": [{ "reason": "FieldValueForbidden", "message": "", "field": "spec" }] });
        let status = serde_json::from_value(json!({ "code": 422, "message": "why", "details": details })).unwrap();
        assert_eq!(ApplyError::from(kube::Error::Api(Box::new(status))), ApplyError::Immutable(why()));
        assert_eq!(answer(422, "FieldValueForbidden"), ApplyError::Invalid(why()));
        assert_eq!(answer(403, ""), ApplyError::Forbidden(why()));
        assert_eq!(answer(500, ""), ApplyError::Refused { code: 500, message: why() });
        let passing = [ApplyError::Conflict(why()), ApplyError::Leaving];
        assert!(passing.iter().all(ApplyError::is_passing));
        assert!(!ApplyError::Contested(why()).is_passing() && !ApplyError::Unreachable(why()).is_passing());
    }
}
