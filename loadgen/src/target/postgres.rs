//! PostgreSQL as the application uses it: every transaction names its tenant, so row-level security applies.
//! It is never bypassed.

use sluice_schemas::connect::{self, CONNECT_TIMEOUT, Role};
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sluice_schemas::tenant;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::error::QueryError;
use super::waited;

/// The store, as errors name it.
pub(crate) const STORE: &str = "PostgreSQL";

/// A pool for questions.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    pool: PgPool,
}

impl Postgres {
    /// Opens half of the pool, which proves that the store responds.
    pub(super) async fn connect(
        stores: &Stores,
        names: &Names,
        role: Role,
        connections: u32,
    ) -> Result<Self, QueryError> {
        let database = names.database();
        let options = match role {
            Role::Reader => connect::reading_options(stores, &database),
            role => connect::postgres_options(stores, &database, role),
        };
        let pool = PgPoolOptions::new()
            .min_connections(connections.div_ceil(2))
            .max_connections(connections)
            // Each question has its own time-out, and waiting for a connection counts toward it.
            .acquire_timeout(CONNECT_TIMEOUT * 6)
            // A test would be one more round trip for each question.
            .test_before_acquire(false);
        Ok(Self { pool: pool.connect_with(options).await? })
    }

    /// Runs one query in a transaction of a tenant.
    pub(crate) async fn as_tenant<T>(
        &self,
        tenant: Uuid,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, QueryError> {
        let mut connection = waited::count(self.pool.acquire()).await?;
        let mut transaction = tenant::begin_on(&mut connection, tenant).await?;
        let answer = query(&mut transaction).await?;
        transaction.commit().await?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use sluice_schemas::tenant::SET_TENANT;

    #[test]
    fn the_documentation_quotes_how_a_transaction_names_its_tenant() {
        let page = include_str!("../../../docs/scenarios.md");
        assert!(
            page.contains(&format!("\n{SET_TENANT}\n```\n")),
            "docs/scenarios.md does not quote this:\n{SET_TENANT}"
        );
    }
}
