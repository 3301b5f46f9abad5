//! Waits until a service is ready. It starts and stops nothing.

use std::time::{Duration, Instant};

use super::plan::{Plan, REQUIRED_MIB};
use crate::{
    descriptor::Descriptor,
    error::Error,
    layout::Layout,
    logs,
    process::{KillOnDrop, POLL_INTERVAL},
    progress::Task,
    record::Record,
    service::Service,
    system,
};

/// Lines of a store's log that an error includes.
const LOG_LINES: usize = 15;
/// Timeout of one readiness query.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Queries the service until it is ready, one of its processes exits, or its deadline passes.
pub(super) async fn wait(layout: &Layout, plan: &Plan, started: &[KillOnDrop<'_>], task: &Task) -> Result<(), Error> {
    task.update("waiting until it responds");
    let records: Vec<&Record> = plan.running.iter().chain(started.iter().filter_map(KillOnDrop::record)).collect();
    let (started_at, deadline) = (Instant::now(), plan.descriptor.deadline());
    let mut reason = "it was never queried".to_owned();
    let querying = async {
        loop {
            match query(layout, plan.descriptor, deadline).await {
                Ok(()) => return Ok(()),
                Err(why) => reason = why,
            }
            if started_at.elapsed() > deadline {
                return Err(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let exited = tokio::select! {
        result = querying => match result {
            Ok(()) => return Ok(()),
            Err(()) => None,
        },
        record = first_exited(&records) => Some(record),
        () = tokio::time::sleep(deadline) => None,
    };
    Err(failure(layout, plan.service, exited.or(records.first().copied()), exited.is_some(), (deadline, reason)))
}

async fn query(layout: &Layout, descriptor: &dyn Descriptor, deadline: Duration) -> Result<(), String> {
    let timed_out = |_| "no response".to_owned();
    tokio::time::timeout(deadline, descriptor.form_cluster(layout)).await.map_err(timed_out)??;
    tokio::time::timeout(QUERY_TIMEOUT, descriptor.ready(layout)).await.map_err(timed_out)?
}

/// Waits for the first of these processes to exit.
async fn first_exited<'a>(records: &[&'a Record]) -> &'a Record {
    loop {
        if let Some(dead) = records.iter().find(|r| !r.is_alive()) {
            return dead;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Why the service is not ready, with the last lines of its log.
fn failure(
    layout: &Layout,
    service: Service,
    record: Option<&Record>,
    exited: bool,
    (deadline, reason): (Duration, String),
) -> Error {
    let node = record.map_or(service.name(), |r| &r.node);
    let log = layout.log_file(node);
    let tail = logs::last_lines(&log, record.map_or(0, |r| r.log_start), LOG_LINES);
    let full = system::free_mib(layout.state_dir()).filter(|free| *free < 64);
    if let Some(free_mib) = full {
        return Error::DiskFull { path: layout.state_dir().to_owned(), free_mib, needed_mib: REQUIRED_MIB };
    }
    if exited {
        return Error::Exited { service, log, tail };
    }
    Error::NotReady { service, seconds: deadline.as_secs(), reason, log, tail }
}
