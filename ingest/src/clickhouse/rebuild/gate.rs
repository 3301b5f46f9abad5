//! Keeps this worker's INSERTs and rebuilds of a table apart: while the aggregates of a table are rebuilt, INSERTs into
//! that table wait; INSERTs into other tables continue. It does not affect other processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::run::rebuild_month;
use crate::clickhouse::client::ClickHouse;
use crate::failure::Failure;
use crate::fault::{Fault, is_injected};

/// The gates of all tables; each table's aggregates are rebuilt one month at a time.
#[derive(Debug)]
pub struct Rebuilds {
    /// Timeout of one statement of a rebuild.
    timeout: Duration,
    tables: Mutex<HashMap<String, Arc<Gate>>>,
}

#[derive(Debug, Default)]
struct Gate {
    /// Read-locked by every INSERT.
    lock: Arc<RwLock<()>>,
    /// Start of the last successful rebuild of each month.
    started: Mutex<HashMap<u32, Instant>>,
}

impl Rebuilds {
    /// `timeout` bounds each statement of a rebuild.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, tables: Mutex::default() }
    }

    /// Returns a guard that every INSERT of this worker into a table holds while it runs.
    pub async fn block_rebuilds(&self, table: &str) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.gate(table).lock).read_owned().await
    }

    /// Rebuilds `month` of everything that views of `table` write to; 0 stands for a table without months. Returns at
    /// once if another task's rebuild began after this call and has finished.
    pub async fn rebuild(&self, clickhouse: &ClickHouse, table: &str, month: u32) -> Result<(), Failure> {
        let (called_at, gate) = (Instant::now(), self.gate(table));
        let _exclusive = gate.lock.write().await;
        if locked(&gate.started).get(&month).is_some_and(|started| *started >= called_at) {
            return Ok(());
        }
        let started = Instant::now();
        rebuild_month(clickhouse, table, month, self.timeout).await.map(drop)?;
        locked(&gate.started).insert(month, started);
        Ok(())
    }

    fn gate(&self, table: &str) -> Arc<Gate> {
        let table = if is_injected(Fault::ShareRebuildGate) { "" } else { table };
        let mut tables = locked(&self.tables);
        Arc::clone(tables.entry(table.to_owned()).or_default())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
