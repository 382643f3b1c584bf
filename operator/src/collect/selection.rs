//! Which names are meant: all, some, or all but some; and what several pipelines want together.

use std::collections::BTreeSet;

/// A set of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Only(BTreeSet<String>),
    /// All but these.
    Except(BTreeSet<String>),
}

impl Selection {
    /// Every name.
    pub const fn all() -> Self {
        Self::Except(BTreeSet::new())
    }

    /// No name.
    pub const fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// As written in a pipeline; lists that are empty say nothing.
    pub fn written(include: &[String], exclude: &[String]) -> Self {
        match include {
            [] => Self::Except(exclude.iter().cloned().collect()),
            include => Self::Only(include.iter().filter(|name| !exclude.contains(name)).cloned().collect()),
        }
    }

    /// Whether every name is meant.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::Except(names) if names.is_empty())
    }

    /// Whether a name is meant.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.contains(name),
            Self::Except(names) => !names.contains(name),
        }
    }

    /// What is meant by either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(one), Self::Only(two)) => Self::Only(one | two),
            (Self::Except(one), Self::Except(two)) => Self::Except(one & two),
            (Self::Only(only), Self::Except(except)) | (Self::Except(except), Self::Only(only)) => {
                Self::Except(except - only)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_selection() -> impl Strategy<Value = Selection> {
        let names = proptest::collection::btree_set("[a-d]", 0..4);
        (names, any::<bool>())
            .prop_map(|(names, only)| if only { Selection::Only(names) } else { Selection::Except(names) })
    }

    proptest! {
        /// A union has exactly what one of both has, also of names that neither writes.
        #[test]
        fn a_union_has_what_either_has(one in any_selection(), two in any_selection(), name in "[a-e]") {
            let both = one.union(&two);
            prop_assert_eq!(both.contains(&name), one.contains(&name) || two.contains(&name));
            prop_assert_eq!(both, two.union(&one));
        }
    }

    /// Nothing written is everything.
    #[test]
    fn nothing_written_is_everything() {
        assert!(Selection::written(&[], &[]).is_all());
        assert!(!Selection::written(&["a".to_owned()], &[]).contains("b"));
        assert!(!Selection::none().contains("a"));
    }
}
