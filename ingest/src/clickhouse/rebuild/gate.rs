//! INSERTs and rebuilds of this worker: while the aggregates of a table are rebuilt, its own INSERTs into that table wait, and
//! those into other tables go on.
//! A table goes in; leave to write to it comes out, or a rebuild that is done.

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
    /// How long one statement of a rebuild may take.
    timeout: Duration,
    tables: Mutex<HashMap<String, Arc<Gate>>>,
}

#[derive(Debug, Default)]
struct Gate {
    /// Held for reading by every INSERT.
    lock: Arc<RwLock<()>>,
    /// When the last finished rebuild of a month began.
    begun: Mutex<HashMap<u32, Instant>>,
}

impl Rebuilds {
    /// Of rebuilds whose statements may take so long each.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, tables: Mutex::default() }
    }

    /// Held by every INSERT of this worker into a table while it runs.
    pub async fn writing(&self, table: &str) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.gate(table).lock).read_owned().await
    }

    /// Rebuilds `month` of everything that views of `table` write to; 0 stands for a table without months. A rebuild that
    /// somebody else began after this call counts.
    pub async fn rebuild(&self, clickhouse: &ClickHouse, table: &str, month: u32) -> Result<(), Failure> {
        let (asked, gate) = (Instant::now(), self.gate(table));
        let _alone = gate.lock.write().await;
        if held(&gate.begun).get(&month).is_some_and(|begun| *begun >= asked) {
            return Ok(());
        }
        let begun = Instant::now();
        rebuild_month(clickhouse, table, month, self.timeout).await.map(drop)?;
        held(&gate.begun).insert(month, begun);
        Ok(())
    }

    fn gate(&self, table: &str) -> Arc<Gate> {
        let table = if is_injected(Fault::ShareRebuildGate) { "" } else { table };
        let mut tables = held(&self.tables);
        Arc::clone(tables.entry(table.to_owned()).or_default())
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
