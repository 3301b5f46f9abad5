//! One `apply` at a time for a namespace. With PostgreSQL among the chosen stores the lock is an advisory lock there,
//! so it holds between machines; without it a locked file holds between the processes of this machine.
//! A waiter gives up after [`DEADLINE`]. A process that dies frees its lock.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::connect::{self, Role};
use crate::error::{SchemaError, refused};
use crate::names::Names;
use crate::store::Store;
use crate::stores::Stores;

/// How long a second run waits for the first.
const DEADLINE: Duration = Duration::from_mins(1);
const RETRY: Duration = Duration::from_millis(100);
/// Advisory locks belong to one database, so all namespaces lock in this one.
const DATABASE: &str = "postgres";

/// A lock that is held until it is released or dropped.
pub(crate) enum Lock {
    Server(PgConnection),
    File(File),
}

impl Lock {
    /// Frees the lock now. A failure needs no report: the server frees it with the connection, the system with the file.
    pub(crate) async fn release(self) {
        match self {
            Self::Server(connection) => drop(connection.close().await),
            Self::File(file) => drop(file),
        }
    }
}

/// Waits for the namespace's lock.
pub(crate) async fn acquire(stores: &Stores, names: &Names, which: &[Store]) -> Result<Lock, SchemaError> {
    let database = names.database();
    if which.contains(&Store::Postgres) {
        lock_on_server(stores, &database).await
    } else {
        lock_file(&stores.kafka.brokers, &database).await
    }
}

async fn lock_on_server(stores: &Stores, database: &str) -> Result<Lock, SchemaError> {
    let mut connection = connect::postgres_connection(stores, DATABASE, Role::Admin).await?;
    let began = Instant::now();
    loop {
        let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
            .bind(format!("sluice schemas {database}"))
            .fetch_one(&mut connection)
            .await
            .map_err(refused(Store::Postgres, "lock the schemas"))?;
        if taken {
            return Ok(Lock::Server(connection));
        }
        wait(database, began).await?;
    }
}

async fn lock_file(environment: &str, database: &str) -> Result<Lock, SchemaError> {
    let environment = environment.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let path = std::env::temp_dir().join(format!("sluice-schemas-{environment}-{database}.lock"));
    let failed = |error: std::io::Error| SchemaError::LockFile { path: path.clone(), cause: error };
    let file = File::create(&path).map_err(failed)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock::File(file)),
            Err(TryLockError::WouldBlock) => wait(database, began).await?,
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

async fn wait(database: &str, began: Instant) -> Result<(), SchemaError> {
    let waited = began.elapsed();
    if waited > DEADLINE {
        return Err(SchemaError::Locked { database: database.to_owned(), waited });
    }
    tokio::time::sleep(RETRY).await;
    Ok(())
}
