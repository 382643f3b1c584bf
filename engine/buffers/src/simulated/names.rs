//! The names of a simulated directory: those that last, what was done since, and what a power loss makes of both.

use std::collections::{BTreeMap, BTreeSet};

use super::choices::Choices;

/// The number of a file, whatever its name is.
pub(super) type FileId = u64;

/// How a file system may lose changes of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameLoss {
    /// The last ones, as one with a journal does.
    Last,
    /// Any of them, which no common file system does and a careful program stands nevertheless.
    Any,
}

/// Which file has which name.
#[derive(Clone, Default)]
pub(super) struct Names {
    durable: BTreeMap<String, FileId>,
    changes: Vec<NameChange>,
    current: BTreeMap<String, FileId>,
}

/// Something that changes names.
#[derive(Clone)]
pub(super) enum NameChange {
    /// A new file.
    Create(String, FileId),
    /// Another name for a file.
    Rename { from: String, to: String, file: FileId },
    /// A name less.
    Remove(String, FileId),
}

impl Names {
    /// The names as everyone sees them.
    pub(super) fn current(&self) -> &BTreeMap<String, FileId> {
        &self.current
    }

    /// The files that a name leads to, or may lead to after a power loss.
    pub(super) fn reachable(&self) -> BTreeSet<FileId> {
        let changed = self.changes.iter().map(|change| match change {
            NameChange::Create(_, file) | NameChange::Rename { file, .. } | NameChange::Remove(_, file) => *file,
        });
        self.current.values().chain(self.durable.values()).copied().chain(changed).collect()
    }

    /// Changes names; nothing of it lasts yet.
    pub(super) fn change(&mut self, change: NameChange) {
        change.apply(&mut self.current);
        self.changes.push(change);
    }

    /// Makes the changes last.
    pub(super) fn sync(&mut self) {
        self.changes.clear();
        self.durable.clone_from(&self.current);
    }

    /// What a power loss leaves.
    pub(super) fn lose(&self, loss: NameLoss, choices: &mut Choices) -> Self {
        let count = self.changes.len() as u64;
        // A lost last change comes before two of them, and so on.
        let kept = count - choices.number(0..=count);
        let each = loss == NameLoss::Any && choices.flag();
        let mut durable = self.durable.clone();
        for (index, change) in self.changes.iter().enumerate() {
            let arrives = if each { !choices.flag() } else { (index as u64) < kept };
            if arrives {
                change.apply(&mut durable);
            }
        }
        Self { current: durable.clone(), durable, changes: Vec::new() }
    }
}

impl NameChange {
    /// Applies it to names that may be in another state than when it was made.
    fn apply(&self, to: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Create(name, file) => {
                to.insert(name.clone(), *file);
            }
            Self::Rename { from, to: name, file } => {
                remove(to, from, *file);
                to.insert(name.clone(), *file);
            }
            Self::Remove(name, file) => remove(to, name, *file),
        }
    }
}

fn remove(from: &mut BTreeMap<String, FileId>, name: &str, file: FileId) {
    if from.get(name) == Some(&file) {
        from.remove(name);
    }
}
