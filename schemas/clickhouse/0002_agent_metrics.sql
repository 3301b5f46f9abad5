-- Measurements of agents, one row per Kafka record.
CREATE TABLE IF NOT EXISTS agent_metrics
(
    tenant_id    UUID,
    agent_id     String,
    agent_type   LowCardinality(String),
    metric_name  LowCardinality(String),
    metric_value Float64,
    timestamp    DateTime64(3, 'UTC'),
    created_date Date MATERIALIZED toDate(timestamp),
    _topic       LowCardinality(String),
    _topic_id    UUID,
    _partition   Int32,
    _offset      Int64,
    _ingested_at DateTime64(3, 'UTC') DEFAULT now64(3),
    PROJECTION by_offset
    (
        SELECT _topic, _topic_id, _partition, _offset ORDER BY _topic, _partition, _offset
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (tenant_id, agent_id, timestamp)
TTL toDateTime(timestamp) + INTERVAL 7 YEAR
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1;
