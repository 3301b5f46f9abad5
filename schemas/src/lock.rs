//! One `apply` at a time in a namespace. If PostgreSQL is among the chosen stores, the lock is an advisory lock there
//! and holds across machines; otherwise it is a locked file and holds on this machine. A dying process releases its
//! lock. Acquiring never waits longer than a minute.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::connect;
use crate::error::{SchemaError, refused};
use crate::names::Names;
use crate::store::Store;
use crate::stores::Stores;

/// Maximum time to wait for the lock.
const TIMEOUT: Duration = Duration::from_mins(1);
const RETRY: Duration = Duration::from_millis(100);

/// The lock; held until it is released or dropped.
pub(crate) enum Lock {
    Server(PgConnection),
    File(File),
}

impl Lock {
    /// Releases the lock now. Errors are ignored: the server releases it with the connection, the system with the file.
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
        lock_in_postgres(stores, &database).await
    } else {
        lock_file(&stores.kafka.brokers, &database).await
    }
}

async fn lock_in_postgres(stores: &Stores, database: &str) -> Result<Lock, SchemaError> {
    let mut connection = connect::postgres_admin(stores).await?;
    let key = format!("sluice schemas {database}");
    let started = Instant::now();
    loop {
        let locked = try_advisory_lock(&mut connection, &key).await;
        if locked.map_err(refused(Store::Postgres, "lock the schemas"))? {
            return Ok(Lock::Server(connection));
        }
        wait(database, started).await?;
    }
}

/// Acquires the advisory lock of that name unless another session holds it. It is held as long as the connection is
/// open.
pub(crate) async fn try_advisory_lock(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    let query = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))").bind(name);
    query.fetch_one(connection).await
}

async fn lock_file(environment: &str, database: &str) -> Result<Lock, SchemaError> {
    let environment = environment.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let path = std::env::temp_dir().join(format!("sluice-schemas-{environment}-{database}.lock"));
    let failed = |error: std::io::Error| SchemaError::LockFile { path: path.clone(), cause: error };
    let file = File::create(&path).map_err(failed)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock::File(file)),
            Err(TryLockError::WouldBlock) => wait(database, started).await?,
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

async fn wait(database: &str, started: Instant) -> Result<(), SchemaError> {
    let waited = started.elapsed();
    if waited > TIMEOUT {
        return Err(SchemaError::Locked { database: database.to_owned(), waited });
    }
    tokio::time::sleep(RETRY).await;
    Ok(())
}
