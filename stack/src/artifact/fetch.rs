//! Fetches a program into the cache: a folder there is complete whenever it exists. A finished download is never
//! repeated; what an interrupted one left is removed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sluice_schemas::concurrency::blocking;

use super::{Artifact, Source, client, unpack};
use crate::{
    error::{Error, FileContext},
    layout::Layout,
    lock,
    progress::Task,
};

impl Artifact {
    /// Fetches the program unless it is in the cache. If two stacks need it, one waits for the other's download.
    pub(crate) async fn fetch(&self, layout: &Layout, task: &Task) -> Result<(), Error> {
        if self.is_fetched(layout) {
            return Ok(());
        }
        let programs = layout.programs_dir();
        let lock_file = programs.join(format!(".{}-{}.lock", self.name, self.version));
        let _lock =
            lock::exclusive(&lock_file, || task.announce(&format!("waiting for another download of {}", self.name)))
                .await?;
        if self.is_fetched(layout) {
            return Ok(());
        }
        let work = programs.join(format!(".{}-{}.part", self.name, self.version));
        if work.exists() {
            fs::remove_dir_all(&work).file("remove", &work)?;
        }
        let download = work.join("download");
        let action =
            if matches!(self.source, Source::Go(_)) { "building from source (takes minutes):" } else { "fetching" };
        task.announce(&format!("{action} {} {} (about {} MB)", self.name, self.version, self.megabytes));
        client::download(layout, self, &download, task).await?;
        task.announce(&format!("unpacking {} {}", self.name, self.version));
        let ready = self.verify_and_unpack(&download, &work.join("ready")).await?;
        fs::rename(&ready, self.dir(layout)).file("rename", ready)?;
        fs::remove_dir_all(&work).file("remove", work)
    }

    /// Verifies and unpacks on a separate thread, since this takes seconds.
    async fn verify_and_unpack(&self, download: &Path, ready: &Path) -> Result<PathBuf, Error> {
        let (expected, links, from, to) = (self.sha256, self.links, download.to_owned(), ready.to_owned());
        let unpacked = blocking(move || unpack::verify_and_unpack((expected, links), &from, &to)).await;
        unpacked.map_err(|e| self.failed(e))?;
        Ok(ready.to_owned())
    }

    pub(super) fn failed(&self, reason: impl Into<String>) -> Error {
        Error::Fetch { artifact: format!("{} {}", self.name, self.version), reason: reason.into() }
    }
}
