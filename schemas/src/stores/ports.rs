//! Ports of the local stack, at fixed offsets from a base. This module never opens one.

/// Default port base of the local stack.
pub const DEFAULT_PORT_BASE: u16 = 21_000;

/// Ports of a local stack, at fixed offsets from its base, so that two stacks never collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    base: u16,
}

impl Ports {
    /// Number of ports that a stack reserves from its base.
    pub const SPAN: u16 = 60;

    /// The ports of a stack with this base.
    pub const fn new(base: u16) -> Self {
        Self { base }
    }

    /// The base.
    pub const fn base(self) -> u16 {
        self.base
    }

    /// PostgreSQL.
    pub const fn postgres(self) -> u16 {
        self.base
    }

    /// Kafka's client listener.
    pub const fn kafka(self) -> u16 {
        self.base + 1
    }

    /// Kafka's KRaft controller listener.
    pub const fn kafka_controller(self) -> u16 {
        self.base + 2
    }

    /// Kafka Connect's REST interface.
    pub const fn connect(self) -> u16 {
        self.base + 3
    }

    /// ClickHouse over HTTP.
    pub const fn clickhouse_http(self) -> u16 {
        self.base + 4
    }

    /// ClickHouse's native protocol.
    pub const fn clickhouse_native(self) -> u16 {
        self.base + 5
    }

    /// Elasticsearch over HTTP.
    pub const fn elasticsearch(self) -> u16 {
        self.base + 6
    }

    /// Elasticsearch's transport between nodes.
    pub const fn elasticsearch_transport(self) -> u16 {
        self.base + 7
    }

    /// The S3 server.
    pub const fn s3(self) -> u16 {
        self.base + 8
    }

    /// Node `n` (0 to 5) of the Redis cache cluster; its cluster bus is ten higher.
    pub const fn redis_cache(self, n: u16) -> u16 {
        self.base + 10 + n
    }

    /// Node `n` (0 to 2) of the Redis state cluster; its cluster bus is ten higher.
    pub const fn redis_state(self, n: u16) -> u16 {
        self.base + 30 + n
    }

    /// Metrics and health of an ingest process.
    pub const fn ingest_http(self) -> u16 {
        self.base + 50
    }
}
