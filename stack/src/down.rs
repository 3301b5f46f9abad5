//! `down`: end what `up` started, and on request remove its data. In: the process records. Out: which services were
//! ended. Touches no process without a matching record and no file outside the state folder.

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
    /// Data, configuration and logs stay.
    No,
    /// Everything under the state folder goes.
    Yes,
}

/// Ends every service of the stack that runs, and says which.
pub async fn down(layout: &Layout, wipe: Wipe, progress: &Progress) -> Result<Vec<Service>, Error> {
    if !layout.state_dir().exists() {
        return Ok(vec![]);
    }
    let task = progress.task("stack");
    let _lock = lock::exclusive(&layout.lock_file(), || task.say("waiting for another `up` or `down`")).await?;
    let mut services: BTreeMap<Service, Vec<Record>> = BTreeMap::new();
    for record in record::load(layout) {
        services.entry(record.service).or_default().push(record);
    }
    let ended = services.iter().filter(|(_, records)| records.iter().any(Record::is_alive)).map(|(s, _)| *s).collect();
    // Who needs another service goes first, so that it can say goodbye to it.
    let dependents: BTreeSet<Service> =
        services.keys().copied().filter(|s| !s.descriptor().dependencies().is_empty()).collect();
    for last in [false, true] {
        let batch = services.iter().filter(|(s, _)| dependents.contains(s) != last);
        let results = join_all(batch.map(|(service, records)| end(layout, *service, records, progress))).await;
        results.into_iter().collect::<Result<Vec<()>, Error>>()?;
    }
    if wipe == Wipe::Yes {
        task.now("removing data");
        remove_data(layout)?;
    }
    Ok(ended)
}

async fn end(layout: &Layout, service: Service, records: &[Record], progress: &Progress) -> Result<(), Error> {
    let task = progress.task(service.name());
    task.now("stopping");
    let ran = records.iter().any(Record::is_alive);
    try_join_all(records.iter().map(|record| process::end(layout, record))).await?;
    if ran {
        task.done("stopped");
    }
    Ok(())
}

/// Removes what the stack put there, by name: a state folder that holds something else keeps it.
fn remove_data(layout: &Layout) -> Result<(), Error> {
    let state = layout.state_dir();
    let nodes = Service::ALL.iter().flat_map(|s| s.descriptor().nodes(layout)).map(|node| node.name);
    let folders = nodes.chain(["logs".to_owned(), "run".to_owned()]);
    for folder in folders.map(|name| state.join(name)).filter(|path| path.exists()) {
        fs::remove_dir_all(&folder).file("remove", folder)?;
    }
    for file in Service::ALL.iter().map(|s| layout.mark(s.name())).chain([layout.keeper_file(), layout.lease_file()]) {
        if file.exists() {
            fs::remove_file(&file).file("remove", file)?;
        }
    }
    // Last the lock that is held: whoever waits for it notices that its file is gone and takes a new one.
    fs::remove_file(layout.lock_file()).file("remove", layout.lock_file())?;
    match fs::remove_dir(state) {
        Err(e) if e.kind() != std::io::ErrorKind::DirectoryNotEmpty => Err(e).file("remove", state),
        _ => Ok(()),
    }
}
