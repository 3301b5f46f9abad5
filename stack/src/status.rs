//! `status`: state, ports, processes and memory of each service, as values and as a table. This module starts and stops
//! nothing.

use chrono::{DateTime, Utc};
use comfy_table::{CellAlignment, Table, presets};
use futures::future::join_all;
use serde::Serialize;

use std::{collections::BTreeSet, fmt, time::Duration};

use crate::{
    error::Error,
    layout::Layout,
    record::{self, Record},
    service::Service,
    system,
};

/// Maximum time in which `status` waits for a service's response.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);

/// The state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All of its processes are running and it responds to its readiness query.
    Ready,
    /// All of its processes are running, but it does not respond or is not ready yet.
    NotReady,
    /// A process that `up` started has exited.
    Exited,
    /// It was not started.
    Stopped,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::NotReady => "not ready",
            Self::Exited => "exited",
            Self::Stopped => "stopped",
        })
    }
}

/// One row of `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// The service.
    pub service: Service,
    /// Version of the program.
    pub version: &'static str,
    /// State of the service.
    pub state: State,
    /// Ports on 127.0.0.1, those for clients first.
    pub ports: Vec<u16>,
    /// The running processes, one per node.
    pub pids: Vec<i32>,
    /// Resident memory of all processes in bytes; shared pages are counted once.
    pub memory_bytes: u64,
    /// Time at which the service last became ready.
    pub ready_since: Option<DateTime<Utc>>,
}

/// The state of every service of the stack, the stopped ones included.
pub async fn status(layout: &Layout) -> Result<Vec<ServiceStatus>, Error> {
    let records = record::load(layout);
    let rows = Service::ALL.iter().map(|service| {
        let records = records.iter().filter(|r| r.service == *service).collect();
        row(layout, *service, records)
    });
    Ok(join_all(rows).await)
}

async fn row(layout: &Layout, service: Service, records: Vec<&Record>) -> ServiceStatus {
    let pids: Vec<i32> = records.iter().filter_map(|r| r.running()).map(|identity| identity.pid).collect();
    let nodes = service.descriptor().nodes(layout).len();
    let state = match (records.is_empty(), pids.len() == nodes) {
        (true, _) => State::Stopped,
        (false, false) => State::Exited,
        (false, true) => match tokio::time::timeout(QUERY_TIMEOUT, service.descriptor().ready(layout)).await {
            Ok(Ok(())) => State::Ready,
            _ => State::NotReady,
        },
    };
    let processes: BTreeSet<i32> = records.iter().flat_map(|r| r.process_tree()).collect();
    ServiceStatus {
        service,
        version: service.version(),
        state,
        ports: service.ports(layout),
        pids,
        memory_bytes: processes.into_iter().map(system::memory).sum(),
        ready_since: records.iter().filter_map(|r| r.ready_at).max().filter(|_| state == State::Ready),
    }
}

/// The rows as a table, with the memory of the whole stack in the last line.
pub fn table(rows: &[ServiceStatus]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "STORE",
        "VERSION",
        "STATE",
        "PORT",
        "PID",
        "MEMORY",
        "READY SINCE",
    ]);
    for row in rows {
        table.add_row([
            row.service.to_string(),
            row.version.to_owned(),
            row.state.to_string(),
            ranges(&row.ports),
            ranges(&row.pids),
            mebibytes(row.memory_bytes),
            row.ready_since.map_or_else(|| "-".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string()),
        ]);
    }
    let total = rows.iter().map(|row| row.memory_bytes).sum();
    table.add_row(["all", "", "", "", "", &mebibytes(total), ""]);
    if let Some(memory) = table.column_mut(5) {
        memory.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn mebibytes(bytes: u64) -> String {
    if bytes == 0 { "-".to_owned() } else { format!("{} MiB", bytes.div_ceil(1 << 20)) }
}

/// The numbers in order, with consecutive ones as `first-last`.
fn ranges<N: Copy + Into<i64> + fmt::Display>(numbers: &[N]) -> String {
    let mut runs: Vec<(N, N)> = vec![];
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if (*last).into() + 1 == number.into() => *last = number,
            _ => runs.push((number, number)),
        }
    }
    if runs.is_empty() {
        return "-".to_owned();
    }
    let texts = runs.iter().map(|(a, b)| if (*a).into() == (*b).into() { a.to_string() } else { format!("{a}-{b}") });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_numbers_become_a_range() {
        assert_eq!(ranges(&[1u16, 2, 3, 7, 9, 10]), "1-3,7,9-10");
        assert_eq!(ranges::<i32>(&[]), "-");
    }

    #[test]
    fn the_table_has_aligned_columns_and_a_total() {
        let at = DateTime::from_timestamp(1_767_225_600, 0);
        let row = |service, state, pids: &[i32], memory_bytes, ready_since| ServiceStatus {
            service,
            version: "1.0",
            state,
            ports: vec![21_010, 21_011],
            pids: pids.to_vec(),
            memory_bytes,
            ready_since,
        };
        let rows = [
            row(Service::RedisCache, State::Ready, &[100, 101], 50 << 20, at),
            row(Service::S3, State::Stopped, &[], 0, None),
        ];
        insta::assert_snapshot!(table(&rows), @r"
        STORE        VERSION  STATE    PORT         PID      MEMORY  READY SINCE
        redis-cache  1.0      ready    21010-21011  100-101  50 MiB  2026-01-01 00:00:00 UTC
        s3           1.0      stopped  21010-21011  -             -  -
        all                                                  50 MiB
        ");
    }
}
