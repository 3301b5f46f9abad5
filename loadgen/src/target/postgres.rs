//! PostgreSQL as the application uses it: every transaction names its tenant, so row-level security applies.
//! It is never bypassed.

use sluice_schemas::connect::{self, Role};
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use sluice_schemas::tenant;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::connections::Connections;
use super::error::QueryError;

/// The store, as errors name it.
pub(crate) const STORE: &str = "PostgreSQL";

/// Begins a transaction in which PostgreSQL refuses every write, also where a proxy leaves the session's setting out.
const BEGIN_READING: &str = "BEGIN READ ONLY";
const BEGIN: &str = "BEGIN";

/// Connections for questions.
#[derive(Debug)]
pub(crate) struct Postgres {
    connections: Connections,
    begin: &'static str,
}

impl Postgres {
    /// Opens half of the connections, which proves that the store responds.
    pub(super) async fn connect(
        stores: &Stores,
        names: &Names,
        role: Role,
        connections: u32,
    ) -> Result<Self, QueryError> {
        let database = names.database();
        let (options, begin) = match role {
            Role::Reader => (connect::reading_options(stores, &database), BEGIN_READING),
            role => (connect::postgres_options(stores, &database, role), BEGIN),
        };
        let opened = (connections.div_ceil(2), connections);
        Ok(Self { connections: Connections::open((stores, &database), options, opened).await?, begin })
    }

    /// Runs one query in a transaction of a tenant.
    pub(crate) async fn as_tenant<T>(
        &self,
        tenant: Uuid,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, QueryError> {
        let mut lease = self.connections.lease().await?;
        let asking = async {
            let mut transaction = lease.begin_with(self.begin).await?;
            tenant::set(&mut transaction, tenant).await?;
            let answer = query(&mut transaction).await?;
            transaction.commit().await?;
            Ok(answer)
        };
        let answer = asking.await;
        lease.end(answer)
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
