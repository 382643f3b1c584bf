//! The forms that Kubernetes demands of names: of nodes, and of the keys of annotations.
//!
//! Not here: patterns of names (`sources::reading`).

/// Characters of a domain, at most.
const LONGEST_DOMAIN: usize = 253;
/// Characters of a name, at most.
const LONGEST_NAME: usize = 63;

/// Whether a node may have this name: small letters, digits, `-`, and `.` between them.
pub(crate) fn is_node_name(text: &str) -> bool {
    let is_small = !text.chars().any(|character| character.is_ascii_uppercase());
    text.len() <= LONGEST_DOMAIN && is_small && is_domain(text)
}

/// What is wrong with the key of an annotation, for the end of a sentence that begins with it: such a key is a name, and
/// maybe a domain and `/` before it.
pub(crate) fn fault_of_annotation_key(key: &str) -> Option<&'static str> {
    let (domain, name) = match key.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, key),
    };
    if key.is_empty() {
        return Some("is empty");
    }
    if domain.is_some_and(str::is_empty) {
        return Some("has no domain before `/`");
    }
    if domain.is_some_and(|domain| domain.len() > LONGEST_DOMAIN) {
        return Some("has a domain of more than 253 characters");
    }
    // Whoever checks annotations makes their keys small letters first, other than those of labels.
    if domain.is_some_and(|domain| !is_domain(domain)) {
        return Some("has a domain with other characters than letters, digits, `-` and `.` between them");
    }
    if name.is_empty() {
        return Some("has no name behind `/`");
    }
    if name.contains('/') {
        return Some("has more than one `/`");
    }
    if name.len() > LONGEST_NAME {
        return Some("has a name of more than 63 characters");
    }
    (!is_word(name, "-_."))
        .then_some("has a name with other characters than letters, digits, and `-`, `_`, `.` between them")
}

fn is_domain(text: &str) -> bool {
    text.split('.').all(|label| is_word(label, "-"))
}

/// Whether a text has letters and digits only, and these characters between them.
fn is_word(text: &str, inside: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric();
    text.starts_with(is_plain)
        && text.ends_with(is_plain)
        && text.chars().all(|character| is_plain(character) || inside.contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that nodes may have, and a variable that nobody replaced.
    #[test]
    fn names_of_nodes() {
        let longest = "a".repeat(253);
        for name in ["node-1", "ip-10-0-0-1.eu-central-1.compute.internal", "7", longest.as_str()] {
            assert!(is_node_name(name), "{name}");
        }
        let too_long = "a".repeat(254);
        for text in ["", "${NODE_NAME}", "Node-1", "node_1", "-a", "a.", "a..b", too_long.as_str()] {
            assert!(!is_node_name(text), "{text}");
        }
    }

    /// Keys that Kubernetes takes are right, and of others it is said what is wrong.
    #[test]
    fn keys_of_annotations() {
        let longest = format!("{}/{}", "a".repeat(253), "b".repeat(63));
        for right in ["fluentbit.io/exclude", "exclude", "Example.com/No_logs.v1", "a.b-c.d/e", longest.as_str()] {
            assert_eq!(fault_of_annotation_key(right), None, "{right}");
        }
        let (long_domain, long_name) = (format!("{}/a", "a".repeat(254)), "b".repeat(64));
        for (key, words) in [
            ("", "is empty"),
            ("/exclude", "no domain"),
            ("example.com/", "no name"),
            ("example.com/a/b", "more than one"),
            ("example..com/a", "domain with other"),
            ("-example.com/a", "domain with other"),
            ("exam_ple.com/a", "domain with other"),
            ("example.com/a b", "name with other"),
            ("example.com/*", "name with other"),
            ("example.com/exclude-", "name with other"),
            ("exclüde", "name with other"),
            (long_domain.as_str(), "253"),
            (long_name.as_str(), "63"),
        ] {
            let fault = fault_of_annotation_key(key);
            assert!(fault.is_some_and(|found| found.contains(words)), "{key}: {fault:?}");
        }
    }
}
