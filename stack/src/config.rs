//! The `[stack]` section of `sluice.toml`: where the local stores live and how much memory they may take.
//! In: the parsed section. Out: plain values that [`crate::Layout`] turns into paths. Never touches the disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sluice_schemas::stores::DEFAULT_PORT_BASE;

/// Settings of the local stack; every field has a default that suits a laptop with 8 GiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// First of the 60 ports that the stack uses; two stacks need bases at least 60 apart.
    pub port_base: u16,
    /// Data, logs and process records. Default: `/var/lib/sluice/stack-BASE` for root, else
    /// `$XDG_STATE_HOME/sluice/stack-BASE`.
    pub state_dir: Option<PathBuf>,
    /// Downloaded programs, shared by all stacks. Default: `$SLUICE_CACHE`, else `/var/cache/sluice` for root,
    /// else `$XDG_CACHE_HOME/sluice`.
    pub cache_dir: Option<PathBuf>,
    /// Java heap of Elasticsearch, MiB.
    pub elasticsearch_heap_mib: u32,
    /// Java heap of Kafka, MiB.
    pub kafka_heap_mib: u32,
    /// Java heap of Kafka Connect, MiB.
    pub connect_heap_mib: u32,
    /// Most memory that ClickHouse takes for queries, merges and caches together, MiB.
    pub clickhouse_memory_mib: u32,
    /// `shared_buffers` of PostgreSQL, MiB.
    pub postgres_buffers_mib: u32,
    /// `maxmemory` of each node of the Redis cache cluster (allkeys-lru), MiB.
    pub redis_cache_mib: u32,
    /// `maxmemory` of each node of the Redis state cluster (noeviction), MiB.
    pub redis_state_mib: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port_base: DEFAULT_PORT_BASE,
            state_dir: None,
            cache_dir: None,
            elasticsearch_heap_mib: 768,
            kafka_heap_mib: 512,
            connect_heap_mib: 384,
            clickhouse_memory_mib: 2048,
            postgres_buffers_mib: 256,
            redis_cache_mib: 256,
            redis_state_mib: 128,
        }
    }
}
