//! One run at a time in a namespace: a run drops and fills its namespace, so a second one would spoil both.
//! The lock is an advisory lock in PostgreSQL: it holds across machines, and a dying process releases it. When PostgreSQL
//! restarts, the lock ends with its connection, and is taken again at once. Reserving never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::concurrency::join;
use crate::connect::{self, ConnectError};
use crate::lock::try_advisory_lock;
use crate::names::Names;
use crate::stores::Stores;

/// Interval at which a reservation looks whether its connection is still there, and reserves again if it is not.
const CHECKED_EVERY: Duration = Duration::from_secs(2);

/// The exclusive right to run in a namespace, held until it is released or dropped.
#[derive(Debug)]
pub struct Reservation {
    keeping: Option<JoinHandle<()>>,
    stop: CancellationToken,
    is_lost: Arc<AtomicBool>,
}

/// A namespace cannot be reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// PostgreSQL is unreachable.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// PostgreSQL refused.
    #[error("reserve the namespace: {0}")]
    Refused(#[from] sqlx::Error),
    /// Another run holds the namespace.
    #[error("reserve namespace \"{0}\": another run is using it; wait for its end, or choose another with --namespace")]
    Taken(String),
}

impl Reservation {
    /// Whether another run has reserved the namespace while PostgreSQL was away.
    pub fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// Releases the namespace.
    pub async fn release(mut self) {
        self.stop.cancel();
        if let Some(keeping) = self.keeping.take() {
            join(keeping).await;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.keeping.iter().for_each(JoinHandle::abort);
    }
}

/// Reserves the namespace of `names`; fails if another run holds it.
pub async fn reserve(stores: &Stores, names: &Names) -> Result<Reservation, ReserveError> {
    let (stop, is_lost) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
    let connection = lock(stores, names).await?;
    let keeping = keep((stores.clone(), names.clone()), connection, stop.clone(), Arc::clone(&is_lost));
    Ok(Reservation { keeping: Some(tokio::spawn(keeping)), stop, is_lost })
}

async fn lock(stores: &Stores, names: &Names) -> Result<PgConnection, ReserveError> {
    let mut connection = connect::postgres_admin(stores).await?;
    let name = format!("sluice run {}", names.database());
    if try_advisory_lock(&mut connection, &name).await? {
        Ok(connection)
    } else {
        Err(ReserveError::Taken(names.namespace().to_owned()))
    }
}

/// Holds the lock until `stop`. A frozen PostgreSQL keeps it, so an answer that does not come is no loss.
async fn keep(
    (stores, names): (Stores, Names),
    mut connection: PgConnection,
    stop: CancellationToken,
    is_lost: Arc<AtomicBool>,
) {
    let keeping = async {
        loop {
            sleep(CHECKED_EVERY).await;
            if connection.ping().await.is_ok() {
                continue;
            }
            match lock(&stores, &names).await {
                Ok(again) => {
                    connection = again;
                    is_lost.store(false, Ordering::Relaxed);
                }
                Err(ReserveError::Taken(_)) => is_lost.store(true, Ordering::Relaxed),
                // It is still away.
                Err(ReserveError::Connect(_) | ReserveError::Refused(_)) => {}
            }
        }
    };
    stop.run_until_cancelled(keeping).await;
    // Errors are ignored: the server releases the lock with the connection.
    drop(connection.close().await);
}
