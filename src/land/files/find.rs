//! Which files a pipeline's `paths` stand for: files, folders (with all below them) and globs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::{Error, Result};

/// One file of captured answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CapturedFile {
    pub path: PathBuf,
    /// What `request.file` says: the path below the folder that the pipeline names, with that folder's name.
    pub name: String,
    pub layout: Layout,
    pub packing: Packing,
}

/// How answers stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// The file is one answer.
    Whole,
    /// One per line.
    Lines,
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Zstd,
}

const EXTENSIONS: [(&str, Layout, Packing); 4] = [
    (".json", Layout::Whole, Packing::Plain),
    (".json.zst", Layout::Whole, Packing::Zstd),
    (".jsonl", Layout::Lines, Packing::Plain),
    (".jsonl.zst", Layout::Lines, Packing::Zstd),
];
const EXTENSIONS_HINT: &str = "captured answers are read from `.json`, `.jsonl`, `.json.zst` and `.jsonl.zst` files";

/// The files, each once, in the byte order of their paths.
///
/// In folders and globs, other kinds of files and names that start with `.` are passed over.
///
/// # Errors
/// `Config` for a path that stands for no file; `Storage` for a folder that cannot be read.
pub(super) fn find(paths: &[String]) -> Result<Vec<CapturedFile>> {
    let mut files = BTreeMap::new();
    for pattern in paths {
        let matched = expand(pattern)?;
        if matched.is_empty() {
            let message = format!("no captured answers match `{pattern}`");
            return Err(Error::config(message).with_hint(format!("correct `files.paths`; {EXTENSIONS_HINT}")));
        }
        for file in matched {
            files.entry(file.path.clone()).or_insert(file);
        }
    }
    Ok(files.into_values().collect())
}

/// A path that is there is taken literally, whatever characters it has.
fn expand(pattern: &str) -> Result<Vec<CapturedFile>> {
    let path = Path::new(pattern);
    if path.is_dir() {
        return walk(path, path);
    }
    if path.is_file() {
        let file = captured(path, parent(path)).ok_or_else(|| {
            Error::config(format!("`{pattern}` is not a file of captured answers")).with_hint(EXTENSIONS_HINT)
        })?;
        return Ok(vec![file]);
    }
    if !pattern.contains(['*', '?', '[']) {
        return Ok(Vec::new());
    }
    let options =
        glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    let matches = glob::glob_with(pattern, options)
        .map_err(|source| Error::config(format!("`{pattern}` is not a pattern of paths")).caused_by(source))?;
    let fixed = fixed_folder(path);
    let mut files = Vec::new();
    for found in matches {
        let found = found.map_err(|source| {
            let folder = source.path().to_owned();
            unreadable(&folder, source)
        })?;
        if found.is_dir() {
            files.extend(walk(&found, &fixed)?);
        } else {
            files.extend(captured(&found, &fixed));
        }
    }
    Ok(files)
}

/// All captured files below a folder.
fn walk(folder: &Path, base: &Path) -> Result<Vec<CapturedFile>> {
    let visible =
        |entry: &walkdir::DirEntry| entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".");
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder).follow_links(true).into_iter().filter_entry(visible) {
        let entry = entry.map_err(|source| unreadable(folder, source))?;
        if entry.file_type().is_file() {
            files.extend(captured(entry.path(), base));
        }
    }
    Ok(files)
}

/// The file by its name's ending; `None`: of another kind.
fn captured(path: &Path, base: &Path) -> Option<CapturedFile> {
    let file_name = path.file_name()?.to_str()?;
    let (_, layout, packing) = EXTENSIONS.into_iter().find(|(extension, ..)| file_name.ends_with(extension))?;
    let below = path.strip_prefix(parent(base)).unwrap_or(path);
    let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    Some(CapturedFile { path: path.to_owned(), name: parts.join("/"), layout, packing })
}

/// The part of a pattern before its first part with a wildcard.
fn fixed_folder(pattern: &Path) -> PathBuf {
    let fixed = |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    pattern.components().take_while(fixed).collect()
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn unreadable(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::storage(format!("cannot read the folder `{}`", path.display())).caused_by(source)
}
