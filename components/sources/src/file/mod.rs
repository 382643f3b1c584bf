//! Source `file`: the lines of any files as log records. Not here: how files are read and followed (`tail`).

mod pattern;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use engine_config::sources::File;
use engine_config::sources::reading::{self, FileAttribute};
use engine_core::contract::{ComponentError, Source, SourceContext};
use engine_core::registry::{BuildContext, BuildError, BuildSource, Registration};
use futures::future::BoxFuture;

use self::pattern::PathPattern;
use crate::tail::{Decision, Description, Format, RecordOptions, Selection, Settings, Tail, file_attributes, resource};

inventory::submit! { Registration::source::<FileSource>() }

/// Reads files that match patterns.
struct FileSource(Tail);

/// The files of some patterns.
#[derive(Debug)]
struct Matching {
    paths: Vec<PathPattern>,
    exclude: Vec<PathPattern>,
    attributes: BTreeSet<FileAttribute>,
    /// The same for all of them: nothing is known of where their lines come from.
    resource: Bytes,
}

impl BuildSource for FileSource {
    type Options = File;

    fn build(options: &File, context: &BuildContext) -> Result<Self, BuildError> {
        let settings = Settings {
            start_at: options.start_at,
            max_in_flight: options.max_in_flight.as_u64(),
            watch: options.watch,
            poll_interval: options.poll_interval.get(),
            flush_after: reading::flush_after(options.multiline.as_ref()),
            ..Settings::new("telemetry-engine/file")
        };
        let record = RecordOptions {
            multiline: options.multiline.as_ref(),
            max_record_size: options.max_line_size,
            keep_original_body: options.keep_original_body,
        };
        let format = Format::text(&options.format, record)?;
        let selection = Box::new(Matching::new(options)?);
        Ok(Self(Tail::new(settings, format, selection, context)?))
    }
}

impl Source for FileSource {
    fn run(self: Box<Self>, context: SourceContext) -> BoxFuture<'static, Result<(), ComponentError>> {
        self.0.run(context)
    }
}

impl Matching {
    fn new(options: &File) -> Result<Self, BuildError> {
        let patterns = |texts: &[String]| {
            let pattern = |text: &String| {
                PathPattern::new(text).map_err(|error| BuildError::caused(format!("`{text}` is no pattern"), error))
            };
            texts.iter().map(pattern).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            paths: patterns(&options.paths)?,
            exclude: patterns(&options.exclude)?,
            attributes: options.attributes.clone(),
            resource: resource([]),
        })
    }
}

impl Selection for Matching {
    fn roots(&self) -> Vec<PathBuf> {
        self.paths.iter().map(PathPattern::root).collect()
    }

    fn enters(&self, directory: &Path) -> bool {
        self.paths.iter().any(|pattern| pattern.may_be_below(directory))
    }

    fn log(&self, path: &Path) -> Option<Description> {
        let is_of = |patterns: &[PathPattern]| patterns.iter().any(|pattern| pattern.is_of(path));
        if !is_of(&self.paths) || is_of(&self.exclude) {
            return None;
        }
        let attributes = file_attributes(&self.attributes, path);
        Some(Description { resource: self.resource.clone(), attributes })
    }

    fn decide(&self, _: &Path) -> Decision {
        Decision::Collect
    }
}
