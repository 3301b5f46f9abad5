-- Events of communications, one row per Kafka record. Statements are repeatable: ClickHouse has no transaction around
-- a file, so a file that stopped half-way is run again from its start.
-- The dedup window makes a repeated insert with the same token land once; see docs/decisions for the rest.
CREATE TABLE IF NOT EXISTS communication_events
(
    event_id     UUID,
    tenant_id    UUID,
    customer_id  UUID,
    campaign_id  UUID,
    agent_id     String,
    channel      LowCardinality(String),
    event_type   LowCardinality(String),
    timestamp    DateTime64(3, 'UTC'),
    duration_ms  UInt32,
    success      Bool,
    error_code   LowCardinality(String),
    metadata     String,
    created_date Date MATERIALIZED toDate(timestamp),
    _topic       LowCardinality(String),
    _topic_id    UUID,
    _partition   Int32,
    _offset      Int64,
    _ingested_at DateTime64(3, 'UTC') DEFAULT now64(3),
    INDEX customer customer_id TYPE bloom_filter(0.01) GRANULARITY 1,
    PROJECTION by_offset
    (
        SELECT _topic, _topic_id, _partition, _offset ORDER BY _topic, _partition, _offset
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (tenant_id, timestamp, customer_id)
TTL toDateTime(timestamp) + INTERVAL 7 YEAR
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
