//! `down`: stops the services that `up` started, and on request removes their data. It never touches a process without
//! a matching record, or a file outside the state folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use futures::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, FileContext},
    layout::Layout,
    lock, process,
    progress::Progress,
    record::{self, Record},
    service::Service,
};

/// Whether `down` removes the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wipe {
    /// Data, configuration and logs are kept.
    No,
    /// Data, configuration and logs are removed.
    Yes,
}

/// Stops every running service of the stack, and returns their names.
pub async fn down(layout: &Layout, wipe: Wipe, progress: &Progress) -> Result<Vec<Service>, Error> {
    if !layout.state_dir().exists() {
        return Ok(vec![]);
    }
    let task = progress.task("stack");
    let _lock = lock::exclusive(&layout.lock_file(), || task.announce("waiting for another `up` or `down`")).await?;
    let mut services: BTreeMap<Service, Vec<Record>> = BTreeMap::new();
    for record in record::load(layout) {
        services.entry(record.service).or_default().push(record);
    }
    let stopped =
        services.iter().filter(|(_, records)| records.iter().any(Record::is_alive)).map(|(s, _)| *s).collect();
    // A service that depends on another stops first, so that it can disconnect cleanly.
    let dependents: BTreeSet<Service> =
        services.keys().copied().filter(|s| !s.descriptor().dependencies().is_empty()).collect();
    for is_dependent in [true, false] {
        let batch = services.iter().filter(|(s, _)| dependents.contains(s) == is_dependent);
        let results = join_all(batch.map(|(service, records)| stop(layout, *service, records, progress))).await;
        results.into_iter().collect::<Result<Vec<()>, Error>>()?;
    }
    if wipe == Wipe::Yes {
        task.update("removing data");
        remove_data(layout)?;
    }
    Ok(stopped)
}

async fn stop(layout: &Layout, service: Service, records: &[Record], progress: &Progress) -> Result<(), Error> {
    let task = progress.task(service.name());
    task.update("stopping");
    let was_running = records.iter().any(Record::is_alive);
    try_join_all(records.iter().map(|record| process::stop(layout, record))).await?;
    if was_running {
        task.finish("stopped");
    }
    Ok(())
}

/// Removes the stack's files by name: other files in the state folder stay.
fn remove_data(layout: &Layout) -> Result<(), Error> {
    let state = layout.state_dir();
    let nodes = Service::ALL.iter().flat_map(|s| s.descriptor().nodes(layout)).map(|node| node.name);
    let folders = nodes.chain(["logs".to_owned(), "run".to_owned()]);
    for folder in folders.map(|name| state.join(name)).filter(|path| path.exists()) {
        fs::remove_dir_all(&folder).file("remove", folder)?;
    }
    for file in
        Service::ALL.iter().map(|s| layout.cluster_marker(s.name())).chain([layout.keeper_file(), layout.lease_file()])
    {
        if file.exists() {
            fs::remove_file(&file).file("remove", file)?;
        }
    }
    // The held lock comes last: a waiter notices that the file was removed and creates a new one.
    fs::remove_file(layout.lock_file()).file("remove", layout.lock_file())?;
    match fs::remove_dir(state) {
        Err(e) if e.kind() != std::io::ErrorKind::DirectoryNotEmpty => Err(e).file("remove", state),
        _ => Ok(()),
    }
}
