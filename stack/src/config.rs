//! The `[stack]` section of `sluice.toml`: folders, ports and memory of the local stores. This module never accesses
//! the disk.

use std::path::PathBuf;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use sluice_schemas::stores::DEFAULT_PORT_BASE;

/// Settings of the local stack; the defaults suit a laptop with 8 GiB.
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
    /// Java heap of Elasticsearch.
    pub elasticsearch_heap: ByteSize,
    /// Java heap of Kafka.
    pub kafka_heap: ByteSize,
    /// Java heap of Kafka Connect.
    pub connect_heap: ByteSize,
    /// Memory limit of ClickHouse, for queries, merges and caches together.
    pub clickhouse_memory: ByteSize,
    /// `shared_buffers` of PostgreSQL.
    pub postgres_buffers: ByteSize,
    /// `maxmemory` of each node of the Redis cache cluster (allkeys-lru).
    pub redis_cache_memory: ByteSize,
    /// `maxmemory` of each node of the Redis state cluster (noeviction).
    pub redis_state_memory: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port_base: DEFAULT_PORT_BASE,
            state_dir: None,
            cache_dir: None,
            elasticsearch_heap: ByteSize::mib(768),
            kafka_heap: ByteSize::mib(512),
            connect_heap: ByteSize::mib(384),
            clickhouse_memory: ByteSize::gib(4),
            postgres_buffers: ByteSize::mib(256),
            redis_cache_memory: ByteSize::mib(256),
            redis_state_memory: ByteSize::mib(128),
        }
    }
}

impl Settings {
    /// Checks what serde cannot: that each store has enough memory to start.
    pub fn check(&self) -> Result<(), TooLittleMemory> {
        let minimums = [
            ("elasticsearch_heap", self.elasticsearch_heap, ByteSize::mib(256)),
            ("kafka_heap", self.kafka_heap, ByteSize::mib(128)),
            ("connect_heap", self.connect_heap, ByteSize::mib(128)),
            ("clickhouse_memory", self.clickhouse_memory, ByteSize::mib(512)),
            ("postgres_buffers", self.postgres_buffers, ByteSize::mib(16)),
            ("redis_cache_memory", self.redis_cache_memory, ByteSize::mib(16)),
            ("redis_state_memory", self.redis_state_memory, ByteSize::mib(16)),
        ];
        match minimums.into_iter().find(|(_, given, least)| given < least) {
            None => Ok(()),
            Some((key, given, least)) => Err(TooLittleMemory { key, given, least }),
        }
    }
}

/// A store cannot start with this little memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use stack.{key} = \"{given}\": it needs at least {least}")]
pub struct TooLittleMemory {
    key: &'static str,
    given: ByteSize,
    least: ByteSize,
}

/// Whole mebibytes, the unit of the stores' own settings.
pub(crate) fn mebibytes(size: ByteSize) -> u64 {
    size.0 / (1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_suffice_and_too_little_memory_is_reported() {
        assert_eq!(Settings::default().check(), Ok(()));
        let small = Settings { kafka_heap: ByteSize::mib(1), ..Settings::default() };
        insta::assert_snapshot!(small.check().unwrap_err(), @r#"use stack.kafka_heap = "1.0 MiB": it needs at least 128.0 MiB"#);
    }
}
