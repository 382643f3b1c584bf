//! Container images, made by the script that users have: `config/image/build`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// The script, which needs Python and nothing else.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/image/build");

/// An image in a file, as an OCI archive.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name that pods call it by.
    pub name: String,
    /// The archive.
    pub file: PathBuf,
}

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct ImageOptions<'o> {
    /// The name that pods call it by, with a tag.
    pub name: &'o str,
    /// The program that it runs.
    pub binary: &'o Path,
    /// Who runs it, as `UID:GID`; the script's default where this is none.
    pub user: Option<&'o str>,
    /// The program's arguments unless a pod says others.
    pub arguments: &'o [&'o str],
    /// The most that its files may take, in MiB; the script's default where this is none.
    pub most_mebibytes: Option<u32>,
}

impl<'o> ImageOptions<'o> {
    /// An image as the script makes it by default.
    pub fn new(name: &'o str, binary: &'o Path) -> Self {
        Self { name, binary, user: None, arguments: &[], most_mebibytes: None }
    }
}

impl Image {
    /// Makes one and writes it to `file`.
    pub async fn build(file: &Path, options: ImageOptions<'_>) -> Result<Self> {
        let mut command = Command::new(SCRIPT);
        command.args(["--name", options.name, "--output"]).arg(file);
        if let Some(user) = options.user {
            command.args(["--user", user]);
        }
        if let Some(most) = options.most_mebibytes {
            command.args(["--most-mebibytes", &most.to_string()]);
        }
        for argument in options.arguments {
            command.arg(format!("--argument={argument}"));
        }
        let output = command.arg(options.binary).output().await.with_context(|| format!("cannot start {SCRIPT}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the image {}: {}", options.name, errors.trim());
        Ok(Self { name: options.name.to_owned(), file: file.to_owned() })
    }
}
