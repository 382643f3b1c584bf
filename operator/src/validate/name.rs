//! Names that Kubernetes lets things have.

/// The longest name of an object.
const LONGEST_NAME: usize = 253;
/// The longest name of a namespace or a container.
const LONGEST_LABEL: usize = 63;

/// Whether an object can be named so: small letters, digits, `-` and `.`, with a letter or digit at both ends.
pub fn is_object_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME && is_of(text, |found| is_alphanumeric(found) || matches!(found, '-' | '.'))
}

/// Whether a namespace or a container can be named so: the same without `.`, and shorter.
pub fn is_label(text: &str) -> bool {
    text.len() <= LONGEST_LABEL && is_of(text, |found| is_alphanumeric(found) || found == '-')
}

fn is_of(text: &str, is_allowed: fn(char) -> bool) -> bool {
    text.starts_with(is_alphanumeric) && text.ends_with(is_alphanumeric) && text.chars().all(is_allowed)
}

fn is_alphanumeric(found: char) -> bool {
    found.is_ascii_lowercase() || found.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The forms that the API server takes, and what looks like them.
    #[test]
    fn names_are_told() {
        for text in ["shop", "a", "0-9", "my-shop"] {
            assert!(is_object_name(text) && is_label(text), "{text}");
        }
        assert!(is_object_name("a.b") && !is_label("a.b"));
        for text in ["", "-a", "a-", ".a", "Shop", "a_b", "a b", "a,b", "a=b", "grüße", "${A}", &"a".repeat(254)] {
            assert!(!is_object_name(text) && !is_label(text), "{text}");
        }
        assert!(is_object_name(&"a".repeat(64)) && !is_label(&"a".repeat(64)));
    }
}
