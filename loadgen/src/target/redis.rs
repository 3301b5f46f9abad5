//! The question for Redis: a customer's context, by cache-aside. A tenant and a customer go in, the customer comes out
//! of the cache, or out of PostgreSQL, and then goes into the cache. Never trusts a value of another tenant.

use redis::cluster_async::ClusterConnection;
use sluice_schemas::connect;
use sluice_schemas::keyspace::CONTEXT_TTL;
use sluice_schemas::names::Names;
use sluice_schemas::records::Customer;
use sluice_schemas::stores::Stores;
use uuid::Uuid;

use super::AskError;
use super::postgres::Postgres;

/// Reads a customer's context. `$key` is `ctx:{customer_id}` under the namespace.
pub const GET_CONTEXT: &str = "JSON.GET $key";

/// Keeps a customer's context: an answer of PostgreSQL as one JSON document. `$ttl` is that of the key space, in seconds.
pub const SET_CONTEXT: &str = "\
MULTI
JSON.SET $key $ $customer
EXPIRE $key $ttl
EXEC";

/// The cache cluster, with PostgreSQL behind it.
#[derive(Clone)]
pub struct Cache {
    connection: ClusterConnection,
    names: Names,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Cache {
    /// Connects to the cluster.
    pub async fn connect(stores: &Stores, names: &Names) -> Result<Self, AskError> {
        Ok(Self { connection: connect::redis_cache(stores).await?, names: names.clone() })
    }

    /// A customer through the cache; a miss reads PostgreSQL and fills the cache.
    pub async fn customer(&self, postgres: &Postgres, tenant: Uuid, id: Uuid) -> Result<Option<Customer>, AskError> {
        if let Some(cached) = self.get(id).await?
            && cached.tenant_id == tenant
        {
            return Ok(Some(cached));
        }
        let Some(customer) = postgres.customer_by_id(tenant, id).await? else { return Ok(None) };
        self.set(&customer).await?;
        Ok(Some(customer))
    }

    /// [`GET_CONTEXT`].
    pub async fn get(&self, id: Uuid) -> Result<Option<Customer>, AskError> {
        let text: Option<String> =
            redis::cmd("JSON.GET").arg(self.key(id)).query_async(&mut self.connection.clone()).await?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|_| AskError::Unreadable { store: "Redis", what: "a context that is not a customer" })
    }

    /// [`SET_CONTEXT`].
    pub async fn set(&self, customer: &Customer) -> Result<(), AskError> {
        let key = self.key(customer.id);
        let text = serde_json::to_string(customer)
            .map_err(|_| AskError::Unreadable { store: "Redis", what: "a customer that is not JSON" })?;
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        pipeline.cmd("JSON.SET").arg(&key).arg("$").arg(text).ignore();
        pipeline.cmd("EXPIRE").arg(&key).arg(CONTEXT_TTL.as_secs()).ignore();
        pipeline.query_async::<()>(&mut self.connection.clone()).await?;
        Ok(())
    }

    fn key(&self, id: Uuid) -> String {
        self.names.key(&format!("ctx:{id}"))
    }
}
