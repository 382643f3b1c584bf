//! Keeps or leaves out devices, interfaces, mount points and file system types by glob patterns.
//! Patterns know `*` (any characters, `/` too) and `?` (one character); everything else matches itself.

/// Patterns to include and to exclude. Excluding wins; an empty list of includes means everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    include: Vec<Vec<char>>,
    exclude: Vec<Vec<char>>,
}

impl Filter {
    /// A filter of these patterns.
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Filter {
        let patterns = |list: &[String]| list.iter().map(|pattern| pattern.chars().collect()).collect();
        Filter { include: patterns(include), exclude: patterns(exclude) }
    }

    /// Whether a name passes.
    pub(super) fn keeps(&self, name: &str) -> bool {
        let matches_any = |list: &[Vec<char>]| list.iter().any(|pattern| matches(pattern, name));
        let included = self.include.is_empty() || matches_any(&self.include);
        included && !matches_any(&self.exclude)
    }
}

/// Goes through the name once; on a mismatch the last star takes one character more.
fn matches(pattern: &[char], name: &str) -> bool {
    let mut rest = name.chars();
    let mut position = 0;
    let mut star: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let mut ahead = rest.clone();
        match (pattern.get(position), ahead.next()) {
            (Some('*'), _) => {
                position += 1;
                star = Some((position, rest.clone()));
                continue;
            }
            (Some(expected), Some(character)) if *expected == '?' || *expected == character => {
                position += 1;
                rest = ahead;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((after_star, mut taken)) = star else {
            return false;
        };
        if taken.next().is_none() {
            return false;
        }
        position = after_star;
        rest = taken.clone();
        star = Some((after_star, taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(pattern: &str, name: &str) -> bool {
        matches(&pattern.chars().collect::<Vec<char>>(), name)
    }

    /// Stars, question marks and literals match as a shell's globs do, over slashes too.
    #[test]
    fn patterns() {
        assert!(matched("loop*", "loop12"));
        assert!(matched("*", ""));
        assert!(matched("eth?", "eth0"));
        assert!(!matched("eth?", "eth10"));
        assert!(matched("/var/lib/*/mounts", "/var/lib/docker/overlay2/x/mounts"));
        assert!(!matched("/var/lib/*/mounts", "/var/lib/docker/mount"));
        assert!(matched("*a*b*c", "xxaxxbbxxc"));
        assert!(!matched("sda", "sda1"));
        assert!(matched("größe?", "größen"));
    }

    /// A pattern with many stars is decided in one pass, not exponentially.
    #[test]
    fn many_stars_end() {
        let pattern = "*a".repeat(40) + "b";
        assert!(!matched(&pattern, &"a".repeat(4000)));
    }

    /// Excluding wins over including, and no includes means all.
    #[test]
    fn include_and_exclude() {
        let filter = Filter::new(&["sd*".into()], &["sda".into()]);
        assert!(filter.keeps("sdb"));
        assert!(!filter.keeps("sda"));
        assert!(!filter.keeps("vda"));
        assert!(Filter::default().keeps("anything"));
    }
}
