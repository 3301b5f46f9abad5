//! ClickHouse as dashboards query it: every query names a tenant and a window, and has limits on time and memory.
//! The client never writes.

use std::ops::Range;

use chrono::{DateTime, Utc};
use clickhouse::query::Query;
use sluice_schemas::connect;
use sluice_schemas::names::Names;
use sluice_schemas::stores::Stores;
use uuid::Uuid;

/// The store, as errors name it.
pub(crate) const STORE: &str = "ClickHouse";

/// Maximum execution time of a dashboard in the server, in seconds.
const MAX_EXECUTION_SECONDS: &str = "30";
/// Maximum memory of a dashboard in the server, in bytes.
const MAX_MEMORY_BYTES: &str = "500000000";

/// A client with limits for dashboards.
#[derive(Clone)]
pub(crate) struct Dashboards {
    client: clickhouse::Client,
}

/// A client that can't write, whose queries have the limits of a dashboard.
pub(crate) fn limited(client: clickhouse::Client) -> clickhouse::Client {
    client
        .with_setting("max_execution_time", MAX_EXECUTION_SECONDS)
        .with_setting("max_memory_usage", MAX_MEMORY_BYTES)
        // 1 would refuse a login whose profile has 2, since that is a change; both refuse every write.
        .with_setting("readonly", "2")
}

impl std::fmt::Debug for Dashboards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dashboards").finish_non_exhaustive()
    }
}

impl Dashboards {
    /// Creates the client without connecting.
    pub(super) fn new(stores: &Stores, names: &Names) -> Self {
        Self { client: limited(connect::clickhouse(stores, names)) }
    }

    /// A query with its parameters `tenant`, `from` and `to`.
    pub(crate) fn query(&self, text: &str, tenant: Uuid, window: Range<DateTime<Utc>>) -> Query {
        self.client
            .query(text)
            .param("tenant", tenant)
            .param("from", window.start.timestamp_millis())
            .param("to", window.end.timestamp_millis())
    }
}
