//! What must not be said in this repository.

use crate::{files, none, read};

/// The project speaks of itself only: no paths of somebody's machine, no conflict marks.
#[test]
fn the_project_speaks_of_itself() {
    let banned = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("<<<<", "<<< "), concat!(">>>>", ">>> ")];
    let text = ["rs", "toml", "md", "py", "yaml", "txt"];
    let mut findings = Vec::new();
    for name in files() {
        let is_text = name.extension().and_then(|extension| extension.to_str()).is_some_and(|ext| text.contains(&ext));
        if !is_text && name.file_name().is_none_or(|file| file != "run" && file != "all") {
            continue;
        }
        let content = read(&name);
        for word in banned.iter().filter(|word| content.contains(**word)) {
            findings.push(format!("{}: {word}", name.display()));
        }
    }
    none("words that do not belong here", findings);
}

/// Every user-visible state of the project has a line in the changelog.
#[test]
fn the_changelog_has_an_entry() {
    let changelog = read(std::path::Path::new("CHANGELOG.md"));
    assert!(changelog.contains("## Unreleased"), "CHANGELOG.md has no section `## Unreleased`");
    assert!(changelog.lines().any(|line| line.starts_with("- ")), "CHANGELOG.md has no line");
}
