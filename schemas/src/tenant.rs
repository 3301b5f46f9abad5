//! Acting as one tenant in PostgreSQL. With row-level security, a transaction sees only the rows of the tenant that it
//! has set, and no rows if it has set none. The setting never outlives the transaction, so a pooled connection is safe
//! to reuse.

use sqlx::{Connection as _, PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

/// Sets the tenant of the current transaction.
pub const SET_TENANT: &str = "SELECT set_config('app.current_tenant_id', $1, true)";

/// Begins a transaction that acts as `tenant`.
pub async fn begin(pool: &PgPool, tenant: Uuid) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    set(&mut transaction, tenant).await?;
    Ok(transaction)
}

/// Begins a transaction that acts as `tenant` on a connection.
pub async fn begin_on(connection: &mut PgConnection, tenant: Uuid) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    set(&mut transaction, tenant).await?;
    Ok(transaction)
}

/// Makes the transaction on `connection` act as `tenant` until it ends.
pub async fn set(connection: &mut PgConnection, tenant: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query(SET_TENANT).bind(tenant.to_string()).execute(connection).await.map(drop)
}
