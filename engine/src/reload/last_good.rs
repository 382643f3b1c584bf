//! The last configuration that ran, kept in the state directory for a start that finds a bad one.
//!
//! The text is kept as it was written: variables are not replaced and secrets are references. One file holds text and
//! hash and is replaced atomically, so they belong together or the file is not used.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use engine_config::SourceFile;
use engine_config::status::config_hash;
use engine_core::state_store::StateError;
use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

use super::document::Document;

/// The file in the state directory.
const FILE: &str = ".last-good-config.json";

/// The version of its layout.
const VERSION: u32 = 1;

/// Where the last good configuration is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGoodFile(Document);

/// A configuration that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The files as they were read.
    pub files: Vec<SourceFile>,
    /// What [`config_hash`] says of them.
    pub hash: String,
    /// Seconds since 1970 at which they were kept.
    pub kept_unix_seconds: u64,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    config_hash: String,
    kept_unix_seconds: u64,
    files: Vec<File>,
}

#[derive(Serialize, Deserialize)]
struct File {
    name: String,
    text: String,
}

impl LastGoodFile {
    /// In this state directory.
    pub fn of(state_directory: &Path) -> Self {
        Self(Document::of(state_directory, FILE))
    }

    /// Keeps a configuration; when this returns it survives a crash of the machine. Waits for the disk.
    ///
    /// # Errors
    /// The system's refusal. The one before is still there then.
    pub fn keep(&self, files: &[SourceFile]) -> Result<(), StateError> {
        let copied = files.iter().map(|SourceFile { name, text }| File { name: name.clone(), text: text.clone() });
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let content = Content {
            version: VERSION,
            config_hash: config_hash(files),
            kept_unix_seconds: now.as_secs(),
            files: copied.collect(),
        };
        let text = serde_json::to_vec_pretty(&content).expect("texts and numbers can be written as JSON");
        self.0.write(&text)
    }

    /// The configuration that was kept last; none when there never was one. Waits for the disk.
    ///
    /// # Errors
    /// It cannot be read or is damaged.
    pub fn load(&self) -> Result<Option<Kept>, StateError> {
        let Some(bytes) = self.0.read()? else { return Ok(None) };
        let damaged = |reason: String| self.0.damaged(reason);
        let content: Content = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if content.version != VERSION {
            return Err(damaged(format!("it is of version {}, and this program knows {VERSION}", content.version)));
        }
        let files: Vec<_> = content.files.into_iter().map(|File { name, text }| SourceFile { name, text }).collect();
        let hash = config_hash(&files);
        if hash != content.config_hash {
            return Err(damaged("its text does not have its hash".to_owned()));
        }
        Ok(Some(Kept { files, hash, kept_unix_seconds: content.kept_unix_seconds }))
    }
}

/// What the files say of `state.directory`, however wrong the rest of them is.
pub fn state_directory(files: &[SourceFile]) -> Option<PathBuf> {
    files.iter().find_map(|file| {
        let (table, _) = DeTable::parse_recoverable(&file.text);
        let DeValue::Table(state) = table.get_ref().get("state")?.get_ref() else { return None };
        let DeValue::String(directory) = state.get("directory")?.get_ref() else { return None };
        let path = PathBuf::from(directory.as_ref());
        path.is_absolute().then_some(path)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files() -> Vec<SourceFile> {
        vec![SourceFile::new("a.toml", "version = 1\n"), SourceFile::new("b.toml", "text = \"${NAME}\"\n")]
    }

    /// What was kept comes back as it was written, for nobody else to read, and nothing is left beside it.
    #[test]
    fn keeps_what_was_read() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("made/on/demand");
        let file = LastGoodFile::of(&directory);
        assert_eq!(file.load().unwrap(), None);
        file.keep(&files()[..1]).unwrap();
        file.keep(&files()).unwrap();
        let kept = file.load().unwrap().unwrap();
        assert_eq!((kept.files, kept.hash), (files(), config_hash(&files())));
        assert_eq!(fs::metadata(file.0.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    /// A file whose text was changed, that was cut short, or that a newer version wrote is not used and stays as it is.
    #[test]
    fn damage_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let file = LastGoodFile::of(root.path());
        file.keep(&files()).unwrap();
        let text = fs::read_to_string(file.0.path()).unwrap();
        let newer = text.replace("\"version\": 1", "\"version\": 2");
        for damaged in [text.replace("NAME", "OTHER"), text[..text.len() / 2].to_owned(), newer, String::new()] {
            assert_ne!(damaged, text);
            fs::write(file.0.path(), &damaged).unwrap();
            assert!(matches!(file.load(), Err(StateError::Damaged { .. })), "{damaged}");
            assert_eq!(fs::read_to_string(file.0.path()).unwrap(), damaged);
        }
    }

    /// The state directory is found in files with errors before and behind it, and in the second of two.
    #[test]
    fn the_directory_is_found_in_bad_files() {
        let find = |texts: &[&str]| {
            let files: Vec<_> = texts.iter().map(|text| SourceFile::new("x", *text)).collect();
            state_directory(&files)
        };
        let found = Some(PathBuf::from("/var/lib/engine"));
        let state = "[state]\ndirectory = \"/var/lib/engine\"\n";
        assert_eq!(find(&["version = 1\n", state]), found);
        assert_eq!(find(&[&format!("version = \n{state}[sources.a]\ntype = \"otlp\n")]), found);
        assert_eq!(find(&["state.directory = \"/var/lib/engine\"\n[sources"]), found);
        assert_eq!(find(&["[state]\ndirectory = \"relative\"\n"]), None);
        assert_eq!(find(&["[state]\ndirectory = 7\n", ""]), None);
    }
}
