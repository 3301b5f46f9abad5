-- What customers did, one row per Kafka record. The ADR names the topic and leaves out the table.
CREATE TABLE IF NOT EXISTS customer_interactions
(
    interaction_id   UUID,
    tenant_id        UUID,
    customer_id      UUID,
    campaign_id      UUID,
    communication_id UUID,
    channel          LowCardinality(String),
    interaction_type LowCardinality(String),
    timestamp        DateTime64(3, 'UTC'),
    duration_ms      UInt32,
    sentiment        LowCardinality(String),
    amount_minor     Int64,
    currency         LowCardinality(String),
    created_date     Date MATERIALIZED toDate(timestamp),
    _topic           LowCardinality(String),
    _topic_id        UUID,
    _partition       Int32,
    _offset          Int64,
    _ingested_at     DateTime64(3, 'UTC') DEFAULT now64(3),
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
