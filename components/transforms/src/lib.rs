//! Placeholder head, replaced by the first content.
