//! The known name nearest to a misspelt one.

/// The nearest of the names, if it is near enough to be a misspelling.
pub(crate) fn nearest<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let scored = names.map(|name| (strsim::normalized_damerau_levenshtein(text, name), name));
    let best = scored.max_by(|left, right| left.0.total_cmp(&right.0).then(right.1.cmp(left.1)))?;
    (best.0 >= 0.5).then_some(best.1)
}

/// ``did you mean `name`?``
pub(crate) fn did_you_mean<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    nearest(text, names).map(|name| format!("did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One slip is found, another word is not.
    #[test]
    fn slips_and_other_words() {
        let names = || ["endpoint", "timeout", "headers"].into_iter();
        assert_eq!(nearest("endpiont", names()), Some("endpoint"));
        assert_eq!(nearest("time_out", names()), Some("timeout"));
        assert_eq!(nearest("compression", names()), None);
        assert_eq!(nearest("x", std::iter::empty()), None);
    }
}
