//! Reads reports back. A report of another version is refused rather than guessed at, and nothing is written.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::contents::{Report, VERSION};
use crate::files;

/// Name of the report in the folder of its run.
pub const FILE_NAME: &str = "report.json";
/// Name of the report of a search for the capacity in its folder.
pub const SEARCH_FILE_NAME: &str = "capacity.json";

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("read {path}: {cause}; name a report.json, or the folder of a run")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// The folder has no report.
    #[error(
        "read {folder}: the folder has no {FILE_NAME}; name a {FILE_NAME}, or the folder of a run that has one (what is interrupted \
         during its drive leaves none)"
    )]
    NoFile {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has the report of a search for the capacity.
    #[error(
        "read {folder}: it is the folder of a search for the capacity; open its capacity.html, or name the folder of a run"
    )]
    OfSearch {
        /// The folder.
        folder: PathBuf,
    },
    /// The file ends in the middle of a report.
    #[error("read {path}: it ends in the middle, at line {line}; copy it again, or run its scenario again")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its last line.
        line: usize,
    },
    /// The file is the report of a search, which has versions of its own.
    #[error(
        "read {path}: it is the report of `sluice capacity`, and not of a run; open the capacity.html beside it, or name the \
         {FILE_NAME} of a run"
    )]
    Capacity {
        /// The file.
        path: PathBuf,
    },
    /// The file has another form.
    #[error("read {path}: it is not a report of sluice ({cause}); name a report.json that `sluice verify` wrote")]
    NoReport {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong, with its line.
        cause: serde_json::Error,
    },
    /// A newer program wrote the file.
    #[error(
        "read {path}: it is of version {version}, and this program reads version {VERSION}; read it with a newer sluice"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// An older program wrote the file.
    #[error(
        "read {path}: it is of version {version}, and this program reads version {VERSION}; run its scenario again"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// No run has a report.
    #[error("find a report in {runs}: no run has one; run `sluice verify` first, or name a report.json")]
    NoRun {
        /// The folder of all runs.
        runs: PathBuf,
    },
}

/// What every version contains.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
    /// Only the report of a search of the capacity has them.
    #[serde(default)]
    searches: Option<IgnoredAny>,
}

/// Reads the report in a file, or in the folder of a run.
pub fn read(path: &Path) -> Result<Report, ReadError> {
    let path = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    let mut text = Vec::new();
    match files::open(&path).and_then(|mut file| file.read_to_end(&mut text)) {
        Ok(_) => parse(path, &text),
        Err(error) => Err(unreadable(path, error)),
    }
}

fn unreadable(path: PathBuf, cause: std::io::Error) -> ReadError {
    match path.parent() {
        Some(folder) if cause.kind() == ErrorKind::NotFound && path.ends_with(FILE_NAME) && folder.is_dir() => {
            let is_of_search = folder.join(SEARCH_FILE_NAME).is_file();
            let folder = folder.to_owned();
            if is_of_search { ReadError::OfSearch { folder } } else { ReadError::NoFile { folder } }
        }
        _ => ReadError::Unreadable { path, cause },
    }
}

/// A newer report may have another form, so its version is read alone and first.
fn parse(path: PathBuf, text: &[u8]) -> Result<Report, ReadError> {
    let parsed = serde_json::from_slice(text).and_then(|Versioned { version, searches }| {
        let is_current = version == VERSION && searches.is_none();
        let report = is_current.then(|| serde_json::from_slice(text)).transpose();
        report.map(|report| (version, searches.is_some(), report))
    });
    match parsed {
        Ok((_, _, Some(report))) => Ok(report),
        Ok((_, true, None)) => Err(ReadError::Capacity { path }),
        Ok((version, ..)) if version > VERSION => Err(ReadError::Newer { path, version }),
        Ok((version, ..)) => Err(ReadError::Older { path, version }),
        Err(cause) if cause.is_eof() => Err(ReadError::Truncated { path, line: cause.line() }),
        Err(cause) => Err(ReadError::NoReport { path, cause }),
    }
}

/// Whether a text is a report of any version: that of a run, or of a search of the capacity.
pub fn is_report(text: &[u8]) -> bool {
    /// What both have in common.
    #[derive(Deserialize)]
    struct OfARun {
        #[serde(rename = "version")]
        _version: u32,
        #[serde(rename = "run")]
        _run: serde_json::Map<String, serde_json::Value>,
    }
    serde_json::from_slice::<OfARun>(text).is_ok()
}

/// The folder in `runs` whose report was written last.
pub fn newest(runs: &Path) -> Result<PathBuf, ReadError> {
    let folders = std::fs::read_dir(runs).into_iter().flatten().flatten().map(|entry| entry.path());
    let written = |folder: &PathBuf| folder.join(FILE_NAME).metadata().and_then(|file| file.modified()).ok();
    let reports = folders.filter_map(|folder| Some((written(&folder)?, folder)));
    reports.max().map(|(_, folder)| folder).ok_or_else(|| ReadError::NoRun { runs: runs.to_owned() })
}
