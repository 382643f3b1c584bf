//! For serde: which fields a written configuration leaves out.

/// Whether a value says nothing that its absence does not say.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
